//! Canary controls of a running gateway: what must be refused is tried at intervals, and the answers stand in the ledger.

use crate::patience::eventually;
use crate::world::World;

#[test]
fn what_must_be_refused_is_tried_at_intervals_and_each_answer_is_recorded() {
    let world = World::with().set("access.canary_secs=1").start();
    let answers = eventually("each control was tried twice", || {
        let tried = world.records_of("canary.tried");
        (tried.len() >= 8).then_some(tried)
    });
    for (control, answer) in [
        ("self-approval", "own-request"),
        ("expired-grant", "grant-expired"),
        ("revoked-token", "revoked"),
        ("altered-record", "found"),
    ] {
        let of: Vec<_> = answers.iter().filter(|record| record["details"]["control"] == control).collect();
        assert!(of.len() >= 2, "{control}: {answers:?}");
        for record in of {
            assert_eq!(record["result"], "success", "{record}");
            assert_eq!(record["details"]["answer"], answer, "{record}");
        }
    }
    // Its tokens say what they are; nobody else's do.
    let tokens = world.records_of("token.issued");
    let (tried, given): (Vec<_>, Vec<_>) =
        tokens.iter().partition(|record| record["details"]["canary"] == true);
    assert!(tried.len() >= 2 && !given.is_empty(), "{tokens:?}");
    assert!(tried.iter().all(|record| record["values"]["target"] == "user:canary"), "{tried:?}");
    assert!(given.iter().all(|record| record["values"]["target"] != "user:canary"), "{given:?}");
}

#[test]
fn no_canary_is_tried_where_the_operator_wants_none() {
    let world = World::with().set("access.canary_secs=0").set("ledger.heartbeat_secs=1").start();
    eventually("three heartbeats", || (world.records_of("gateway.heartbeat").len() >= 3).then_some(()));
    assert!(world.records_of("canary.tried").is_empty());
}
