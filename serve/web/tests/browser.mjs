// What the tests of the page share: a browser, a page that watches itself, a hand that draws.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const wanted = (name) => process.env[name] ?? assert.fail(`${name} is not set`);

/** Where the server is, if the test has one. */
export const ADDRESS = process.env.SKETCHFIND_ADDRESS;
const { chromium } = createRequire(`${wanted("SKETCHFIND_WEB")}/`)("playwright-core");

/** Drawings for tests that are not about what is drawn. */
export const LINE = [[100, 100], [160, 140], [220, 160], [300, 300]];
export const OTHER = [[400, 100], [380, 200], [400, 300]];
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

/** Starts the browser. It has no sandbox, since tests may run as root, and talks to nobody by itself. */
export async function launch() {
  return await chromium.launch({
    executablePath: wanted("SKETCHFIND_CHROMIUM"),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-dev-shm-usage",
    ],
  });
}

/** Opens the page in a window of its own. It fails at its end if the page asked anybody else, broke its own policy or
    wrote an error. `expected` are errors that a test provokes, `fragment` what stands behind the address. */
export async function open(browser, options = {}, expected = [], fragment = "") {
  assert.ok(ADDRESS, "SKETCHFIND_ADDRESS is not set");
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(ADDRESS) && !request.url().startsWith("blob:")) {
      complaints.push(`a request to ${request.url()}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !expected.some((part) => message.text().includes(part))) {
      complaints.push(message.text());
    }
  });
  await page.goto(ADDRESS + fragment);
  await page.waitForFunction(() => document.querySelector("#gallery").textContent.includes("photos"));
  return {
    page,
    close: async () => {
      await context.close();
      assert.deepEqual(complaints, []);
    },
  };
}

/** Where a point of the canvas, 0 to 512, is on the screen. */
export async function onScreen(page) {
  const box = await page.locator("#pad").boundingBox();
  return ([x, y]) => [box.x + (x / 512) * box.width, box.y + (y / 512) * box.height];
}

/** Draws a polyline with the mouse. All of it is sent at once, as a busy browser gets the movements of a quick hand. */
export async function draw(page, points) {
  const place = await onScreen(page);
  const mouse = await page.context().newCDPSession(page);
  const send = (type, point, buttons) => {
    const [x, y] = place(point);
    const button = type === "mouseMoved" ? "none" : "left";
    return mouse.send("Input.dispatchMouseEvent", { type, x, y, button, buttons, clickCount: 1 });
  };
  const last = points[points.length - 1];
  await Promise.all([
    send("mousePressed", points[0], 1),
    ...points.slice(1).map((point) => send("mouseMoved", point, 1)),
    send("mouseReleased", last, 0),
  ]);
  await mouse.detach();
}

/** Does something and waits for the ranking that it leads to; returns the ids. */
export async function ranked(page, work) {
  const count = () => performance.getEntriesByName("stroke-to-ranking").length;
  const before = await page.evaluate(count);
  await work();
  await page.waitForFunction((n) => performance.getEntriesByName("stroke-to-ranking").length > n, before);
  return await ids(page);
}

export async function ids(page) {
  return await page.locator("#ranking .hit").evaluateAll((items) => items.map((item) => item.dataset.id));
}

/** The sketch as the page would save it. */
export async function svgOf(page) {
  const download = await saved(page, "svg");
  assert.equal(download.suggestedFilename(), "sketch.svg");
  return await textOf(download);
}

/** What the sheet for sharing saves as a file. */
export async function saved(page, kind) {
  await page.locator("#share").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(`#${kind}`).click()]);
  await page.keyboard.press("Escape");
  return download;
}

export async function bytesOf(download) {
  const chunks = [];
  for await (const chunk of await download.createReadStream()) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function textOf(download) {
  return (await bytesOf(download)).toString("utf8");
}

/** The number of strokes in an SVG file of a sketch that was drawn without pressure. */
export function strokesIn(svg) {
  return svg.split("<path ").length - 1;
}

/** The words of the page, or of the sheet above it, whose contrast is below 4.5, and how many there are. */
export async function hardToRead(page) {
  return await page.evaluate(async () => {
    // A colour that is still on its way to another is not the one that is read.
    await Promise.allSettled(document.getAnimations().map((one) => one.finished));
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    // Whatever way a style has of saying a colour, over those below it.
    const over = (colours) => {
      context.clearRect(0, 0, 1, 1);
      colours.forEach((colour) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
      });
      return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const above = document.querySelector("dialog[open]") ?? document.body;
    const texts = document.createTreeWalker(above, NodeFilter.SHOW_TEXT);
    const found = [];
    let n = 0;
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      const isSeen = texts.currentNode.data.trim() !== "" && element.checkVisibility() && !element.closest(".unseen, .quiet, .skip, .drop, :disabled");
      if (!isSeen || element.closest(".width")) {
        continue;
      }
      const grounds = [];
      for (let one = element; one !== null; one = one.parentElement) {
        grounds.unshift(getComputedStyle(one).backgroundColor);
      }
      const ground = over(grounds);
      const ink = over([`rgb(${ground})`, getComputedStyle(element).color]);
      const [light, dark] = [luminance(ground), luminance(ink)].sort((a, b) => b - a);
      const contrast = (light + 0.05) / (dark + 0.05);
      n += 1;
      if (contrast < 4.5) {
        found.push(`'${texts.currentNode.data.trim()}' ${contrast.toFixed(2)}`);
      }
    }
    return { n, found };
  });
}

/** What reaches beyond the page's left or right edge. */
export async function sticksOut(page) {
  return await page.evaluate(() =>
    [...document.querySelectorAll("body *")]
      .filter((one) => one.checkVisibility() && !one.closest(".unseen, .quiet, .skip, .width span, svg"))
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5 || one.getBoundingClientRect().left < -0.5)
      .map((one) => one.id || one.className),
  );
}
