// Two witnesses cosign, a third is away: the ledger's page says so of each, and lists the heads that they were shown.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/ledger");
  const witnesses = admin.getByRole("region", { name: "Witnesses" });
  const row = async (name) => (await witnesses.getByRole("row").filter({ hasText: name }).innerText()).replace(/\s+/g, " ");
  for (const name of ["w1", "w2"]) assert.match(await row(name), new RegExp(`^${name} \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC \\d+ \\d+`));
  assert.match(await row("w3"), /^w3 never – – ./, "and why");
  const heads = admin.getByRole("region", { name: "Earlier heads" });
  const first = (await heads.getByRole("row").nth(1).innerText()).replace(/\s+/g, " ");
  assert.match(first, /^\d+ \d{4}-\d\d-\d\d \d\d:\d\d UTC cosigned by w1, w2; not by w3 [0-9a-f]{64}$/);
  await world.shot(admin, "witnesses");
  await heads.getByRole("link").first().click();
  await admin.getByRole("heading", { name: /^Record \d+: ledger.witnessed/ }).waitFor();
}
