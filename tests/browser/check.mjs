// Opens each page in Chromium, on a phone, a tablet and a desktop, in dark and in light, and prints
// as one JSON what it saw: what was loaded, what was logged, what axe finds, what does not fit.
//
//   node check.mjs [--shots FOLDER] FILE...
//
// playwright-core 1.61 is the last that runs on Node 18, which is what Debian 12 brings.

import { readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { chromium } from "playwright-core";

const WIDTHS = [360, 768, 1280];
const SCHEMES = ["light", "dark"];
const RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

function parse(words) {
  const files = [...words];
  const at = files.indexOf("--shots");
  const shots = at < 0 ? null : files.splice(at, 2)[1];
  if (files.length === 0) throw new Error("usage: node check.mjs [--shots FOLDER] FILE...");
  return { files, shots };
}

// Runs in the page.
function look() {
  const root = document.documentElement;
  const right = (element) => element.getBoundingClientRect().right;
  const spilled = [...document.querySelectorAll("svg text")].filter(
    (text) => right(text) > right(text.ownerSVGElement) + 1,
  );
  return {
    spilled: spilled.map((text) => text.textContent),
    background: getComputedStyle(document.body).backgroundColor,
    overflow: Math.max(root.scrollWidth, document.body.scrollWidth) - root.clientWidth,
    images: [...document.images].map((image) => [image.naturalWidth, image.naturalHeight]),
    title: document.title,
  };
}

function listen(page, own, seen) {
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.console.push(message.text());
  });
  page.on("pageerror", (error) => seen.console.push(String(error)));
  return page.route("**/*", (route) => {
    const url = route.request().url();
    if (url === own || url.startsWith("data:")) return route.continue();
    seen.foreign.push(url);
    return route.abort();
  });
}

async function visit(browser, file, width, scheme, shots) {
  const own = pathToFileURL(resolve(file)).href;
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    reducedMotion: "reduce",
  });
  const seen = { file, width, scheme, console: [], foreign: [] };
  const page = await context.newPage();
  await listen(page, own, seen);
  await page.goto(own, { waitUntil: "load" });
  Object.assign(seen, await page.evaluate(look));
  if (shots) {
    const name = `${basename(file, ".html")}-${width}-${scheme}.png`;
    await page.screenshot({ path: join(shots, name), fullPage: true });
  }
  await page.evaluate(axe);
  const found = await page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules }), RULES);
  seen.passed = found.passes.length;
  seen.violations = found.violations.map(({ id, impact, nodes }) => ({
    id,
    impact,
    where: nodes.map((node) => node.target.join(" ")),
  }));
  await context.close();
  return seen;
}

const { files, shots } = parse(process.argv.slice(2));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  headless: true,
  // Chromium does not start for root with its own sandbox on.
  args: [...(process.getuid() === 0 ? ["--no-sandbox"] : []), "--disable-dev-shm-usage"],
});
const views = [];
try {
  for (const file of files)
    for (const scheme of SCHEMES)
      for (const width of WIDTHS) views.push(await visit(browser, file, width, scheme, shots));
} finally {
  await browser.close();
}
console.log(JSON.stringify({ chromium: browser.version(), views }, null, 1));
