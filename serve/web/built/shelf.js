import { decode, encode } from "./link.js";
import { recall, remember } from "./store.js";
const KEY = "drawings.1";
const MOST = 30;
const MOST_CHARACTERS = 500_000;
export class Shelf {
    current = null;
    given = null;
    isLasting = true;
    get drawings() {
        return entries().flatMap(({ at, text }) => {
            try {
                return [{ at, strokes: decode(text) }];
            }
            catch {
                return [];
            }
        });
    }
    keep(strokes) {
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
    begin(strokes) {
        this.current = null;
        this.given = strokes.length === 0 ? null : encode(strokes);
    }
    empty() {
        this.isLasting = remember(KEY, "[]");
        this.current = null;
    }
}
function entries() {
    let found;
    try {
        found = JSON.parse(recall(KEY) ?? "[]");
    }
    catch {
        return [];
    }
    const isEntry = (one) => typeof one === "object" && one !== null && "at" in one && "text" in one && typeof one.at === "number" && typeof one.text === "string";
    return Array.isArray(found) ? found.filter(isEntry) : [];
}
