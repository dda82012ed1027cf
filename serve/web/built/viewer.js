import { byId, dialog, element } from "./dom.js";
import { factsOf } from "./ranking.js";
export class Viewer {
    uses;
    dialog = dialog("viewer");
    photo = byId("viewer-photo", HTMLImageElement);
    gone = byId("viewer-gone", HTMLParagraphElement);
    right = byId("viewer-right", HTMLButtonElement);
    hits = [];
    place = 0;
    constructor(uses) {
        this.uses = uses;
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
    show(hits, hit) {
        this.hits = hits;
        this.place = Math.max(0, hits.indexOf(hit));
        this.tell();
        this.dialog.showModal();
    }
    tell() {
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
    async say() {
        const hit = this.hits[this.place];
        if (hit === undefined) {
            return;
        }
        this.right.disabled = true;
        const kept = await this.uses.said(hit);
        if (kept === "failed") {
            this.dialog.close();
        }
        else if (this.hits[this.place] === hit) {
            this.right.disabled = kept === "kept";
            this.right.textContent = kept === "kept" ? "Kept, thank you" : this.right.textContent;
        }
        this.right.hidden = !this.uses.mayBeSaid();
    }
    isGone(is) {
        this.photo.hidden = is;
        this.gone.hidden = !is;
    }
}
