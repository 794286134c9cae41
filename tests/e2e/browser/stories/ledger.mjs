// An auditor looks through the ledger; the browser itself checks a proof, and shows a tampered one broken.
import assert from "node:assert/strict";

export default async function (world) {
  const auditor = await world.person();
  await world.signIn(auditor, "admin", "/console/ledger");
  await auditor.locator("tr[data-entry]").first().waitFor();
  await world.shot(auditor, "ledger");

  // Verified again, at the press of a button; the page says how far that is, and what came of it.
  const scrub = auditor.locator("#scrub");
  assert.match(await scrub.innerText(), /not scrubbed since the start/);
  await auditor.getByRole("button", { name: "Verify it all now" }).click();
  await scrub.getByText(/scrubbed at \d{4}-.*: /).waitFor();
  assert.ok(!(await scrub.locator(".state.bad").count()), await scrub.innerText());

  await auditor.goto(`${world.gateway}/console/ledger`);
  await auditor.keyboard.press("/");
  assert.equal(await auditor.evaluate(() => document.activeElement.name), "subject");
  await auditor.getByLabel("Kind", { exact: true }).fill("token.issued");
  await auditor.getByRole("button", { name: "Search" }).click();
  await auditor.waitForURL(/kind=token.issued/);
  const kinds = await auditor.locator("tr[data-entry] td:nth-child(3)").allTextContents();
  assert.ok(kinds.length > 0 && kinds.every((kind) => kind === "token.issued"), kinds.join());
  await auditor.getByLabel("Kind", { exact: true }).fill("no such <kind>");
  await auditor.getByRole("button", { name: "Search" }).click();
  await auditor.getByText("there is no kind of record `no such <kind>`").waitFor();

  await auditor.goto(`${world.gateway}/console/ledger?kind=token.issued`);
  await auditor.locator("tr[data-entry] a").last().click();
  const verdict = auditor.locator("#verdict");
  await auditor.locator("#verdict.good").waitFor();
  assert.match(await verdict.textContent(), /^Good: record \d+ stands in localhost\/ledger/);
  await world.shot(auditor, "record");

  // One letter of the record is another one: base64 of other bytes.
  const proof = auditor.locator("#proof-text");
  const whole = await proof.inputValue();
  const at = whole.indexOf("extra ") + 80;
  const other = whole[at] === "A" ? "B" : "A";
  await proof.fill(whole.slice(0, at) + other + whole.slice(at + 1));
  await auditor.getByRole("button", { name: "Check", exact: true }).click();
  await auditor.locator("#verdict.bad").waitFor();
  assert.match(await verdict.textContent(), /^Broken/);
  await world.shot(auditor, "record-tampered");

  // Another key than the one that signed.
  await proof.fill(whole);
  await auditor.getByRole("button", { name: "Check", exact: true }).click();
  await auditor.locator("#verdict.good").waitFor();
  const key = auditor.locator("#key");
  const known = await key.inputValue();
  await key.fill("");
  await auditor.getByRole("button", { name: "Check", exact: true }).click();
  await auditor.locator("#verdict.bad").waitFor();
  await key.fill(known);

  // A gateway that lies: the proof it serves is of a record that it has altered.
  await auditor.route(/\/proof$/, async (route) => {
    const answer = await route.fetch();
    const text = await answer.text();
    await route.fulfill({ response: answer, body: text.replace(/^extra .{90}/m, (begin) => begin.slice(0, -1) + (begin.endsWith("A") ? "B" : "A")) });
  });
  await auditor.reload();
  await auditor.locator("#verdict.bad").waitFor();
}
