import { byId, dialog, wordsOf } from "./dom.js";
import { reasonOf, strokesOf } from "./search.js";
import { recall, remember } from "./store.js";
const KEY = "teach";
export class Teach {
    pad;
    turned;
    failed;
    panel = byId("teach-panel", HTMLElement);
    photo = byId("teach-photo", HTMLImageElement);
    words = byId("teach-words", HTMLParagraphElement);
    next = byId("teach-next", HTMLButtonElement);
    skip = byId("teach-skip", HTMLButtonElement);
    consent = dialog("consent");
    teaching = null;
    shown = null;
    step = "off";
    constructor(pad, turned, failed) {
        this.pad = pad;
        this.turned = turned;
        this.failed = failed;
        byId("teach", HTMLButtonElement).addEventListener("click", () => void this.begin());
        this.next.addEventListener("click", () => void this.go());
        this.skip.addEventListener("click", () => void this.another());
        byId("teach-end", HTMLButtonElement).addEventListener("click", () => this.end());
        byId("teach-no-more", HTMLButtonElement).addEventListener("click", () => {
            this.answer("no");
            this.end();
        });
    }
    get isOn() {
        return this.step !== "off";
    }
    get mayAsk() {
        return this.teaching !== null && this.answered !== "no";
    }
    setTeaching(teaching) {
        this.teaching = teaching;
        byId("teach", HTMLButtonElement).hidden = teaching === null;
    }
    changed(sketch) {
        if (this.step === "draw") {
            this.next.disabled = sketch.strokes.length === 0;
        }
    }
    async keepAnswer(id) {
        const { strokes } = this.pad.sketch;
        if (!(await this.agreed(false))) {
            return "not agreed";
        }
        return (await this.keep(id, strokes, "answer")) ? "kept" : "failed";
    }
    async begin() {
        if (!this.isOn && (await this.agreed(true))) {
            await this.another();
        }
    }
    async go() {
        if (this.step === "look") {
            this.pad.clear();
            this.tell("draw");
            byId("pad", HTMLCanvasElement).focus();
        }
        else if (this.step === "draw" && this.shown !== null) {
            this.next.disabled = true;
            if (await this.keep(this.shown.id, this.pad.sketch.strokes, "memory")) {
                this.tell("kept");
            }
            else {
                this.next.disabled = false;
            }
        }
        else if (this.step === "kept") {
            await this.another();
        }
    }
    async another() {
        this.failed("");
        try {
            const response = await fetch("api/v1/teach");
            if (!response.ok) {
                throw new Error(await reasonOf(response));
            }
            this.shown = (await response.json());
        }
        catch (error) {
            this.failed(wordsOf(error));
            return;
        }
        this.photo.src = `${this.shown.photo}?size=640`;
        this.pad.clear();
        this.tell("look");
        this.next.focus();
    }
    end() {
        this.shown = null;
        this.pad.clear();
        this.tell("off");
        byId("teach", HTMLButtonElement).focus();
    }
    tell(step) {
        const was = this.isOn;
        this.step = step;
        const isHidden = step === "draw";
        this.panel.hidden = step === "off";
        byId("paper", HTMLDivElement).inert = step === "look" || step === "kept";
        this.photo.hidden = isHidden;
        if (isHidden || step === "off") {
            this.photo.removeAttribute("src");
        }
        else if (step === "kept" && this.shown !== null) {
            this.photo.src = `${this.shown.photo}?size=640`;
        }
        const texts = {
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
    async keep(id, strokes, origin) {
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
        }
        catch (error) {
            this.failed(error instanceof TypeError ? "The server does not answer." : wordsOf(error));
            return false;
        }
    }
    get answered() {
        const [word, folder] = [(recall(KEY) ?? "").slice(0, 3).trim(), (recall(KEY) ?? "").slice(3)];
        return folder === this.teaching?.folder && (word === "yes" || word === "no") ? word : null;
    }
    answer(word) {
        remember(KEY, `${word.padEnd(3)}${this.teaching?.folder ?? ""}`);
    }
    async agreed(again) {
        if (this.teaching === null || (this.answered === "no" && !again)) {
            return false;
        }
        if (this.answered !== "yes") {
            byId("consent-folder", HTMLElement).textContent = this.teaching.folder;
            this.consent.returnValue = "";
            const closed = new Promise((resolve) => this.consent.addEventListener("close", resolve, { once: true }));
            this.consent.showModal();
            await closed;
            if (this.consent.returnValue === "yes" || this.consent.returnValue === "no") {
                this.answer(this.consent.returnValue);
            }
        }
        return this.answered === "yes";
    }
}
