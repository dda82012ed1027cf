// What the parts of the page share: its elements, words for errors, and drawings as small pictures.

import { CANVAS, paths } from "./sketch.js";
import type { Stroke } from "./sketch.js";

export function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new Error(`the page has no #${id}`);
  }
  return found;
}

/** What an error says to people. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function element<Name extends keyof HTMLElementTagNameMap>(name: Name, kind = "", text = ""): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

/** A dialog that closes by Escape, which browsers do, by its buttons for that, and by a tap beside it. What a button's
    `data-closes` says is what the dialog returns. */
export function dialog(id: string): HTMLDialogElement {
  const found = byId(id, HTMLDialogElement);
  found.addEventListener("click", (event) => {
    const { target } = event;
    const button = target instanceof Element ? target.closest<HTMLElement>("[data-closes]") : null;
    if (target === found || button !== null) {
      found.close(button?.dataset["closes"] ?? "");
    }
  });
  return found;
}

export function svgElement<Name extends keyof SVGElementTagNameMap>(name: Name, attributes: Record<string, string>): SVGElementTagNameMap[Name] {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

/** A drawing in the colour of the text around it. */
export function picture(strokes: readonly Stroke[]): SVGSVGElement {
  const svg = svgElement("svg", { viewBox: `0 0 ${CANVAS} ${CANVAS}`, class: "drawing", "aria-hidden": "true" });
  // A thin line would vanish at a fifth of its size.
  svg.append(...strokes.flatMap(paths).map(({ d, width }) => svgElement("path", { d, "stroke-width": String(Math.max(width, 9)) })));
  return svg;
}
