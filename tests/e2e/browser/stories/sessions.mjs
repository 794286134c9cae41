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

/** The drawing: who publishes, through what, to whom; each a link that the keyboard reaches, and the page shows theirs alone. */
async function drawn(world, admin) {
  const visitor = admin.locator(".topology a.visitor").filter({ hasText: "user:visitor" });
  await visitor.filter({ hasText: "1 session" }).waitFor();
  const names = (kind) => admin.locator(`.topology a.${kind} strong`).allTextContents();
  assert.deepEqual([await names("publisher"), await names("tunnel")], [["user:publisher"], ["demo"]]);
  assert.equal(await admin.locator(".topology line").count(), 2, "publisher, tunnel, visitor");
  const place = async (locator) => (await locator.boundingBox()).x;
  const [first, second] = [admin.locator(".topology a.publisher"), admin.locator(".topology a.tunnel")];
  assert.ok((await place(first)) < (await place(second)) && (await place(second)) < (await place(visitor)));
  // The same stands in the table.
  assert.match(await admin.getByRole("row").filter({ hasText: "user:publisher" }).innerText(), /demo http\s+user:publisher.*live\s+1\s+user:visitor/s);

  // On a phone nothing sticks out, and names can be read to their end.
  const view = admin.viewportSize();
  await admin.setViewportSize({ width: 390, height: 844 });
  const cut = () => [...document.querySelectorAll(".spot strong")].filter((one) => one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth).map((one) => one.textContent);
  assert.deepEqual(await admin.evaluate(cut), []);
  assert.ok(await admin.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is as wide as the phone");
  await admin.setViewportSize(view);
  await world.accessible(admin);

  // From the keyboard, one after the other.
  await admin.locator(".topology a.publisher").focus();
  await admin.keyboard.press("Tab");
  await admin.keyboard.press("Tab");
  assert.match(await admin.evaluate(() => document.activeElement.textContent), /user:visitor/);
  await admin.keyboard.press("Enter");
  await admin.waitForURL(/\?subject=user%3Avisitor$/);
  await visitor.waitFor();
  await admin.goto(`${world.gateway}/console/sessions?publisher=user:nobody`);
  await admin.getByText("Nothing is published.").waitFor();
  assert.equal(await admin.locator(".topology, tr[data-entry]").count(), 0, "nor do sessions at tunnels of others show");
  await admin.goto(`${world.gateway}/console/sessions`);
  await admin.locator("tr[data-entry]").waitFor();
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
  await drawn(world, admin);
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
