// Teaching: a photo is shown, hidden, and drawn from memory; and a hit is said to be the one that was drawn. The server keeps
// both, where it was started with a folder for that, and where the person agrees, who is asked once.

import { byId, dialog, wordsOf } from "./dom.js";
import type { Pad } from "./pad.js";
import { reasonOf, strokesOf } from "./search.js";
import type { Sketch, Stroke } from "./sketch.js";
import { recall, remember } from "./store.js";

/** Where drawings are kept, as `/api/v1/gallery` says. */
export interface Teaching {
  readonly folder: string;
}

interface Shown {
  readonly id: string;
  readonly photo: string;
}

type Step = "off" | "look" | "draw" | "kept";
/** What came of a drawing. */
export type Kept = "kept" | "failed" | "not agreed";

type Origin = "memory" | "answer";

const KEY = "teach";

export class Teach {
  private readonly panel = byId("teach-panel", HTMLElement);
  private readonly photo = byId("teach-photo", HTMLImageElement);
  private readonly words = byId("teach-words", HTMLParagraphElement);
  private readonly next = byId("teach-next", HTMLButtonElement);
  private readonly skip = byId("teach-skip", HTMLButtonElement);
  private readonly consent = dialog("consent");
  private teaching: Teaching | null = null;
  private shown: Shown | null = null;
  private step: Step = "off";

  constructor(
    private readonly pad: Pad,
    /** The page becomes one for teaching, or for searching again. */
    private readonly turned: (isOn: boolean) => void,
    private readonly failed: (reason: string) => void,
  ) {
    byId("teach", HTMLButtonElement).addEventListener("click", () => void this.begin());
    this.next.addEventListener("click", () => void this.go());
    this.skip.addEventListener("click", () => void this.another());
    byId("teach-end", HTMLButtonElement).addEventListener("click", () => this.end());
    byId("teach-no-more", HTMLButtonElement).addEventListener("click", () => {
      this.answer("no");
      this.end();
    });
  }

  /** Whether a photo is being drawn from memory, so that nothing is to be searched. */
  get isOn(): boolean {
    return this.step !== "off";
  }

  /** Whether the server keeps drawings, and the person has not refused. */
  get mayAsk(): boolean {
    return this.teaching !== null && this.answered !== "no";
  }

  setTeaching(teaching: Teaching | null): void {
    this.teaching = teaching;
    byId("teach", HTMLButtonElement).hidden = teaching === null;
  }

  /** What is on the pad has changed. */
  changed(sketch: Sketch): void {
    if (this.step === "draw") {
      this.next.disabled = sketch.strokes.length === 0;
    }
  }

  /** Keeps the drawing on the pad as one of this photo, where the person agrees. */
  async keepAnswer(id: string): Promise<Kept> {
    const { strokes } = this.pad.sketch;
    if (!(await this.agreed(false))) {
      return "not agreed";
    }
    return (await this.keep(id, strokes, "answer")) ? "kept" : "failed";
  }

  private async begin(): Promise<void> {
    if (!this.isOn && (await this.agreed(true))) {
      await this.another();
    }
  }

  /** The button that leads on. */
  private async go(): Promise<void> {
    if (this.step === "look") {
      this.pad.clear();
      this.tell("draw");
      byId("pad", HTMLCanvasElement).focus();
    } else if (this.step === "draw" && this.shown !== null) {
      this.next.disabled = true;
      if (await this.keep(this.shown.id, this.pad.sketch.strokes, "memory")) {
        this.tell("kept");
      } else {
        this.next.disabled = false;
      }
    } else if (this.step === "kept") {
      await this.another();
    }
  }

  private async another(): Promise<void> {
    this.failed("");
    try {
      const response = await fetch("api/v1/teach");
      if (!response.ok) {
        throw new Error(await reasonOf(response));
      }
      this.shown = (await response.json()) as Shown;
    } catch (error) {
      this.failed(wordsOf(error));
      return;
    }
    this.photo.src = `${this.shown.photo}?size=640`;
    this.pad.clear();
    this.tell("look");
    this.next.focus();
  }

  private end(): void {
    this.shown = null;
    this.pad.clear();
    this.tell("off");
    byId("teach", HTMLButtonElement).focus();
  }

  private tell(step: Step): void {
    const was = this.isOn;
    this.step = step;
    const isHidden = step === "draw";
    this.panel.hidden = step === "off";
    byId("paper", HTMLDivElement).inert = step === "look" || step === "kept";
    // Hidden from screen readers and from those who look into the page's tools too.
    this.photo.hidden = isHidden;
    if (isHidden || step === "off") {
      this.photo.removeAttribute("src");
    } else if (step === "kept" && this.shown !== null) {
      this.photo.src = `${this.shown.photo}?size=640`;
    }
    const texts: Record<Step, readonly [string, string]> = {
      off: ["", ""],
      look: ["Look at this photo. Then it is hidden, and you draw it from memory.", "Hide it and draw"],
      draw: ["Draw what you have seen.", "Done"],
      kept: ["Kept, thank you. This is what you have drawn.", "Another photo"],
    };
    [this.words.textContent, this.next.textContent] = texts[step];
    this.next.disabled = isHidden && this.pad.sketch.strokes.length === 0;
    this.skip.hidden = step === "kept";
    if (was !== this.isOn) {
      this.turned(this.isOn);
    }
  }

  private async keep(id: string, strokes: readonly Stroke[], origin: Origin): Promise<boolean> {
    try {
      const response = await fetch(`api/v1/teach/${encodeURIComponent(id)}?origin=${origin}&consent=given`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: strokesOf(strokes),
      });
      if (!response.ok) {
        throw new Error(await reasonOf(response));
      }
      this.failed("");
      return true;
    } catch (error) {
      this.failed(error instanceof TypeError ? "The server does not answer." : wordsOf(error));
      return false;
    }
  }

  /** What the person has said of this folder. */
  private get answered(): "yes" | "no" | null {
    const [word, folder] = [(recall(KEY) ?? "").slice(0, 3).trim(), (recall(KEY) ?? "").slice(3)];
    return folder === this.teaching?.folder && (word === "yes" || word === "no") ? word : null;
  }

  private answer(word: "yes" | "no"): void {
    remember(KEY, `${word.padEnd(3)}${this.teaching?.folder ?? ""}`);
  }

  /** Whether the person agrees: asks where that was never asked, and `again` where it was refused and is wished for now. */
  private async agreed(again: boolean): Promise<boolean> {
    if (this.teaching === null || (this.answered === "no" && !again)) {
      return false;
    }
    if (this.answered !== "yes") {
      byId("consent-folder", HTMLElement).textContent = this.teaching.folder;
      this.consent.returnValue = "";
      const closed = new Promise((resolve) => this.consent.addEventListener("close", resolve, { once: true }));
      this.consent.showModal();
      await closed;
      // Closed without a word is no answer, and asked again another time.
      if (this.consent.returnValue === "yes" || this.consent.returnValue === "no") {
        this.answer(this.consent.returnValue);
      }
    }
    return this.answered === "yes";
  }
}
