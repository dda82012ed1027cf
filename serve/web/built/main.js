import { byId, element, picture, wordsOf } from "./dom.js";
import { Earlier } from "./earlier.js";
import { EXAMPLES } from "./examples.js";
import { Guide } from "./guide.js";
import { drawingIn } from "./link.js";
import { imageOfPhoto, listenForImages } from "./opened.js";
import { Pad } from "./pad.js";
import { Ranking, shortly } from "./ranking.js";
import { Search, reasonOf } from "./search.js";
import { Share } from "./share.js";
import { isEmpty } from "./sketch.js";
import { Teach } from "./teach.js";
import { Viewer } from "./viewer.js";
const paper = byId("paper", HTMLDivElement);
const status = byId("status", HTMLParagraphElement);
const time = byId("time", HTMLParagraphElement);
const spoken = byId("spoken", HTMLParagraphElement);
const empty = byId("empty", HTMLParagraphElement);
const examples = byId("examples", HTMLDivElement);
const mark = byId("mark", HTMLParagraphElement);
const list = byId("ranking", HTMLOListElement);
const kChoice = byId("k", HTMLSelectElement);
const idsField = byId("ids", HTMLInputElement);
const labelsField = byId("labels", HTMLFieldSetElement);
const widthField = byId("width", HTMLInputElement);
const [pen, eraser] = [byId("pen", HTMLButtonElement), byId("eraser", HTMLButtonElement)];
const [undo, redo, clear] = [byId("undo", HTMLButtonElement), byId("redo", HTMLButtonElement), byId("clear", HTMLButtonElement)];
const [frame, share] = [byId("frame", HTMLButtonElement), byId("share", HTMLButtonElement)];
const pad = new Pad(byId("pad", HTMLCanvasElement), {
    drawing: (sketch) => {
        refresh(sketch);
        if (!teach.isOn) {
            search.whileDrawing();
        }
    },
    changed: (sketch, at) => {
        refresh(sketch);
        earlier.changed(sketch);
        if (!teach.isOn) {
            search.now(at);
        }
    },
});
const say = (reason) => {
    status.textContent = reason;
};
const teach = new Teach(pad, turned, say);
const viewer = new Viewer({
    likeThis: (hit) => void imageOfPhoto(hit).then((image) => pad.show(image)),
    mayBeSaid: () => teach.mayAsk && pad.sketch.strokes.length > 0,
    said: (hit) => teach.keepAnswer(hit.id),
});
const ranking = new Ranking(list, (hits, hit) => viewer.show(hits, hit));
const earlier = new Earlier(load);
const sheet = new Share(pad);
const guide = new Guide(pad.sketch);
const search = new Search(() => pad.sketch, () => ({ k: Number(kChoice.value), labels: chosenLabels(), ids: chosenIds() }), { answered, nothing, failed: say });
function answered(answer, since) {
    ranking.show(answer.hits);
    empty.hidden = answer.hits.length > 0;
    empty.textContent = whyNothing(answer);
    examples.hidden = true;
    if (since === null) {
        return;
    }
    requestAnimationFrame(() => {
        const shown = performance.now();
        performance.measure("stroke-to-ranking", { start: since, end: shown });
        time.textContent = `${Math.round(shown - since)} ms after the stroke`;
    });
    speak(answer);
}
function whyNothing(answer) {
    const reason = answer.nothing?.detail ?? "no photo passes the filter";
    return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}
let speaking;
function speak(answer) {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
        const first = answer.hits.slice(0, 3).map((hit) => `${hit.rank}. ${hit.id}, distance ${shortly(hit.distance)}`);
        spoken.textContent = first.length === 0 ? whyNothing(answer) : `Best matches: ${first.join("; ")}.`;
    }, 900);
}
const INVITATION = empty.textContent;
function nothing() {
    clearTimeout(speaking);
    ranking.show([]);
    time.textContent = "\u00a0";
    spoken.textContent = "";
    empty.hidden = false;
    empty.textContent = INVITATION;
    examples.hidden = false;
}
function refresh(sketch) {
    paper.classList.toggle("is-drawn", !isEmpty(sketch));
    mark.hidden = sketch.image === null;
    mark.textContent = typeof sketch.image?.query === "string" ? `more like ${sketch.image.query}` : "searching with an image";
    undo.disabled = !pad.canUndo;
    redo.disabled = !pad.canRedo;
    clear.disabled = isEmpty(sketch);
    share.disabled = isEmpty(sketch);
    guide.show(sketch);
    teach.changed(sketch);
}
function load(strokes) {
    earlier.begin(strokes);
    pad.load(strokes);
}
function turned(isTeaching) {
    document.body.classList.toggle("is-teaching", isTeaching);
    search.now(performance.now());
}
function choose(tool) {
    pad.tool = tool;
    pen.setAttribute("aria-pressed", String(tool === "pen"));
    eraser.setAttribute("aria-pressed", String(tool === "eraser"));
}
function setWidth(width) {
    widthField.value = String(width);
    pad.width = Number(widthField.value);
}
pen.addEventListener("click", () => choose("pen"));
eraser.addEventListener("click", () => choose("eraser"));
undo.addEventListener("click", () => pad.undo());
redo.addEventListener("click", () => pad.redo());
clear.addEventListener("click", () => pad.clear());
widthField.addEventListener("input", () => setWidth(Number(widthField.value)));
share.addEventListener("click", () => sheet.show());
byId("drawings", HTMLButtonElement).addEventListener("click", () => earlier.show());
frame.addEventListener("click", () => {
    frame.setAttribute("aria-pressed", String(guide.toggle()));
});
kChoice.addEventListener("change", () => search.now(performance.now()));
document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof HTMLInputElement && event.target.type === "text";
    if (isTyping || event.altKey || document.querySelector("dialog[open]") !== null) {
        return;
    }
    const key = event.key.toLowerCase();
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && key === "z") {
        event.preventDefault();
        (event.shiftKey ? redo : undo).click();
    }
    else if (isCommand && key === "y") {
        event.preventDefault();
        redo.click();
    }
    else if (!isCommand && key === "p") {
        choose("pen");
    }
    else if (!isCommand && key === "e") {
        choose("eraser");
    }
    else if (!isCommand && key === "f" && !frame.hidden) {
        frame.click();
    }
    else if (!isCommand && key === "delete") {
        clear.click();
    }
    else if (!isCommand && (key === "[" || key === "]")) {
        setWidth(pad.width + (key === "[" ? -1 : 1));
    }
});
listenForImages((image) => pad.show(image), say);
for (const { name, strokes } of EXAMPLES) {
    const button = element("button", "tile");
    button.type = "button";
    button.append(picture(strokes), element("span", "", name));
    button.addEventListener("click", () => load(strokes));
    byId("tiles", HTMLDivElement).append(button);
}
function drawLinked() {
    try {
        const strokes = drawingIn(location.hash);
        if (strokes === null) {
            return;
        }
        status.textContent = "";
        load(strokes);
    }
    catch (error) {
        status.textContent = wordsOf(error);
    }
    history.replaceState(null, "", location.pathname + location.search);
}
addEventListener("hashchange", drawLinked);
function chosenLabels() {
    return [...labelsField.querySelectorAll("input:checked")].map((input) => input.value);
}
function chosenIds() {
    return idsField.value.split(",").map((id) => id.trim()).filter((id) => id !== "");
}
function filtered() {
    const n = chosenLabels().length + chosenIds().length;
    byId("filter-count", HTMLSpanElement).textContent = n === 0 ? "" : ` (${n})`;
    search.now(performance.now());
}
let typing;
idsField.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filtered, 250);
});
function chip(label, nPhotos) {
    const [whole, input] = [element("label", "chip"), element("input")];
    input.type = "checkbox";
    input.value = label;
    input.addEventListener("change", filtered);
    whole.append(input, element("span", "", `${label} (${nPhotos})`));
    return whole;
}
async function introduce() {
    const line = byId("gallery", HTMLParagraphElement);
    try {
        const response = await fetch("api/v1/gallery");
        if (response.status === 503) {
            line.textContent = "the gallery is being opened";
            setTimeout(() => void introduce(), 1000);
            return;
        }
        if (!response.ok) {
            throw new Error(await reasonOf(response));
        }
        const gallery = (await response.json());
        line.textContent = `${gallery.n_photos.toLocaleString("en")} photos · ${gallery.model}`;
        labelsField.append(...gallery.labels.map(({ label, n_photos }) => chip(label, n_photos)));
        labelsField.hidden = gallery.labels.length === 0;
        teach.setTeaching(gallery.teaching);
        guide.setShare(gallery.sketch_share);
        frame.hidden = gallery.sketch_share === null;
    }
    catch (error) {
        line.textContent = "";
        status.textContent = error instanceof TypeError ? "The server does not answer." : String(error);
    }
}
setWidth(4);
refresh(pad.sketch);
drawLinked();
void introduce();
