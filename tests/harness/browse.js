"use strict";
// Drives Chromium by Playwright: a step a line of JSON on standard input, an answer a line on standard output.
//   node browse.js NODE_MODULES CHROMIUM
// A line is [visitor, step, arguments...]. `begin` WIDTH HEIGHT dark|light makes a visitor who was never here before, with one page;
// `end` lets it go.
const readline = require("readline");
const [modules, chromium] = process.argv.slice(2);
const playwright = require(`${modules}/playwright-core`);
const axe = require.resolve(`${modules}/axe-core/axe.min.js`);
const visitors = new Map();

async function begin(browser, width, height, scheme) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce" });
  const page = await context.newPage();
  const heard = { errors: [], requests: [], slow: [] };
  page.setDefaultTimeout(20000);
  page.on("pageerror", (e) => heard.errors.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error" && !/the server responded with a status of/.test(m.text())) heard.errors.push(m.text()); });
  page.on("request", (r) => heard.requests.push(r.url()));
  page.on("requestfinished", (r) => { if (!r.url().endsWith("/live")) heard.slow.push([new URL(r.url()).pathname, r.timing().responseEnd]); });
  return {
    open: (url) => page.goto(url),
    click: (selector) => page.click(selector),
    fill: (selector, text) => page.fill(selector, text),
    choose: (selector, value) => page.selectOption(selector, value),
    press: (key) => page.keyboard.press(key),
    wait: (selector, state) => page.waitForSelector(selector, { state: state || "visible" }),
    hear: (selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor({ state: "attached" }),
    text: (selector) => page.innerText(selector),
    evaluate: (code) => page.evaluate(code),
    upload: (selector, file) => page.setInputFiles(selector, file),
    download: async (selector) => {
      const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
      return [file.suggestedFilename(), require("fs").readFileSync(await file.path(), "utf8")];
    },
    shot: (file, full) => page.screenshot({ path: file, fullPage: full !== false }),
    axe: async () => {
      // As a script of the page's own world it would be refused by the page's policy, which is what the policy is for.
      const source = require("fs").readFileSync(axe, "utf8");
      const cdp = await context.newCDPSession(page);
      await cdp.send("Runtime.evaluate", { expression: source });
      const said = await cdp.send("Runtime.evaluate", { expression: "axe.run(document).then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 200) + ' ' + (n.any[0]?.message || '')).slice(0, 4)])))", awaitPromise: true, returnByValue: true });
      return JSON.parse(said.result.value);
    },
    heard: async () => heard,
    forgive: async () => { heard.errors.length = 0; },
    end: () => context.close(),
  };
}

async function take(browser, visitor, step, args) {
  if (step === "begin")
    visitors.set(visitor, await begin(browser, ...args));
  else
    return visitors.get(visitor)[step](...args);
  return undefined;
}

async function main() {
  const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [visitor, step, ...args] = JSON.parse(line);
    try {
      const value = await take(browser, visitor, step, args);
      console.log(JSON.stringify({ value: value === undefined || typeof value?.request === "function" || step === "wait" || step === "hear" || step === "shot" ? null : value }));
    } catch (e) {
      console.log(JSON.stringify({ error: `${step} ${args.join(" ")}: ${e.message}` }));
    }
  }
  await browser.close();
}
main().catch((e) => { console.log(JSON.stringify({ error: String(e) })); process.exit(1); });
