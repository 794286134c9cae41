//! Tunnels over QUIC: the same promises as over TCP, and the way back to TCP where UDP does not pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::net::UdpSocket;

use super::app::{App, RUNTIME, exchange, random, sha256};
use super::process::Process;
use super::quic_client::Hello;
use super::tcp::connect;
use super::world::World;

const LARGE: usize = 8 << 20;
const TUNNEL: &[u8] = b"sallyport/1";

fn by_quic(world: &World, name: &str, what: &[&str]) -> Process {
    world.publish_as("publisher", name, &[what, &["--transport", "quic"]].concat())
}

/// The first event of this name that a publisher told.
fn event(process: &mut Process, name: &str) -> Value {
    process.line(name, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == name).then_some(event)
    })
}

#[test]
fn a_tunnel_over_quic_is_bound_to_its_connection_and_carries_bytes_both_ways_and_says_so_everywhere() {
    let world = World::with().set("gateway.quic=on").start();
    let (up, down) = (random(LARGE), random(LARGE));
    let app = App::that_answers_at_the_end(down.clone());
    let mut publisher = by_quic(&world, "open-db", &["tcp", &app.address().to_string()]);
    let connected = event(&mut publisher, "connected");
    assert_eq!((&connected["transport"], &connected["sealed"]), (&"quic".into(), &false.into()));
    let (_connect, address) = connect(&world, "visitor", "open-db");
    let (hash, rest) = RUNTIME
        .block_on(async { exchange(tokio::net::TcpStream::connect(address).await.unwrap(), &up).await });
    assert_eq!(hash, sha256(&up));
    assert!(rest == down, "{} bytes came back", rest.len());

    let accepted = world.record("handshake.accepted", |_| true);
    assert_eq!(accepted["details"]["transport"], "quic");
    assert_eq!(accepted["details"]["sealed"], false);
    assert_eq!(accepted["details"]["tls_group"], "X25519MLKEM768");
    assert_eq!(world.record("tunnel.registered", |_| true)["details"]["transport"], "quic");
    assert_eq!(world.ask("publisher", &["tunnels"])[0]["transport"], "quic");
    assert_eq!(world.record("config.loaded", |_| true)["details"]["quic"], "on");
}

#[test]
fn where_udp_is_swallowed_or_refused_the_publisher_says_so_and_comes_by_tls() {
    for swallowed in [true, false] {
        let world = World::start();
        let hole = swallowed.then(|| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, world.port()));
            std::net::UdpSocket::bind(address).unwrap()
        });
        let mut publisher =
            world.publish_as("publisher", "open-demo", &["demo", "--transport", "quic,tls,websocket"]);
        let fallback = event(&mut publisher, "fallback");
        assert_eq!(fallback["from"], "quic");
        assert!(fallback["reason"].as_str().unwrap().contains("QUIC"), "{fallback}");
        assert!(!fallback["hint"].as_str().unwrap().is_empty(), "{fallback}");
        assert_eq!(event(&mut publisher, "connected")["transport"], "tls");
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
        drop(hole);
    }
}

#[test]
fn quic_alone_where_it_is_off_is_a_failure_that_names_what_to_do() {
    let world = World::start();
    let mut command = world.client("publisher");
    command.args(["publish", "demo", "--name", "open-demo", "--transport", "quic", "--give-up-after", "1"]);
    let run = super::world::finish(&mut command);
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.err.contains("QUIC") && run.out.contains("gateway.quic"), "{}{}", run.out, run.err);
}

#[test]
fn a_client_without_the_hybrid_key_exchange_or_our_protocol_gets_nowhere_by_quic() {
    let world = World::with().set("gateway.quic=on").start();
    RUNTIME.block_on(async {
        let classical = Hello::speaking(TUNNEL).only(rustls::crypto::aws_lc_rs::kx_group::X25519);
        let refused = classical.connect(&world, "localhost").await.expect_err("X25519 alone is refused");
        assert!(refused.to_string().contains("handshake"), "{refused}");
        let foreign = Hello::speaking(b"smtp").connect(&world, "localhost").await;
        foreign.expect_err("nobody speaks that here");
        let (_endpoint, _connection) = Hello::speaking(TUNNEL).connect(&world, "localhost").await.unwrap();
    });
    let record = world.record("connection.refused", |_| true);
    assert_eq!(record["details"]["reason"], "tls-incompatible");
}

#[test]
fn a_publisher_that_is_stopped_is_noticed_over_quic_and_comes_back() {
    let world = World::with()
        .set("gateway.quic=on")
        .set("tunnels.heartbeat_secs=1")
        .set("tunnels.heartbeat_timeout_secs=1")
        .start();
    let mut publisher = by_quic(&world, "open-demo", &["demo"]);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    publisher.signal("STOP");
    let lost = world.record("tunnel.lost", |_| true);
    assert!(lost["details"]["reason"].as_str().unwrap().contains("heartbeat"), "{lost}");
    publisher.signal("CONT");
    world.record("tunnel.registered", |record| record["details"]["resumed"] == true);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
}

#[test]
fn a_publisher_whose_gateway_was_killed_is_told_over_quic_by_the_one_that_comes_back_in_its_place() {
    // Silence alone would tell it after QUIC's own bound of 45 s. By its pings it speaks before.
    let mut world = World::with()
        .set("gateway.quic=on")
        .set("tunnels.heartbeat_secs=5")
        .set("tunnels.heartbeat_timeout_secs=300")
        .start();
    let mut publisher = by_quic(&world, "open-demo", &["demo"]);
    world.kill_gateway();
    world.start_gateway();
    let lost = event(&mut publisher, "disconnected");
    assert!(lost["reason"].as_str().unwrap().contains("reset"), "{lost}");
    assert_eq!(event(&mut publisher, "connected")["transport"], "quic");
}

#[test]
fn a_revoked_publisher_is_dismissed_over_quic_and_hears_why() {
    let world = World::with().set("gateway.quic=on").start();
    let mut publisher = by_quic(&world, "open-demo", &["demo"]);
    world.ask("admin", &["lock", "user:publisher", "--reason", "a test"]);
    assert_eq!(publisher.wait().code(), Some(4), "{}", publisher.err());
    assert!(publisher.err().contains("revoked"), "{}", publisher.err());
}

/// The first datagram of a client that wants to connect, caught before it gets anywhere.
async fn first_datagram(world: &World) -> Vec<u8> {
    let trap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = Hello::speaking(TUNNEL).config(world);
    let _connecting = endpoint.connect_with(config, trap.local_addr().unwrap(), "localhost").unwrap();
    let mut buffer = vec![0; 2048];
    let length = trap.recv(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}

/// A long header of this type (RFC 9000 section 17.2).
fn is_retry(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0xf0 == 0xf0)
}

#[test]
fn addresses_that_have_not_shown_that_they_hear_us_get_little_and_many_of_them_are_asked_to_show_it() {
    let world = World::with().set("gateway.quic=on").start();
    RUNTIME.block_on(async {
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, world.port()));
        // Each says hello and never answers: as many as may be under way, and some more.
        let mut silent = Vec::new();
        for _ in 0..40 {
            let hello = first_datagram(&world).await;
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.send_to(&hello, gateway).await.unwrap();
            silent.push((socket, hello.len()));
        }
        // Whoever hears us gets in all the same; and what came before has been answered by then.
        Hello::speaking(TUNNEL).connect(&world, "localhost").await.unwrap();
        let (mut retried, mut buffer) = (0, vec![0; 65_536]);
        for (socket, said) in silent {
            socket.readable().await.unwrap();
            let mut got = 0;
            while let Ok(length) = socket.try_recv(&mut buffer) {
                retried += usize::from(is_retry(&buffer[..length]));
                got += length;
            }
            // RFC 9000 section 8.1.
            assert!(got <= 3 * said, "{got} bytes came back for {said}");
        }
        assert!((1..=10).contains(&retried), "{retried} of 40 were asked to show that they hear us");
    });
}

#[test]
fn a_connection_whose_address_changes_is_not_followed() {
    let world = World::with().set("gateway.quic=on").start();
    RUNTIME.block_on(async {
        // A message that the gateway answers at once where it hears it: it is no hello.
        let nonsense = [0, 0, 0, 1, 0];
        for moves in [false, true] {
            let (endpoint, connection) = Hello::speaking(TUNNEL).connect(&world, "localhost").await.unwrap();
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            if moves {
                endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            }
            send.write_all(&nonsense).await.unwrap();
            let mut byte = [0];
            let answer = tokio::time::timeout(Duration::from_secs(3), receive.read(&mut byte)).await;
            assert_eq!(answer.is_err(), moves, "{answer:?}");
        }
    });
}
