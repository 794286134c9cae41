// The policy is changed by two people: one compares and proposes, the other sees the same and approves exactly that.
import assert from "node:assert/strict";

export default async function (world) {
  const [one, other] = [await world.person(), await world.person()];
  await world.signIn(one, "admin", "/console/policy");
  await world.signIn(other, "rival", "/console/policy");
  await one.getByRole("button", { name: /Compare the files/ }).click();
  await one.getByText("user:newcomer").first().waitFor();
  assert.equal(await one.getByRole("button", { name: "Load them" }).count(), 0, "nobody loads them alone");
  await world.accessible(one);
  await one.getByLabel("Why?").fill("a <b>new</b> colleague");
  await one.getByRole("button", { name: "Propose them" }).click();
  await one.getByRole("heading", { name: "Waits for a second person" }).waitFor();

  // Whoever proposed it is no second person.
  await one.getByRole("button", { name: "Approve and put in force" }).click();
  await one.getByText("own-proposal").waitFor();

  await other.reload();
  await other.getByText("user:admin: a <b>new</b> colleague").waitFor();
  await other.getByRole("region", { name: "Who gains or loses what" }).getByText("user:newcomer").first().waitFor();
  await world.shot(other, "policy-second-person");
  await other.getByLabel("Note").fill("as agreed");
  await other.getByRole("button", { name: "Approve and put in force" }).click();
  await other.getByRole("heading", { name: "Waits for a second person" }).waitFor({ state: "detached" });
  await other.getByRole("cell", { name: "user:newcomer" }).waitFor();
}
