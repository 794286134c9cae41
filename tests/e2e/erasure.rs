//! A person who is erased is nowhere any more, and everything that was proved stays proved. One value is shown to an auditor,
//! and no other.

use serde_json::Value;

use super::secrecy::holding;
use super::world::World;

const ALICE: &str = "user:alice-of-the-test";

/// Records in which somebody is named who has asked, and withdrawn.
fn known(world: &World) -> u64 {
    let file = world.path("alice.token");
    world.ask("admin", &["tokens", "issue", "--subject", ALICE, "--out", file.to_str().unwrap()]);
    let token = format!("Authorization: Bearer {}", std::fs::read_to_string(&file).unwrap().trim());
    // One record under her own name, and one in which she is the target.
    let listed = world.curl("/api/v1/sessions").header(&token).run();
    assert_eq!(listed.status, 403);
    std::fs::remove_file(file).unwrap();
    let called = world.record("admin.called", |record| record["values"]["subject"] == ALICE);
    called["seq"].as_u64().unwrap()
}

#[test]
fn an_erased_person_is_nowhere_and_every_proof_stays_good() {
    let mut world = World::with().prepare();
    world.start_gateway();
    let seq = known(&world);
    let ledger = world.state().join("ledger");
    assert_eq!(world.verify(&ledger).code, 0);
    let proof = world.path("before.tlog-proof");
    let (ledger_text, proof_text) = (ledger.to_str().unwrap(), proof.to_str().unwrap());
    assert_eq!(world.auditctl(&["prove", ledger_text, &seq.to_string(), "--out", proof_text]).code, 0);

    let erase = ["subjects", "erase", ALICE, "--reason", "asked for on paper", "--confirm", ALICE];
    let unconfirmed =
        world.cli("admin", &["subjects", "erase", ALICE, "--reason", "x", "--confirm", "user:bob"]);
    assert_eq!(unconfirmed.code, 2);
    assert_eq!(world.cli("visitor", &erase).code, 4);
    let erased = world.ask("admin", &erase);
    let told = world.record("personal.erased", |record| record["result"] == "success");
    assert_eq!(told["details"]["key"], erased["key"]);
    assert_eq!(told["values"]["subject"], "user:admin");
    let again = world.cli("admin", &erase);
    assert_ne!(again.code, 0, "nothing is kept of her any more");

    let check = |world: &World| {
        let records = world.records();
        assert!(!serde_json::to_string(&records).unwrap().contains("alice-of-the-test"));
        let record = records.iter().find(|record| record["seq"] == seq).unwrap();
        assert!(record["erased"].as_array().unwrap().contains(&Value::from("subject")));
        let log = world.cli("admin", &["log", "--from", &seq.to_string()]);
        assert!(log.out.contains("subject=(erased)"), "{}", log.out);
    };
    check(&world);
    let disclosed = world.cli("admin", &disclose(seq, "subject", world.path("late").to_str().unwrap()));
    assert_ne!(disclosed.code, 0, "what is erased is shown to nobody");
    assert_eq!(world.verify(&ledger).code, 0);
    let vkey = world.state().join("ledger.vkey");
    let checked = world.auditctl(&["check-proof", proof_text, "--key-file", vkey.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    // The same after a restart, which folds the state of access from what is left.
    world.stop_gateway();
    assert_eq!(holding(&world.state(), "alice-of-the-test"), Vec::<String>::new());
    world.start_gateway();
    check(&world);
    world.stop_gateway();
    assert_eq!(world.verify(&ledger).code, 0);
}

#[test]
fn a_person_of_whom_a_record_is_held_is_not_erased_before_the_hold_is_released() {
    let mut world = World::with().prepare();
    world.start_gateway();
    let seq = known(&world).to_string();
    world.stop_gateway();
    let retention = |arguments: &[&str]| {
        let run = world.daemon(&[&["retention"], arguments].concat());
        assert_eq!(run.code, 0, "{}", run.err);
    };
    retention(&["hold", "case-17", "--reason", "a court asked", "--from", &seq, "--to", &seq]);
    world.start_gateway();
    let erase = ["subjects", "erase", ALICE, "--reason", "asked for on paper", "--confirm", ALICE];
    let held = world.cli("admin", &erase);
    assert!(held.code != 0 && held.err.contains("case-17"), "{}", held.err);
    assert!(world.records().iter().all(|record| record["kind"] != "personal.erased"));
    world.stop_gateway();
    let released = world.daemon(&["retention", "release", "case-17", "--reason", "settled"]);
    assert_eq!(released.code, 0, "{}", released.err);
    world.start_gateway();
    world.ask("admin", &erase);
}

#[test]
fn a_publisher_that_is_erased_writes_its_last_record_before_its_key_is_destroyed() {
    let mut world =
        World::with().policy(&format!("p, {ALICE}, main, tunnel:hers, publish, allow, -")).start();
    let file = world.token_file("alice");
    world.ask("admin", &["tokens", "issue", "--subject", ALICE, "--out", file.to_str().unwrap()]);
    let mut publisher = world.publish_as("alice", "hers", &["demo"]);
    // It hears no goodbye, so its connection takes a while to end.
    publisher.signal("STOP");
    let erase = ["subjects", "erase", ALICE, "--reason", "asked for on paper", "--confirm", ALICE];
    let erased = world.cli("admin", &erase);
    assert_eq!(erased.code, 0, "{}", erased.err);
    let records = world.records();
    let ended = |record: &&Value| record["kind"] == "tunnel.closed" || record["kind"] == "tunnel.lost";
    let end =
        records.iter().find(ended).expect("the end of the tunnel is recorded before the erasure is answered");
    assert!(end["erased"].as_array().unwrap().contains(&Value::from("subject")));
    assert!(!serde_json::to_string(&records).unwrap().contains("alice-of-the-test"));
    let again = world.cli("admin", &erase);
    assert_ne!(again.code, 0, "no new key of hers was made");
    publisher.kill();
    world.stop_gateway();
    assert_eq!(holding(&world.state().join("ledger"), "alice-of-the-test"), Vec::<String>::new());
}

fn disclose<'a>(seq: u64, field: &'a str, out: &'a str) -> Vec<&'a str> {
    let seq: &'static str = Box::leak(seq.to_string().into_boxed_str());
    vec!["disclose", seq, field, "--to", "the auditor", "--reason", "sample 7", "--out", out]
}

#[test]
fn an_auditor_is_shown_one_value_and_checks_it_with_the_public_key_alone() {
    let world = World::start();
    let seq = known(&world);
    let file = world.path("who.json");
    let name = file.to_str().unwrap();
    assert_eq!(world.cli("visitor", &disclose(seq, "subject", name)).code, 4);
    let disclosed = world.cli("admin", &disclose(seq, "subject", name));
    assert_eq!(disclosed.code, 0, "{}", disclosed.err);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(ALICE) && !text.contains("127.0.0.1"));
    let told = world.record("personal.disclosed", |_| true);
    assert_eq!(
        (&told["details"]["record"], &told["details"]["field"]),
        (&Value::from(seq), &Value::from("subject"))
    );
    assert_eq!(told["values"]["target"], "the auditor");

    let vkey = world.state().join("ledger.vkey");
    let key = vkey.to_str().unwrap();
    let checked = world.auditctl(&["check-disclosure", name, "--key-file", key]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(checked.out.contains(ALICE));
    std::fs::write(&file, text.replace(ALICE, "user:bob")).unwrap();
    assert_eq!(world.auditctl(&["check-disclosure", name, "--key-file", key]).code, 1);
}

#[test]
fn a_gateway_that_lost_a_persons_key_refuses_to_start_and_says_why() {
    let mut world = World::start();
    known(&world);
    world.stop_gateway();
    let keys = std::fs::read_dir(world.state().join("ledger/personal")).unwrap();
    for key in keys.map(|entry| entry.unwrap().path()) {
        if key.extension().is_some_and(|extension| extension == "key") {
            std::fs::remove_file(key).unwrap();
        }
    }
    let refused = world.refuses_to_start(&[]);
    assert!(refused.err.contains("can't be opened"), "{}", refused.err);
}

#[test]
fn without_the_tokens_pin_nothing_personal_is_readable_at_rest() {
    let mut world = World::start();
    known(&world);
    world.stop_gateway();
    for value in ["alice-of-the-test", "127.0.0.1:"] {
        assert_eq!(
            holding(&world.state().join("ledger"), value),
            Vec::<String>::new(),
            "`{value}` is in clear"
        );
    }
    assert_eq!(holding(&world.state(), "alice-of-the-test"), Vec::<String>::new());
    std::fs::write(world.state().join("secrets/user.pin"), "00000000").unwrap();
    assert!(world.refuses_to_start(&[]).err.contains("refused the PIN"));
}
