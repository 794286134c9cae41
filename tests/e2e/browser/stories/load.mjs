// How long each page takes the gateway, without a browser's drawing: the time to the whole answer on a connection that stands; and after
// how long it can be used in a browser that was never here, on a processor that is four times as slow: its scripts have run then. The last
// line is JSON: { page: { median_ms, p95_ms, kib, slow_laptop_ms } }.
import assert from "node:assert/strict";

const TIMES = 20;
const SLOWER = 4;
const PAGES = {
  requests: "/console/requests",
  grants: "/console/grants",
  sessions: "/console/sessions",
  "sessions of a day": "/console/sessions?minutes=1440",
  ledger: "/console/ledger",
  "ledger, one kind": "/console/ledger?kind=session.opened",
  "ledger, one person": "/console/ledger?subject=user%3Avisitor",
  "ledger, oldest first": "/console/ledger?order=oldest",
  "ledger, one grant": `/console/ledger?grant=grant-${"0".repeat(32)}`,
  tunnel: "/console/sessions/tunnel/open-web",
  record: "/console/ledger/1",
  policy: "/console/policy",
  reviews: "/console/reviews",
  reports: "/console/reports",
  health: "/console/health",
};

/** From the click to a page that can be used, on a slow processor and with nothing in the cache: the middle one of three. */
async function interactive(world, storageState, path) {
  const took = [];
  for (let round = 0; round < 3; round++) {
    const context = await world.browser.newContext({ ignoreHTTPSErrors: true, storageState });
    const page = await context.newPage();
    const browser = await context.newCDPSession(page);
    await browser.send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
    await page.goto(`${world.gateway}${path}`, { waitUntil: "domcontentloaded" });
    took.push(await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd));
    await context.close();
  }
  return Math.round(took.sort((one, other) => one - other)[1]);
}

export default async function (world) {
  const admin = await world.person();
  await world.signIn(admin, "admin", "/console/policy");
  const told = {};
  const known = await admin.context().storageState();
  for (const [name, path] of Object.entries(PAGES)) {
    const times = [];
    let bytes = 0;
    // The first ones open the connection and warm what is read.
    for (let round = -2; round < TIMES; round++) {
      const began = performance.now();
      const answer = await admin.request.get(`${world.gateway}${path}`, { headers: { accept: "text/html" } });
      bytes = (await answer.body()).length;
      const took = performance.now() - began;
      assert.equal(answer.status(), 200, `${name}: ${answer.status()}`);
      if (round >= 0) times.push(took);
    }
    times.sort((one, other) => one - other);
    const at = (share) => Number(times[Math.min(TIMES - 1, Math.floor(TIMES * share))].toFixed(1));
    told[name] = { median_ms: at(0.5), p95_ms: at(0.95), kib: Math.round(bytes / 1024), slow_laptop_ms: await interactive(world, known, path) };
  }
  console.log(JSON.stringify(told));
}
