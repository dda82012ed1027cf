import { wordsOf } from "./dom.js";
import { CANVAS, isEmpty } from "./sketch.js";
const WHILE_DRAWING = 120;
const AFTER_STROKE = 12;
const MOST_TRIES = 5;
export class Search {
    current;
    wishes;
    outcome;
    timer;
    flight = null;
    sequence = 0;
    isWaiting = false;
    constructor(current, wishes, outcome) {
        this.current = current;
        this.wishes = wishes;
        this.outcome = outcome;
    }
    whileDrawing() {
        if (this.timer === undefined) {
            this.timer = setTimeout(() => {
                this.timer = undefined;
                if (this.flight === null) {
                    this.ask(null);
                }
                else {
                    this.isWaiting = true;
                }
            }, WHILE_DRAWING);
        }
    }
    now(since) {
        clearTimeout(this.timer);
        this.isWaiting = false;
        this.flight?.abort();
        this.flight = null;
        this.timer = setTimeout(() => {
            this.timer = undefined;
            this.ask(since);
        }, AFTER_STROKE);
    }
    ask(since) {
        const sketch = this.current();
        const sequence = ++this.sequence;
        if (isEmpty(sketch)) {
            this.flight = null;
            this.outcome.failed("");
            this.outcome.nothing();
            return;
        }
        const flight = new AbortController();
        this.flight = flight;
        this.send(sketch, flight.signal)
            .then((answer) => {
            if (sequence === this.sequence && !flight.signal.aborted) {
                this.outcome.failed("");
                this.outcome.answered(answer, since);
            }
        })
            .catch((error) => {
            if (sequence === this.sequence && !flight.signal.aborted) {
                this.outcome.failed(wordsOf(error));
            }
        })
            .finally(() => {
            if (this.flight === flight) {
                this.flight = null;
                if (this.isWaiting) {
                    this.isWaiting = false;
                    this.ask(null);
                }
            }
        });
    }
    async send(sketch, signal) {
        const { k, labels, ids } = this.wishes();
        const parameters = new URLSearchParams([["k", String(k)]]);
        labels.forEach((label) => parameters.append("label", label));
        ids.forEach((id) => parameters.append("id", id));
        const asked = sketch.image?.query ?? null;
        const body = asked === null ? strokesOf(sketch.strokes) : typeof asked === "string" ? JSON.stringify({ photo: asked }) : asked;
        const type = body instanceof Blob ? body.type : "application/json";
        if (typeof asked === "string") {
            parameters.append("not_id", asked);
        }
        for (let attempt = 1;; attempt++) {
            const response = await this.fetched(`api/v1/query?${parameters}`, {
                method: "POST",
                headers: { "content-type": type },
                body,
                signal,
            });
            if (response.ok) {
                return (await response.json());
            }
            if (response.status !== 503 || attempt === MOST_TRIES) {
                throw new Error(await reasonOf(response));
            }
            this.outcome.failed("The server is busy; asking again.");
            await pause(1000 * Math.min(5, Number(response.headers.get("retry-after") ?? 1)), signal);
        }
    }
    async fetched(address, options) {
        try {
            return await fetch(address, options);
        }
        catch (error) {
            if (options.signal?.aborted) {
                throw error;
            }
            throw new Error("The server does not answer. Is sketchfind still running?");
        }
    }
}
export function strokesOf(strokes) {
    const polylines = strokes.map((stroke) => stroke.points.map(([x, y]) => [x, y]));
    return JSON.stringify({ strokes: { canvas: [CANVAS, CANVAS], polylines } });
}
export async function reasonOf(response) {
    const problem = await response.json().catch(() => null);
    if (typeof problem === "object" && problem !== null && "detail" in problem) {
        return String(problem.detail);
    }
    return `The server refused: ${response.status} ${response.statusText}`;
}
async function pause(ms, signal) {
    await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener("abort", () => {
            clearTimeout(timer);
            reject(new Error("superseded"));
        });
    });
}
