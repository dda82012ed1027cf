// Images instead of strokes: opened, dropped, pasted, or a photo of the gallery.

import { byId, wordsOf } from "./dom.js";
import type { Hit } from "./search.js";
import type { Image } from "./sketch.js";

const LARGEST_SIDE = 2048;

/** Makes an image of a file.
 *
 * @throws an Error whose message is for people. */
async function imageOf(file: Blob): Promise<Image> {
  let pixels: ImageBitmap;
  try {
    pixels = await createImageBitmap(file);
  } catch {
    throw new Error("This is not an image that the browser can read.");
  }
  const isLarge = Math.max(pixels.width, pixels.height) > LARGEST_SIDE || file.size > 4 << 20;
  const isKnown = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"].includes(file.type);
  // The server takes no giant; a smaller picture says as much.
  return { query: isLarge || !isKnown ? await smaller(pixels) : file, pixels };
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

/** A photo of the gallery as what is searched with. */
export async function imageOfPhoto(hit: Hit): Promise<Image> {
  try {
    const response = await fetch(`${hit.photo}?size=640`);
    return { query: hit.id, pixels: response.ok ? await createImageBitmap(await response.blob()) : null };
  } catch {
    // The gallery knows the photo also where its file is gone.
    return { query: hit.id, pixels: null };
  }
}

/** Listens for files of images wherever people bring them to the page. */
export function listenForImages(opened: (image: Image) => void, failed: (reason: string) => void): void {
  const take = (file: Blob | null | undefined): void => {
    if (file !== null && file !== undefined) {
      imageOf(file).then(opened, (error: unknown) => failed(wordsOf(error)));
    }
  };
  const paper = byId("paper", HTMLDivElement);
  const field = byId("file", HTMLInputElement);
  field.addEventListener("change", () => {
    take(field.files?.[0]);
    field.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file !== undefined) {
      event.preventDefault();
      take(file);
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
    take(event.dataTransfer?.files[0]);
  });
}
