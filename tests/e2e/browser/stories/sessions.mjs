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

/** What the page shows of one tunnel, one person, one publisher and one time, and what an export keeps of it. */
async function exported(world, admin) {
  const figure = async (query) => {
    await admin.goto(`${world.gateway}/console/sessions?${query}`);
    return Number(await admin.locator("section[aria-labelledby=figures] .tiles strong").first().textContent());
  };
  const all = await figure("tunnel=+demo+&subject=visitor");
  assert.ok(all > 0, "blanks around a name say nothing");
  assert.equal(await figure("subject=user:rival"), 0, "of whoever asked for nothing");
  assert.equal(await figure("publisher=user:rival"), 0, "of whoever publishes nothing");
  assert.equal(await figure("publisher=publisher"), all);
  assert.equal(await figure("tunnel=other"), 0, "of a tunnel that nobody knows");
  assert.equal(await figure("tunnel=De.mo"), 0, "a name that cannot be is not all of them");
  await admin.getByText("a tunnel's name").waitFor();

  const kept = async (form, query) => {
    const answer = await admin.request.get(`${world.gateway}/console/sessions/export/${form}?${query}`);
    assert.equal(answer.status(), 200, `${form} ${query}`);
    assert.match(answer.headers()["content-disposition"], /attachment/);
    return answer.text();
  };
  const read = async (query) => JSON.parse(await kept("json", query));
  const own = await read("tunnel=demo&subject=user:visitor");
  assert.equal(own.figures.requests, all);
  assert.ok(own.sessions.length >= 2 && own.sessions.every((one) => one.state === "closed" && one.subject === "user:visitor"));
  assert.ok(own.sessions.some((one) => one.reason === "killed" && one.bytes_down > 0), "those that have ended, and why");
  for (const query of ["subject=user:rival", "publisher=user:rival", "tunnel=other", "from_time=2020-01-01&to_time=2020-01-02"]) {
    const none = await read(query);
    assert.deepEqual([none.sessions, none.figures.requests], [[], 0], query);
  }
  const table = (await kept("csv", "subject=user:visitor")).trim().split("\r\n");
  assert.equal(table.length, own.sessions.length + 1);
  assert.match(table[0], /^id,state,subject,/);
  assert.match(await kept("figures", "tunnel=demo"), new RegExp(`^"requests","","${all}"`, "m"));
  assert.equal((await kept("csv", "tunnel=other")).trim().split("\r\n").length, 1);
  for (const [form, query, status] of [["json", "tunnel=De.mo", 422], ["json", "from_time=yesterday", 422], ["xml", "", 404]]) {
    const answer = await admin.request.get(`${world.gateway}/console/sessions/export/${form}?${query}`);
    assert.equal(answer.status(), status, `${form} ${query}`);
  }
  // Whom somebody asks about is in the ledger, sealed.
  await admin.goto(`${world.gateway}/console/ledger?kind=admin.called&target=user:visitor`);
  await admin.locator("tr[data-entry]").first().waitFor();
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

  await exported(world, admin);

  // Whoever may not see sessions sees none, by whichever way.
  for (const path of ["/console/sessions", "/console/sessions/export/json", "/console/ledger", "/console/ledger/1", "/console/ledger/1/proof", "/console/policy", "/console/health"]) {
    const answer = await visitor.context().request.get(`${world.gateway}${path}`, { maxRedirects: 0 });
    assert.notEqual(answer.status(), 200, `${path} without a session at the console`);
  }
  const publisher = await world.person();
  await world.signIn(publisher, "publisher");
  for (const path of ["/console/sessions", "/console/sessions/export/json", "/console/sessions/export/figures", "/console/ledger", "/console/ledger?kind=nonsense", "/console/ledger/1", "/console/ledger/1/proof", "/console/policy", "/console/health"]) {
    const answer = await publisher.request.get(`${world.gateway}${path}`);
    assert.equal(answer.status(), 403, `${path} for a publisher`);
  }
  const live = await publisher.request.get(`${world.gateway}/console/sessions/live`);
  assert.equal(await live.text(), "", "nor live");
}
