// A workflow wants approvals signed: an admin makes a passkey in the page and signs with it, in the browser's own virtual authenticator.
import assert from "node:assert/strict";

export default async function (world) {
  const admin = await world.person();
  const authenticators = await admin.context().newCDPSession(admin);
  await authenticators.send("WebAuthn.enable");
  const { authenticatorId } = await authenticators.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await world.signIn(admin, "admin", "/console/requests");
  const visitor = await world.person();
  await world.enter(visitor, "visitor", "demo", "/");
  await world.ask(visitor, "to look at it");

  // Without a passkey the page says what is missing, and so does the gateway.
  const card = admin.locator(".card");
  await card.getByText("must be signed").waitFor();
  await card.getByRole("button", { name: "Approve", exact: false }).click();
  await admin.getByText("signature-needed").waitFor();

  // It is made on its own page; an authenticator that doesn't know its user is refused by the browser.
  await admin.goto(`${world.gateway}/console/passkeys`);
  await admin.getByText("You have none yet").waitFor();
  await authenticators.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await admin.getByRole("button", { name: "Make a passkey" }).click();
  await admin.getByRole("alert").filter({ hasText: "gave no answer" }).waitFor();
  await authenticators.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await admin.getByRole("button", { name: "Make a passkey" }).click();
  await admin.getByRole("cell", { name: "ES256" }).waitFor();
  const { credentials } = await authenticators.send("WebAuthn.getCredentials", { authenticatorId });
  assert.equal(credentials.length, 1);
  assert.ok(!Buffer.from(credentials[0].userHandle, "base64").toString("latin1").includes("admin"), "the authenticator isn't told a name as its key");
  await world.shot(admin, "passkeys");
  // Once is enough.
  await admin.getByRole("button", { name: "Make a passkey" }).click();
  await admin.getByRole("alert").filter({ hasText: "holds a passkey of yours already" }).waitFor();

  // Signed from the keyboard, for less time than was asked.
  await admin.keyboard.press("g");
  await admin.keyboard.press("r");
  await card.getByRole("button", { name: "Sign and approve" }).waitFor();
  await world.shot(admin, "requests-sign");
  await admin.keyboard.press("j");
  await admin.keyboard.press("Tab");
  await admin.keyboard.press("Control+A");
  await admin.keyboard.type("5");
  await admin.keyboard.press("Escape");
  await admin.keyboard.press("a");
  await admin.getByText("granted as grant-").first().waitFor();
  await visitor.getByText("You are through").waitFor();

  // Revoked by its owner: there is nothing to sign with any more.
  await admin.goto(`${world.gateway}/console/passkeys`);
  await admin.getByText("Revoke", { exact: true }).click();
  await admin.getByLabel("Why?").fill("lost <b>it</b>");
  await admin.getByRole("button", { name: "Revoke it now" }).click();
  await admin.locator(".state.revoked").waitFor();
}
