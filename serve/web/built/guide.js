import { byId, svgElement } from "./dom.js";
import { CANVAS, cutOf } from "./sketch.js";
const LINE = 1 / 128;
export class Guide {
    seen = byId("seen", HTMLElement);
    overlay = svgElement("svg", { class: "cut", viewBox: `0 0 ${CANVAS} ${CANVAS}`, "aria-hidden": "true" });
    beyond = svgElement("path", { class: "beyond", "fill-rule": "evenodd" });
    edge = svgElement("path", { class: "edge" });
    picture = svgElement("svg", { "aria-hidden": "true" });
    lines = svgElement("path", {});
    isOn = false;
    sketch;
    share = null;
    constructor(sketch) {
        this.sketch = sketch;
        this.overlay.append(this.beyond, this.edge);
        this.picture.append(this.lines);
        this.seen.prepend(this.picture);
        this.seen.before(this.overlay);
        this.tell();
    }
    setShare(share) {
        this.share = share;
        this.tell();
    }
    toggle() {
        this.isOn = !this.isOn;
        this.tell();
        return this.isOn;
    }
    show(sketch) {
        this.sketch = sketch;
        this.tell();
    }
    tell() {
        const { strokes } = this.sketch;
        const isShown = this.isOn && this.share !== null && strokes.length > 0;
        this.seen.hidden = !isShown;
        this.overlay.classList.toggle("is-shown", isShown);
        if (!isShown || this.share === null) {
            return;
        }
        const cut = cutOf(strokes, this.share);
        const [left, top, side] = [cut.left, cut.top, cut.side].map((value) => Math.round(value * 10) / 10);
        const square = `M${left} ${top}h${side}v${side}h-${side}z`;
        this.edge.setAttribute("d", square);
        this.beyond.setAttribute("d", `M0 0h${CANVAS}v${CANVAS}h-${CANVAS}z${square}`);
        this.picture.setAttribute("viewBox", `${left} ${top} ${side} ${side}`);
        this.lines.setAttribute("stroke-width", String(cut.side * LINE));
        const line = (points) => `M${points.map(([x, y]) => `${x} ${y}`).join("L")}${points.length === 1 ? "h0" : ""}`;
        this.lines.setAttribute("d", strokes.map((stroke) => line(stroke.points)).join(""));
    }
}
