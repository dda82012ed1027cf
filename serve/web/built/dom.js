import { CANVAS, paths } from "./sketch.js";
export function byId(id, kind) {
    const found = document.getElementById(id);
    if (!(found instanceof kind)) {
        throw new Error(`the page has no #${id}`);
    }
    return found;
}
export function wordsOf(error) {
    return error instanceof Error ? error.message : String(error);
}
export function element(name, kind = "", text = "") {
    const made = document.createElement(name);
    made.className = kind;
    made.textContent = text;
    return made;
}
export function dialog(id) {
    const found = byId(id, HTMLDialogElement);
    found.addEventListener("click", (event) => {
        const { target } = event;
        const button = target instanceof Element ? target.closest("[data-closes]") : null;
        if (target === found || button !== null) {
            found.close(button?.dataset["closes"] ?? "");
        }
    });
    return found;
}
export function svgElement(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
}
export function picture(strokes) {
    const svg = svgElement("svg", { viewBox: `0 0 ${CANVAS} ${CANVAS}`, class: "drawing", "aria-hidden": "true" });
    svg.append(...strokes.flatMap(paths).map(({ d, width }) => svgElement("path", { d, "stroke-width": String(Math.max(width, 9)) })));
    return svg;
}
