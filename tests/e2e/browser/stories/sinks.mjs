// Two receivers of the ledger: one that took everything but a record that was too large, one that is away. The page says so of each.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/health");
  const row = (name) => admin.getByRole("row").filter({ has: admin.getByRole("cell", { name, exact: true }) });
  const says = async (name, words) => words.test((await row(name).innerText()).replace(/\s+/g, " "));
  const all = async () =>
    (await says("kept", /file, json connected nothing 1 \d+/)) && (await says("lost", /tcp, rfc5424 away \d+, about .+, the oldest for \d+ s 0 0/));
  for (let tries = 0; !(await all()); tries++) {
    assert.ok(tries < 200, `${await row("kept").innerText()} ${await row("lost").innerText()}`);
    await admin.reload();
  }
  assert.ok(await says("lost", /no connection to 127\.0\.0\.1:1.* since \d{4}-/), await row("lost").innerText());
  assert.ok(!(await says("kept", / since /)), "nothing is wrong with it");
  await world.shot(admin, "health-sinks");

  // What was set aside leads to the record that says which it was.
  await row("kept").getByRole("link", { name: "1" }).click();
  await admin.waitForURL(/kind=sink.quarantined/);
  const kinds = await admin.locator("tr[data-entry] td:nth-child(3)").allTextContents();
  assert.deepEqual(kinds, ["sink.quarantined"]);
}
