// Somebody asks from a network that they never asked from before: the approver is told, and decides all the same.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin");
  const card = admin.locator(".card").filter({ hasText: "from the train" });
  await card.getByText("unusual network: none of their earlier requests came from there").waitFor();
  await world.shot(admin, "request-network");
  await card.getByLabel("Why not?").fill("ask from the office");
  await card.getByRole("button", { name: "Deny" }).click();
  await admin.getByText("denied by user:admin: ask from the office").first().waitFor();
}
