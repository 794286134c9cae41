// What other sites, and apps behind tunnels, try with an admin's browser. Nothing of it changes anything.
import assert from "node:assert/strict";

export default async function (world) {
  const visitor = await world.person();
  await world.enter(visitor, "visitor", "demo", "/");
  await world.ask(visitor, "to look");
  const admin = await world.person();
  // An address of another site, as the place to go to afterwards.
  await world.signIn(admin, "admin", "/console/sign-in?to=https://evil.example/");
  assert.equal(new URL(admin.url()).origin, world.gateway);
  await admin.goto(`${world.gateway}/console/sign-in?to=//evil.example/`);
  await admin.getByLabel("Your token").fill(world.tokens.admin);
  await admin.getByRole("button", { name: "Sign in" }).click();
  await admin.locator(".card").waitFor();
  assert.equal(new URL(admin.url()).origin, world.gateway);

  const action = new URL(await admin.locator("form[data-key=a]").getAttribute("action"), world.gateway).href;
  const csrf = await admin.locator("form[data-key=a] input[name=csrf]").inputValue();
  const status = (page, url, body) =>
    page.evaluate(async ([url, body]) => {
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const options = { method: "POST", body, headers, credentials: "include", redirect: "manual" };
      return fetch(url, options).then((answer) => answer.status || answer.type, () => "unreadable");
    }, [url, body]);

  // From the right page, without the mark of the session, or with another's.
  assert.equal(await status(admin, action, ""), 403);
  assert.equal(await status(admin, action, "csrf=AAAA"), 403);

  // From an app on a host below the gateway's: the same site to a browser, another origin to us. It even knows the mark.
  const forged = await admin.request.post(action, { form: { csrf }, headers: { origin: world.tunnel("public-app") }, maxRedirects: 0 });
  assert.equal(forged.status(), 403, "the cookie and the mark are not enough");
  const silent = await admin.request.post(action, { form: { csrf }, maxRedirects: 0 });
  assert.equal(silent.status(), 403, "nor if nobody says whence it comes");
  const elsewhere = await admin.context().newPage();
  world.listen(elsewhere);
  await elsewhere.goto(`${world.tunnel("public-app")}/`);
  await elsewhere.setContent(`<form method="post" action="${action}"><input name="csrf" value="${csrf}"><button>win</button></form>`);
  await elsewhere.getByRole("button").click();
  // Where browsers call the two hosts different sites, they do not even send the cookie along.
  await elsewhere.getByText("foreign-form").or(elsewhere.getByLabel("Your token")).waitFor();

  // In a frame.
  await elsewhere.goto(`${world.tunnel("public-app")}/`);
  const before = world.complaints.length;
  await elsewhere.setContent(`<iframe src="${world.gateway}/console/requests"></iframe>`);
  await elsewhere.waitForFunction(() => document.querySelector("iframe").contentDocument === null);
  for (const frame of elsewhere.frames().slice(1)) {
    await frame.waitForLoadState().catch(() => {});
    assert.equal(await frame.locator(".card").count(), 0, "the console does not show itself in a frame");
  }
  world.complaints.length = before; // the browser says so, on its console

  // Out of the page: its cookie.
  assert.equal(await admin.evaluate(() => document.cookie), "");
  // An inline script does not run.
  const ran = await admin.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "globalThis.ran = true";
    document.body.append(script);
    return globalThis.ran === true;
  });
  assert.equal(ran, false, "the policy lets no inline script run");
  world.complaints.length = before;

  await admin.reload();
  assert.equal(await admin.locator(".card").count(), 1, "the request still waits");

  // Whoever may decide nothing sees nothing of it.
  const publisher = await world.person();
  await world.signIn(publisher, "publisher");
  await publisher.getByText("Nothing waits for you").waitFor();
  assert.equal(await publisher.locator(".card").count(), 0);
  const links = await publisher.locator("nav a").allTextContents();
  assert.deepEqual(links, ["Requests", "Grants", "Reviews", "Passkeys"], "no page is shown that policy does not open");
}
