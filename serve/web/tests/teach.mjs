// Teaching: a photo is drawn from memory, a hit is said to be the right one, and the server keeps both, where it may.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ADDRESS, LINE, OTHER, PHONE, draw, hardToRead, ids, launch, open, ranked, sticksOut } from "./browser.mjs";

const FOLDER = process.env.SKETCHFIND_TEACH;

let browser;
before(async () => (browser = await launch()));
after(async () => await browser.close());

async function nKept() {
  const { teaching } = await (await fetch(`${ADDRESS}/api/v1/gallery`)).json();
  assert.equal(teaching.folder, FOLDER);
  return teaching.n_drawings;
}

const isAsked = (page) => page.locator("#consent").evaluate((dialog) => dialog.open);

test("nothing is kept of those who do not agree", async () => {
  const { page, close } = await open(browser);
  await page.locator("#teach").click();
  assert.equal(await page.locator("#consent-folder").textContent(), FOLDER);
  // Without a word nothing begins, and nothing is taken for an answer.
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#teach-panel").isVisible(), false);
  await ranked(page, () => draw(page, LINE));
  await page.locator(".hit button").first().click();
  await page.locator("#viewer-right").click();
  assert.equal(await isAsked(page), true);
  await page.locator('[data-closes="no"]').click();
  await page.locator("#viewer-right").waitFor({ state: "hidden" });
  await page.keyboard.press("Escape");
  // Asked once: the next photo has no such button.
  await page.locator(".hit button").nth(1).click();
  assert.equal(await page.locator("#viewer-like").isVisible(), true);
  assert.equal(await page.locator("#viewer-right").isVisible(), false);
  assert.equal(await nKept(), 0);
  await close();
});

test("a photo is shown, hidden, and drawn from memory", async () => {
  const { page, close } = await open(browser);
  const queries = [];
  page.on("request", (request) => request.url().includes("/query") && queries.push(request.url()));
  await page.locator("#teach").click();
  await page.locator('[data-closes="yes"]').click();
  await page.locator("#teach-photo").waitFor();
  const shown = await page.locator("#teach-photo").getAttribute("src");
  await page.waitForFunction(() => document.querySelector("#teach-photo").naturalWidth > 0);
  assert.equal(await page.locator("#ranking").isVisible(), false);
  // As long as the photo is seen nothing is drawn.
  await draw(page, OTHER);
  assert.equal(await page.locator("#undo").isDisabled(), true);
  await page.locator("#teach-next").click();
  assert.equal(await page.locator("#teach-photo").isVisible(), false);
  assert.equal(await page.locator("#teach-photo").getAttribute("src"), null);
  assert.equal(await page.locator("#teach-next").isDisabled(), true);
  await draw(page, LINE);
  await draw(page, OTHER);
  await page.waitForTimeout(400);
  assert.deepEqual(queries, [], "nothing is searched that would show the photo");
  await page.locator("#teach-next").click();
  await page.waitForFunction(() => document.querySelector("#teach-words").textContent.startsWith("Kept"));
  assert.equal(await page.locator("#teach-photo").getAttribute("src"), shown);
  assert.equal(await nKept(), 1);
  // Another photo, which is passed over; then the page is one for searching again.
  await page.locator("#teach-next").click();
  await page.waitForFunction((last) => (document.querySelector("#teach-photo").getAttribute("src") ?? last) !== last, shown);
  await page.locator("#teach-skip").click();
  await page.locator("#teach-end").click();
  assert.equal(await page.locator("#teach-panel").isVisible(), false);
  assert.equal((await ranked(page, () => draw(page, LINE))).length, 4);
  // Who has agreed is not asked again, and may take it back.
  await page.reload();
  await page.waitForFunction(() => document.querySelector("#gallery").textContent.includes("photos"));
  await page.locator("#teach").click();
  await page.locator("#teach-photo").waitFor();
  await page.locator("#teach-no-more").click();
  await page.locator("#teach").click();
  assert.equal(await isAsked(page), true);
  assert.equal(await nKept(), 1);
  await close();
});

test("a hit is said to be the one that was drawn", async () => {
  const { page, close } = await open(browser, {}, ["404"]);
  await ranked(page, () => draw(page, OTHER));
  for (const id of ["blue.png", "red.png"]) {
    const before = await nKept();
    await page.locator(`.hit[data-id="${id}"] button`).click();
    await page.locator("#viewer-right").click();
    if (id === "blue.png") {
      await page.locator('[data-closes="yes"]').click();
    }
    await page.waitForFunction(() => document.querySelector("#viewer-right").textContent.startsWith("Kept"));
    assert.equal(await page.locator("#viewer-right").isDisabled(), true);
    assert.equal(await nKept(), before + 1);
    await page.keyboard.press("Escape");
  }
  // A photo is no drawing.
  await page.locator(".hit button").first().click();
  await ranked(page, () => page.locator("#viewer-like").click());
  await page.locator(".hit button").first().click();
  assert.equal(await page.locator("#viewer-right").isVisible(), false);
  await page.keyboard.press("Escape");
  // Where it cannot be kept the page says why.
  await ranked(page, () => page.locator("#undo").click());
  await page.route("**/api/v1/teach/*", (route) =>
    route.fulfill({ status: 404, contentType: "application/problem+json", body: '{"detail": "the photo is gone"}' }),
  );
  await page.locator(`.hit[data-id="${(await ids(page))[0]}"] button`).click();
  await page.locator("#viewer-right").click();
  await page.waitForFunction(() => document.querySelector("#status").textContent === "the photo is gone");
  assert.equal(await page.locator("#viewer").evaluate((dialog) => dialog.open), false);
  await close();
});

test("teaching is read, reached and tapped as the rest is", async () => {
  for (const [options, colorScheme] of [[{}, "light"], [PHONE, "dark"]]) {
    const { page, close } = await open(browser, { ...options, colorScheme });
    const isFine = async (where) => {
      assert.deepEqual((await hardToRead(page)).found, [], `${where}, ${colorScheme}`);
      assert.deepEqual(await sticksOut(page), [], where);
    };
    await page.locator("#teach").focus();
    await page.keyboard.press("Enter");
    await isFine("the question");
    // What is chosen already is to keep nothing.
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await page.locator("#teach-photo").waitFor();
    await isFine("the photo");
    assert.equal(await page.evaluate(() => document.activeElement.id), "teach-next");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "pad");
    await isFine("the drawing");
    await page.keyboard.press("Space");
    await page.keyboard.press("Shift+ArrowDown");
    await page.keyboard.press("Shift+ArrowRight");
    await page.keyboard.press("Space");
    await page.waitForFunction(() => !document.querySelector("#teach-next").disabled);
    await (options === PHONE ? page.locator("#teach-end").tap() : page.locator("#teach-end").click());
    assert.equal(await page.evaluate(() => document.activeElement.id), "teach");
    await close();
  }
});
