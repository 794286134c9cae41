// The page of an evidence pack as a stranger opens it: from a file, with no gateway behind it. It asks for nothing else, has
// every table that it names, says what the report says, is accessible, and prints.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";

export default async function story(world) {
  const pack = `${process.env.HOME}/pack`;
  const report = JSON.parse(readFileSync(`${pack}/report.json`, "utf8"));
  const place = pathToFileURL(`${pack}/report.html`).href;
  const page = await world.person();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(place);
  await page.getByRole("heading", { name: "To be explained" }).waitFor();
  assert.deepEqual(asked, [place], "a page that needs nothing else");

  const there = (ids) => page.evaluate((ids) => ids.filter((id) => !document.getElementById(id)), ids);
  const links = await page.locator("nav a").evaluateAll((all) => all.map((link) => link.getAttribute("href").slice(1)));
  const sheets = report.sheets.map((sheet) => `sheet-${sheet.id}`);
  assert.deepEqual(links, ["summary", ...sheets]);
  assert.deepEqual(await there([...links, "cryptography", ...report.controls.map((control) => control.id)]), []);
  for (const sheet of report.sheets.filter((sheet) => sheet.rows.length > 0)) {
    const section = page.locator(`#sheet-${sheet.id}`);
    assert.deepEqual(await section.locator("thead th").allTextContents(), sheet.columns, sheet.id);
    const rows = await section.locator("tr").count();
    assert.equal(rows - 1, Math.min(sheet.rows.length, 200), sheet.id);
  }
  assert.ok((await page.locator(".chart svg").count()) > 0, "there is something to look at");
  const figures = await page.locator(".first .figures strong").allTextContents();
  const inState = (state) => report.controls.filter((control) => control.state.state === state).length;
  assert.deepEqual(figures.slice(0, 4).map(Number), [
    report.population.count, inState("evidence"), inState("exceptions"), inState("not_evaluated"),
  ]);

  await world.accessible(page);
  if (world.shots) await page.screenshot({ path: `${world.shots}/report.png` });
  const pdf = await page.pdf({ preferCSSPageSize: true });
  if (world.shots) writeFileSync(`${world.shots}/report.pdf`, pdf);
  const text = pdf.toString("latin1");
  assert.ok(text.startsWith("%PDF-"));
  const pages = text.match(/\/Type\s*\/Page\b(?!s)/g) ?? [];
  assert.ok(pages.length > 5, `${pages.length} pages`);
  assert.ok(/\/MediaBox\s*\[0 0 84[12][\d.]* 59[45][\d.]*\]/.test(text), "broad tables are printed across");
}
