//! Publishers hear of maintenance before it begins.

use serde_json::{Value, json};

use super::world::World;

#[test]
fn publishers_are_told_of_maintenance_ahead_and_the_announcement_is_recorded_with_its_words() {
    let world = World::start();
    let mut publisher = world.publish_demo("open-demo");
    let order = ["maintenance", "--at", "2027-01-31T22:00:00Z", "--reason", "a new version – five minutes"];
    let told = world.ask("admin", &order);
    assert_eq!(told, json!({ "at": "2027-01-31T22:00:00Z", "publishers": 1, "heard": 1 }));
    let heard = publisher.line("of the maintenance", |line| {
        serde_json::from_str::<Value>(line).ok().filter(|event| event["event"] == "maintenance")
    });
    assert_eq!(heard["at"], "2027-01-31T22:00:00Z");
    assert_eq!(heard["reason"], "a new version – five minutes");
    let called = world.record("admin.called", |record| {
        record["object"] == "gateway:sessions" && record["action"] == "admin"
    });
    assert_eq!(called["details"]["at"], "2027-01-31T22:00:00Z");
    assert_eq!(called["values"]["reason"], "a new version – five minutes");
}

#[test]
fn only_admins_announce_maintenance_and_only_in_plain_words() {
    let world = World::start();
    let announce = |person: &str, reason: &str| {
        world.cli(person, &["maintenance", "--at", "2027-01-31T22:00:00Z", "--reason", reason])
    };
    assert_eq!(announce("visitor", "mine").code, 4);
    let escape = announce("admin", "\u{1b}[2Jgone");
    assert_eq!(escape.code, 2, "{}{}", escape.out, escape.err);
}
