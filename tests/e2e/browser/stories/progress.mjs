// A pack of a longer ledger: while the ledger is verified and read, the page says how far that is; then the pack can be saved.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/reports");
  await admin.getByRole("button", { name: "Make a pack" }).click();
  const row = admin.locator("tr[data-entry]");
  await row.waitFor();
  const seen = [];
  while (!(await row.getByRole("link", { name: "Save" }).count())) {
    const says = (await row.innerText()).replace(/\s+/g, " ");
    assert.ok(!says.includes("failed"), says);
    const step = /making (.*?)(?:: (\d+) %)? \d+ \d+/.exec(says);
    assert.ok(step, says);
    seen.push([step[1], Number(step[2] ?? 0)]);
    assert.ok(seen.length < 2000, "the pack is never made");
    await admin.reload();
  }
  const steps = [...new Set(seen.map(([step]) => step))];
  assert.equal(steps[0], "verifying the ledger", steps.join());
  for (const step of steps) {
    const shares = seen.filter(([one]) => one === step).map(([, share]) => share);
    assert.deepEqual(shares, [...shares].sort((a, b) => a - b), `${step} never goes back`);
  }
  assert.ok(seen.some(([, share]) => share > 0 && share < 100), `how far it is, seen on the way: ${JSON.stringify(seen)}`);

  // Verified again, on its own page: how far that is moves without a reload.
  await admin.goto(`${world.gateway}/console/ledger`);
  const scrub = admin.locator("#scrub");
  await admin.getByRole("button", { name: "Verify it all now" }).click();
  await scrub.locator("progress").waitFor();
  const first = Number(await scrub.locator("progress").getAttribute("value"));
  assert.equal(await scrub.getByRole("button").count(), 0, "not twice at a time");
  // A busy machine may tell of it but once.
  await admin.waitForFunction((first) => Number(document.querySelector("#scrub progress")?.getAttribute("value") ?? 100) > first, first);
  await scrub.getByText(/scrubbed at \d{4}-.*: \d+ records of the journal are as they were signed/).waitFor();
}
