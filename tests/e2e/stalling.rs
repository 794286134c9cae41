//! Visitors who don't read: however many they are, others are answered.

use super::app::{App, random};
use super::patience::eventually;
use super::world::World;

/// More than the credit of a connection was enough for, when it was as large as 32 of them hold.
const MANY: usize = 70;
/// How many may stay.
const MOST: usize = 32;

#[test]
fn many_visitors_who_read_nothing_stop_nobody_else_and_those_beyond_a_bound_are_cut() {
    let world = World::start();
    let app = App::for_transfers(random(64 << 20));
    let _publisher = world.publish_http("open-files", app.address());
    let mut lazy: Vec<_> = (0..MANY)
        .map(|_| {
            world.visit("open-files", "/block").by(&world, "visitor").args(&["--limit-rate", "1"]).start()
        })
        .collect();
    let open = || world.ask("admin", &["sessions", "list"]);
    eventually("each of them is sent more than it takes", || {
        let open = open();
        let filled = |session: &&serde_json::Value| session["bytes_down"].as_u64() > Some(256 << 10);
        (open.as_array()?.iter().filter(filled).count() >= MANY).then_some(())
    });
    let file = world.path("upload");
    std::fs::write(&file, random(1000)).unwrap();
    for _ in 0..5 {
        let arguments = ["--max-time", "3", "--upload-file", &file.to_string_lossy()];
        let other = world.visit("open-files", "/hash").by(&world, "visitor").args(&arguments).run();
        assert_eq!(other.status, 200, "{}", other.complaint);
        assert!(other.text().starts_with("1000 "), "{}", other.complaint);
    }
    let stalled = |record: &serde_json::Value| record["details"]["reason"] == "visitor-stalled";
    world.record("session.closed", stalled);
    eventually("so many are left as may stay", || {
        let left = open().as_array()?.len();
        assert!(left >= MOST, "{left} are left");
        (left == MOST).then_some(())
    });
    for visit in &mut lazy {
        visit.kill();
    }
}
