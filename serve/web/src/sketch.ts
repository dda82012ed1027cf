// A sketch as strokes on a square canvas, and what can be done to it. Values are never changed in place, so that a
// step of the history is one reference.

/** Width and height of the canvas, in the unit of all points and widths. */
export const CANVAS = 512;

/** The thinnest and the thickest line. */
export const [THINNEST, THICKEST] = [1, 16];

/** x, y, and how hard the pen was pressed, 0 to 1; 0.5 where the device does not know. */
export type Point = readonly [x: number, y: number, pressure: number];

/** What was drawn while the pen was down once. */
export interface Stroke {
  readonly width: number;
  readonly points: readonly Point[];
}

/** What one searches with: strokes, or an image instead of them. */
export interface Sketch {
  readonly strokes: readonly Stroke[];
  readonly image: Image | null;
}

/** An image that was opened, dropped or pasted, or a photo of the gallery. */
export interface Image {
  /** What the server is asked with: the image's file, or the id of the photo, of which the gallery holds what is compared. */
  readonly query: Blob | string;
  /** What the canvas shows; nothing where the photo's file is gone. */
  readonly pixels: ImageBitmap | null;
}

export const EMPTY: Sketch = { strokes: [], image: null };

export function isEmpty(sketch: Sketch): boolean {
  return sketch.strokes.length === 0 && sketch.image === null;
}

/** A point on the canvas, to a tenth of a unit: the server need not read more digits. */
export function point(x: number, y: number, pressure: number): Point {
  const inside = (value: number): number => Math.round(Math.min(CANVAS, Math.max(0, value)) * 10) / 10;
  return [inside(x), inside(y), Math.round(pressure * 100) / 100];
}

/** Whether a next point says something that the last one has not: one that is a unit away. */
export function isNews(last: Point | undefined, next: Point): boolean {
  return last === undefined || Math.hypot(next[0] - last[0], next[1] - last[1]) >= 1;
}

/** A square of the canvas. */
export interface Square {
  readonly left: number;
  readonly top: number;
  readonly side: number;
}

/** What the server cuts a drawing to before it searches: a square around it, whose side its longer side is `share` of. A
    drawing that is next to nothing stays where it is. The library has the same as `Strokes::framed`. */
export function cutOf(strokes: readonly Stroke[], share: number): Square {
  const points = strokes.flatMap((stroke) => stroke.points);
  const range = (axis: 0 | 1): [number, number] =>
    points.reduce(([low, high], one) => [Math.min(low, one[axis]), Math.max(high, one[axis])], [Infinity, -Infinity]);
  const [[left, right], [top, bottom]] = [range(0), range(1)];
  const extent = Math.max(right - left, bottom - top);
  if (extent < 0.03 * CANVAS) {
    return { left: 0, top: 0, side: CANVAS };
  }
  const side = extent / share;
  return { left: (left + right - side) / 2, top: (top + bottom - side) / 2, side };
}

/** What is left of strokes when a disc of `radius` was moved over them from `from` to `to`: the points under it go, and
    a stroke falls into the parts between them. The same array where nothing was under it. */
export function erase(strokes: readonly Stroke[], from: Point, to: Point, radius: number): readonly Stroke[] {
  let hasChanged = false;
  const left = strokes.flatMap((stroke) => {
    const reach = radius + stroke.width / 2;
    const fine = stroke.points.flatMap((end, index) => between(stroke.points[index - 1], end, reach / 2));
    const parts: Point[][] = [[]];
    for (const point of fine) {
      if (distanceToSegment(point, from, to) > reach) {
        parts[parts.length - 1]?.push(point);
      } else if (parts[parts.length - 1]?.length !== 0) {
        parts.push([]);
      }
    }
    const kept = parts.filter((part) => part.length > 0);
    const nKept = kept.reduce((sum, part) => sum + part.length, 0);
    if (nKept === fine.length) {
      return [stroke];
    }
    hasChanged = true;
    return kept.map((points) => ({ width: stroke.width, points }));
  });
  return hasChanged ? left : strokes;
}

/** The points after `start` up to `end`, at most `step` apart, so that an eraser hits a line between its points too. */
function between(start: Point | undefined, end: Point, step: number): Point[] {
  if (start === undefined) {
    return [end];
  }
  const n = Math.max(1, Math.ceil(Math.hypot(end[0] - start[0], end[1] - start[1]) / Math.max(step, 1)));
  return Array.from({ length: n }, (_, index) => {
    const share = (index + 1) / n;
    const mix = (a: number, b: number): number => a + (b - a) * share;
    return index + 1 === n ? end : point(mix(start[0], end[0]), mix(start[1], end[1]), mix(start[2], end[2]));
  });
}

function distanceToSegment(p: Point, a: Point, b: Point): number {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const share = length === 0 ? 0 : ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length;
  const inside = Math.min(1, Math.max(0, share));
  return Math.hypot(p[0] - a[0] - inside * dx, p[1] - a[1] - inside * dy);
}

/** A stroke as SVG path data with line widths: one path for an even stroke, one for each piece where the pen was pressed
    unevenly. The canvas and the SVG file draw the same paths. */
export function paths(stroke: Stroke): { d: string; width: number }[] {
  const { points, width } = stroke;
  const [first] = points;
  if (first === undefined) {
    return [];
  }
  const isEven = points.every((point) => point[2] === first[2]);
  const widthAt = (pressure: number): number => Math.round(width * (0.4 + 1.2 * pressure) * 100) / 100;
  if (points.length === 1) {
    return [{ d: `M${first[0]} ${first[1]}h.01`, width: widthAt(first[2]) }];
  }
  // Quadratic curves through the midpoints, with the points themselves as controls: smooth, and never far off. Points
  // that are far from each other were set one by one, and have corners.
  const isFar = (a: Point, b: Point): boolean => Math.hypot(b[0] - a[0], b[1] - a[1]) > 16;
  const middle = (a: Point, b: Point): string => `${round((a[0] + b[0]) / 2)} ${round((a[1] + b[1]) / 2)}`;
  const pieces = points.slice(1).map((end, index) => {
    const [start, next] = [points[index] ?? first, points[index + 2]];
    const from = index === 0 ? `${start[0]} ${start[1]}` : middle(start, end);
    const here = `${end[0]} ${end[1]}`;
    const isCorner = next === undefined || isFar(start, end) || isFar(end, next);
    const curve = (isCorner ? `L${here}` : `Q${here} `) + (next === undefined ? "" : `${isCorner ? "L" : ""}${middle(end, next)}`);
    const lead = index === 0 && next !== undefined ? `L${middle(start, end)}` : "";
    return { from, curve: lead + curve, pressure: (start[2] + end[2]) / 2 };
  });
  if (isEven) {
    return [{ d: `M${first[0]} ${first[1]}${pieces.map((piece) => piece.curve).join("")}`, width: widthAt(first[2]) }];
  }
  return pieces.map((piece) => ({ d: `M${piece.from}${piece.curve}`, width: widthAt(piece.pressure) }));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The strokes as an SVG file, black on white. */
export function toSvg(strokes: readonly Stroke[]): string {
  const drawn = strokes.flatMap(paths).map(({ d, width }) => `<path d="${d}" stroke-width="${width}"/>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${CANVAS} ${CANVAS}" width="${CANVAS}" height="${CANVAS}">`,
    "<title>A sketch</title>",
    `<rect width="${CANVAS}" height="${CANVAS}" fill="#fff"/>`,
    '<g fill="none" stroke="#000" stroke-linecap="round" stroke-linejoin="round">',
    ...drawn,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

/** The states of a sketch, with a place among them. */
export class History {
  private states: Sketch[] = [EMPTY];
  private place = 0;
  /** More would only fill memory. */
  private static readonly MOST = 500;

  get current(): Sketch {
    return this.states[this.place] ?? EMPTY;
  }

  get canUndo(): boolean {
    return this.place > 0;
  }

  get canRedo(): boolean {
    return this.place < this.states.length - 1;
  }

  /** A new state after the current one; those that were undone are gone. */
  push(sketch: Sketch): void {
    if (sketch === this.current) {
      return;
    }
    this.states = [...this.states.slice(0, this.place + 1), sketch].slice(-History.MOST);
    this.place = this.states.length - 1;
  }

  undo(): void {
    this.place = Math.max(0, this.place - 1);
  }

  redo(): void {
    this.place = Math.min(this.states.length - 1, this.place + 1);
  }
}
