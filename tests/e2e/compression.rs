//! Compressed WebSockets (permessage-deflate, RFC 7692): between visitor and app, by a stock implementation at both ends, and never on
//! a WebSocket of the gateway's own.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::process::Process;
use super::world::{World, finish};

fn peer(arguments: &[&str]) -> Command {
    // Debian's package is for Debian's own Python.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/websocket_peer.py")).args(arguments);
    command
}

/// What the visitor tells of its visit, in which it said so many messages.
fn visit(world: &World, host: &str, path: &str, count: &str) -> Value {
    let (port, root) = (world.port().to_string(), world.root().to_string_lossy().into_owned());
    let visit = finish(&mut peer(&["visit", &port, host, path, &root, count]));
    assert_eq!(visit.code, 0, "{}{}", visit.out, visit.err);
    serde_json::from_str(&visit.out).unwrap()
}

#[test]
fn what_a_visitors_websocket_and_its_app_agree_to_compress_passes_as_they_agreed() {
    let world = World::start();
    let mut app = Process::start("websocket-app", world.directory(), &mut peer(&["app"]));
    let port = app.line("its port", |line| line.parse::<u16>().ok());
    let _publisher = world.publish_as("publisher", "public-chat", &["http", &format!("127.0.0.1:{port}")]);
    let told = visit(&world, "public-chat.localhost", "/", "50");
    assert_eq!(told["extensions"], json!(["permessage-deflate"]));
    let said = told["said"].as_u64().unwrap();
    let closed = world.record("session.closed", |_| true);
    for direction in ["bytes_up", "bytes_down"] {
        let passed = closed["details"][direction].as_u64().unwrap();
        assert!(passed > 0 && passed < said / 10, "{direction}: {passed} of the {said} bytes that were said");
    }
}

#[test]
fn no_websocket_of_the_gateways_own_is_compressed_whoever_offers_it() {
    let world = World::start();
    let told = visit(&world, "localhost", "/connect", "0");
    assert_eq!(told["extensions"], json!([]), "lengths would tell of what is inside");
}
