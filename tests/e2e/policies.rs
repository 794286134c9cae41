//! A policy before it is in force: checked, tested, compared, tried on the ledger's history, agreed on by two.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::world::World;

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/examples").join(name).display().to_string()
}

fn table(world: &World) -> PathBuf {
    world.state().join("policies/policy.csv")
}

fn append(file: &Path, rows: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("{text}{rows}\n")).unwrap();
}

const CLOSED: &str = "p, role:visitor, main, tunnel:open-*, connect, deny, -";

#[test]
fn a_policy_is_checked_tested_and_compared_without_a_gateway() {
    let world = World::with().prepare();
    let checked = world.daemon(&["policy", "check"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("warning [wildcard-admin]"), "{}", checked.out);
    assert_eq!(world.daemon(&["policy", "check", "--strict"]).code, 1);
    for name in ["small-team", "hospital-vendor", "production-database"] {
        let directory = example(name);
        let run = world.daemon(&["policy", "check", "--strict", "--directory", &directory]);
        assert_eq!(run.code, 0, "{name}: {}{}", run.out, run.err);
        let run = world.daemon(&["policy", "test", "--directory", &directory]);
        assert_eq!(run.code, 0, "{name}: {}{}", run.out, run.err);
        assert!(run.out.contains(" tests, 0 failed"), "{}", run.out);
    }
    // A test that fails names the rule that decided.
    let tests = world.path("wrong.toml");
    std::fs::write(
        &tests,
        "[[test]]\nname = \"open\"\nwho = \"user:tech1@vendor.example\"\ntenant = \"st-anne\"\naction = \"connect\"\nobject = \"tunnel:imaging-archive\"\nexpect = \"allow\"\n",
    )
    .unwrap();
    let tests = tests.display().to_string();
    let failed =
        world.daemon(&["policy", "test", "--directory", &example("hospital-vendor"), "--tests", &tests]);
    assert_eq!(failed.code, 1, "{}", failed.out);
    assert!(
        failed.out.contains("FAILED line 1: open") && failed.out.contains("policy.csv:7"),
        "{}",
        failed.out
    );

    let night = ["--at", "2026-12-02T22:00:00Z", "--directory", &example("small-team")];
    let question = ["policy", "explain", "user:dana@example.com", "connect", "staging"];
    let explained = world.daemon(&[&question[..], &night[..]].concat());
    assert_eq!(explained.code, 0, "{}", explained.err);
    assert!(
        explained.out.contains("deny: user:dana@example.com") && explained.out.contains("working-hours"),
        "{}",
        explained.out
    );

    let new = world.path("new");
    std::fs::create_dir(&new).unwrap();
    for file in std::fs::read_dir(world.state().join("policies")).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, new.join(file.file_name().unwrap())).unwrap();
    }
    append(&new.join("policy.csv"), CLOSED);
    let (old, new) = (world.state().join("policies").display().to_string(), new.display().to_string());
    let differs = world.daemon(&["policy", "diff", &old, &new]);
    assert_eq!(differs.code, 0, "{}", differs.err);
    assert!(differs.out.contains("- user:visitor connect tunnel:open-"), "{}", differs.out);
    assert!(differs.out.contains("0 gained, 1 lost"), "{}", differs.out);

    append(&table(&world), "p, role:visitor, main, tunnel:x, connect, allow, nowhere");
    let faulty = world.daemon(&["policy", "check", "--json"]);
    assert_eq!(faulty.code, 1);
    let found: Value = serde_json::from_str(&faulty.out).unwrap();
    assert_eq!((&found["usable"], &found["errors"]), (&Value::from(false), &Value::from(1)), "{found}");
}

#[test]
fn the_ledgers_decisions_come_out_the_same_under_the_same_policy_and_a_change_shows() {
    let mut world = World::start();
    let publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    assert_eq!(world.visit("open-demo", "/").by(&world, "rival").run().status, 403);
    world.record("session.closed", |_| true);
    let same = world.ask("admin", &["policy", "replay"]);
    assert_eq!(same["different"], 0, "{same}");
    assert!(same["decided"].as_u64().unwrap() >= 3, "{same}");
    assert_eq!(world.cli("visitor", &["policy", "replay"]).code, 4);

    append(&table(&world), CLOSED);
    let changed = world.ask("admin", &["policy", "replay"]);
    assert_eq!(changed["different"], 1, "{changed}");
    let differs = &changed["differences"][0];
    assert_eq!(
        (&differs["kind"], &differs["then"], &differs["now"]),
        (&"session.opened".into(), &"allowed".into(), &"denied".into())
    );
    // Nothing came into force by it.
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    let explained = world.ask("admin", &["policy", "explain", "user:visitor", "connect", "open-demo"]);
    assert_eq!(explained["answer"], "allowed", "{explained}");
    drop(publisher);
    world.stop_gateway();
    let offline = world.daemon(&["policy", "replay", "--json"]);
    assert_eq!(offline.code, 0, "{}", offline.err);
    let offline: Value = serde_json::from_str(&offline.out).unwrap();
    assert!(offline["different"].as_u64().unwrap() >= 1, "{offline}");
}

#[test]
fn a_policy_is_changed_by_two_admins_and_a_restart_is_no_way_around() {
    let mut world = World::with().policy("g, user:rival, role:admin, main").start();
    world.stop_gateway();
    let file = world.state().join("sallyport.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[access]", "[access]\npolicy_change = \"second-person\"")).unwrap();
    world.start_gateway();

    let before = std::fs::read_to_string(table(&world)).unwrap();
    append(&table(&world), CLOSED);
    let reload = world.cli("admin", &["policy", "reload"]);
    assert_ne!(reload.code, 0);
    assert!(reload.err.contains("no second person has approved it"), "{}", reload.err);
    let proposed = world.ask("admin", &["policy", "propose", "--reason", "closed over the holidays"]);
    let digest = proposed["proposed"].as_str().unwrap().to_owned();
    assert!(!proposed["difference"]["changes"].as_array().unwrap().is_empty(), "{proposed}");
    let own = world.cli("admin", &["policy", "approve", &digest]);
    assert_eq!(own.code, 4, "{}", own.err);
    assert!(own.err.contains("another person"), "{}", own.err);

    // A start with what nobody approved is refused, and says the way out.
    world.stop_gateway();
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(
        refused.err.contains("second-person") && refused.err.contains("put the files"),
        "{}",
        refused.err
    );
    std::fs::write(table(&world), &before).unwrap();
    world.start_gateway();

    append(&table(&world), CLOSED);
    let pending = world.cli("rival", &["policy", "pending"]);
    assert!(pending.out.contains("loses user:visitor connect tunnel:open-"), "{}", pending.out);
    let approved = world.ask("rival", &["policy", "approve", &digest, "--reason", "as agreed"]);
    assert_eq!(approved["policy"], digest.as_str());
    world.record("policy.approved", |record| record["policy"] == digest.as_str());
    let explained = world.ask("admin", &["policy", "explain", "user:visitor", "connect", "open-demo"]);
    assert_eq!(
        (&explained["answer"], &explained["policy"]),
        (&"denied".into(), &digest.as_str().into()),
        "{explained}"
    );
    world.stop_gateway();
    world.start_gateway();
}
