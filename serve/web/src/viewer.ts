// A photo of the ranking in large, with what is known of it.

import { byId, dialog, element } from "./dom.js";
import { factsOf } from "./ranking.js";
import type { Hit } from "./search.js";
import type { Kept } from "./teach.js";

/** What can be done with a photo. */
export interface Uses {
  likeThis(hit: Hit): void;
  /** Whether it may be said that the photo is the one that was drawn. */
  mayBeSaid(): boolean;
  /** It is said; what comes of that. */
  said(hit: Hit): Promise<Kept>;
}

export class Viewer {
  private readonly dialog = dialog("viewer");
  private readonly photo = byId("viewer-photo", HTMLImageElement);
  private readonly gone = byId("viewer-gone", HTMLParagraphElement);
  private readonly right = byId("viewer-right", HTMLButtonElement);
  private hits: readonly Hit[] = [];
  private place = 0;

  constructor(private readonly uses: Uses) {
    this.photo.addEventListener("click", () => this.dialog.close());
    this.photo.addEventListener("error", () => this.isGone(true));
    byId("viewer-like", HTMLButtonElement).addEventListener("click", () => {
      this.dialog.close();
      const hit = this.hits[this.place];
      if (hit !== undefined) {
        uses.likeThis(hit);
      }
    });
    this.right.addEventListener("click", () => void this.say());
    this.dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step !== undefined && this.hits[this.place + step] !== undefined) {
        event.preventDefault();
        this.place += step;
        this.tell();
      }
    });
  }

  /** Shows one of the photos of a ranking; the arrow keys go to those beside it. */
  show(hits: readonly Hit[], hit: Hit): void {
    this.hits = hits;
    this.place = Math.max(0, hits.indexOf(hit));
    this.tell();
    this.dialog.showModal();
  }

  private tell(): void {
    const hit = this.hits[this.place];
    if (hit === undefined) {
      return;
    }
    this.isGone(false);
    this.photo.src = `${hit.photo}?size=1280`;
    this.photo.alt = `The photo ${hit.id}`;
    byId("viewer-id", HTMLParagraphElement).textContent = hit.id;
    byId("viewer-facts", HTMLParagraphElement).textContent = factsOf(hit).join(" · ");
    const labels = byId("viewer-labels", HTMLUListElement);
    labels.replaceChildren(...hit.labels.map((label) => element("li", "", label)));
    labels.hidden = hit.labels.length === 0;
    this.right.hidden = !this.uses.mayBeSaid();
    this.right.disabled = false;
    this.right.textContent = "This is the one";
    byId("viewer-file", HTMLAnchorElement).href = hit.photo;
  }

  private async say(): Promise<void> {
    const hit = this.hits[this.place];
    if (hit === undefined) {
      return;
    }
    // Once is enough, however often it is tapped.
    this.right.disabled = true;
    const kept = await this.uses.said(hit);
    if (kept === "failed") {
      // The page says why.
      this.dialog.close();
    } else if (this.hits[this.place] === hit) {
      this.right.disabled = kept === "kept";
      this.right.textContent = kept === "kept" ? "Kept, thank you" : this.right.textContent;
    }
    this.right.hidden = !this.uses.mayBeSaid();
  }

  private isGone(is: boolean): void {
    this.photo.hidden = is;
    this.gone.hidden = !is;
  }
}
