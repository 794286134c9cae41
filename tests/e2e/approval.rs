//! Leave: asked for, given by somebody else, used, ended.

use serde_json::Value;

use super::patience::eventually;
use super::world::{Plan, World};

#[test]
fn ask_approve_visit_and_revoke_are_one_story_whose_bytes_are_counted() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");

    // Two requests on one connection are one session.
    let body = "x".repeat(10_000);
    let url = format!("https://demo.localhost:{}/echo", world.port());
    let answer =
        world.visit("demo", "/echo").by(&world, "visitor").args(&["--data-binary", &body, &url]).run();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.len(), 20_000, "{}", answer.head);

    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["bytes_up"], 20_000);
    assert_eq!(closed["details"]["bytes_down"], 20_000);
    assert_eq!(closed["details"]["requests"], 2);
    assert_eq!(closed["details"]["reason"], "visitor-closed");
    assert_eq!(closed["grant"], grant.as_str());

    let opened = world.record("session.opened", |record| record["session"] == closed["session"]);
    assert!(opened["seq"].as_u64() < closed["seq"].as_u64());
    assert_eq!(opened["values"]["subject"], "user:visitor");
    assert!(opened["policy"].is_string() && opened["details"]["rules"].is_array(), "{opened}");

    world.ask("admin", &["grants", "revoke", &grant, "--reason", "done"]);
    let again = world.visit("demo", "/").by(&world, "visitor").run();
    assert_eq!((again.status, again.problem().as_str()), (403, "approval-needed"));
    assert_eq!(world.records_of("grant.revoked").len(), 1);
}

#[test]
fn a_revocation_cuts_an_open_download_and_the_record_says_how_fast() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    let mut download = world.visit("demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    let open = world.ask("admin", &["sessions", "list"]);
    assert_eq!(open[0]["grant"], grant.as_str());
    assert!(open[0]["bytes_down"].as_u64() > Some(0), "{open}");

    world.ask("admin", &["grants", "revoke", &grant, "--reason", "enough"]);
    let ended = download.wait();
    assert!(!ended.success(), "a cut download must not look complete");
    let closed = world.record("session.closed", |record| record["grant"] == grant.as_str());
    assert_eq!(closed["details"]["reason"], "permit-died");
    assert_eq!(closed["details"]["cause"], "grant-revoked");
    assert_eq!(closed["details"]["bytes_down"], download.out().len());
    let after = closed["details"]["last_byte_after_us"].as_u64().unwrap();
    assert!(after < 10_000_000, "{after} microseconds");
    assert_eq!(world.ask("admin", &["sessions", "list"]), Value::Array(Vec::new()));
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 403);
}

#[test]
fn an_admin_ends_one_session_and_the_reason_is_recorded() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    let id = world.ask("admin", &["sessions", "list"])[0]["id"].as_str().unwrap().to_owned();
    let refused = world.cli("visitor", &["sessions", "kill", &id, "--reason", "me"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    world.ask("admin", &["sessions", "kill", &id, "--reason", "unusual hours"]);
    assert!(!download.wait().success());
    let closed = world.record("session.closed", |record| record["session"] == id.as_str());
    assert_eq!(
        (&closed["details"]["reason"], &closed["details"]["cause"]),
        (&"killed".into(), &"killed".into())
    );
    assert_eq!(closed["values"]["reason"], "unusual hours", "what the admin wrote is personal");
    // The call leads to the session and back: who ended it is in the ledger.
    let call = world
        .record("admin.called", |record| record["session"] == id.as_str() && record["result"] == "success");
    assert_eq!(call["values"]["subject"], "user:admin");
    assert_eq!(call["correlation"], closed["correlation"]);
    let unknown = world.cli("admin", &["sessions", "kill", &id, "--reason", "again"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("is no open session") && unknown.err.contains("hint:"), "{}", unknown.err);
}

#[test]
fn whoever_asks_cannot_approve_not_even_an_admin() {
    let world = World::with().policy("g, user:admin, role:visitor, main").start();
    let _publisher = world.publish_demo("demo");
    for person in ["visitor", "admin"] {
        let asked = world.ask(person, &["request", "demo", "--reason", "curious", "--minutes", "5"]);
        let own = world.cli(person, &["requests", "approve", asked["id"].as_str().unwrap()]);
        assert_eq!(own.code, 4, "{person}: {}", own.err);
        assert!(own.err.contains("hint:"), "{}", own.err);
        assert_eq!(world.visit("demo", "/").by(&world, person).run().status, 403);
    }
    assert_eq!(world.ask("admin", &["grants", "list"]), Value::Array(Vec::new()));
}

#[test]
fn a_request_that_was_denied_tells_why_and_opens_nothing() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let asked = world.ask("visitor", &["request", "demo", "--reason", "curious"]);
    let id = asked["id"].as_str().unwrap();
    world.ask("admin", &["requests", "deny", id, "--reason", "not this week"]);
    let seen = world.ask("visitor", &["requests", "show", id]);
    assert_eq!(seen["state"], "rejected");
    assert!(seen.to_string().contains("not this week"), "{seen}");
    let late = world.cli("admin", &["requests", "approve", id]);
    assert_eq!(late.code, 1, "{}", late.err);
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 403);
}

#[test]
fn leave_that_is_asked_for_longer_than_allowed_or_twice_is_refused_with_the_reason() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let long = world.cli("visitor", &["request", "demo", "--reason", "a", "--minutes", "100000"]);
    assert_eq!(long.code, 2, "{}", long.err);
    assert!(long.err.contains("480") && long.err.contains("hint:"), "{}", long.err);
    world.ask("visitor", &["request", "demo", "--reason", "first"]);
    let twice = world.cli("visitor", &["request", "demo", "--reason", "second"]);
    assert_eq!(twice.code, 1, "{}", twice.err);
    assert!(twice.err.contains("req-"), "it names the one that waits: {}", twice.err);
}

#[test]
fn a_request_that_waits_goes_on_when_somebody_has_decided() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let mut command = world.client("visitor");
    command.args(["request", "demo", "--reason", "to wait", "--minutes", "5", "--wait"]);
    let mut waiting = super::process::Process::start("waiting", world.directory(), &mut command);
    let id = waiting
        .line("the request's id", |line| Some(line.strip_prefix("asked: ")?.split(' ').next()?.to_owned()));
    world.ask("admin", &["requests", "approve", &id]);
    assert!(waiting.wait().success(), "{}", waiting.err());
    assert!(waiting.out().contains("granted"), "{}", waiting.out());
}

/// libfaketime moves the gateway's wall clock, and nothing else: its timers keep their pace.
pub(crate) fn with_movable_clock() -> (Plan, MovableClock) {
    let library = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .expect("libfaketime is installed (Debian: apt-get install libfaketime)");
    let clock = MovableClock(tempfile::tempdir().unwrap());
    clock.set("+0");
    let plan = World::with()
        .environment("LD_PRELOAD", library)
        .environment("FAKETIME_TIMESTAMP_FILE", clock.file().to_string_lossy())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .environment("NO_FAKE_STAT", "1");
    (plan, clock)
}

/// The wall clock of one gateway.
pub(crate) struct MovableClock(tempfile::TempDir);

impl MovableClock {
    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("clock")
    }

    /// Sets it to now plus this, such as `+2m`.
    pub(crate) fn set(&self, offset: &str) {
        let next = self.0.path().join("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }
}

#[test]
fn a_grant_ends_by_itself_when_its_time_is_over_and_cuts_what_stands_on_it() {
    let (plan, clock) = with_movable_clock();
    let world = plan.start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    let mut download = world.visit("demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));

    clock.set("+31m");
    assert!(!download.wait().success());
    let closed = world.record("session.closed", |record| record["grant"] == grant.as_str());
    assert_eq!(closed["details"]["cause"], "grant-expired");
    assert_eq!(world.record("grant.expired", |_| true)["grant"], grant.as_str());
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 403);
}

#[test]
fn a_clock_that_somebody_sets_is_a_record_of_its_own() {
    let (plan, clock) = with_movable_clock();
    let world = plan.set("ledger.heartbeat_secs=1").start();
    world.record("gateway.heartbeat", |_| true);
    clock.set("+5m");
    let jumped = eventually("the jump is recorded", || world.records_of("clock.jumped").pop());
    let drift = jumped["details"]["drift_ms"].as_i64().unwrap();
    assert!((295_000..=305_000).contains(&drift), "{drift}");
}

#[test]
fn lists_are_made_for_people_too() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    let mut download = world.visit("demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    for (arguments, heads, words) in [
        (
            &["requests", "list"][..],
            "ID STATE WHO WHAT FOR ASKED DECIDERS WHY",
            &["granted", "user:visitor", "tunnel:demo", "to look at it"][..],
        ),
        (&["grants", "list"], "ID", &[grant.as_str(), "user:visitor"]),
        (&["sessions", "list"], "ID WHO TUNNEL KIND FROM SINCE", &["user:visitor", "demo", "http"]),
        (&["tunnels"], "NAME KIND STATE OWNER SINCE", &["demo", "live", "user:publisher"]),
        (&["tokens", "list"], "ID STATE WHOSE UNTIL", &["user:admin", "live"]),
        (&["log", "--from", "0"], "", &["session.opened", "subject=user:visitor"]),
        (&["status"], "", &["ready: true", "sessions: 1"]),
        (&["whoami"], "", &["subject: user:admin"]),
    ] {
        let run = world.cli("admin", arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.err);
        let first: Vec<&str> = run.out.lines().next().unwrap_or_default().split_whitespace().collect();
        assert!(first.join(" ").starts_with(heads), "{arguments:?}: {}", run.out);
        for word in words {
            assert!(run.out.contains(word), "{arguments:?} lacks `{word}`: {}", run.out);
        }
    }
}

#[test]
fn one_session_is_let_through_and_the_next_visit_asks_again() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let arguments = ["request", "demo", "--reason", "one look", "--minutes", "30", "--once"];
    let request = world.ask("visitor", &arguments)["id"].as_str().unwrap().to_owned();
    let granted = world.ask("admin", &["requests", "approve", &request]);
    let grant = granted["grant"].as_str().unwrap().to_owned();
    assert_eq!(granted["once"], true);
    // Two requests on one connection are one session.
    let url = format!("https://demo.localhost:{}/", world.port());
    let answer = world.visit("demo", "/").by(&world, "visitor").args(&[&url]).run();
    assert_eq!(answer.status, 200);
    let again = world.visit("demo", "/").by(&world, "visitor").run();
    assert_eq!((again.status, again.problem().as_str()), (403, "approval-needed"));
    let begun = world.record("grant.begun", |record| record["grant"] == grant.as_str());
    let opened = world.record("session.opened", |record| record["grant"] == grant.as_str());
    assert!(begun["seq"].as_u64() < opened["seq"].as_u64(), "recorded before anything rests on it");
    let listed = world.cli("visitor", &["grants", "list"]);
    assert!(listed.out.contains("one session (used)"), "{}", listed.out);
}
