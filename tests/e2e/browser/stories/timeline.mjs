// A tunnel's own page: up, away, back, down, each with who and why; it is reached from the page of sessions.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/sessions");
  await admin.getByRole("link", { name: "open-demo", exact: true }).first().waitFor();
  await admin.locator("#sessions table").getByRole("link", { name: "open-demo", exact: true }).click();
  await admin.getByRole("heading", { name: "Tunnel open-demo" }).waitFor();
  const states = await admin.locator(".timeline .state").allTextContents();
  assert.deepEqual(states, ["up", "down", "back", "away", "up"], "the newest first");
  const lines = (await admin.locator(".timeline li").allTextContents()).map((line) => line.replace(/\s+/g, " "));
  assert.match(lines[3], /UTC away user:publisher: .*heartbeat/, lines[3]);
  assert.match(lines[1], /UTC down user:publisher: ./, lines[1]);
  await world.shot(admin, "timeline");
  await admin.locator(".timeline a").nth(3).click();
  await admin.getByRole("heading", { name: /^Record \d+: tunnel.lost/ }).waitFor();

  const status = async (person, name) => (await person.request.get(`${world.gateway}/console/sessions/tunnel/${name}`)).status();
  assert.equal(await status(admin, "never-there"), 404);
  assert.equal(await status(admin, "No.Name"), 422);
  const visitor = await world.person();
  await world.signIn(visitor, "visitor");
  assert.equal(await status(visitor, "open-demo"), 403, "whoever may not read what happened on it does not");
}
