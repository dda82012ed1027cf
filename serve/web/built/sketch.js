export const CANVAS = 512;
export const [THINNEST, THICKEST] = [1, 16];
export const EMPTY = { strokes: [], image: null };
export function isEmpty(sketch) {
    return sketch.strokes.length === 0 && sketch.image === null;
}
export function point(x, y, pressure) {
    const inside = (value) => Math.round(Math.min(CANVAS, Math.max(0, value)) * 10) / 10;
    return [inside(x), inside(y), Math.round(pressure * 100) / 100];
}
export function isNews(last, next) {
    return last === undefined || Math.hypot(next[0] - last[0], next[1] - last[1]) >= 1;
}
export function cutOf(strokes, share) {
    const points = strokes.flatMap((stroke) => stroke.points);
    const range = (axis) => points.reduce(([low, high], one) => [Math.min(low, one[axis]), Math.max(high, one[axis])], [Infinity, -Infinity]);
    const [[left, right], [top, bottom]] = [range(0), range(1)];
    const extent = Math.max(right - left, bottom - top);
    if (extent < 0.03 * CANVAS) {
        return { left: 0, top: 0, side: CANVAS };
    }
    const side = extent / share;
    return { left: (left + right - side) / 2, top: (top + bottom - side) / 2, side };
}
export function erase(strokes, from, to, radius) {
    let hasChanged = false;
    const left = strokes.flatMap((stroke) => {
        const reach = radius + stroke.width / 2;
        const fine = stroke.points.flatMap((end, index) => between(stroke.points[index - 1], end, reach / 2));
        const parts = [[]];
        for (const point of fine) {
            if (distanceToSegment(point, from, to) > reach) {
                parts[parts.length - 1]?.push(point);
            }
            else if (parts[parts.length - 1]?.length !== 0) {
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
function between(start, end, step) {
    if (start === undefined) {
        return [end];
    }
    const n = Math.max(1, Math.ceil(Math.hypot(end[0] - start[0], end[1] - start[1]) / Math.max(step, 1)));
    return Array.from({ length: n }, (_, index) => {
        const share = (index + 1) / n;
        const mix = (a, b) => a + (b - a) * share;
        return index + 1 === n ? end : point(mix(start[0], end[0]), mix(start[1], end[1]), mix(start[2], end[2]));
    });
}
function distanceToSegment(p, a, b) {
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const length = dx * dx + dy * dy;
    const share = length === 0 ? 0 : ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length;
    const inside = Math.min(1, Math.max(0, share));
    return Math.hypot(p[0] - a[0] - inside * dx, p[1] - a[1] - inside * dy);
}
export function paths(stroke) {
    const { points, width } = stroke;
    const [first] = points;
    if (first === undefined) {
        return [];
    }
    const isEven = points.every((point) => point[2] === first[2]);
    const widthAt = (pressure) => Math.round(width * (0.4 + 1.2 * pressure) * 100) / 100;
    if (points.length === 1) {
        return [{ d: `M${first[0]} ${first[1]}h.01`, width: widthAt(first[2]) }];
    }
    const isFar = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]) > 16;
    const middle = (a, b) => `${round((a[0] + b[0]) / 2)} ${round((a[1] + b[1]) / 2)}`;
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
function round(value) {
    return Math.round(value * 100) / 100;
}
export function toSvg(strokes) {
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
export class History {
    states = [EMPTY];
    place = 0;
    static MOST = 500;
    get current() {
        return this.states[this.place] ?? EMPTY;
    }
    get canUndo() {
        return this.place > 0;
    }
    get canRedo() {
        return this.place < this.states.length - 1;
    }
    push(sketch) {
        if (sketch === this.current) {
            return;
        }
        this.states = [...this.states.slice(0, this.place + 1), sketch].slice(-History.MOST);
        this.place = this.states.length - 1;
    }
    undo() {
        this.place = Math.max(0, this.place - 1);
    }
    redo() {
        this.place = Math.min(this.states.length - 1, this.place + 1);
    }
}
