// A visitor asks, an admin who never touches the mouse approves, the visitor's page goes on. Reasons are full of markup.
import assert from "node:assert/strict";

const MARKUP = `<img src=x onerror=alert(1)><script>alert(2)</script>"'><b>bold</b>`;

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/requests?done=<script>");
  await admin.goto(`${world.gateway}/console/`);
  await admin.getByText("Nothing waits for you").waitFor();
  await world.shot(admin, "requests-empty");

  const visitor = await world.person();
  await world.enter(visitor, "visitor", "demo", "/headers?deep=1&more=2");
  await world.shot(visitor, "visitor-asks");
  await world.ask(visitor, MARKUP);
  // It has no script, and exists to load itself again until there is an answer.
  await world.shot(visitor, "visitor-waits", ["meta-refresh"]);

  // It appears by itself.
  const card = admin.locator(".card");
  await card.waitFor();
  assert.equal(await card.locator("blockquote").textContent(), MARKUP, "a reason is text");
  assert.equal(await card.locator("blockquote *").count(), 0, "and nothing else");
  assert.ok((await card.textContent()).includes("first time on this tunnel"));
  assert.ok((await card.textContent()).includes("1 of role:admin"), "who must agree");
  assert.ok((await card.textContent()).includes("owner-approves"), "the rule that asks");
  await world.shot(admin, "requests");

  // From the keyboard alone, with less time than was asked for.
  await admin.keyboard.press("j");
  await admin.keyboard.press("Tab");
  assert.equal(await admin.evaluate(() => document.activeElement.name), "minutes");
  await admin.keyboard.press("Control+A");
  await admin.keyboard.type("5");
  await admin.keyboard.press("Escape");
  await admin.keyboard.press("a");
  await admin.getByText("granted as grant-").first().waitFor();
  await visitor.getByRole("heading", { name: "Waiting for an approver" }).waitFor({ state: "detached" });
  await visitor.getByText("x-forwarded-for").waitFor();
  assert.equal(visitor.url(), `${world.tunnel("demo")}/headers?deep=1&more=2`, "on to the page that they came for");

  // Another request, denied from the keyboard; the visitor is told why.
  const rival = await world.person();
  await world.enter(rival, "rival", "demo", "/");
  await world.ask(rival, "curious");
  await card.waitFor();
  await admin.keyboard.press("j");
  await admin.keyboard.press("d");
  await admin.keyboard.type("not this <b>week</b>");
  await admin.keyboard.press("Enter");
  await admin.getByText("not this <b>week</b>").first().waitFor();
  await rival.getByText("not this <b>week</b>").waitFor();
  await world.shot(rival, "visitor-denied");

  await admin.getByRole("button", { name: "Sign out" }).click();
  await admin.getByLabel("Your token").waitFor();
  await world.shot(admin, "sign-in");
  await admin.goto(`${world.gateway}/console/requests`);
  await admin.getByLabel("Your token").waitFor();
}
