// The page in a browser, on a gallery of four plain colours whose model sees the mean colour of a picture.

import assert from "node:assert/strict";
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ADDRESS, LINE, OTHER, bytesOf, draw, ids, launch, onScreen, open, ranked, saved, strokesIn, svgOf } from "./browser.mjs";

const PHOTOS = process.env.SKETCHFIND_PHOTOS;
const photo = (colour) => join(PHOTOS, `${colour}.png`);

let browser;
before(async () => (browser = await launch()));
after(async () => await browser.close());

test("a drawing is ranked, and the time is shown", async () => {
  const { page, close } = await open(browser);
  assert.equal(await page.locator("#empty").isVisible(), true);
  const found = await ranked(page, () => draw(page, LINE));
  assert.deepEqual([found[0], found.length], ["white.png", 4]);
  assert.match(await page.locator("#time").textContent(), /^\d+ ms after the stroke$/);
  const first = page.locator(".hit").first();
  assert.match(await first.locator("button").getAttribute("aria-label"), /^1\. white\.png, distance [\d.e-]+$/);
  assert.equal(await first.locator(".rank").textContent(), "1");
  // Screen readers hear the first places once the hand rests.
  await page.waitForFunction(() => document.querySelector("#spoken").textContent.includes("1. white.png"));
  // A hit opens in large, and closes again by the keyboard.
  await first.locator("button").click();
  assert.equal(await page.locator("#viewer").isVisible(), true);
  assert.equal(await page.locator("#viewer-id").textContent(), "white.png");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#viewer").isVisible(), false);
  await close();
});

test("the ranking changes while the pen is down", async () => {
  const { page, close } = await open(browser);
  const place = await onScreen(page);
  await page.mouse.move(...place([50, 50]));
  await page.mouse.down();
  await page.mouse.move(...place([200, 220]), { steps: 10 });
  await page.waitForSelector(".hit");
  assert.equal(await page.evaluate(() => performance.getEntriesByName("stroke-to-ranking").length), 0);
  await ranked(page, () => page.mouse.up());
  await close();
});

test("undo, redo, clear and the eraser", async () => {
  const { page, close } = await open(browser);
  const count = async () => strokesIn(await svgOf(page));
  assert.equal(await page.locator("#undo").isDisabled(), true);
  await ranked(page, () => draw(page, LINE));
  await ranked(page, () => draw(page, OTHER));
  assert.equal(await count(), 2);
  await ranked(page, () => page.locator("#undo").click());
  assert.equal(await count(), 1);
  await ranked(page, () => page.keyboard.press("Control+Shift+z"));
  assert.equal(await count(), 2);
  // The eraser takes a piece out of the middle: one stroke becomes two.
  await page.keyboard.press("e");
  assert.equal(await page.locator("#eraser").getAttribute("aria-pressed"), "true");
  await ranked(page, () => draw(page, [[360, 200], [420, 200]]));
  assert.equal(await count(), 3);
  // Where nothing is, it changes nothing, not even the history.
  await draw(page, [[20, 480], [60, 490]]);
  await ranked(page, () => page.keyboard.press("Control+z"));
  assert.equal(await count(), 2);
  await page.keyboard.press("p");
  await page.locator("#clear").click();
  // The page gives the next stroke a moment before it says that there is nothing.
  await page.waitForFunction(() => document.querySelectorAll("#ranking .hit").length === 0);
  assert.equal(await page.locator("#share").isDisabled(), true);
  await ranked(page, () => page.locator("#undo").click());
  assert.equal(await count(), 2);
  await close();
});

test("the sketch can be saved as PNG and SVG", async () => {
  const { page, close } = await open(browser);
  await page.locator("#width").fill("10");
  await ranked(page, () => draw(page, LINE));
  await page.keyboard.press("[");
  await ranked(page, () => draw(page, OTHER));
  const svg = await svgOf(page);
  const widths = [...svg.matchAll(/stroke-width="([\d.]+)"/g)].map((match) => match[1]);
  assert.deepEqual(widths, ["10", "9"]);
  const download = await saved(page, "png");
  assert.equal(download.suggestedFilename(), "sketch.png");
  const png = await bytesOf(download);
  assert.equal(png.subarray(1, 4).toString(), "PNG");
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [1024, 1024]);
  // What was saved can be searched with.
  const found = await ranked(page, () =>
    page.locator("#file").setInputFiles({ name: "sketch.png", mimeType: "image/png", buffer: png }),
  );
  assert.equal(found[0], "white.png");
  await close();
});

test("an image instead of a drawing: opened, dropped, pasted", async () => {
  const { page, close } = await open(browser);
  await ranked(page, () => draw(page, LINE));
  assert.equal((await ranked(page, () => page.locator("#file").setInputFiles(photo("red"))))[0], "red.png");
  assert.equal(await page.locator("#mark").isVisible(), true);
  const bring = (kind, colour) =>
    page.evaluate(
      ([name, base64]) => {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "photo.png", { type: "image/png" }));
        const event =
          name === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
      },
      [kind, readFileSync(photo(colour)).toString("base64")],
    );
  assert.equal((await ranked(page, () => bring("drop", "blue")))[0], "blue.png");
  assert.equal((await ranked(page, () => bring("paste", "green")))[0], "green.png");
  // A stroke begins a drawing of its own; undo brings the image back.
  assert.equal((await ranked(page, () => draw(page, OTHER)))[0], "white.png");
  assert.equal((await ranked(page, () => page.locator("#undo").click()))[0], "green.png");
  await page.locator("#file").setInputFiles({ name: "x.png", mimeType: "image/png", buffer: Buffer.from("no image") });
  await page.waitForFunction(() => document.querySelector("#status").textContent.includes("not an image"));
  await close();
});

test("k and filters", async () => {
  const { page, close } = await open(browser);
  await ranked(page, () => draw(page, LINE));
  await page.locator("#filters summary").click();
  const found = await ranked(page, () => page.locator("#ids").fill("red.png, blue.png"));
  assert.deepEqual([...found].sort(), ["blue.png", "red.png"]);
  assert.equal(await page.locator("#filter-count").textContent(), " (2)");
  assert.deepEqual(await ranked(page, () => page.locator("#ids").fill("nowhere")), []);
  assert.equal(await page.locator("#empty").textContent(), "The gallery has no photo 'nowhere'.");
  assert.equal((await ranked(page, () => page.locator("#ids").fill(""))).length, 4);
  const asked = page.waitForRequest((request) => request.url().includes("k=24"));
  await page.locator("#k").selectOption("24");
  await asked;
  await close();
});

test("a late answer never replaces a newer one", async () => {
  const { page, close } = await open(browser, {}, ["ERR_FAILED"]);
  let nAsked = 0;
  await page.route("**/api/v1/query*", async (route) => {
    nAsked += 1;
    const answer = await route.fetch();
    if (nAsked === 1) {
      await new Promise((resolve) => setTimeout(resolve, 900));
    }
    await route.fulfill({ response: answer }).catch(() => undefined);
  });
  await page.locator("#file").setInputFiles(photo("red"));
  while (nAsked === 0) {
    await page.waitForTimeout(5);
  }
  const found = await ranked(page, () => page.locator("#file").setInputFiles(photo("blue")));
  assert.equal(found[0], "blue.png");
  await page.waitForTimeout(1300);
  assert.equal((await ids(page))[0], "blue.png");
  assert.equal(nAsked, 2);
  await close();
});

test("a question that a newer one supersedes is taken back", async () => {
  const { page, close } = await open(browser, {}, ["ERR_"]);
  const failed = [];
  page.on("requestfailed", (request) => failed.push(request.failure().errorText));
  let release;
  const held = new Promise((resolve) => (release = resolve));
  let nAsked = 0;
  await page.route("**/api/v1/query*", async (route) => {
    nAsked += 1;
    if (nAsked === 1) {
      await held;
    }
    await route.continue().catch(() => undefined);
  });
  await page.locator("#file").setInputFiles(photo("red"));
  await page.waitForFunction(() => document.querySelector("#mark").hidden === false);
  while (nAsked === 0) {
    await page.waitForTimeout(5);
  }
  await ranked(page, () => page.locator("#file").setInputFiles(photo("blue")));
  assert.deepEqual(failed, ["net::ERR_ABORTED"]);
  release();
  await close();
});

test("a busy server is asked again, and a dead one is said to be", async () => {
  const { page, close } = await open(browser, {}, ["503", "ERR_"]);
  let nAsked = 0;
  await page.route("**/api/v1/query*", async (route) => {
    nAsked += 1;
    if (nAsked === 1) {
      await route.fulfill({ status: 503, headers: { "retry-after": "1" }, body: "{}" });
    } else if (nAsked === 2) {
      await route.continue();
    } else {
      await route.abort();
    }
  });
  await draw(page, LINE);
  await page.waitForFunction(() => document.querySelector("#status").textContent.includes("busy"));
  await page.waitForSelector(".hit");
  assert.equal(await page.locator("#status").textContent(), "");
  await draw(page, OTHER);
  await page.waitForFunction(() => document.querySelector("#status").textContent.includes("does not answer"));
  await close();
});

test("a finger draws, and the page stays where it is", async () => {
  const { page, close } = await open(browser, {
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
    deviceScaleFactor: 2,
  });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, "nothing sticks out");
  const place = await onScreen(page);
  const finger = await page.context().newCDPSession(page);
  const touch = async (type, points) =>
    await finger.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: points.map(([x, y], id) => ({ x, y, id, force: 0.5 })),
    });
  const found = await ranked(page, async () => {
    await touch("touchStart", [place([256, 80])]);
    for (let y = 100; y <= 460; y += 20) {
      await touch("touchMove", [place([256, y])]);
    }
    await touch("touchEnd", []);
  });
  assert.equal(found.length, 4);
  assert.equal(await page.evaluate(() => window.scrollY), 0);
  // A second finger does not draw.
  await ranked(page, async () => {
    await touch("touchStart", [place([100, 100])]);
    await touch("touchStart", [place([100, 100]), place([400, 400])]);
    await touch("touchMove", [place([150, 100]), place([450, 400])]);
    await touch("touchEnd", []);
  });
  const svg = await svgOf(page);
  assert.equal(strokesIn(svg), 2);
  assert.ok(!/M4\d\d/.test(svg), svg);
  await close();
});

test("a pen's pressure is seen, and its other end erases", async () => {
  const { page, close } = await open(browser);
  const place = await onScreen(page);
  const pen = await page.context().newCDPSession(page);
  const send = async (type, point, force, buttons = 1, button = "left") => {
    const [x, y] = place(point);
    const pressed = type === "mouseMoved" ? { buttons } : { button, buttons, clickCount: 1 };
    await pen.send("Input.dispatchMouseEvent", { type, x, y, force, pointerType: "pen", ...pressed });
  };
  await ranked(page, async () => {
    await send("mousePressed", [100, 256], 0.2);
    for (let x = 120; x <= 400; x += 20) {
      await send("mouseMoved", [x, 256], x / 400);
    }
    await send("mouseReleased", [400, 256], 0, 0);
  });
  const widths = [...(await svgOf(page)).matchAll(/stroke-width="([\d.]+)"/g)].map((match) => Number(match[1]));
  assert.ok(widths.length > 8 && widths[1] < widths[7], String(widths));
  // No driver turns a pen around: the event is made as a browser makes it.
  const [x, y] = place([256, 256]);
  await page.evaluate(
    ([clientX, clientY]) => {
      for (const type of ["pointerdown", "pointerup"]) {
        const pressed = { pointerType: "pen", pointerId: 1, button: 5, buttons: type === "pointerdown" ? 32 : 0 };
        const event = new PointerEvent(type, { ...pressed, clientX, clientY, bubbles: true, cancelable: true });
        document.querySelector("#pad").dispatchEvent(event);
      }
    },
    [x, y],
  );
  await page.waitForFunction(() => performance.getEntriesByName("stroke-to-ranking").length > 1);
  const drawn = [...(await svgOf(page)).matchAll(/[MLQ ]([\d.]+) 256/g)].map((match) => Number(match[1]));
  assert.ok(drawn.length > 8 && drawn.every((at) => Math.abs(at - 256) > 10), String(drawn));
  await close();
});

test("the keyboard draws and reaches everything", async () => {
  const { page, close } = await open(browser);
  await page.locator("#pad").focus();
  await page.keyboard.press("Space");
  for (const key of ["ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowLeft"]) {
    await page.keyboard.press(key);
  }
  const found = await ranked(page, () => page.keyboard.press("Space"));
  assert.equal(found.length, 4);
  const svg = await svgOf(page);
  assert.match(svg, /M256 256/);
  assert.match(svg, /L264 288"/);
  // Tab visits every control, each with a name that is read out and a mark that is seen.
  await page.locator(".skip").focus();
  const visited = [];
  for (let step = 0; step < 40; step++) {
    const at = await page.evaluate(() => {
      const { activeElement: it } = document;
      const label = it.labels?.[0]?.textContent ?? "";
      return { id: it.id, name: (it.getAttribute("aria-label") ?? "") + it.textContent + label };
    });
    visited.push(at.id);
    assert.ok(at.id === "" || at.name.trim() !== "", `#${at.id} has no name`);
    await page.keyboard.press("Tab");
  }
  for (const id of ["share", "drawings", "pad", "pen", "eraser", "undo", "clear", "width", "file", "k"]) {
    assert.ok(visited.includes(id), `#${id} is not reached by Tab: ${visited}`);
  }
  await close();
});

test("hits glide to their places, or stand still for those who ask for that", async () => {
  for (const reducedMotion of ["no-preference", "reduce"]) {
    const { page, close } = await open(browser, { reducedMotion });
    await ranked(page, () => page.locator("#file").setInputFiles(photo("red")));
    await page.waitForTimeout(400);
    const nMoving = page.evaluate(
      () =>
        new Promise((resolve) => {
          new MutationObserver(() => setTimeout(() => resolve(document.getAnimations().length), 0)).observe(
            document.querySelector("#ranking"),
            { childList: true },
          );
        }),
    );
    await ranked(page, () => page.locator("#file").setInputFiles(photo("blue")));
    const n = await nMoving;
    assert.equal(n > 0, reducedMotion === "no-preference", `${n} animations with ${reducedMotion}`);
    await close();
  }
});

test("a photo whose file is gone has a sign in its place", async () => {
  renameSync(photo("green"), `${photo("green")}.away`);
  try {
    const { page, close } = await open(browser, {}, ["404"]);
    await ranked(page, () => draw(page, LINE));
    await page.waitForSelector('.hit[data-id="green.png"] .gone');
    assert.equal(await page.locator(".gone").count(), 1);
    await close();
  } finally {
    renameSync(`${photo("green")}.away`, photo("green"));
  }
});

test("no script that others bring runs", async () => {
  const { page, close } = await open(browser, {}, ["Content Security Policy", "TrustedScript"]);
  const ran = await page.evaluate(async () => {
    const script = document.createElement("script");
    try {
      script.textContent = "window.wasRun = true";
      document.body.append(script);
    } catch {
      // Refused even earlier.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    return window.wasRun === true;
  });
  assert.equal(ran, false);
  assert.ok((await fetch(ADDRESS)).headers.get("content-security-policy").includes("default-src 'none'"));
  await close();
});
