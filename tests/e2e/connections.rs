//! Several connections of one publisher: one tunnel, on which they take turns; losing one loses nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::app::RUNTIME;
use super::patience::eventually;
use super::process::Process;
use super::world::World;

/// Passes TCP on to the gateway, and can cut what it passed.
pub(crate) struct Relay {
    address: SocketAddr,
    passing: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Relay {
    pub(crate) fn to(port: u16) -> Self {
        Self::from_addresses(port, |_| "127.0.0.1")
    }

    /// Connection number `at` reaches the gateway from the address that `source` says.
    fn from_addresses(port: u16, source: fn(usize) -> &'static str) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let passing: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let kept = Arc::clone(&passing);
        RUNTIME.spawn(async move {
            for at in 0.. {
                let Ok((mut near, _)) = listener.accept().await else { return };
                let task = tokio::spawn(async move {
                    let far = TcpSocket::new_v4().unwrap();
                    far.bind(SocketAddr::new(source(at).parse().unwrap(), 0)).unwrap();
                    let mut far = far.connect(([127, 0, 0, 1], port).into()).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
                kept.lock().await.push(task);
            }
        });
        Self { address, passing }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts the connection that came as number `at`.
    pub(crate) fn cut(&self, at: usize) {
        RUNTIME.block_on(async { self.passing.lock().await[at].abort() });
    }

    /// Cuts all that came.
    pub(crate) fn cut_all(&self) {
        RUNTIME.block_on(async { self.passing.lock().await.iter().for_each(JoinHandle::abort) });
    }
}

fn count(process: &Process, name: &str) -> usize {
    let out = process.out();
    let events = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["event"] == name).count()
}

fn publish(world: &World, relay: &Relay, what: &[&str]) -> Process {
    let mut command = world.client("publisher");
    command.env("SALLYPORT_GATEWAY", format!("https://localhost:{}", relay.port()));
    command.args(["publish", "demo", "--name", "open-demo", "--json", "--give-up-after", "0"]).args(what);
    let mut process = Process::start("publisher", world.directory(), &mut command);
    process.line("that its tunnel is open", |line| line.contains("\"registered\"").then_some(()));
    process
}

#[test]
fn the_loss_of_one_connection_loses_no_tunnel_and_it_is_dialled_again() {
    let world = World::start();
    let relay = Relay::to(world.port());
    let publisher = publish(&world, &relay, &["--connections", "3"]);
    let connections = |wanted: usize| {
        eventually("the connections are up", || {
            (world.ask("admin", &["tunnels"])[0]["connections"] == wanted).then_some(())
        });
    };
    connections(3);
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    // One after the other, the first among them, which registered the tunnel.
    for (at, lost) in [(0, 1), (1, 2), (2, 3)] {
        relay.cut(at);
        eventually("the loss is told", || (count(&publisher, "narrowed") >= lost).then_some(()));
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
        connections(3);
    }
    assert_eq!(world.records_of("tunnel.registered").len(), 1);
    assert_eq!(world.records_of("tunnel.lost").len(), 0);
    let joins: Vec<Value> = world.records_of("handshake.accepted");
    let tunnel = world.record("tunnel.registered", |_| true)["details"]["tunnel_id"].clone();
    let joined: Vec<_> = joins.iter().filter(|record| record["details"]["joins"] == tunnel).collect();
    assert_eq!((joins.len(), joined.len()), (6, 5));
}

#[test]
fn requests_take_turns_on_the_connections_and_a_revocation_ends_all_of_them() {
    let world = World::start();
    let relay = Relay::to(world.port());
    let mut publisher = publish(&world, &relay, &["--connections", "2"]);
    eventually("both are up", || (count(&publisher, "widened") == 1).then_some(()));
    for _ in 0..4 {
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    }
    world.ask("admin", &["lock", "user:publisher", "--reason", "a test"]);
    assert_eq!(publisher.wait().code(), Some(4), "{}", publisher.err());
    let sources: HashSet<_> = world
        .records_of("handshake.accepted")
        .iter()
        .map(|record| record["values"]["source"].to_string())
        .collect();
    assert_eq!(sources.len(), 2);
    eventually("no connection is left", || {
        RUNTIME
            .block_on(async { relay.passing.lock().await.iter().all(JoinHandle::is_finished) })
            .then_some(())
    });
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 404);
}

#[test]
fn several_connections_over_quic_are_one_publisher_too() {
    let world = World::with().set("gateway.quic=on").start();
    let mut publisher =
        world.publish_as("publisher", "open-demo", &["demo", "--transport", "quic", "--connections", "4"]);
    eventually("all are up", || (count(&publisher, "widened") == 3).then_some(()));
    for _ in 0..8 {
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    }
    assert!(publisher.stop().success(), "{}", publisher.err());
    world.record("tunnel.closed", |_| true);
}

#[test]
fn a_further_connection_comes_only_from_where_its_publisher_may_publish() {
    let mut world =
        World::with().policy("p, role:publisher, main, tunnel:open-*, publish, deny, -, !here").prepare();
    let conditions = "[condition.here]\nnetworks = [\"127.0.0.1/32\"]\n";
    std::fs::write(world.state().join("policies/conditions.toml"), conditions).unwrap();
    world.start_gateway();
    let relay = Relay::from_addresses(world.port(), |at| if at == 0 { "127.0.0.1" } else { "127.0.0.9" });
    let publisher = publish(&world, &relay, &["--connections", "2"]);
    let from_elsewhere = |record: &Value| record["values"]["source"].to_string().contains("127.0.0.9");
    eventually("the refusal is recorded", || {
        world.records_of("tunnel.refused").iter().any(from_elsewhere).then_some(())
    });
    assert_eq!(count(&publisher, "widened"), 0, "{}", publisher.out());
    assert!(!world.records_of("handshake.accepted").iter().any(from_elsewhere));
    assert_eq!(world.ask("admin", &["tunnels"])[0]["connections"], 1);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
}
