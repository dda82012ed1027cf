// The grid of hits: what stays keeps its element, what moves glides to its new place, what is new fades in.

import { element } from "./dom.js";
import type { Hit } from "./search.js";

const isStill = matchMedia("(prefers-reduced-motion: reduce)");
/** The size of photos in the grid, one of those that the server makes. */
const SIDE = 320;

export class Ranking {
  private items = new Map<string, HTMLLIElement>();
  private hits: readonly Hit[] = [];

  constructor(
    private readonly list: HTMLOListElement,
    private readonly opened: (hits: readonly Hit[], hit: Hit) => void,
  ) {}

  show(hits: readonly Hit[]): void {
    const before = new Map([...this.items].map(([id, item]) => [id, item.getBoundingClientRect()]));
    const items = new Map(hits.map((hit) => [hit.id, this.items.get(hit.id) ?? this.make(hit)]));
    this.hits = hits;
    hits.forEach((hit) => {
      const item = items.get(hit.id);
      if (item !== undefined) {
        tell(item, hit);
      }
    });
    // Only what is out of place is moved: a moved element loses the focus.
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

  private make(hit: Hit): HTMLLIElement {
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

/** A photo that asks once more where the server was busy, and then says that it is not there. */
function picture(hit: Hit): HTMLImageElement {
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

function tell(item: HTMLLIElement, hit: Hit): void {
  const set = (selector: string, text: string): void => {
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

function animate(item: HTMLLIElement, from: DOMRect | undefined): void {
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

/** A distance to three digits. */
export function shortly(distance: number): string {
  return distance === 0 ? "0" : Number(distance.toPrecision(3)).toString();
}

/** What there is to say of a hit besides its name and labels. */
export function factsOf(hit: Hit): string[] {
  return [
    `Rank ${hit.rank}`,
    `distance ${shortly(hit.distance)}`,
    ...(hit.score === undefined ? [] : [`score ${Math.round(100 * hit.score)} %`]),
    ...(hit.product === null ? [] : [`product ${hit.product}`]),
  ];
}
