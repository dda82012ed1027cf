// Asking the server: one question at a time, the newest wins, a late answer never replaces a newer one.

import { wordsOf } from "./dom.js";
import { CANVAS, isEmpty } from "./sketch.js";
import type { Sketch, Stroke } from "./sketch.js";

/** A photo of the ranking, as `/api/v1/query` gives it. */
export interface Hit {
  readonly rank: number;
  readonly id: string;
  readonly distance: number;
  /** The probability that it is the one that was drawn, where the server knows. */
  readonly score?: number;
  readonly photo: string;
  readonly labels: readonly string[];
  readonly product: string | null;
}

export interface Answer {
  readonly hits: readonly Hit[];
  /** Why there are none, where there are none. */
  readonly nothing?: { readonly detail: string };
  readonly took_ms: { readonly total: number };
}

/** What a question is asked with, besides the sketch. */
export interface Wishes {
  readonly k: number;
  readonly labels: readonly string[];
  readonly ids: readonly string[];
}

/** What becomes of questions. */
export interface Outcome {
  /** An answer to the newest question; `since` is when its sketch was done, if it is. */
  answered(answer: Answer, since: number | null): void;
  /** There is nothing to ask. */
  nothing(): void;
  /** The newest question has no answer; the reason is for people. An empty reason takes back an earlier one. */
  failed(reason: string): void;
}

/** While the pen is down, a question is asked at most this often, in milliseconds. */
const WHILE_DRAWING = 120;
/** After a stroke, a moment for the next to begin: strokes of a hatching are asked about once. */
const AFTER_STROKE = 12;
/** How often a question is asked again when the server is busy. */
const MOST_TRIES = 5;

export class Search {
  private timer: number | undefined;
  private flight: AbortController | null = null;
  private sequence = 0;
  private isWaiting = false;

  constructor(
    private readonly current: () => Sketch,
    private readonly wishes: () => Wishes,
    private readonly outcome: Outcome,
  ) {}

  /** The sketch is changing: asks now and then, and never takes a question back that is on its way. */
  whileDrawing(): void {
    if (this.timer === undefined) {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        if (this.flight === null) {
          this.ask(null);
        } else {
          this.isWaiting = true;
        }
      }, WHILE_DRAWING);
    }
  }

  /** The sketch, or what is wished for, is done at `since`: what is on its way is out of date. */
  now(since: number): void {
    clearTimeout(this.timer);
    this.isWaiting = false;
    this.flight?.abort();
    this.flight = null;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.ask(since);
    }, AFTER_STROKE);
  }

  private ask(since: number | null): void {
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
      .catch((error: unknown) => {
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

  private async send(sketch: Sketch, signal: AbortSignal): Promise<Answer> {
    const { k, labels, ids } = this.wishes();
    const parameters = new URLSearchParams([["k", String(k)]]);
    labels.forEach((label) => parameters.append("label", label));
    ids.forEach((id) => parameters.append("id", id));
    const asked = sketch.image?.query ?? null;
    const body = asked === null ? strokesOf(sketch.strokes) : typeof asked === "string" ? JSON.stringify({ photo: asked }) : asked;
    const type = body instanceof Blob ? body.type : "application/json";
    if (typeof asked === "string") {
      // It is what is looked at already.
      parameters.append("not_id", asked);
    }
    for (let attempt = 1; ; attempt++) {
      const response = await this.fetched(`api/v1/query?${parameters}`, {
        method: "POST",
        headers: { "content-type": type },
        body,
        signal,
      });
      if (response.ok) {
        return (await response.json()) as Answer;
      }
      if (response.status !== 503 || attempt === MOST_TRIES) {
        throw new Error(await reasonOf(response));
      }
      this.outcome.failed("The server is busy; asking again.");
      await pause(1000 * Math.min(5, Number(response.headers.get("retry-after") ?? 1)), signal);
    }
  }

  private async fetched(address: string, options: RequestInit): Promise<Response> {
    try {
      return await fetch(address, options);
    } catch (error) {
      if (options.signal?.aborted) {
        throw error;
      }
      throw new Error("The server does not answer. Is sketchfind still running?");
    }
  }
}

/** The strokes without pressure and width: the server draws them as evaluation does. */
export function strokesOf(strokes: readonly Stroke[]): string {
  const polylines = strokes.map((stroke) => stroke.points.map(([x, y]) => [x, y]));
  return JSON.stringify({ strokes: { canvas: [CANVAS, CANVAS], polylines } });
}

/** The words of a refusal (RFC 9457), or its number. */
export async function reasonOf(response: Response): Promise<string> {
  const problem: unknown = await response.json().catch(() => null);
  if (typeof problem === "object" && problem !== null && "detail" in problem) {
    return String(problem.detail);
  }
  return `The server refused: ${response.status} ${response.statusText}`;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new Error("superseded"));
    });
  });
}
