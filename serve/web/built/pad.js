import { CANVAS, EMPTY, History, erase, isNews, paths, point } from "./sketch.js";
const KEYBOARD = -1;
export class Pad {
    canvas;
    listener;
    tool = "pen";
    width = 4;
    history = new History();
    context;
    gesture = null;
    crosshair = null;
    isDrawAsked = false;
    penSeenAt = -Infinity;
    constructor(canvas, listener) {
        this.canvas = canvas;
        this.listener = listener;
        const context = canvas.getContext("2d");
        if (context === null) {
            throw new Error("this browser has no 2D canvas");
        }
        this.context = context;
        canvas.addEventListener("pointerdown", (event) => this.down(event));
        canvas.addEventListener("pointermove", (event) => this.move(event));
        canvas.addEventListener("pointerup", (event) => this.up(event));
        canvas.addEventListener("pointercancel", (event) => this.up(event));
        canvas.addEventListener("keydown", (event) => this.key(event));
        canvas.addEventListener("blur", () => {
            canvas.classList.remove("is-keyed");
            this.finish(KEYBOARD, performance.now());
        });
        canvas.addEventListener("focus", () => canvas.classList.toggle("is-keyed", this.gesture === null));
        canvas.addEventListener("contextmenu", (event) => event.preventDefault());
        new ResizeObserver(() => this.ask()).observe(canvas);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.ask());
    }
    get sketch() {
        const { gesture } = this;
        if (gesture === null) {
            return this.history.current;
        }
        if (gesture.tool === "eraser") {
            return { strokes: gesture.left, image: null };
        }
        return { strokes: [...gesture.left, { width: this.width, points: gesture.points }], image: null };
    }
    get canUndo() {
        return this.history.canUndo;
    }
    get canRedo() {
        return this.history.canRedo;
    }
    undo() {
        this.step(() => this.history.undo());
    }
    redo() {
        this.step(() => this.history.redo());
    }
    clear() {
        const { strokes, image } = this.history.current;
        if (strokes.length > 0 || image !== null) {
            this.step(() => this.history.push(EMPTY));
        }
    }
    load(strokes) {
        this.step(() => this.history.push({ strokes, image: null }));
    }
    show(image) {
        this.step(() => this.history.push({ strokes: [], image }));
    }
    step(change) {
        this.gesture = null;
        change();
        this.ask();
        this.listener.changed(this.history.current, performance.now());
    }
    place(event) {
        const box = this.canvas.getBoundingClientRect();
        const isFelt = event.pointerType === "pen" && event.pressure > 0;
        const scale = CANVAS / box.width;
        return point((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, isFelt ? event.pressure : 0.5);
    }
    down(event) {
        const isPalm = event.pointerType === "touch" && event.timeStamp - this.penSeenAt < 1000;
        if (this.gesture !== null || event.button === 1 || event.button === 2 || isPalm) {
            return;
        }
        event.preventDefault();
        this.canvas.setPointerCapture(event.pointerId);
        this.crosshair = null;
        const tool = (event.buttons & 32) !== 0 ? "eraser" : this.tool;
        this.begin(event.pointerId, tool, this.place(event));
        this.canvas.focus({ preventScroll: true });
        this.canvas.classList.remove("is-keyed");
    }
    begin(pointer, tool, start) {
        const before = this.history.current;
        this.gesture = { pointer, tool, before, points: [start], left: before.strokes };
        this.rub(start, start);
        this.ask();
        this.listener.drawing(this.sketch);
    }
    move(event) {
        if (event.pointerType === "pen") {
            this.penSeenAt = event.timeStamp;
        }
        if (this.gesture?.pointer !== event.pointerId) {
            return;
        }
        event.preventDefault();
        const events = event.getCoalescedEvents?.() ?? [];
        (events.length > 0 ? events : [event]).forEach((part) => this.extend(this.place(part)));
    }
    extend(next) {
        const { gesture } = this;
        const last = gesture?.points[gesture.points.length - 1];
        if (gesture === null || last === undefined || !isNews(last, next)) {
            return;
        }
        if (gesture.tool === "eraser") {
            gesture.points = [next];
            this.rub(last, next);
        }
        else {
            gesture.points.push(next);
        }
        this.ask();
        this.listener.drawing(this.sketch);
    }
    rub(from, to) {
        if (this.gesture?.tool === "eraser") {
            this.gesture.left = erase(this.gesture.left, from, to, this.eraserRadius);
        }
    }
    get eraserRadius() {
        return 6 + this.width * 1.5;
    }
    up(event) {
        if (this.gesture?.pointer === event.pointerId) {
            if (event.type === "pointerup") {
                this.extend(this.place(event));
            }
            this.finish(event.pointerId, event.timeStamp);
        }
    }
    finish(pointer, at) {
        const { gesture } = this;
        if (gesture === null || gesture.pointer !== pointer) {
            return;
        }
        const after = this.sketch;
        this.gesture = null;
        const isSame = gesture.tool === "eraser" && after.strokes === gesture.before.strokes;
        this.ask();
        if (!isSame) {
            this.history.push(after);
            this.listener.changed(after, at);
        }
    }
    key(event) {
        const step = event.shiftKey ? 32 : 8;
        const moves = {
            ArrowLeft: [-step, 0],
            ArrowRight: [step, 0],
            ArrowUp: [0, -step],
            ArrowDown: [0, step],
        };
        const here = this.crosshair ?? point(CANVAS / 2, CANVAS / 2, 0.5);
        const move = moves[event.key];
        if (event.ctrlKey || event.metaKey || event.altKey || (this.gesture !== null && this.gesture.pointer !== KEYBOARD)) {
            return;
        }
        if (move !== undefined) {
            this.crosshair = point(here[0] + move[0], here[1] + move[1], 0.5);
            this.extend(this.crosshair);
        }
        else if (event.key === " ") {
            this.crosshair = here;
            if (this.gesture === null) {
                this.begin(KEYBOARD, this.tool, here);
            }
            else {
                this.finish(KEYBOARD, event.timeStamp);
            }
        }
        else if (event.key === "Escape" && this.gesture !== null) {
            this.finish(KEYBOARD, event.timeStamp);
        }
        else {
            return;
        }
        event.preventDefault();
        this.canvas.classList.add("is-keyed");
        this.ask();
    }
    ask() {
        if (!this.isDrawAsked) {
            this.isDrawAsked = true;
            requestAnimationFrame(() => {
                this.isDrawAsked = false;
                this.draw();
            });
        }
    }
    draw() {
        const { canvas, context } = this;
        const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
        if (canvas.width !== side || canvas.height !== side) {
            canvas.width = side;
            canvas.height = side;
        }
        const ink = getComputedStyle(canvas).getPropertyValue("--ink").trim() || "#000";
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clearRect(0, 0, side, side);
        paint(context, side, this.sketch, ink);
        if (this.crosshair !== null && document.activeElement === canvas) {
            const [x, y] = this.crosshair;
            context.setTransform(side / CANVAS, 0, 0, side / CANVAS, 0, 0);
            context.strokeStyle = this.gesture === null ? "#8a8f96" : ink;
            context.lineWidth = 1.5;
            context.stroke(new Path2D(`M${x - 10} ${y}h20M${x} ${y - 10}v20`));
        }
    }
    async toPng(side) {
        const canvas = document.createElement("canvas");
        canvas.width = side;
        canvas.height = side;
        const context = canvas.getContext("2d");
        if (context === null) {
            throw new Error("this browser has no 2D canvas");
        }
        context.fillStyle = "#fff";
        context.fillRect(0, 0, side, side);
        paint(context, side, this.history.current, "#000");
        return await new Promise((resolve, reject) => {
            canvas.toBlob((blob) => (blob === null ? reject(new Error("the browser gave no PNG")) : resolve(blob)), "image/png");
        });
    }
}
function paint(context, side, sketch, ink) {
    const pixels = sketch.image?.pixels ?? null;
    if (pixels !== null) {
        const scale = side / Math.max(pixels.width, pixels.height);
        const [width, height] = [pixels.width * scale, pixels.height * scale];
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.imageSmoothingQuality = "high";
        context.drawImage(pixels, (side - width) / 2, (side - height) / 2, width, height);
    }
    context.setTransform(side / CANVAS, 0, 0, side / CANVAS, 0, 0);
    context.strokeStyle = ink;
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const { d, width } of sketch.strokes.flatMap(paths)) {
        context.lineWidth = width;
        context.stroke(new Path2D(d));
    }
}
