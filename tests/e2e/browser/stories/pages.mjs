// Every other page: it opens, says what it should, passes axe-core, and its orders do what the API's do.
import assert from "node:assert/strict";

/** What signing in and the first page cost a browser that was never here. */
async function weight(world) {
  const page = await world.person();
  const sizes = [];
  page.on("response", (answer) => {
    // The stream that keeps the page up to date has no end; a redirect has no body.
    if (answer.url().includes("/live")) return;
    sizes.push(answer.body().then((body) => body.length, () => 0));
  });
  await world.signIn(page, "admin");
  await page.getByText("Nothing waits for you").waitFor();
  await page.waitForLoadState("load");
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

export default async function (world) {
  const bytes = await weight(world);
  assert.ok(bytes > 10_000 && bytes < 100 * 1024, `the first page costs ${bytes} bytes, uncompressed`);

  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/health");
  await admin.getByText("new sessions are served").waitFor();
  await admin.getByRole("cell", { name: "token-signing", exact: true }).waitFor();
  assert.ok(!(await admin.content()).includes("passphrase ="), "no secret");
  const ledger = (await admin.locator("section[aria-labelledby=ledger]").innerText()).replace(/\s+/g, " ");
  assert.match(ledger, /records \d+ bytes of the journal \d+ \(.*B\) last checkpoint \d+ records, root [0-9a-f]{64} damaged false read again /);
  await admin.getByText(/settings, without what is secret/).click();
  await world.accessible(admin);
  await admin.getByText(/settings, without what is secret/).click();
  await admin.evaluate(() => scrollTo(0, 0));
  await world.shot(admin, "health");

  // On a phone the row of pages scrolls to the one that is shown.
  const view = admin.viewportSize();
  await admin.setViewportSize({ width: 390, height: 844 });
  await admin.reload();
  await admin.waitForFunction(() => {
    const here = document.querySelector("nav a[aria-current]").getBoundingClientRect();
    return here.left >= 0 && here.right <= innerWidth;
  });
  await admin.setViewportSize(view);

  await admin.goto(`${world.gateway}/console/policy`);
  await admin.getByLabel("Who", { exact: true }).fill("user:visitor");
  await admin.getByLabel("Object", { exact: true }).fill("tunnel:demo");
  await admin.getByRole("button", { name: "Ask", exact: true }).click();
  await admin.locator(".state.needs-approval").waitFor();
  await admin.locator(".note code", { hasText: "owner-approves" }).waitFor();
  await world.shot(admin, "policy");
  await admin.getByRole("button", { name: /Compare the files/ }).click();
  await admin.getByText("user:newcomer").first().waitFor();
  await world.accessible(admin);
  await admin.getByRole("button", { name: "Load them" }).click();
  await admin.getByRole("cell", { name: "user:newcomer" }).waitFor();

  await admin.goto(`${world.gateway}/console/reviews`);
  await admin.getByLabel("Who reviews").selectOption("role:admin");
  await admin.getByRole("button", { name: "Begin" }).click();
  const item = admin.locator(".card").filter({ hasText: "user:visitor" }).first();
  await item.getByLabel("Why?").fill("still a visitor");
  await item.getByRole("button", { name: "Keep" }).click();
  await admin.getByText("still a visitor").waitFor();
  await world.shot(admin, "review");
  await admin.goto(`${world.gateway}/console/reviews`);
  await world.shot(admin, "reviews");
  await admin.getByRole("link", { name: /^review-/ }).click();
  await admin.getByRole("button", { name: "Close it now" }).click();
  await admin.getByRole("button", { name: "Close it now" }).waitFor({ state: "detached" });
  await admin.getByText("Nobody decided.").first().waitFor();
  await admin.getByText(/^closed · begun/).waitFor();
  await world.accessible(admin);

  await admin.goto(`${world.gateway}/console/reports`);
  await admin.getByRole("button", { name: "Make a pack" }).click();
  const save = admin.getByRole("link", { name: "Save" });
  for (let tries = 0; !(await save.count()); tries++) {
    assert.ok(tries < 200, "the pack is never made");
    await admin.reload();
  }
  await world.shot(admin, "reports");
  const kept = admin.waitForEvent("download");
  await save.first().click();
  assert.match((await kept).suggestedFilename(), /\.zip$/);
  await admin.locator("summary", { hasText: "Delete" }).click();
  await world.accessible(admin);
  await admin.getByLabel("Why?").fill("kept <i>elsewhere</i>");
  await admin.getByRole("button", { name: "Delete" }).click();
  await admin.getByText("None yet.").waitFor();
  await admin.getByText("No pack is made by itself.").waitFor();
  for (const framework of ["soc2", "hipaa"]) await admin.getByRole("checkbox", { name: framework }).check();
  await admin.getByLabel("Why these?").fill("the <b>auditors</b> come in spring");
  await admin.getByRole("button", { name: "Decide" }).click();
  await admin.getByText("A pack is made of soc2, hipaa, the next from").waitFor();
  assert.ok(await admin.getByRole("checkbox", { name: "hipaa" }).isChecked());
  await world.accessible(admin);

  // What there isn't is said on a page, too.
  await admin.goto(`${world.gateway}/console/ledger/999999999`);
  await admin.getByText("unknown-id").waitFor();
  await world.accessible(admin);

  // Pages lead to each other by two keys.
  await admin.keyboard.press("g");
  await admin.keyboard.press("l");
  await admin.waitForURL(/\/console\/ledger$/);
  await admin.keyboard.press("?");
  await admin.getByRole("heading", { name: "Keyboard" }).waitFor();
  await world.shot(admin, "keyboard");
}
