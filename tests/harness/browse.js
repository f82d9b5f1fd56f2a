"use strict";
// Drives Chromium by Playwright: a step a line of JSON on standard input, an answer a line on standard output.
//   node browse.js NODE_MODULES CHROMIUM WIDTH HEIGHT dark|light
const readline = require("readline");
const [modules, chromium, width, height, scheme] = process.argv.slice(2);
const playwright = require(`${modules}/playwright-core`);
const axe = require.resolve(`${modules}/axe-core/axe.min.js`);

async function main() {
  const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
  const context = await browser.newContext({ viewport: { width: Number(width), height: Number(height) }, colorScheme: scheme, locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce" });
  const page = await context.newPage();
  const heard = { errors: [], requests: [], slow: [] };
  page.setDefaultTimeout(20000);
  page.on("pageerror", (e) => heard.errors.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error" && !/the server responded with a status of/.test(m.text())) heard.errors.push(m.text()); });
  page.on("request", (r) => heard.requests.push(r.url()));
  page.on("requestfinished", (r) => { if (!r.url().endsWith("/live")) heard.slow.push([new URL(r.url()).pathname, r.timing().responseEnd]); });
  const steps = {
    open: (url) => page.goto(url),
    click: (selector) => page.click(selector),
    fill: (selector, text) => page.fill(selector, text),
    choose: (selector, value) => page.selectOption(selector, value),
    press: (key) => page.keyboard.press(key),
    wait: (selector, state) => page.waitForSelector(selector, { state: state || "visible" }),
    hear: (selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor({ state: "attached" }),
    text: (selector) => page.innerText(selector),
    evaluate: (code) => page.evaluate(code),
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
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [step, ...args] = JSON.parse(line);
    try {
      const value = await steps[step](...args);
      console.log(JSON.stringify({ value: value === undefined || typeof value?.request === "function" || step === "wait" || step === "hear" || step === "shot" ? null : value }));
    } catch (e) {
      console.log(JSON.stringify({ error: `${step} ${args.join(" ")}: ${e.message}` }));
    }
  }
  await browser.close();
}
main().catch((e) => { console.log(JSON.stringify({ error: String(e) })); process.exit(1); });
