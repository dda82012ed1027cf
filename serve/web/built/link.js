import { CANVAS, THICKEST, THINNEST, point } from "./sketch.js";
export const MARK = "#d1=";
const LONGEST = 60_000;
const MOST_POINTS = 50_000;
export function drawingIn(fragment) {
    if (fragment.startsWith(MARK)) {
        return decode(fragment.slice(MARK.length));
    }
    if (/^#d\d+=/.test(fragment)) {
        throw new Error("This link to a drawing is of another version of sketchfind, which this one cannot read.");
    }
    return null;
}
export function encode(strokes) {
    const bytes = [];
    const number = (value) => {
        let left = value;
        for (; left > 127; left = Math.floor(left / 128)) {
            bytes.push((left % 128) + 128);
        }
        bytes.push(left);
    };
    const signed = (value) => number(value < 0 ? -2 * value - 1 : 2 * value);
    let [x, y] = [0, 0];
    number(strokes.length);
    for (const { width, points } of strokes) {
        const pressure = points[0]?.[2] ?? 0;
        const isEven = points.every((one) => one[2] === pressure);
        number(Math.round(2 * width));
        number(points.length);
        number(isEven ? Math.round(100 * pressure) + 1 : 0);
        for (const [nextX, nextY, felt] of points) {
            const [toX, toY] = [Math.round(10 * nextX), Math.round(10 * nextY)];
            signed(toX - x);
            signed(toY - y);
            [x, y] = [toX, toY];
            if (!isEven) {
                number(Math.round(100 * felt));
            }
        }
    }
    const sum = sumOf(bytes);
    bytes.push(sum & 255, (sum >>> 8) & 255, (sum >>> 16) & 255, sum >>> 24);
    const text = btoa(bytes.map((byte) => String.fromCharCode(byte)).join(""));
    const safe = text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    return safe.length > LONGEST ? null : safe;
}
export function decode(text) {
    const spoiled = () => new Error("This link to a drawing is cut short or was changed: nothing is drawn. Ask for it anew.");
    if (text.length > LONGEST || !/^[\w-]+$/.test(text)) {
        throw spoiled();
    }
    let letters;
    try {
        letters = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    }
    catch {
        throw spoiled();
    }
    const bytes = [...letters].map((letter) => letter.charCodeAt(0));
    const tail = bytes.splice(-4);
    const sum = tail.reduceRight((whole, byte) => (whole << 8) | byte, 0) >>> 0;
    if (tail.length < 4 || sum !== sumOf(bytes)) {
        throw spoiled();
    }
    let at = 0;
    const number = (least, most) => {
        let [value, unit] = [0, 1];
        for (;;) {
            const byte = bytes[at++];
            if (byte === undefined || unit > 2 ** 28) {
                throw spoiled();
            }
            value += (byte % 128) * unit;
            unit *= 128;
            if (byte < 128) {
                break;
            }
        }
        if (value < least || value > most) {
            throw spoiled();
        }
        return value;
    };
    const FARTHEST = 10 * CANVAS;
    const moved = (from) => {
        const code = number(0, 2 * FARTHEST);
        const to = from + (code % 2 === 1 ? -(code + 1) / 2 : code / 2);
        if (to < 0 || to > FARTHEST) {
            throw spoiled();
        }
        return to;
    };
    let [x, y, left] = [0, 0, MOST_POINTS];
    const strokes = [];
    for (let nStrokes = number(1, MOST_POINTS); nStrokes > 0; nStrokes--) {
        const width = number(2 * THINNEST, 2 * THICKEST) / 2;
        const nPoints = number(1, left);
        left -= nPoints;
        const even = number(0, 101);
        const points = [];
        for (let n = 0; n < nPoints; n++) {
            x = moved(x);
            y = moved(y);
            points.push(point(x / 10, y / 10, (even === 0 ? number(0, 100) : even - 1) / 100));
        }
        strokes.push({ width, points });
    }
    if (at !== bytes.length) {
        throw spoiled();
    }
    return strokes;
}
function sumOf(bytes) {
    return bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}
