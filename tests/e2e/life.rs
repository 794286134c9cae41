//! A gateway's life: start, stop in order, killed, started again.

use super::patience::eventually;
use super::world::World;

#[test]
fn sigterm_lets_an_open_request_finish_and_closes_the_ledger() {
    let mut world = World::with().set("gateway.drain_secs=20").start();
    let (send, events) = tokio::sync::mpsc::channel(1);
    let app = super::app::App::of_events(events);
    let mut publisher = world.publish_http("open-events", app.address());
    let mut visit = world.visit("open-events", "/events").by(&world, "visitor").start();
    send.blocking_send("first\n".to_owned()).unwrap();
    visit.line("the first piece", |line| (line == "first").then_some(()));

    world.gateway().signal("TERM");
    eventually("new connections are refused", || {
        (world.visit("open-events", "/").by(&world, "visitor").run().status == 0).then_some(())
    });
    publisher.line("that the gateway goes away", |line| line.contains("\"draining\"").then_some(()));
    eventually("it says what it waits for, and how long still", || {
        let log = world.gateway_log();
        let mut told = log.lines().filter(|line| line.contains("stopping: open sessions finish"));
        let first = told.next()?;
        assert!(first.contains("sessions=1") && first.contains("streams="), "{first}");
        told.any(|line| line.contains("seconds_left=")).then_some(())
    });
    send.blocking_send("last\n".to_owned()).unwrap();
    drop(send);
    assert!(visit.wait().success(), "{}", visit.err());
    assert_eq!(visit.out(), "first\nlast\n");
    world.stop_gateway();

    let verdict = world.verify(&world.state().join("ledger"));
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    world.start_gateway();
    let records = world.records();
    let stopped = records.iter().position(|record| record["kind"] == "gateway.stopped").unwrap();
    let next = records[stopped + 1..].iter().find(|record| record["kind"] != "policy.loaded").unwrap();
    assert_eq!(next["kind"], "gateway.started", "the stop is the last word of a run");
    let before = &records[..stopped];
    let closed = before.iter().find(|record| record["kind"] == "session.closed").unwrap();
    assert_eq!(closed["details"]["bytes_down"], "first\nlast\n".len());
    assert!(
        before.iter().any(|record| record["kind"] == "tunnel.closed"),
        "the publisher's leaving is recorded"
    );
}

#[test]
fn a_request_that_waits_in_line_when_the_gateway_stops_is_sent_and_answered() {
    let mut world = World::with().set("gateway.drain_secs=20").set("tunnels.queue_secs=30").prepare();
    world.configure("[[tunnel]]\nname = \"open-events\"\nat_once = 1\n");
    world.start_gateway();
    let (send, events) = tokio::sync::mpsc::channel(1);
    let app = super::app::App::of_events(events);
    let _publisher = world.publish_http("open-events", app.address());
    let mut first = world.visit("open-events", "/events").by(&world, "visitor").start();
    send.blocking_send("first\n".to_owned()).unwrap();
    first.line("the first piece", |line| (line == "first").then_some(()));
    let mut second =
        world.visit("open-events", "/other").by(&world, "visitor").args(&["--data", "an order"]).start();
    eventually("the second waits in line", || {
        let metrics = world.curl("/metrics").by(&world, "admin").run().text();
        metrics.contains("sallyport_requests_waiting 1\n").then_some(())
    });
    world.gateway().signal("TERM");
    eventually("new connections are refused", || {
        (world.visit("open-events", "/").by(&world, "visitor").run().status == 0).then_some(())
    });
    drop(send);
    assert!(first.wait().success(), "{}", first.err());
    assert!(second.wait().success(), "{}", second.err());
    assert!(!second.out().contains("publisher-away"), "{}", second.out());
    world.stop_gateway();
    world.start_gateway();
    let made = world.record("http.request", |record| record["action"] == "POST");
    assert_ne!(made["details"]["status"], 502, "{made}");
}

#[test]
fn a_session_that_outlasts_the_drain_is_cut_and_recorded() {
    let mut world = World::with().set("gateway.drain_secs=1").start();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    world.stop_gateway();
    assert!(!download.wait().success());
    world.start_gateway();
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["reason"], "gateway-stopping");
}

#[test]
fn a_second_start_reuses_the_state_and_a_second_init_makes_nothing() {
    let mut world = World::start();
    let publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    let (root, key) =
        (std::fs::read(world.root()).unwrap(), std::fs::read(world.state().join("ledger.vkey")).unwrap());
    drop(publisher);
    world.stop_gateway();

    let again = world.init(&[]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.out, "", "a second init must have nothing to do");
    assert_eq!(std::fs::read(world.root()).unwrap(), root);
    assert_eq!(std::fs::read(world.state().join("ledger.vkey")).unwrap(), key);

    world.start_gateway();
    let grants = world.ask("admin", &["grants", "list"]);
    assert_eq!((&grants[0]["id"], &grants[0]["state"]), (&grant.as_str().into(), &"live".into()));
    let _publisher = world.publish_demo("demo");
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
}

#[test]
fn a_gateway_that_was_killed_starts_again_with_an_intact_ledger_and_no_sessions() {
    let mut world = World::start();
    let publisher = world.publish_demo("demo");
    let grant = world.grant("demo");
    let mut download = world.visit("demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    let before = world.records().len();
    world.kill_gateway();
    drop(publisher);

    let verdict = world.verify(&world.state().join("ledger"));
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    world.start_gateway();
    assert_eq!(world.ask("admin", &["sessions", "list"]).as_array().unwrap().len(), 0);
    assert!(world.records().len() > before, "nothing that was acknowledged is lost");
    assert_eq!(world.ask("admin", &["grants", "list"])[0]["id"], grant.as_str());
    let _publisher = world.publish_demo("demo");
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
    world.stop_gateway();
    let verdict = world.verify(&world.state().join("ledger"));
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
}

#[test]
fn a_ledger_in_which_one_byte_was_changed_does_not_verify() {
    let mut world = World::start();
    world.ask(
        "admin",
        &[
            "tokens",
            "issue",
            "--subject",
            "user:eve",
            "--hours",
            "1",
            "--out",
            &world.path("eve").to_string_lossy(),
        ],
    );
    world.stop_gateway();
    let ledger = world.state().join("ledger");
    assert_eq!(world.verify(&ledger).code, 0);
    let segment = std::fs::read_dir(ledger.join("journal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes.windows(12).position(|window| window == b"token.issued").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let verdict = world.verify(&ledger);
    assert_eq!(verdict.code, 1, "{}{}", verdict.out, verdict.err);
    assert!(
        format!("{}{}", verdict.out, verdict.err).contains("record "),
        "it names the record: {}{}",
        verdict.out,
        verdict.err
    );
    // Nor does a gateway go on from it.
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("damaged at record") && refused.err.contains("hint:"), "{}", refused.err);
}

#[test]
fn the_first_records_say_which_program_runs_with_which_settings_and_keys() {
    let world = World::start();
    let started = world.record("gateway.started", |_| true);
    assert_eq!(started["details"]["binary_sha256"].as_str().unwrap().len(), 64);
    let loaded = world.record("config.loaded", |_| true);
    assert_eq!(loaded["details"]["sha256"].as_str().unwrap().len(), 64);
    let said = world.daemon(&["check-config"]);
    assert!(said.out.contains("is good"), "{}{}", said.out, said.err);
    assert_eq!(world.records_of("key.created").len(), 8);
    let keys = world.records_of("key.loaded");
    assert_eq!(keys.len(), 8);
    let status = world.ask("admin", &["status"]);
    assert_eq!(status["ready"], true);
    assert_eq!(status["keys"].as_array().unwrap().len(), 8);
    let pin = std::fs::read_to_string(world.state().join("secrets/user.pin")).unwrap();
    assert!(!status.to_string().contains(pin.trim()), "the PIN is told");
}

#[test]
fn ctrl_c_ends_gateway_and_publisher_in_order() {
    let mut world = World::start();
    let mut publisher = world.publish_demo("demo");
    publisher.signal("INT");
    assert!(publisher.wait().success(), "{}", publisher.err());
    world.record("tunnel.closed", |_| true);
    world.gateway().signal("INT");
    assert!(world.gateway().wait().success());
    let verdict = world.verify(&world.state().join("ledger"));
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    // The same check by the name that visitors and admins have at hand.
    let (ledger, key) = (world.state().join("ledger"), world.state().join("ledger.vkey"));
    let through = world
        .cli("admin", &["audit", "verify", &ledger.to_string_lossy(), "--key-file", &key.to_string_lossy()]);
    assert_eq!(through.code, 0, "{}{}", through.out, through.err);
}

#[test]
fn the_last_head_is_cosigned_with_the_post_quantum_key_and_the_auditor_can_demand_it() {
    let mut world = World::start();
    world.stop_gateway();
    let ledger = world.state().join("ledger");
    let key = |name: &str| world.state().join(name).to_string_lossy().into_owned();
    let demand = |cosigner: &str| {
        world.auditctl(&[
            "verify",
            &ledger.to_string_lossy(),
            "--key-file",
            &key("ledger.vkey"),
            "--cosigner-file",
            cosigner,
        ])
    };
    let verified = demand(&key("ledger-pq.vkey"));
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    // Another gateway's key has cosigned nothing here.
    let other = World::start();
    let foreign = demand(&other.state().join("ledger-pq.vkey").to_string_lossy());
    assert_ne!(foreign.code, 0, "{}", foreign.out);
}

#[test]
fn a_start_says_how_long_nothing_was_recorded_and_why() {
    let mut world = World::start();
    let before =
        |world: &World| world.records_of("gateway.started").pop().unwrap()["details"]["before"].clone();
    assert_eq!(before(&world)["ended"], "first-start");
    world.stop_gateway();
    world.start_gateway();
    let stopped = before(&world);
    assert_eq!(stopped["ended"], "stopped");
    assert!(stopped["silent_ms"].as_u64().unwrap() > 0, "{stopped}");
    world.kill_gateway();
    world.start_gateway();
    let killed = before(&world);
    assert_eq!(killed["ended"], "unclean");
    assert!(killed["cause"].as_str().unwrap().contains("while the machine went on"), "{killed}");
    let last = world.records().into_iter().find(|record| record["seq"] == killed["last_record"]).unwrap();
    assert_eq!(last["time"].as_str().unwrap().get(..19), killed["last_time"].as_str().unwrap().get(..19));
}

#[test]
fn an_admin_has_the_ledger_scrubbed_and_damage_in_an_old_segment_is_said_loudly() {
    let mut world = World::start();
    let run = world.cli("visitor", &["ledger", "scrub"]);
    assert_eq!(run.code, 4, "{}", run.err);
    let run = world.cli("admin", &["ledger", "scrub"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let good = world.record("ledger.scrubbed", |record| record["result"] == "success");
    assert!(good["details"]["records"].as_u64().unwrap() > 5, "{good}");
    // The first group is on the disk since long, and nobody reads it again but the scrub.
    let segment = world.state().join("ledger/journal/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[600] ^= 1;
    {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().write(true).open(&segment).unwrap();
        file.write_all_at(&bytes[600..601], 600).unwrap();
    }
    assert_eq!(world.cli("admin", &["ledger", "scrub"]).code, 0);
    let bad = world.record("ledger.scrubbed", |record| record["result"] == "failure");
    assert_eq!(bad["details"]["damage"][0]["segment"], "00000000000000000000.seg", "{bad}");
    let status = world.ask("admin", &["status"]);
    assert_eq!(status["ledger"]["damaged"], true);
    assert!(status["scrub"]["state"].as_str().unwrap().contains("THE JOURNAL IS DAMAGED"), "{status}");
    assert!(world.gateway_log().contains("the scrub found damage"));
    world.stop_gateway();
}
