// Earlier drawings, kept in the browser alone: the newest first, as many as have room.

import { decode, encode } from "./link.js";
import type { Stroke } from "./sketch.js";
import { recall, remember } from "./store.js";

/** A drawing that is kept. */
export interface Kept {
  /** When it was drawn, in milliseconds since 1970. */
  readonly at: number;
  readonly strokes: readonly Stroke[];
}

interface Entry {
  readonly at: number;
  readonly text: string;
}

const KEY = "drawings.1";
const MOST = 30;
/** Of what browsers give a page, some 5 million characters, a tenth. */
const MOST_CHARACTERS = 500_000;

export class Shelf {
  /** The text of what the drawing on the pad was when it was kept last. */
  private current: string | null = null;
  /** What was on the pad before anything was drawn: it is kept elsewhere. */
  private given: string | null = null;
  /** Whether drawings outlast the page. */
  isLasting = true;

  /** The drawings. What is there and cannot be read is none. */
  get drawings(): readonly Kept[] {
    return entries().flatMap(({ at, text }) => {
      try {
        return [{ at, strokes: decode(text) }];
      } catch {
        return [];
      }
    });
  }

  /** Keeps the drawing on the pad, in the place of what it was before. */
  keep(strokes: readonly Stroke[]): void {
    const text = encode(strokes);
    if (text === null || text === this.given || text === this.current) {
      return;
    }
    const others = entries().filter((entry) => entry.text !== this.current && entry.text !== text);
    this.current = text;
    let room = MOST_CHARACTERS;
    const fitting = [{ at: Date.now(), text }, ...others].filter((entry) => (room -= entry.text.length) >= 0);
    this.isLasting = remember(KEY, JSON.stringify(fitting.slice(0, MOST)));
  }

  /** The next drawing is another, which begins with `strokes`. */
  begin(strokes: readonly Stroke[]): void {
    this.current = null;
    this.given = strokes.length === 0 ? null : encode(strokes);
  }

  empty(): void {
    this.isLasting = remember(KEY, "[]");
    this.current = null;
  }
}

function entries(): Entry[] {
  let found: unknown;
  try {
    found = JSON.parse(recall(KEY) ?? "[]");
  } catch {
    return [];
  }
  const isEntry = (one: unknown): one is Entry =>
    typeof one === "object" && one !== null && "at" in one && "text" in one && typeof one.at === "number" && typeof one.text === "string";
  return Array.isArray(found) ? found.filter(isEntry) : [];
}
