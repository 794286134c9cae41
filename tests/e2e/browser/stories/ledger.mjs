// An auditor looks through the ledger; the browser itself checks a proof, and shows a tampered one broken.
import assert from "node:assert/strict";

/** The proof is honest, and the page around it isn't: whatever of the record it says otherwise is found, and the record itself is shown. */
async function page_that_lies(world, auditor) {
  await auditor.goto(`${world.gateway}/console/ledger?kind=admin.called`);
  await auditor.locator("tr[data-entry] a").first().click();
  await auditor.locator("#verdict.good").waitFor();
  const says = (name, other) => (page) => page.replace(new RegExp(`(data-proved="${name.replace(".", "\\.")}">)[^<]*`), `$1${other}`);
  const lies = {
    seq: says("seq", "9"),
    kind: says("kind", "session.closed"),
    result: says("result", "denied"),
    time: says("time", "2020-01-01 00:00:00"),
    what: says("what", "read tunnel:demo"),
    "details.decision": says("details.decision", "break-glass"),
    "details.rules": says("details.rules", "policy.csv:1: nobody"),
    policy: says("policy", "0".repeat(64)),
    prev: says("prev", "0".repeat(64)),
    leaf: says("leaf", "0".repeat(64)),
    bytes: (page) => page.replace(/(id="record-bytes">[^]*?)admin\.called/, "$1session.closed"),
    // Nothing is left out, and nothing put in.
    correlation: (page) => page.replace(' data-proved="correlation"', ""),
    "details.severity": (page) => page.replace("</dl></section>", '<dt>Severity</dt><dd data-proved="details.severity">low</dd></dl></section>'),
  };
  for (const [name, lie] of Object.entries(lies)) {
    let lied = false;
    const record = (url) => /\/console\/ledger\/\d+$/.test(url.pathname);
    await auditor.route(record, async (route) => {
      const answer = await route.fetch();
      const honest = await answer.text();
      lied = lie(honest) !== honest;
      await route.fulfill({ response: answer, body: lie(honest) });
    });
    await auditor.reload();
    await auditor.locator("#verdict.good, #verdict.bad").waitFor();
    assert.ok(lied, `${name}: the page has no such thing to lie about`);
    const said = await auditor.locator("#verdict").textContent();
    assert.ok(said.startsWith("Broken: the proof is good, but this page says something else") && said.includes(`: ${name}.`), `${name}: ${said}`);
    assert.equal(JSON.parse(await auditor.locator("#record-bytes").textContent()).kind, "admin.called", "the record stands there as it was proved");
    await auditor.unroute(record);
  }
  await world.shot(auditor, "record-altered");
  await auditor.reload();
  await auditor.locator("#verdict.good").waitFor();
}

/** Without a session there is no proof, and the page says that. */
async function session_that_is_over(world, auditor) {
  const proof = `${auditor.url()}/proof`;
  const stranger = await world.browser.newContext({ ignoreHTTPSErrors: true });
  const refused = await stranger.request.get(proof);
  assert.deepEqual([refused.status(), await refused.text()], [401, ""], "what the gateway tells a script without a session");
  for (const [answer, words] of [[{ status: 401, body: "" }, /session is over/], [{ status: 502, body: "<html>" }, /status 502/], [null, /^There is no proof to check/]]) {
    await auditor.route(proof, (route) => (answer ? route.fulfill(answer) : route.abort()));
    await auditor.reload();
    await auditor.locator("#verdict.bad").waitFor();
    assert.match(await auditor.locator("#verdict").textContent(), words);
    await auditor.unroute(proof);
  }
  await auditor.reload();
  await auditor.locator("#verdict.good").waitFor();
}

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

  await page_that_lies(world, auditor);
  await session_that_is_over(world, auditor);

  // A gateway that lies: the proof it serves is of a record that it has altered.
  await auditor.route(/\/proof$/, async (route) => {
    const answer = await route.fetch();
    const text = await answer.text();
    await route.fulfill({ response: answer, body: text.replace(/^extra .{90}/m, (begin) => begin.slice(0, -1) + (begin.endsWith("A") ? "B" : "A")) });
  });
  await auditor.reload();
  await auditor.locator("#verdict.bad").waitFor();
}
