// Every other page: it opens, says what it should, passes axe-core, and its orders do what the API's do.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/health");
  await admin.getByText("new sessions are served").waitFor();
  await admin.getByRole("cell", { name: "token-signing", exact: true }).waitFor();
  assert.ok(!(await admin.content()).includes("passphrase ="), "no secret");
  await admin.getByText(/settings, without what is secret/).click();
  await world.shot(admin, "health");

  await admin.goto(`${world.gateway}/console/policy`);
  await admin.getByLabel("Who", { exact: true }).fill("user:visitor");
  await admin.getByLabel("Object", { exact: true }).fill("tunnel:demo");
  await admin.getByRole("button", { name: "Ask", exact: true }).click();
  await admin.locator(".state.needs-approval").waitFor();
  await admin.locator(".note code", { hasText: "owner-approves" }).waitFor();
  await world.shot(admin, "policy");
  await admin.getByRole("button", { name: /Compare the files/ }).click();
  await admin.getByText("user:newcomer").first().waitFor();
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

  await admin.goto(`${world.gateway}/console/reports`);
  await world.shot(admin, "reports");
  const kept = admin.waitForEvent("download");
  await admin.getByRole("button", { name: "Make it" }).click();
  assert.match((await kept).suggestedFilename(), /^soc2-.*\.html$/);
  const json = await admin.request.get(`${world.gateway}/console/reports/make?framework=iso27001&from=2026-01-01&to=2036-01-01&form=json`);
  assert.equal((await json.json()).framework, "iso27001");
  const unknown = await admin.request.get(`${world.gateway}/console/reports/make?framework=none&from=2026-01-01&to=2036-01-01&form=json`);
  assert.equal(unknown.status(), 422);

  // Pages lead to each other by two keys.
  await admin.keyboard.press("g");
  await admin.keyboard.press("l");
  await admin.waitForURL(/\/console\/ledger/);
  await admin.keyboard.press("?");
  await admin.getByRole("heading", { name: "Keyboard" }).waitFor();
  await world.shot(admin, "keyboard");
}
