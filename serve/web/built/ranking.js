import { element } from "./dom.js";
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const SIDE = 320;
export class Ranking {
    list;
    opened;
    items = new Map();
    hits = [];
    constructor(list, opened) {
        this.list = list;
        this.opened = opened;
    }
    show(hits) {
        const before = new Map([...this.items].map(([id, item]) => [id, item.getBoundingClientRect()]));
        const items = new Map(hits.map((hit) => [hit.id, this.items.get(hit.id) ?? this.make(hit)]));
        this.hits = hits;
        hits.forEach((hit) => {
            const item = items.get(hit.id);
            if (item !== undefined) {
                tell(item, hit);
            }
        });
        this.items.forEach((item, id) => {
            if (!items.has(id)) {
                item.remove();
            }
        });
        [...items.values()].forEach((item, index) => {
            const there = this.list.children[index];
            if (there !== item) {
                this.list.insertBefore(item, there ?? null);
            }
        });
        this.items = items;
        if (!isStill.matches) {
            items.forEach((item, id) => animate(item, before.get(id)));
        }
    }
    make(hit) {
        const item = element("li", "hit");
        const button = element("button");
        button.type = "button";
        button.addEventListener("click", () => {
            const current = this.hits.find((one) => one.id === hit.id);
            if (current !== undefined) {
                this.opened(this.hits, current);
            }
        });
        const facts = element("span", "facts");
        const id = element("span", "id");
        id.append(element("bdi", "", hit.id));
        facts.append(id, element("span", "distance"));
        button.append(picture(hit), facts);
        item.append(element("span", "rank"), button);
        return item;
    }
}
function picture(hit) {
    const image = element("img");
    image.alt = "";
    image.width = SIDE;
    image.height = SIDE;
    image.decoding = "async";
    image.draggable = false;
    const address = `${hit.photo}?size=${SIDE}`;
    let tries = 0;
    image.addEventListener("error", () => {
        tries += 1;
        if (tries < 3) {
            setTimeout(() => (image.src = address), 700 * tries);
            return;
        }
        image.replaceWith(element("span", "gone", "The photo's file is not there"));
    });
    image.src = address;
    return image;
}
function tell(item, hit) {
    const set = (selector, text) => {
        const part = item.querySelector(selector);
        if (part !== null) {
            part.textContent = text;
        }
    };
    set(".rank", String(hit.rank));
    set(".distance", shortly(hit.distance));
    item.classList.toggle("is-first", hit.rank === 1);
    item.dataset["id"] = hit.id;
    const button = item.querySelector("button");
    if (button !== null) {
        button.setAttribute("aria-label", `${hit.rank}. ${hit.id}, distance ${shortly(hit.distance)}`);
        button.title = hit.id;
    }
}
function animate(item, from) {
    if (from === undefined) {
        item.animate([{ opacity: 0, transform: "scale(.94)" }, { opacity: 1, transform: "none" }], { duration: 220, easing: "ease-out" });
        return;
    }
    const to = item.getBoundingClientRect();
    const [dx, dy] = [from.left - to.left, from.top - to.top];
    if (dx !== 0 || dy !== 0) {
        item.animate([{ transform: `translate(${dx}px, ${dy}px)` }, { transform: "none" }], {
            duration: 280,
            easing: "cubic-bezier(.2, .7, .2, 1)",
        });
    }
}
export function shortly(distance) {
    return distance === 0 ? "0" : Number(distance.toPrecision(3)).toString();
}
export function factsOf(hit) {
    return [
        `Rank ${hit.rank}`,
        `distance ${shortly(hit.distance)}`,
        ...(hit.score === undefined ? [] : [`score ${Math.round(100 * hit.score)} %`]),
        ...(hit.product === null ? [] : [`product ${hit.product}`]),
    ];
}
