// An evaluation's page in a browser, as somebody opens the file: it reaches for nothing, logs nothing and is no wider than
// its window. Arguments: the page's file, and a folder for a picture of each window, `<width>.png`. Prints the text.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

import { launch } from "../../serve/web/tests/browser.mjs";

const [file, pictures] = process.argv.slice(2);
const address = pathToFileURL(file).href;

const browser = await launch();
let text = "";
for (const width of [1000, 500]) {
  const page = await browser.newPage({ viewport: { width, height: 1400 } });
  const complaints = [];
  page.on("request", (request) => {
    if (request.url() !== address && !request.url().startsWith("data:")) {
      complaints.push(`a request to ${request.url()}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => complaints.push(message.text()));
  await page.goto(address);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, "nothing sticks out");
  await page.screenshot({ path: `${pictures}/${width}.png` });
  text = await page.locator("body").innerText();
  await page.close();
  assert.deepEqual(complaints, []);
}
await browser.close();
console.log(text);
