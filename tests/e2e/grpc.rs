//! gRPC through an HTTP tunnel, by the stock implementation at both ends.

use std::path::Path;
use std::process::Command;

use super::process::Process;
use super::world::{World, finish};

fn peer(arguments: &[&str]) -> Command {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = home.join("target/stock-client/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/prepare test", python.display());
    let mut command = Command::new(python);
    command.arg(home.join("tests/tools/grpc_peer.py")).args(arguments);
    // Its own chatter about forks and name servers.
    command.env("GRPC_VERBOSITY", "NONE").env("GRPC_ENABLE_FORK_SUPPORT", "0");
    command
}

#[test]
fn a_stock_grpc_client_and_server_talk_through_a_tunnel_both_ways_at_once_and_trailers_arrive() {
    let world = World::start();
    let mut app = Process::start("grpc-app", world.directory(), &mut peer(&["app"]));
    let port = app.line("its port", |line| line.parse::<u16>().ok());
    let _publisher =
        world.publish_as("publisher", "open-grpc", &["http", &format!("h2c://127.0.0.1:{port}")]);
    let (gateway, root) = (world.port().to_string(), world.root().to_string_lossy().into_owned());
    let visit =
        finish(&mut peer(&["visit", &gateway, "open-grpc.localhost", &root, &world.token("visitor")]));
    assert_eq!(visit.code, 0, "{}{}", visit.out, visit.err);
    assert_eq!(visit.out.lines().count(), 6, "{}", visit.out);
}
