// The ledger's key is replaced while the gateway serves: a page that is opened then names the new one, and its proof is good.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/ledger/1");
  const [key, verdict] = [admin.locator("#key"), admin.locator("#verdict")];
  await admin.locator("#verdict.good").waitFor();
  const before = await key.inputValue();

  await admin.goto(`${world.gateway}/console/health`);
  await admin.getByText("Replace a key").click();
  await world.shot(admin, "health-keys");
  await admin.getByLabel("ledger: why?").fill("it is <b>time</b>");
  await admin.getByRole("button", { name: "Replace ledger" }).click();
  // The page answers when it is done, and has its list of keys closed again.
  await admin.locator("details[open]").waitFor({ state: "detached" });
  await admin.getByRole("heading", { name: "Keys and health" }).waitFor();

  await admin.goto(`${world.gateway}/console/ledger/1`);
  await admin.locator("#verdict.good, #verdict.bad").waitFor();
  assert.match(await verdict.textContent(), /^Good: record 1/);
  const now = await key.inputValue();
  assert.notEqual(now, before);

  // Who holds the old one is told that it is another than the gateway's, and goes on with what they are given.
  await key.fill(before);
  await admin.getByRole("button", { name: "Check", exact: true }).click();
  await admin.locator("#verdict.bad").waitFor();
  await admin.reload();
  await admin.locator("#verdict.bad").waitFor();
  assert.match(await verdict.textContent(), /the one that this browser has kept, and the gateway names another/);
  assert.equal(await key.inputValue(), before);
  await key.fill(now);
  await admin.getByRole("button", { name: "Check", exact: true }).click();
  await admin.locator("#verdict.good").waitFor();
}
