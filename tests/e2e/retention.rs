//! Legal holds and pruning through the running gateway, and the same words when it is stopped.

use serde_json::json;

use super::world::World;

const HOLD: [&str; 7] =
    ["retention", "hold", "case-17", "--reason", "a court asked", "--kind", "admin.called"];

#[test]
fn a_running_gateway_holds_releases_and_plans_for_its_admins_and_each_change_is_recorded() {
    let mut world = World::with().prepare();
    world.start_gateway();
    let before = world.ask("admin", &["retention", "plan"]);
    assert_eq!((before["prune_before"].as_u64(), before["go"]["records"].as_u64()), (Some(0), Some(0)));

    let placed = world.ask("admin", &HOLD);
    let held = world.record("retention.held", |record| record["details"]["hold"] == "case-17");
    assert_eq!(held["seq"], placed["record"]);
    assert_eq!(held["values"]["subject"], "user:admin");
    assert_eq!(held["values"]["reason"], "a court asked");
    assert_eq!(held["details"]["selection"], json!({ "kinds": ["admin.called"] }));

    // Who may not administer the ledger changes nothing, and who may not audit it sees nothing.
    for refused in [&HOLD[..], &["retention", "list"], &["retention", "plan"], &["retention", "run", "--yes"]]
    {
        assert_eq!(world.cli("visitor", refused).code, 4, "{refused:?}");
    }
    let release = ["retention", "release", "case-17", "--reason", "settled"];
    assert_eq!(world.cli("visitor", &release).code, 4);
    // What cannot be is refused with a sentence.
    for (asked, word) in [
        (&HOLD[..], "already"),
        (&["retention", "hold", "no name", "--reason", "x"], "not a name"),
        (&["retention", "release", "case-18", "--reason", "x"], "no hold"),
        (&["retention", "release", "../../status", "--reason", "x"], "hold"),
        (&["retention", "run", "--yes"], "archive"),
    ] {
        let answer = world.cli("admin", asked);
        assert!(answer.code == 2 && answer.err.contains(word), "{asked:?}: {} {}", answer.code, answer.err);
    }
    let listed = world.ask("admin", &["retention", "list"]);
    assert_eq!((listed[0]["hold"].as_str(), listed.as_array().unwrap().len()), (Some("case-17"), 1));
    assert_eq!(world.records_of("retention.held").len(), 1);

    // The program of the stopped gateway says whom to ask, and sees the same.
    let offline = world.daemon(&["retention", "release", "case-17", "--reason", "settled"]);
    assert!(offline.code != 0 && offline.err.contains("sallyport retention"), "{}", offline.err);
    assert!(world.daemon(&["retention", "list"]).out.contains("case-17"));
    world.stop_gateway();
    let offline = world.daemon(&["retention", "hold", "case-18", "--reason", "another court"]);
    assert_eq!(offline.code, 0, "{}", offline.err);

    world.start_gateway();
    world.ask("admin", &release);
    let released = world.record("retention.released", |record| record["details"]["hold"] == "case-17");
    assert_eq!(released["values"]["subject"], "user:admin");
    assert_eq!(world.ask("admin", &["retention", "list"])[0]["hold"], "case-18");
    world.stop_gateway();
    assert_eq!(world.verify(&world.state().join("ledger")).code, 0);
}
