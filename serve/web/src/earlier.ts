// The sheet of earlier drawings, and when the drawing on the pad becomes one of them.

import { byId, dialog, element, picture } from "./dom.js";
import { Shelf } from "./shelf.js";
import type { Sketch, Stroke } from "./sketch.js";

/** After the last stroke, in milliseconds: a drawing is not kept stroke by stroke. */
const AFTER = 500;

export class Earlier {
  private readonly dialog = dialog("earlier-sheet");
  private readonly list = byId("earlier", HTMLUListElement);
  private readonly shelf = new Shelf();
  private waiting: readonly Stroke[] | null = null;
  private timer: number | undefined;

  constructor(private readonly chosen: (strokes: readonly Stroke[]) => void) {
    byId("forget", HTMLButtonElement).addEventListener("click", () => {
      this.waiting = null;
      this.shelf.empty();
      this.tell();
    });
    // A page on a phone may be gone without a further word.
    addEventListener("pagehide", () => this.keep());
    document.addEventListener("visibilitychange", () => this.keep());
  }

  show(): void {
    this.keep();
    this.tell();
    this.dialog.showModal();
  }

  /** The drawing on the pad has changed. */
  changed(sketch: Sketch): void {
    clearTimeout(this.timer);
    if (sketch.strokes.length === 0) {
      this.begin([]);
      return;
    }
    this.waiting = sketch.strokes;
    this.timer = setTimeout(() => this.keep(), AFTER);
  }

  /** Another drawing begins, with `strokes`. */
  begin(strokes: readonly Stroke[]): void {
    this.keep();
    this.shelf.begin(strokes);
  }

  private keep(): void {
    clearTimeout(this.timer);
    if (this.waiting !== null) {
      this.shelf.keep(this.waiting);
      this.waiting = null;
    }
  }

  private tell(): void {
    const { drawings, isLasting } = this.shelf;
    byId("earlier-note", HTMLParagraphElement).textContent =
      drawings.length === 0
        ? "There are none yet."
        : isLasting
          ? "They are kept in this browser alone, the newest thirty."
          : "This browser keeps nothing for the page: they are gone when it is closed.";
    byId("forget", HTMLButtonElement).disabled = drawings.length === 0;
    const item = ({ at, strokes }: (typeof drawings)[number]): HTMLLIElement => {
      const [whole, button] = [element("li"), element("button", "tile")];
      const when = new Date(at).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
      button.type = "button";
      button.setAttribute("aria-label", `The drawing of ${when}, ${strokes.length === 1 ? "1 stroke" : `${strokes.length} strokes`}`);
      button.title = when;
      button.append(picture(strokes));
      button.addEventListener("click", () => {
        this.dialog.close();
        this.chosen(strokes);
      });
      whole.append(button);
      return whole;
    };
    this.list.replaceChildren(...drawings.map(item));
  }
}
