//! Devices: enrolled once with a join token, publishing by their keys, gone when they are revoked.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::world::{Run, World};

impl World {
    pub(crate) fn join_token(&self, person: &str) -> PathBuf {
        let file = self.path(&format!("{person}-{}.join", super::world::next()));
        let out = file.to_string_lossy().into_owned();
        self.ask("admin", &["tokens", "join", "--subject", &format!("user:{person}"), "--out", &out]);
        file
    }

    pub(crate) fn enroll(&self, join: &std::path::Path, out: &std::path::Path) -> Run {
        let (join, out) = (join.to_string_lossy(), out.to_string_lossy());
        // As nobody in particular: the join token says whose device it is.
        self.cli("nobody", &["device", "enroll", "--join-token-file", &join, "--out", &out, "--json"])
    }
}

#[test]
fn a_publisher_that_stalls_comes_back_by_its_ticket_until_it_is_revoked() {
    let world = World::with().set("tunnels.heartbeat_secs=1").set("tunnels.heartbeat_timeout_secs=1").start();
    let file = world.path("laptop.device");
    let enrolled = world.enroll(&world.join_token("publisher"), &file);
    let told: serde_json::Value = serde_json::from_str(&enrolled.out).unwrap();
    let device = file.to_string_lossy();
    let mut publisher = world.publish_as("nobody", "open-demo", &["demo", "--device-file", &device]);
    let stall = |publisher: &mut super::process::Process, times: usize| {
        publisher.signal("STOP");
        super::patience::eventually("the publisher is missed", || {
            (world.records_of("tunnel.lost").len() == times).then_some(())
        });
    };
    stall(&mut publisher, 1);
    publisher.signal("CONT");
    let back = world.record("handshake.accepted", |record| record["details"]["resumed"] == true);
    assert_eq!(back["details"]["credential"], told["id"], "the device's leave is looked at again");
    super::patience::eventually("the tunnel leads to the app again", || {
        (world.visit("open-demo", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
    let accepted = world.records_of("handshake.accepted");
    let resumed: Vec<_> = accepted.iter().map(|record| record["details"]["resumed"].as_bool()).collect();
    assert_eq!(resumed, [Some(false), Some(true)], "one whole handshake, and one that rests on it");

    stall(&mut publisher, 2);
    world.ask("admin", &["device", "revoke", told["id"].as_str().unwrap(), "--reason", "lost"]);
    publisher.signal("CONT");
    assert_eq!(publisher.wait().code(), Some(4), "{}", publisher.err());
    let refused = world.record("auth.failed", |_| true);
    assert_eq!(refused["details"]["reason"], "device-revoked");
    assert_eq!(world.records_of("handshake.accepted").len(), 2);
}

#[test]
fn a_device_is_enrolled_once_publishes_by_its_keys_and_is_cut_when_it_is_revoked() {
    let world = World::start();
    let join = world.join_token("publisher");
    let file = world.path("laptop.device");
    let enrolled = world.enroll(&join, &file);
    assert_eq!(enrolled.code, 0, "{}{}", enrolled.out, enrolled.err);
    let told: serde_json::Value = serde_json::from_str(&enrolled.out).unwrap();
    assert_eq!(told["subject"], "user:publisher");
    let id = told["id"].as_str().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let record = world.record("device.enrolled", |record| record["result"] == "success");
    assert_eq!((&record["details"]["device"], &record["values"]["subject"]), (&told["id"], &told["subject"]));

    // A second time, the token is worth nothing, and somebody hears of it.
    let second = world.enroll(&join, &world.path("other.device"));
    assert_eq!(second.code, 4, "{}", second.err);
    assert!(second.err.contains("has enrolled a device already"), "{}", second.err);
    assert!(!world.path("other.device").exists(), "keys that nobody knows are not kept");
    let record = world.record("device.enrolled", |record| record["result"] == "denied");
    assert_eq!(record["details"]["refusal"], "join-spent");

    // No token at all, only the device's file.
    let device = file.to_string_lossy();
    let mut publisher = world.publish_as("nobody", "open-demo", &["demo", "--device-file", &device]);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    let record = world.record("handshake.accepted", |_| true);
    assert_eq!(record["details"]["credential"], told["id"]);
    assert_eq!(record["values"]["subject"], "user:publisher");

    world.ask("admin", &["device", "revoke", id, "--reason", "lost"]);
    let status = publisher.wait();
    assert_eq!(status.code(), Some(4), "{}", publisher.err());
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 404);
    let refused = world.cli("nobody", &["publish", "demo", "--name", "open-demo", "--device-file", &device]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("the device was revoked"), "{}", refused.err);
    let record = world.record("auth.failed", |_| true);
    assert_eq!(record["details"]["reason"], "device-revoked");
    let listed = world.ask("admin", &["device", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&told["id"], &"revoked".into()));
}
