// What other sites, and apps behind tunnels, try with an admin's browser. Nothing of it changes anything.
import assert from "node:assert/strict";

/**
 * In a frame of a page that browsers call the same site, so that the session's cookie comes along: the gateway answers with the page, and the
 * browser does not show it.
 */
async function in_a_frame(world, context) {
  // The gateway's own host at another port, where nobody listens: what is served there is made here.
  const near = `https://${world.domain}:${world.port + 30_000}`;
  await context.route(`${near}/**`, (route) => {
    const page = new URL(route.request().url()).searchParams.get("page");
    return route.fulfill({ contentType: "text/html", body: `<!doctype html><iframe src="${world.gateway}${page}"></iframe>` });
  });
  const pages = ["requests", "grants", "sessions", "ledger", "ledger/1", "policy", "reviews", "passkeys", "reports", "health", "sign-in"];
  // Not listened to: the browser says on its console that it refuses.
  const outer = await context.newPage();
  const framed = async (path) => {
    const asked = outer.waitForRequest((request) => request.url() === `${world.gateway}${path}`);
    await outer.goto(`${near}/?page=${encodeURIComponent(path)}`);
    const request = await asked;
    assert.match((await request.allHeaders()).cookie ?? "", /__Host-sallyport-console=/, `${path}: the same site`);
    return outer.frames()[1];
  };
  for (const page of pages) {
    const frame = await framed(`/console/${page}`);
    assert.equal(frame.url(), "chrome-error://chromewebdata/", `${page} does not show itself in a frame`);
    assert.equal(await frame.locator("main, form").count(), 0, page);
  }
  // It is the two headers that keep it from that, and nothing else that is amiss here.
  const bare = (url) => url.pathname === "/console/requests";
  await context.route(bare, async (route) => {
    const answer = await route.fetch();
    const { "content-security-policy": policy, "x-frame-options": frames, ...headers } = answer.headers();
    assert.ok(policy.includes("frame-ancestors 'none'") && frames === "DENY", `${policy} ${frames}`);
    await route.fulfill({ response: answer, headers });
  });
  await (await framed("/console/requests")).locator(".card").waitFor();
  await context.unroute(bare);
  await outer.close();
}

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

  await in_a_frame(world, admin.context());
  const before = world.complaints.length;

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
