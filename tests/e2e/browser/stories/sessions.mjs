// A download runs while an admin looks on: it is in the table, its figures move, and it stops when its grant is taken back, or when
// the session itself is ended with a reason.
import assert from "node:assert/strict";

/** Begins a download in the page, and counts what has come of it. */
async function download(page) {
  await page.evaluate(() => {
    globalThis.come = { bytes: 0, ended: null };
    (async () => {
      const reader = (await fetch("/stream")).body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        globalThis.come.bytes += value.length;
      }
    })().then(() => (globalThis.come.ended = "whole"), (error) => (globalThis.come.ended = `cut: ${error.message}`));
  });
  await page.waitForFunction(() => globalThis.come.bytes > 0);
}

export default async function (world) {
  const visitor = await world.person();
  await world.enter(visitor, "visitor", "demo", "/");
  await world.ask(visitor, "Copy last night's export for the month-end report");
  const admin = await world.person();
  await world.signIn(admin, "admin");
  await admin.locator(".card").waitFor();
  await world.shot(admin, "queue");
  await admin.getByRole("button", { name: /Approve/ }).click();
  await visitor.getByText("You are through").waitFor();
  await download(visitor);

  // In the table, and moving without a reload.
  await admin.goto(`${world.gateway}/console/sessions`);
  const row = admin.locator("tr[data-entry]").filter({ hasText: "user:visitor" });
  await row.waitFor();
  const rate = () => row.locator("td").nth(6).textContent();
  await admin.waitForFunction(() => document.querySelector("tr[data-entry] td:nth-child(7)").textContent !== "");
  assert.match(await rate(), /B\/s/);
  await admin.locator(".chart canvas").first().waitFor();
  await admin.waitForFunction(() => document.querySelector("#tunnels + ul")?.textContent.includes("user:visitor"));
  await world.shot(admin, "sessions");

  // The form that somebody has opened stays open while the table moves.
  await row.getByText("End", { exact: true }).click();
  await row.getByLabel("Why?").fill("unusual <i>hours</i>");
  const before = await row.locator("td").nth(5).textContent();
  await admin.waitForFunction((before) => document.querySelector("tr[data-entry] td:nth-child(6)").textContent !== before, before);
  assert.equal(await row.getByLabel("Why?").inputValue(), "unusual <i>hours</i>", "what was typed stays");
  await row.getByRole("button", { name: "End it now" }).click();
  await visitor.waitForFunction(() => globalThis.come.ended !== null);
  assert.match(await visitor.evaluate(() => globalThis.come.ended), /^cut/, "a cut download is no whole one");
  await world.shown(admin, "unusual <i>hours</i>");
  await world.shot(admin, "session");

  // Again, and this time the leave itself is taken back.
  await visitor.goto(`${world.tunnel("demo")}/`);
  await visitor.getByText("You are through").waitFor();
  await download(visitor);
  await admin.goto(`${world.gateway}/console/grants`);
  await world.shot(admin, "grants");
  await admin.getByRole("link", { name: "live" }).click();
  await admin.getByRole("heading", { name: /^Grant/ }).waitFor();
  await world.shown(admin, "session.opened");
  await world.shot(admin, "grant");
  await admin.getByLabel("Why?").fill("enough");
  await admin.getByRole("button", { name: "Take it back now" }).click();
  await visitor.waitForFunction(() => globalThis.come.ended !== null);
  assert.match(await visitor.evaluate(() => globalThis.come.ended), /^cut/);
  await visitor.goto(`${world.tunnel("demo")}/`);
  await visitor.getByText("Your leave was taken back by user:admin: enough").waitFor();
  await world.shot(visitor, "visitor-revoked");

  for (const form of ["csv", "json"]) {
    const kept = await admin.request.get(`${world.gateway}/console/sessions/export/${form}`);
    assert.equal(kept.status(), 200);
    assert.match(kept.headers()["content-disposition"], /attachment/);
  }

  // Whoever may not see sessions sees none, by whichever way.
  for (const path of ["/console/sessions", "/console/sessions/export/json", "/console/ledger", "/console/ledger/1", "/console/ledger/1/proof", "/console/policy", "/console/health"]) {
    const answer = await visitor.context().request.get(`${world.gateway}${path}`, { maxRedirects: 0 });
    assert.notEqual(answer.status(), 200, `${path} without a session at the console`);
  }
  const publisher = await world.person();
  await world.signIn(publisher, "publisher");
  for (const path of ["/console/sessions", "/console/sessions/export/json", "/console/ledger", "/console/ledger/1", "/console/ledger/1/proof", "/console/policy", "/console/health"]) {
    const answer = await publisher.request.get(`${world.gateway}${path}`);
    assert.equal(answer.status(), 403, `${path} for a publisher`);
  }
  const live = await publisher.request.get(`${world.gateway}/console/sessions/live`);
  assert.equal(await live.text(), "", "nor live");
}
