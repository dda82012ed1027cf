// A photo of the ranking in large, with what is known of it.

import { byId, dialog, element } from "./dom.js";
import { factsOf } from "./ranking.js";
import type { Hit } from "./search.js";

export class Viewer {
  private readonly dialog = dialog("viewer");
  private readonly photo = byId("viewer-photo", HTMLImageElement);
  private readonly gone = byId("viewer-gone", HTMLParagraphElement);
  private hits: readonly Hit[] = [];
  private place = 0;

  constructor(likeThis: (hit: Hit) => void) {
    this.photo.addEventListener("click", () => this.dialog.close());
    this.photo.addEventListener("error", () => this.isGone(true));
    byId("viewer-like", HTMLButtonElement).addEventListener("click", () => {
      this.dialog.close();
      const hit = this.hits[this.place];
      if (hit !== undefined) {
        likeThis(hit);
      }
    });
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
    byId("viewer-file", HTMLAnchorElement).href = hit.photo;
  }

  private isGone(is: boolean): void {
    this.photo.hidden = is;
    this.gone.hidden = !is;
  }
}
