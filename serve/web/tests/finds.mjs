// What a person does before and after the first find, on a gallery of four plain colours with labels and products, whose
// server makes a drawing fill eight tenths of its page.

import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ADDRESS, LINE, OTHER, PHONE, draw, hardToRead, ids, launch, open, ranked, sticksOut, strokesIn, svgOf } from "./browser.mjs";

const photo = (colour) => join(process.env.SKETCHFIND_PHOTOS, `${colour}.png`);

let browser;
before(async () => (browser = await launch()));
after(async () => await browser.close());

const hit = (page, id) => page.locator(`.hit[data-id="${id}"] button`);
const isOpen = (page, sheet) => page.locator(sheet).evaluate((dialog) => dialog.open);
const isEmpty = (page) => page.waitForFunction(() => document.querySelectorAll("#ranking .hit").length === 0);

test("a photo in large, with what is known of it", async () => {
  for (const options of [{}, PHONE]) {
    const { page, close } = await open(browser, options);
    await ranked(page, () => draw(page, LINE));
    await hit(page, "red.png").click();
    assert.equal(await page.locator("#viewer-id").textContent(), "red.png");
    const rank = (await ids(page)).indexOf("red.png") + 1;
    assert.match(await page.locator("#viewer-facts").textContent(), new RegExp(`^Rank ${rank} · distance [\\d.]+ · product ball$`));
    assert.deepEqual(await page.locator("#viewer-labels li").allTextContents(), ["round", "warm"]);
    assert.equal(await page.locator("#viewer-file").getAttribute("href"), "photos/red.png");
    await page.waitForFunction(() => document.querySelector("#viewer-photo").naturalWidth > 0);
    // It closes by a tap on the photo, by one beside it, and by Escape; then the hit has the focus again.
    const tap = (target, at) => (options === PHONE ? target.tap(at) : target.click(at));
    for (const close of [
      () => tap(page.locator("#viewer-photo")),
      () => tap(page.locator("body"), { position: { x: 5, y: 5 } }),
      () => page.keyboard.press("Escape"),
    ]) {
      assert.equal(await isOpen(page, "#viewer"), true);
      await close();
      assert.equal(await isOpen(page, "#viewer"), false);
      assert.equal(await page.evaluate(() => document.activeElement.closest(".hit")?.dataset.id), "red.png");
      await hit(page, "red.png").click();
    }
    // The arrows go along the ranking, and not beyond it.
    await page.keyboard.press("Escape");
    await page.locator(".hit button").first().click();
    const seen = [];
    for (const key of ["ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"]) {
      seen.push(await page.locator("#viewer-id").textContent());
      await page.keyboard.press(key);
    }
    const [first, second, third, last] = await ids(page);
    assert.deepEqual(seen, [first, first, second, third, last]);
    assert.equal(await page.locator("#viewer-id").textContent(), last);
    await close();
  }
});

test("more like this: the photo is what is asked with", async () => {
  const { page, close } = await open(browser);
  const asked = [];
  page.on("request", (request) => request.url().includes("/query") && asked.push([request.url(), request.postData()]));
  const drawn = await ranked(page, () => draw(page, LINE));
  await hit(page, "red.png").click();
  const found = await ranked(page, () => page.locator("#viewer-like").click());
  assert.deepEqual([...found].sort(), ["blue.png", "green.png", "white.png"]);
  const [url, body] = asked[asked.length - 1];
  assert.deepEqual(JSON.parse(body), { photo: "red.png" });
  assert.ok(url.endsWith("&not_id=red.png"), url);
  assert.equal(await page.locator("#mark").textContent(), "more like red.png");
  // Links hold drawings.
  await page.locator("#share").click();
  assert.equal(await page.locator("#link").isVisible(), false);
  assert.equal(await page.locator("#svg").isDisabled(), true);
  await page.keyboard.press("Escape");
  assert.deepEqual(await ranked(page, () => page.locator("#undo").click()), drawn);
  await close();
});

test("more like a photo whose file is gone", async () => {
  renameSync(photo("green"), `${photo("green")}.away`);
  try {
    const { page, close } = await open(browser, {}, ["404"]);
    await ranked(page, () => draw(page, LINE));
    await hit(page, "green.png").click();
    await page.locator("#viewer-gone").waitFor();
    const found = await ranked(page, () => page.locator("#viewer-like").click());
    assert.deepEqual([...found].sort(), ["blue.png", "red.png", "white.png"]);
    await close();
  } finally {
    renameSync(`${photo("green")}.away`, photo("green"));
  }
});

test("a drawing goes by a link to another person", async () => {
  const here = await open(browser, { permissions: ["clipboard-read", "clipboard-write"] });
  await here.page.keyboard.press("]");
  const found = await ranked(here.page, () => draw(here.page, LINE));
  await ranked(here.page, () => draw(here.page, OTHER));
  const svg = await svgOf(here.page);
  await here.page.locator("#share").click();
  const link = await here.page.locator("#link").inputValue();
  assert.ok(link.startsWith(`${ADDRESS}/#d1=`) && link.length < 200, link);
  await here.page.locator("#copy").click();
  await here.page.waitForFunction(() => document.querySelector("#copied").textContent === "Copied.");
  assert.equal(await here.page.evaluate(() => navigator.clipboard.readText()), link);
  await here.close();

  const fragment = link.slice(link.indexOf("#"));
  const there = await open(browser, {}, [], fragment);
  await there.page.waitForSelector(".hit");
  assert.equal(await svgOf(there.page), svg);
  assert.deepEqual(await ids(there.page), found);
  // It is drawn once: the address is that of the page again, and undo leads to an empty page.
  assert.equal(there.page.url(), `${ADDRESS}/`);
  await there.page.locator("#undo").click();
  await isEmpty(there.page);
  // One that is opened in a page that is there already.
  await ranked(there.page, () => there.page.evaluate((hash) => (location.hash = hash), fragment));
  assert.equal(await svgOf(there.page), svg);
  await there.close();
});

test("no server is told what a link holds", async () => {
  const page = await browser.newPage();
  const seen = [];
  page.on("request", (request) => seen.push(request.url(), ...Object.values(request.headers())));
  await page.goto(`${ADDRESS}/#d1=thisisnodrawing`);
  await page.waitForFunction(() => document.querySelector("#gallery").textContent.includes("photos"));
  assert.ok(seen.length > 10);
  // What browsers call the request of a page may have the fragment, which is not sent.
  assert.deepEqual(seen.slice(1).filter((text) => text.includes("thisisnodrawing")), []);
  await page.close();
});

test("a spoiled link says so and draws nothing", async () => {
  for (const [fragment, words] of [
    ["#d1=AAAA", "cut short"],
    ["#d1=", "cut short"],
    ["#d1=%20", "cut short"],
    ["#d2=AAAA", "another version"],
  ]) {
    const { page, close } = await open(browser, {}, [], fragment);
    assert.ok((await page.locator("#status").textContent()).includes(words), fragment);
    assert.equal(await page.locator("#share").isDisabled(), true);
    assert.equal(page.url(), `${ADDRESS}/`);
    // A drawing that is there stays.
    await ranked(page, () => draw(page, LINE));
    await page.evaluate((hash) => (location.hash = hash), fragment);
    await page.waitForFunction((part) => document.querySelector("#status").textContent.includes(part), words);
    assert.equal(strokesIn(await svgOf(page)), 1);
    await close();
  }
});

test("the text of a drawing holds all of it, and no damage passes", async () => {
  const { page, close } = await open(browser);
  const faults = await page.evaluate(async () => {
    const { encode, decode, drawingIn } = await import("/link.js");
    const faults = [];
    const passes = (text) => {
      try {
        decode(text);
        return true;
      } catch {
        return false;
      }
    };
    // Of a seed, so that a failure comes again.
    let state = 7;
    const below = (n) => (state = (state * 48271) % 2147483647) % n;
    const drawing = (nStrokes) =>
      Array.from({ length: nStrokes }, () => {
        const isEven = below(2) === 0;
        const points = Array.from({ length: 1 + below(30) }, () => [below(5121) / 10, below(5121) / 10, isEven ? 0.5 : below(101) / 100]);
        return { width: (2 + below(31)) / 2, points };
      });
    for (let n = 1; n < 60; n++) {
      const strokes = drawing(n % 9 + 1);
      if (JSON.stringify(decode(encode(strokes))) !== JSON.stringify(strokes)) {
        faults.push(`drawing ${n} changed`);
      }
    }
    const text = encode(drawing(3));
    for (let length = 0; length < text.length; length++) {
      if (passes(text.slice(0, length))) {
        faults.push(`cut to ${length}`);
      }
      for (const letter of ["A", "_", "7", "="]) {
        if (text[length] !== letter && passes(text.slice(0, length) + letter + text.slice(length + 1))) {
          faults.push(`letter ${length} as ${letter}`);
        }
      }
    }
    // The right sum of what no pad has drawn.
    for (const [name, strokes] of Object.entries({
      outside: [{ width: 4, points: [[600, 10, 0.5]] }],
      negative: [{ width: 4, points: [[-1, 10, 0.5]] }],
      thick: [{ width: 99, points: [[1, 1, 0.5]] }],
      pressed: [{ width: 4, points: [[1, 1, 3], [2, 2, 0.5]] }],
      blank: [{ width: 4, points: [] }],
      empty: [],
    })) {
      if (passes(encode(strokes))) {
        faults.push(name);
      }
    }
    const endless = [{ width: 4, points: Array.from({ length: 40_000 }, () => [below(512), below(512), 0.5]) }];
    if (encode(endless) !== null) {
      faults.push("an endless link");
    }
    if (passes("A".repeat(1_000_000)) || drawingIn("#ranking") !== null) {
      faults.push("what is no link");
    }
    return faults;
  });
  assert.deepEqual(faults, []);
  await close();
});

test("earlier drawings are kept in the browser, and can be forgotten", async () => {
  const { page, close } = await open(browser);
  const tiles = page.locator("#earlier .tile");
  const look = async () => {
    await page.locator("#drawings").click();
    return await tiles.count();
  };
  // A server without a folder for drawings has nothing to teach.
  assert.equal(await page.locator("#teach").isVisible(), false);
  assert.equal(await look(), 0);
  assert.equal(await page.locator("#forget").isDisabled(), true);
  await page.keyboard.press("Escape");
  await ranked(page, () => draw(page, LINE));
  await ranked(page, () => draw(page, OTHER));
  const svg = await svgOf(page);
  await page.locator("#clear").click();
  await isEmpty(page);
  await ranked(page, () => draw(page, OTHER));
  // One drawing is one, however many strokes it has; the newest comes first.
  assert.equal(await look(), 2);
  assert.match(await tiles.first().getAttribute("aria-label"), /^The drawing of .+, 1 strokes?$/);
  await page.keyboard.press("Escape");
  // They outlast the page.
  await page.reload();
  await page.waitForFunction(() => document.querySelector("#gallery").textContent.includes("photos"));
  assert.equal(await look(), 2);
  await ranked(page, () => tiles.nth(1).click());
  assert.equal(await isOpen(page, "#earlier-sheet"), false);
  assert.equal(await svgOf(page), svg);
  // Looked at, it is not another; changed, it is.
  assert.equal(await look(), 2);
  await page.keyboard.press("Escape");
  await ranked(page, () => draw(page, [[20, 400], [200, 480]]));
  assert.equal(await look(), 3);
  await page.locator("#forget").click();
  assert.equal(await tiles.count(), 0);
  assert.equal(await page.evaluate(() => localStorage.getItem("sketchfind.drawings.1")), "[]");
  await close();
});

test("earlier drawings have a bound, and damage among them is passed over", async () => {
  const { page, close } = await open(browser);
  const kept = await page.evaluate(async () => {
    const { Shelf } = await import("/shelf.js");
    const shelf = new Shelf();
    for (let n = 0; n < 40; n++) {
      shelf.begin([]);
      shelf.keep([{ width: 4, points: [[n, 1, 0.5], [2, 2, 0.5]] }]);
    }
    const many = shelf.drawings.map((drawing) => drawing.strokes[0].points[0][0]);
    const large = [{ width: 4, points: Array.from({ length: 9000 }, (_, n) => [(n * 37) % 512, (n * 91) % 512, 0.5]) }];
    for (let n = 0; n < 30; n++) {
      shelf.begin([]);
      shelf.keep([...large, { width: 4, points: [[n, n, 0.5]] }]);
    }
    const stored = localStorage.getItem("sketchfind.drawings.1");
    const whole = JSON.parse(stored);
    localStorage.setItem("sketchfind.drawings.1", JSON.stringify([{ at: "x", text: 1 }, null, { at: 1, text: "AAAA" }, whole[0]]));
    const passedOver = shelf.drawings.length;
    localStorage.setItem("sketchfind.drawings.1", "{");
    return { many, nLarge: whole.length, size: stored.length, passedOver, broken: shelf.drawings.length };
  });
  assert.deepEqual([kept.many.length, kept.many[0], kept.many[29]], [30, 39, 10]);
  assert.ok(kept.size < 520_000 && kept.nLarge > 3 && kept.nLarge < 30, JSON.stringify(kept));
  assert.deepEqual([kept.passedOver, kept.broken], [1, 0]);
  await close();
});

test("a browser that keeps nothing", async () => {
  const { page, close } = await open(browser);
  await page.addInitScript(() => {
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new DOMException("refused", "SecurityError");
      },
    });
  });
  await page.reload();
  await page.waitForFunction(() => document.querySelector("#gallery").textContent.includes("photos"));
  await ranked(page, () => draw(page, LINE));
  await page.locator("#drawings").click();
  assert.equal(await page.locator("#earlier .tile").count(), 1);
  assert.match(await page.locator("#earlier-note").textContent(), /keeps nothing/);
  await page.locator("#forget").click();
  assert.equal(await page.locator("#earlier .tile").count(), 0);
  await close();
});

test("the guide shows the square that is cut out, and what is searched with", async () => {
  const { page, close } = await open(browser, {}, ["422"]);
  await ranked(page, () => draw(page, [[100, 100], [200, 180], [300, 300]]));
  assert.equal(await page.locator("#seen").isVisible(), false);
  await page.locator("#pad").focus();
  await page.keyboard.press("f");
  assert.equal(await page.locator("#frame").getAttribute("aria-pressed"), "true");
  // 200 wide, which are eight tenths of 250, around the middle at 200.
  assert.equal(await page.locator(".cut .edge").getAttribute("d"), "M75 75h250v250h-250z");
  assert.equal(await page.locator("#seen svg").getAttribute("viewBox"), "75 75 250 250");
  assert.equal(await page.locator("#seen").isVisible(), true);
  await ranked(page, () => draw(page, [[500, 100], [500, 200]]));
  assert.equal(await page.locator(".cut .edge").getAttribute("d"), "M50 -50h500v500h-500z");
  // Next to nothing is not cut, and an image is not of lines that the page knows.
  await page.locator("#clear").click();
  await draw(page, [[100, 100], [104, 104]]);
  await page.waitForFunction(() => document.querySelector(".cut .edge").getAttribute("d") === "M0 0h512v512h-512z");
  await page.locator("#clear").click();
  await page.waitForFunction(() => document.querySelector("#seen").hidden);
  await close();
});

test("an empty page invites, with three drawings to begin with", async () => {
  for (const options of [{}, PHONE]) {
    const { page, close } = await open(browser, options);
    const examples = page.locator("#tiles button");
    assert.deepEqual(await examples.allTextContents(), ["a shoe", "a chair", "a ship"]);
    for (let n = 0; n < 3; n++) {
      const tapped = () => (options === PHONE ? examples.nth(n).tap() : examples.nth(n).click());
      assert.equal((await ranked(page, tapped)).length, 4);
      assert.equal(await page.locator("#examples").isVisible(), false);
      assert.ok(strokesIn(await svgOf(page)) >= 9);
      await page.locator("#undo").click();
      await isEmpty(page);
      await page.locator("#examples").waitFor();
    }
    // Ours is none of a person's drawings.
    await page.locator("#drawings").click();
    assert.equal(await page.locator("#earlier .tile").count(), 0);
    await close();
  }
});

test("all of it by the keyboard alone", async () => {
  const { page, close } = await open(browser);
  const at = () =>
    page.evaluate(() => {
      const { activeElement: it } = document;
      // What is unseen itself has its ring around it.
      const ring = it.matches(".unseen, .chip input, #pad") ? (it.closest(".button, .paper") ?? it.nextElementSibling) : it;
      const { outlineStyle, outlineWidth } = getComputedStyle(ring);
      return { id: it.id, hit: it.closest(".hit")?.dataset.id, text: it.textContent, ring: outlineStyle !== "none" && outlineWidth !== "0px" };
    });
  const tab = async (wanted) => {
    for (let step = 0; step < 45; step++) {
      await page.keyboard.press("Tab");
      const here = await at();
      assert.ok(here.id === "" || here.ring, `#${here.id} has the focus, and nobody sees it`);
      if (wanted(here)) {
        return here;
      }
    }
    assert.fail(`Tab does not come to ${wanted}`);
  };
  // From the top in the order in which it stands on the page.
  const order = [];
  for (const id of ["drawings", "pad", "pen", "eraser", "frame", "width", "file", "k"]) {
    order.push((await tab((here) => here.id === id)).id);
  }
  // An example, by Enter.
  await tab((here) => here.text === "a ship");
  await ranked(page, () => page.keyboard.press("Enter"));
  // A drawing of one's own.
  await page.locator("#pad").focus();
  await page.keyboard.press("Delete");
  await isEmpty(page);
  await page.keyboard.press("Space");
  for (const key of ["Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowLeft"]) {
    await page.keyboard.press(key);
  }
  await ranked(page, () => page.keyboard.press("Space"));
  // From the pad to the hits, into the large photo, and on from there.
  const first = (await ids(page))[0];
  await tab((here) => here.hit === first);
  await page.keyboard.press("Enter");
  assert.equal(await isOpen(page, "#viewer"), true);
  await tab((here) => here.id === "viewer-like");
  const found = await ranked(page, () => page.keyboard.press("Enter"));
  assert.equal(found.length, 3);
  await page.keyboard.press("Control+z");
  // The link leads past all tools to the ranking.
  await page.locator(".skip").focus();
  await page.keyboard.press("Enter");
  assert.equal((await at()).id, "ranking");
  await page.keyboard.press("Tab");
  assert.notEqual((await at()).hit, undefined);
  await close();
});

test("words can be read in light and dark, on every sheet", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const { page, close } = await open(browser, { colorScheme });
    const check = async (where, least) => {
      const { n, found } = await hardToRead(page);
      assert.deepEqual(found, [], `${where}, ${colorScheme}`);
      assert.ok(n >= least, `${where}: ${n} texts`);
    };
    await check("the empty page", 15);
    await ranked(page, () => draw(page, LINE));
    await page.locator("#frame").click();
    await page.locator("#filters summary").click();
    await page.locator(".chip").first().click();
    await page.locator("#filter-count").filter({ hasText: "(1)" }).waitFor();
    await check("the ranking", 20);
    for (const [button, least] of [[".hit button", 5], ["#share", 5], ["#drawings", 3]]) {
      await page.locator(button).first().click();
      await check(button, least);
      await page.keyboard.press("Escape");
    }
    await close();
  }
});

test("nothing sticks out of a narrow page", async () => {
  for (const width of [320, 360, 390, 820]) {
    const { page, close } = await open(browser, { ...PHONE, viewport: { width, height: 740 } });
    assert.deepEqual(await sticksOut(page), []);
    await ranked(page, () => draw(page, LINE));
    for (const button of [".hit button", "#share", "#drawings"]) {
      await page.locator(button).first().click();
      assert.deepEqual(await sticksOut(page), [], `${button} at ${width}`);
      await page.keyboard.press("Escape");
    }
    await close();
  }
});
