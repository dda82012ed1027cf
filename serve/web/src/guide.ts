// The guide: which square of the page the server cuts the drawing to, and the picture that it searches with.

import { byId, svgElement } from "./dom.js";
import { CANVAS, cutOf } from "./sketch.js";
import type { Sketch } from "./sketch.js";

/** The width of the server's lines, as a part of its picture, unless it was started with another. */
const LINE = 1 / 128;

export class Guide {
  private readonly seen = byId("seen", HTMLElement);
  private readonly overlay = svgElement("svg", { class: "cut", viewBox: `0 0 ${CANVAS} ${CANVAS}`, "aria-hidden": "true" });
  private readonly beyond = svgElement("path", { class: "beyond", "fill-rule": "evenodd" });
  private readonly edge = svgElement("path", { class: "edge" });
  private readonly picture = svgElement("svg", { "aria-hidden": "true" });
  private readonly lines = svgElement("path", {});
  private isOn = false;
  private sketch: Sketch;
  /** The share of the page that the server makes a drawing fill; nothing where it takes the page as it is. */
  private share: number | null = null;

  constructor(sketch: Sketch) {
    this.sketch = sketch;
    this.overlay.append(this.beyond, this.edge);
    this.picture.append(this.lines);
    this.seen.prepend(this.picture);
    this.seen.before(this.overlay);
    this.tell();
  }

  setShare(share: number | null): void {
    this.share = share;
    this.tell();
  }

  /** Whether it is on now. */
  toggle(): boolean {
    this.isOn = !this.isOn;
    this.tell();
    return this.isOn;
  }

  show(sketch: Sketch): void {
    this.sketch = sketch;
    this.tell();
  }

  private tell(): void {
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
    // From point to point, as the server draws; a single point is a dot.
    const line = (points: readonly (readonly [number, number, number])[]): string =>
      `M${points.map(([x, y]) => `${x} ${y}`).join("L")}${points.length === 1 ? "h0" : ""}`;
    this.lines.setAttribute("d", strokes.map((stroke) => line(stroke.points)).join(""));
  }
}
