// Drawings as text: what links to a drawing hold after their '#', and what the browser keeps of earlier drawings.
//
// The text is base64url of whole numbers, seven bits a byte, the lowest first: the number of strokes; for each stroke twice its
// width, its number of points, and one more than its pressure in hundredths where that is even, else 0; for each point the way
// from the point before in tenths, x and y, and where the pressure is uneven that. At the end stand four bytes that all others
// are summed up in: links are cut where they are sent.

import { CANVAS, THICKEST, THINNEST, point } from "./sketch.js";
import type { Point, Stroke } from "./sketch.js";

/** What stands before the text in a link. A newer form of the text would have another number. */
export const MARK = "#d1=";
/** Longer texts are no links that could be sent. */
const LONGEST = 60_000;
/** As many as the server takes. */
const MOST_POINTS = 50_000;

/** The drawing that a link's fragment holds; nothing where it holds none.
 *
 * @throws an Error whose message is for people, where it holds one that cannot be read. */
export function drawingIn(fragment: string): readonly Stroke[] | null {
  if (fragment.startsWith(MARK)) {
    return decode(fragment.slice(MARK.length));
  }
  if (/^#d\d+=/.test(fragment)) {
    throw new Error("This link to a drawing is of another version of sketchfind, which this one cannot read.");
  }
  return null;
}

/** A drawing's text; nothing where it would be too long. */
export function encode(strokes: readonly Stroke[]): string | null {
  const bytes: number[] = [];
  const number = (value: number): void => {
    let left = value;
    for (; left > 127; left = Math.floor(left / 128)) {
      bytes.push((left % 128) + 128);
    }
    bytes.push(left);
  };
  const signed = (value: number): void => number(value < 0 ? -2 * value - 1 : 2 * value);
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

/** The drawing of a text.
 *
 * @throws an Error whose message is for people. */
export function decode(text: string): readonly Stroke[] {
  const spoiled = (): Error => new Error("This link to a drawing is cut short or was changed: nothing is drawn. Ask for it anew.");
  if (text.length > LONGEST || !/^[\w-]+$/.test(text)) {
    throw spoiled();
  }
  let letters: string;
  try {
    letters = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    throw spoiled();
  }
  const bytes = [...letters].map((letter) => letter.charCodeAt(0));
  const tail = bytes.splice(-4);
  const sum = tail.reduceRight((whole, byte) => (whole << 8) | byte, 0) >>> 0;
  if (tail.length < 4 || sum !== sumOf(bytes)) {
    throw spoiled();
  }
  let at = 0;
  // What has the right sum may still be somebody's invention.
  const number = (least: number, most: number): number => {
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
  const moved = (from: number): number => {
    const code = number(0, 2 * FARTHEST);
    const to = from + (code % 2 === 1 ? -(code + 1) / 2 : code / 2);
    if (to < 0 || to > FARTHEST) {
      throw spoiled();
    }
    return to;
  };
  let [x, y, left] = [0, 0, MOST_POINTS];
  const strokes: Stroke[] = [];
  for (let nStrokes = number(1, MOST_POINTS); nStrokes > 0; nStrokes--) {
    const width = number(2 * THINNEST, 2 * THICKEST) / 2;
    const nPoints = number(1, left);
    left -= nPoints;
    const even = number(0, 101);
    const points: Point[] = [];
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

/** FNV-1a, 32 bits: against accidents, not against people. */
function sumOf(bytes: readonly number[]): number {
  return bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}
