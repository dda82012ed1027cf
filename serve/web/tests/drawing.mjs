// Line drawings are drawn on the page stroke by stroke: where the photo of each is after every stroke, and how long the
// page takes from the end of a stroke to the new ranking.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { draw, ids, launch, open, ranked } from "./browser.mjs";

/** SVG files, the photo that each depicts, whether it must come first, and what pictures of its page are called, if there are to
    be any. */
const drawings = JSON.parse(process.env.SKETCHFIND_DRAWINGS);
/** Where screenshots go, if anywhere. */
const shots = process.env.SKETCHFIND_SHOTS;

/** The outlines of an SVG file as polylines on a canvas of 512, as a hand would follow them. */
async function polylines(browser, file) {
  const page = await browser.newPage();
  await page.setContent(readFileSync(file, "utf8"));
  const found = await page.evaluate(() => {
    const svg = document.querySelector("svg");
    const { width, height } = svg.viewBox.baseVal;
    const scale = 512 / Math.max(width, height);
    const step = 2;
    const lines = [];
    for (const shape of svg.querySelectorAll("path, line, polyline, polygon, circle, ellipse, rect")) {
      const length = shape.getTotalLength();
      const n = Math.max(1, Math.ceil(length / step));
      const inSvg = svg.getScreenCTM().inverse().multiply(shape.getScreenCTM());
      let line = [];
      let last;
      for (let i = 0; i <= n; i++) {
        const point = shape.getPointAtLength((length * i) / n).matrixTransform(inSvg);
        // A path may lift the pen.
        if (last !== undefined && Math.hypot(point.x - last.x, point.y - last.y) > 1.8 * step) {
          lines.push(line);
          line = [];
        }
        line.push([point.x * scale, point.y * scale]);
        last = point;
      }
      lines.push(line);
    }
    return lines.filter((line) => line.length > 1);
  });
  await page.close();
  return found;
}

/** The link to the drawing on the page. */
async function linkOf(page) {
  await page.locator("#share").click();
  const link = await page.locator("#link").inputValue();
  await page.keyboard.press("Escape");
  return link;
}

/** A picture of what the drawing behind a link looks like on a phone. */
async function onPhone(link, path) {
  const options = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true, deviceScaleFactor: 1.25 };
  const { page, close } = await open(browser, options, [], link.slice(link.indexOf("#")));
  await page.waitForSelector(".hit");
  await page.waitForTimeout(1500);
  await page.screenshot({ path });
  await close();
}

const browser = await launch();
const options = { viewport: { width: 1280, height: 800 } };
const { page, close } = await open(browser, options);
await page.locator("#k").selectOption("48");
const times = [];
for (const { svg, photo, isFirst, name } of drawings) {
  const strokes = await polylines(browser, svg);
  const ranks = [];
  for (const stroke of strokes) {
    const found = await ranked(page, () => draw(page, stroke));
    const rank = found.indexOf(photo) + 1;
    ranks.push(rank === 0 ? "-" : String(rank));
    // Photos that were asked for arrive before the next stroke, as for a hand.
    await page.waitForTimeout(120);
  }
  const took = await page.evaluate(() => {
    const entries = performance.getEntriesByName("stroke-to-ranking").map((entry) => entry.duration);
    performance.clearMeasures();
    return entries;
  });
  times.push(...took);
  console.log(`${photo}: rank after each of ${strokes.length} strokes: ${ranks.join(" ")}`);
  if (isFirst) {
    assert.equal((await ids(page))[0], photo);
  }
  if (shots !== undefined && name) {
    await page.locator("#k").selectOption("12");
    await page.waitForTimeout(1500);
    await page.screenshot({ path: `${shots}/${name}-desktop.png` });
    await onPhone(await linkOf(page), `${shots}/${name}-phone.png`);
    await page.locator("#k").selectOption("48");
    await page.waitForTimeout(500);
    await page.evaluate(() => performance.clearMeasures());
  }
  await page.locator("#clear").click();
}
await close();
await browser.close();
times.sort((a, b) => a - b);
const at = (share) => times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)].toFixed(1);
console.log(`stroke to ranking, ms: n ${times.length}, p50 ${at(0.5)}, p95 ${at(0.95)}, max ${at(1)}`);
