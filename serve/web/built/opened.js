import { byId, wordsOf } from "./dom.js";
const LARGEST_SIDE = 2048;
async function imageOf(file) {
    let pixels;
    try {
        pixels = await createImageBitmap(file);
    }
    catch {
        throw new Error("This is not an image that the browser can read.");
    }
    const isLarge = Math.max(pixels.width, pixels.height) > LARGEST_SIDE || file.size > 4 << 20;
    const isKnown = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"].includes(file.type);
    return { query: isLarge || !isKnown ? await smaller(pixels) : file, pixels };
}
async function smaller(pixels) {
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
export async function imageOfPhoto(hit) {
    try {
        const response = await fetch(`${hit.photo}?size=640`);
        return { query: hit.id, pixels: response.ok ? await createImageBitmap(await response.blob()) : null };
    }
    catch {
        return { query: hit.id, pixels: null };
    }
}
export function listenForImages(opened, failed) {
    const take = (file) => {
        if (file !== null && file !== undefined) {
            imageOf(file).then(opened, (error) => failed(wordsOf(error)));
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
