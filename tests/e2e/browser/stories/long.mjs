// A grant with more records than its page shows, and a session with more than its own: each shows the newest end, and leads to the rest.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/grants");
  await admin.getByRole("link", { name: "revoked" }).click();
  await admin.getByText("The newest 500 are shown; there are older ones.").waitFor();
  const kinds = () => admin.locator("tr[data-entry] td:nth-child(3)").allTextContents();
  const of = await kinds();
  assert.equal(of.length, 500);
  // Whoever looks leaves a record, too.
  assert.equal(of.slice(-3).filter((kind) => kind !== "admin.called").at(-1), "grant.revoked", "what happened last is there, in order");
  await admin.getByText("enough of it").first().waitFor();
  await world.shot(admin, "grant-long");

  // The rest is in the ledger, and leads from there to the session.
  await admin.getByRole("link", { name: "All of them, in the ledger" }).click();
  await admin.waitForURL(/\/console\/ledger\?grant=grant-[0-9a-f]{32}$/);
  assert.ok((await kinds()).includes("grant.revoked"));
  await admin.getByLabel("Order").selectOption("oldest");
  await admin.getByRole("button", { name: "Search" }).click();
  await admin.waitForURL(/order=oldest/);
  const oldest = await kinds();
  assert.ok(oldest.includes("session.opened") && !oldest.includes("grant.revoked"), oldest.join());
  await admin.locator("tr[data-entry]").filter({ hasText: "session.opened" }).getByRole("link").click();
  await admin.locator("a[href^='/console/sessions/sess-']").click();
  await admin.getByText("The newest 100 are shown; there are older ones.").waitFor();
  const its = await kinds();
  assert.ok(its.length === 100 && its.slice(-3).includes("session.closed"), its.slice(-3).join());
  await admin.getByRole("link", { name: "All of them, in the ledger" }).click();
  await admin.waitForURL(/\/console\/ledger\?session=sess-[0-9a-f]{32}$/);
}
