import { byId, dialog, element } from "./dom.js";
import { MARK, encode } from "./link.js";
import { toSvg } from "./sketch.js";
export class Share {
    pad;
    dialog = dialog("share-sheet");
    link = byId("link", HTMLInputElement);
    note = byId("share-note", HTMLParagraphElement);
    copied = byId("copied", HTMLParagraphElement);
    constructor(pad) {
        this.pad = pad;
        byId("png", HTMLButtonElement).addEventListener("click", () => void pad.toPng(1024).then((blob) => save(blob, "sketch.png")));
        byId("svg", HTMLButtonElement).addEventListener("click", () => {
            save(new Blob([toSvg(pad.sketch.strokes)], { type: "image/svg+xml" }), "sketch.svg");
        });
        byId("copy", HTMLButtonElement).addEventListener("click", () => void this.copy());
    }
    show() {
        const { strokes, image } = this.pad.sketch;
        const text = strokes.length === 0 ? null : encode(strokes);
        byId("link-row", HTMLDivElement).hidden = text === null;
        byId("svg", HTMLButtonElement).disabled = strokes.length === 0;
        byId("png", HTMLButtonElement).disabled = strokes.length === 0 && (image?.pixels ?? null) === null;
        this.copied.textContent = "";
        this.link.value = text === null ? "" : `${location.origin}${location.pathname}${MARK}${text}`;
        this.note.textContent = text === null ? whyNoLink(strokes.length) : howLink();
        this.dialog.showModal();
        if (text !== null) {
            this.link.select();
        }
    }
    async copy() {
        try {
            await navigator.clipboard.writeText(this.link.value);
            this.copied.textContent = "Copied.";
        }
        catch {
            this.link.focus();
            this.link.select();
            this.copied.textContent = "The link is chosen: copy it with Ctrl+C, or by holding it.";
        }
    }
}
function whyNoLink(nStrokes) {
    return nStrokes === 0 ? "Links hold drawings; an image can be saved." : "This drawing is too long for a link: save it as SVG.";
}
function howLink() {
    const isOwn = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
    const where = isOwn ? " This page's address is known to this machine alone." : "";
    return `The drawing is in the link itself, behind the '#': browsers send that part to no server.${where}`;
}
function save(blob, name) {
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
