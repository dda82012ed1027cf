import { byId, dialog, element, picture } from "./dom.js";
import { Shelf } from "./shelf.js";
const AFTER = 500;
export class Earlier {
    chosen;
    dialog = dialog("earlier-sheet");
    list = byId("earlier", HTMLUListElement);
    shelf = new Shelf();
    waiting = null;
    timer;
    constructor(chosen) {
        this.chosen = chosen;
        byId("forget", HTMLButtonElement).addEventListener("click", () => {
            this.waiting = null;
            this.shelf.empty();
            this.tell();
        });
        addEventListener("pagehide", () => this.keep());
        document.addEventListener("visibilitychange", () => this.keep());
    }
    show() {
        this.keep();
        this.tell();
        this.dialog.showModal();
    }
    changed(sketch) {
        clearTimeout(this.timer);
        if (sketch.strokes.length === 0) {
            this.begin([]);
            return;
        }
        this.waiting = sketch.strokes;
        this.timer = setTimeout(() => this.keep(), AFTER);
    }
    begin(strokes) {
        this.keep();
        this.shelf.begin(strokes);
    }
    keep() {
        clearTimeout(this.timer);
        if (this.waiting !== null) {
            this.shelf.keep(this.waiting);
            this.waiting = null;
        }
    }
    tell() {
        const { drawings, isLasting } = this.shelf;
        byId("earlier-note", HTMLParagraphElement).textContent =
            drawings.length === 0
                ? "There are none yet."
                : isLasting
                    ? "They are kept in this browser alone, the newest thirty."
                    : "This browser keeps nothing for the page: they are gone when it is closed.";
        byId("forget", HTMLButtonElement).disabled = drawings.length === 0;
        const item = ({ at, strokes }) => {
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
