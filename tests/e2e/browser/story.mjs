// Runs one story in a headless Chromium: node story.mjs NAME. What it needs to know is in the environment variable STORY, as JSON:
// { gateway, domain, port, tokens: { person: token }, shots: folder or null }. Exits 0 only if the story came out as told,
// no page complained on its console, and nothing opened a dialog.
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const told = JSON.parse(process.env.STORY);
const PATIENCE = 60_000;
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

class World {
  constructor(browser) {
    Object.assign(this, told);
    this.browser = browser;
    this.complaints = [];
  }

  tunnel(name) {
    return `https://${name}.${this.domain}:${this.port}`;
  }

  /** Somebody with a browser of their own. */
  async person(options = {}) {
    const context = await this.browser.newContext({ ignoreHTTPSErrors: true, viewport: DESK, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    this.listen(page);
    return page;
  }

  listen(page) {
    page.on("pageerror", (error) => this.complaints.push(`${page.url()}: ${error}`));
    page.on("dialog", (dialog) => {
      this.complaints.push(`${page.url()}: a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      const expected = /Failed to load resource/.test(message.text());
      if (message.type() === "error" && !expected) this.complaints.push(`${page.url()}: ${message.text()}`);
    });
  }

  /** Signs in to the console by token. */
  async signIn(page, person, path = "/console/") {
    await page.goto(`${this.gateway}${path}`);
    await page.getByLabel("Your token").fill(this.tokens[person]);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL((url) => !url.pathname.startsWith("/console/sign-in"));
  }

  /** Signs in at a tunnel, from the page that says that it is private. */
  async enter(page, person, tunnel, path = "/") {
    await page.goto(`${this.tunnel(tunnel)}${path}`);
    await page.getByRole("link", { name: "Sign in" }).click();
    await page.getByLabel("Your token").fill(this.tokens[person]);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${this.tunnel(tunnel)}/**`);
  }

  /** Asks for leave on the visitor's page. */
  async ask(page, reason, minutes = 30) {
    await page.getByLabel("Why do you need it?").fill(reason);
    await page.getByLabel("For how many minutes?").fill(String(minutes));
    await page.getByRole("button", { name: "Ask for leave" }).click();
    await page.getByRole("heading", { name: "Waiting for an approver" }).waitFor();
  }

  /** Loads a page that does not update itself until it shows a text. */
  async shown(page, text) {
    const until = Date.now() + PATIENCE;
    while (!(await page.getByText(text).count())) {
      assert.ok(Date.now() < until, `${page.url()} never shows ${text}`);
      await page.reload();
    }
  }

  /** No serious fault of accessibility: in the light, in the dark, and at the width of a phone. */
  async accessible(page, except = []) {
    const view = page.viewportSize();
    for (const [colorScheme, size] of [["light", DESK], ["dark", DESK], ["light", PHONE]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(size);
      const violations = await this.violations(page);
      const serious = violations.filter((one) => ["serious", "critical"].includes(one.impact) && !except.includes(one.id));
      const lines = serious.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
      assert.deepEqual(lines, [], `accessibility of ${page.url()} ${colorScheme}, ${size.width} wide`);
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(view);
  }

  /** What axe-core finds. A page that loads itself again meanwhile is looked at again. */
  async violations(page) {
    for (let tries = 0; ; tries++) {
      try {
        // Evaluated by the browser's debugger, not by the page: its policy stays as it is.
        await page.evaluate(axe);
        const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        return found.violations;
      } catch (error) {
        const gone = /context was destroyed|axe is not defined|reading 'run'|navigation/.test(error.message);
        if (!gone || tries > 20) throw error;
        await page.waitForLoadState();
      }
    }
  }

  /** A picture at the width of a desk and of a phone, if pictures are wanted. */
  async shot(page, name, except = []) {
    await this.accessible(page, except);
    if (!this.shots) return;
    const view = page.viewportSize();
    for (const [where, size] of [["desktop", DESK], ["phone", PHONE]]) {
      await page.setViewportSize(size);
      await page.screenshot({ path: `${this.shots}/${name}-${where}.png`, fullPage: where === "phone" });
    }
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize(DESK);
    await page.screenshot({ path: `${this.shots}/${name}-dark.png` });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(view);
  }
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
try {
  const world = new World(browser);
  const { default: story } = await import(`./stories/${process.argv[2]}.mjs`);
  await story(world);
  assert.deepEqual(world.complaints, [], "a page complained");
} catch (error) {
  console.error(error);
  for (const context of browser.contexts()) {
    for (const page of context.pages()) {
      console.error(`--- ${page.url()}\n${await page.evaluate(() => document.body.innerText.slice(0, 3000)).catch(() => "")}`);
    }
  }
  process.exitCode = 1;
} finally {
  await browser.close();
}
