// The page: tools, pad, search and ranking joined.

import { Pad } from "./pad.js";
import type { Tool } from "./pad.js";
import { Ranking, shortly } from "./ranking.js";
import { Search, reasonOf } from "./search.js";
import type { Answer, Hit } from "./search.js";
import { isEmpty, toSvg } from "./sketch.js";
import type { Sketch } from "./sketch.js";

function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new Error(`the page has no #${id}`);
  }
  return found;
}

const paper = byId("paper", HTMLDivElement);
const status = byId("status", HTMLParagraphElement);
const time = byId("time", HTMLParagraphElement);
const spoken = byId("spoken", HTMLParagraphElement);
const empty = byId("empty", HTMLParagraphElement);
const list = byId("ranking", HTMLOListElement);
const kChoice = byId("k", HTMLSelectElement);
const idsField = byId("ids", HTMLInputElement);
const labelsField = byId("labels", HTMLFieldSetElement);
const widthField = byId("width", HTMLInputElement);
const [pen, eraser] = [byId("pen", HTMLButtonElement), byId("eraser", HTMLButtonElement)];
const [undo, redo, clear] = [byId("undo", HTMLButtonElement), byId("redo", HTMLButtonElement), byId("clear", HTMLButtonElement)];
const [png, svg] = [byId("png", HTMLButtonElement), byId("svg", HTMLButtonElement)];

const pad = new Pad(byId("pad", HTMLCanvasElement), {
  drawing: (sketch) => {
    refresh(sketch);
    search.whileDrawing();
  },
  changed: (sketch, at) => {
    refresh(sketch);
    search.now(at);
  },
});

const ranking = new Ranking(list, view);

const search = new Search(
  () => pad.sketch,
  () => ({ k: Number(kChoice.value), labels: chosenLabels(), ids: chosenIds() }),
  { answered, nothing, failed: (reason) => (status.textContent = reason) },
);

function answered(answer: Answer, since: number | null): void {
  ranking.show(answer.hits);
  empty.hidden = answer.hits.length > 0;
  empty.textContent = whyNothing(answer);
  if (since === null) {
    return;
  }
  // The frame after the change is the one that people see.
  requestAnimationFrame(() => {
    const shown = performance.now();
    performance.measure("stroke-to-ranking", { start: since, end: shown });
    time.textContent = `${Math.round(shown - since)} ms after the stroke`;
  });
  speak(answer);
}

/** Why an answer has no photos, as a sentence. */
function whyNothing(answer: Answer): string {
  const reason = answer.nothing?.detail ?? "no photo passes the filter";
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}

/** Says the first places, once the hand has rested: a ranking that changes with each stroke is not to be read out. */
let speaking: number | undefined;
function speak(answer: Answer): void {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const first = answer.hits.slice(0, 3).map((hit) => `${hit.rank}. ${hit.id}, distance ${shortly(hit.distance)}`);
    spoken.textContent = first.length === 0 ? whyNothing(answer) : `Best matches: ${first.join("; ")}.`;
  }, 900);
}

function nothing(): void {
  clearTimeout(speaking);
  ranking.show([]);
  time.textContent = "\u00a0";
  spoken.textContent = "";
  empty.hidden = false;
  empty.textContent = "Photos appear here as you draw, the best match first.";
}

/** What the page shows of the pad's state. */
function refresh(sketch: Sketch): void {
  paper.classList.toggle("is-drawn", !isEmpty(sketch));
  byId("mark", HTMLParagraphElement).hidden = sketch.image === null;
  undo.disabled = !pad.canUndo;
  redo.disabled = !pad.canRedo;
  clear.disabled = isEmpty(sketch);
  png.disabled = isEmpty(sketch);
  svg.disabled = sketch.strokes.length === 0;
}

function choose(tool: Tool): void {
  pad.tool = tool;
  pen.setAttribute("aria-pressed", String(tool === "pen"));
  eraser.setAttribute("aria-pressed", String(tool === "eraser"));
}

function setWidth(width: number): void {
  widthField.value = String(width);
  pad.width = Number(widthField.value);
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

pen.addEventListener("click", () => choose("pen"));
eraser.addEventListener("click", () => choose("eraser"));
undo.addEventListener("click", () => pad.undo());
redo.addEventListener("click", () => pad.redo());
clear.addEventListener("click", () => pad.clear());
widthField.addEventListener("input", () => setWidth(Number(widthField.value)));
png.addEventListener("click", () => void pad.toPng(1024).then((blob) => save(blob, "sketch.png")));
svg.addEventListener("click", () => save(new Blob([toSvg(pad.sketch.strokes)], { type: "image/svg+xml" }), "sketch.svg"));
kChoice.addEventListener("change", () => search.now(performance.now()));

document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement && event.target.type === "text";
  if (isTyping || event.altKey || byId("viewer", HTMLDialogElement).open) {
    return;
  }
  const key = event.key.toLowerCase();
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && key === "z") {
    event.preventDefault();
    (event.shiftKey ? redo : undo).click();
  } else if (isCommand && key === "y") {
    event.preventDefault();
    redo.click();
  } else if (!isCommand && key === "p") {
    choose("pen");
  } else if (!isCommand && key === "e") {
    choose("eraser");
  } else if (!isCommand && key === "delete") {
    clear.click();
  } else if (!isCommand && (key === "[" || key === "]")) {
    setWidth(pad.width + (key === "[" ? -1 : 1));
  }
});

// Images instead of strokes: opened, dropped, pasted.

const LARGEST_SIDE = 2048;

async function take(file: Blob | null | undefined): Promise<void> {
  if (file === null || file === undefined) {
    return;
  }
  let pixels: ImageBitmap;
  try {
    pixels = await createImageBitmap(file);
  } catch {
    status.textContent = "This is not an image that the browser can read.";
    return;
  }
  const isLarge = Math.max(pixels.width, pixels.height) > LARGEST_SIDE || file.size > 4 << 20;
  const isKnown = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"].includes(file.type);
  // The server takes no giant; a smaller picture says as much.
  pad.show({ bytes: isLarge || !isKnown ? await smaller(pixels) : file, pixels });
}

async function smaller(pixels: ImageBitmap): Promise<Blob> {
  const scale = Math.min(1, LARGEST_SIDE / Math.max(pixels.width, pixels.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(pixels.width * scale)), Math.max(1, Math.round(pixels.height * scale)));
  const context = canvas.getContext("2d");
  if (context === null) {
    throw new Error("this browser has no 2D canvas");
  }
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(pixels, 0, 0, canvas.width, canvas.height);
  return await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

const fileField = byId("file", HTMLInputElement);
fileField.addEventListener("change", () => {
  void take(fileField.files?.[0]);
  fileField.value = "";
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file !== undefined) {
    event.preventDefault();
    void take(file);
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  paper.classList.add("is-over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) {
    paper.classList.remove("is-over");
  }
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  paper.classList.remove("is-over");
  void take(event.dataTransfer?.files[0]);
});

// Filters.

interface Gallery {
  readonly n_photos: number;
  readonly model: string;
  readonly labels: readonly { readonly label: string; readonly n_photos: number }[];
}

function chosenLabels(): string[] {
  return [...labelsField.querySelectorAll<HTMLInputElement>("input:checked")].map((input) => input.value);
}

function chosenIds(): string[] {
  return idsField.value.split(",").map((id) => id.trim()).filter((id) => id !== "");
}

function filtered(): void {
  const n = chosenLabels().length + chosenIds().length;
  byId("filter-count", HTMLSpanElement).textContent = n === 0 ? "" : ` (${n})`;
  search.now(performance.now());
}

let typing: number | undefined;
idsField.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(filtered, 250);
});

function chip(label: string, nPhotos: number): HTMLLabelElement {
  const [whole, input, text] = [document.createElement("label"), document.createElement("input"), document.createElement("span")];
  whole.className = "chip";
  input.type = "checkbox";
  input.value = label;
  input.addEventListener("change", filtered);
  text.textContent = `${label} (${nPhotos})`;
  whole.append(input, text);
  return whole;
}

/** Waits until the gallery is open, which takes a while for a large one. */
async function introduce(): Promise<void> {
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
    const gallery = (await response.json()) as Gallery;
    line.textContent = `${gallery.n_photos.toLocaleString("en")} photos · ${gallery.model}`;
    labelsField.append(...gallery.labels.map(({ label, n_photos }) => chip(label, n_photos)));
    labelsField.hidden = gallery.labels.length === 0;
  } catch (error) {
    line.textContent = "";
    status.textContent = error instanceof TypeError ? "The server does not answer." : String(error);
  }
}

// A photo in large.

const viewer = byId("viewer", HTMLDialogElement);
function view(hit: Hit): void {
  const photo = byId("viewer-photo", HTMLImageElement);
  photo.src = `${hit.photo}?size=1280`;
  photo.alt = `The photo ${hit.id}`;
  byId("viewer-id", HTMLParagraphElement).textContent = hit.id;
  byId("viewer-distance", HTMLParagraphElement).textContent = `${hit.rank}. of the ranking, distance ${shortly(hit.distance)}`;
  viewer.showModal();
}
byId("viewer-close", HTMLButtonElement).addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) {
    viewer.close();
  }
});

setWidth(4);
refresh(pad.sketch);
void introduce();
