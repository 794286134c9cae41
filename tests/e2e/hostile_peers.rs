//! Peers that do not play by the rules: they are refused, bounded and recorded, and the gateway lives on.

use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use sallyport::tunnel::handshake::{ClientHandshake, kem::DecapsulationKey};
use sallyport::tunnel::{Suite, channel_binding};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::app::RUNTIME;
use super::patience::PATIENCE;
use super::socket::{Socket, tls, websocket};
use super::world::World;

fn lives_on(world: &World) {
    assert_eq!(world.curl("/readyz").run().status, 200);
}

/// All that a peer still gets to read before the gateway is done with it.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await;
    // A reset is an answer too.
    let _closed_or_reset = read.expect("the gateway ends the connection");
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn a_visitor_who_sends_endless_headers_is_stopped_at_the_bound() {
    let world = World::with().set("limits.header_bytes=16384").start();
    RUNTIME.block_on(async {
        let mut stream = tls(&world, "localhost").await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
        let line = format!("X-More: {}\r\n", "x".repeat(1000));
        let mut sent = 0;
        while sent < 10 << 20
            && stream.write_all(line.as_bytes()).await.is_ok()
            && stream.flush().await.is_ok()
        {
            sent += line.len();
        }
        assert!(sent < 10 << 20, "the gateway took {sent} bytes of headers");
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    });
    let too_many =
        world.curl("/healthz").header(&format!("X-More: {}", "x".repeat(20_000))).args(&["--http1.1"]).run();
    assert_eq!(too_many.status, 431);
    let too_many =
        world.curl("/healthz").header(&format!("X-More: {}", "x".repeat(20_000))).args(&["--http2"]).run();
    assert!(matches!(too_many.status, 0 | 431), "{}", too_many.status);
    lives_on(&world);
}

#[test]
fn a_visitor_who_never_ends_a_request_head_is_let_go() {
    let world = World::with().set("limits.header_secs=1").start();
    RUNTIME.block_on(async {
        let mut stream = tls(&world, "localhost").await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200"), "{answer}");
        let mut silent = tls(&world, "localhost").await;
        rest(&mut silent).await;
    });
    lives_on(&world);
}

#[test]
fn a_connection_that_idles_is_not_dropped_by_the_limit_of_heads_and_one_that_begins_a_head_is() {
    let world = World::with().set("limits.header_secs=1").set("limits.keep_alive_secs=600").start();
    RUNTIME.block_on(async {
        let mut idle = tls(&world, "localhost").await;
        for _ in 0..3 {
            idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut head = [0; 12];
            idle.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            let mut rest_of_it = Vec::new();
            while !rest_of_it.ends_with(b"alive\n") {
                assert_ne!(idle.read_buf(&mut rest_of_it).await.unwrap(), 0, "it was dropped");
            }
            // It idles for longer than the limit: another that began its head later is let go of meanwhile.
            let mut slow = tls(&world, "localhost").await;
            slow.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
            rest(&mut slow).await;
        }
        idle.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
        rest(&mut idle).await;
    });
    lives_on(&world);
}

#[test]
fn whoever_does_not_speak_tls_or_never_finishes_it_is_let_go() {
    let world = World::with().set("limits.tls_handshake_secs=1").start();
    RUNTIME.block_on(async {
        for greeting in ["\u{1}\u{2}\u{3}", "\x16\x03\x01", ""] {
            let mut stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            let answer = rest(&mut stream).await;
            assert!(!answer.contains("HTTP/"), "{answer}");
        }
    });
    lives_on(&world);
}

#[test]
fn more_connections_of_one_address_than_allowed_are_refused_and_recorded_once() {
    let world = World::with().set("limits.connections_per_address=4").start();
    let mut held = Vec::new();
    RUNTIME.block_on(async {
        for _ in 0..12 {
            held.push(TcpStream::connect(("127.0.0.1", world.port())).await.unwrap());
        }
        for stream in &mut held[6..] {
            rest(stream).await;
        }
    });
    drop(held);
    let record = world.record("connection.refused", |_| true);
    assert_eq!(record["details"]["reason"], "too-many-connections");
    assert_eq!(world.records_of("connection.refused").len(), 1, "a flood leaves one record");
}

async fn refused(socket: &mut Socket) {
    // The gateway may say why, in clear; then the socket ends.
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the gateway ends the WebSocket");
}

#[test]
fn a_handshake_that_is_garbage_text_or_too_large_is_refused_and_recorded() {
    let world = World::start();
    let messages = [
        Message::binary(vec![0xff; 100]),
        Message::binary(Vec::new()),
        Message::text("hello"),
        Message::binary(vec![0; 60_000]),
        Message::binary(vec![0; 4 << 20]),
    ];
    let many = messages.len();
    RUNTIME.block_on(async {
        for message in messages {
            let mut socket = websocket(&world, "localhost", "/connect", None).await;
            // A message above the bound may be cut off while it is sent.
            let _cut = socket.send(message).await;
            refused(&mut socket).await;
        }
    });
    super::patience::eventually("every refusal is recorded", || {
        let records = world.records_of("handshake.refused");
        (records.len() == many).then_some(())
    });
    for record in world.records_of("handshake.refused") {
        assert_eq!(record["result"], "denied");
        assert!(record["values"]["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        assert!(!record["details"]["reason"].as_str().unwrap().is_empty(), "{record}");
    }
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
}

/// A first message as `sallyport publish` would send it.
fn hello(socket: &Socket) -> Vec<u8> {
    let exporter = channel_binding(socket.get_ref().get_ref().1);
    let key = DecapsulationKey::generate().unwrap();
    ClientHandshake::start(key, [7; 32], exporter, Suite::ALL).unwrap().1
}

#[test]
fn a_first_message_with_a_flipped_byte_or_from_another_connection_is_refused_and_recorded() {
    let world = World::start();
    RUNTIME.block_on(async {
        // Sound until something is done to it: the gateway answers with its own hello.
        let mut socket = websocket(&world, "localhost", "/connect", None).await;
        let sound = hello(&socket);
        socket.send(Message::binary(sound.clone())).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap().into_data();
        assert!(
            answer.len() > 4000,
            "a hello with certificate and both signatures, not {} bytes",
            answer.len()
        );
        // Its own message back, in place of a credential.
        socket.send(Message::binary(answer)).await.unwrap();
        refused(&mut socket).await;

        let mut socket = websocket(&world, "localhost", "/connect", None).await;
        let mut flipped = hello(&socket);
        flipped[0] ^= 1;
        socket.send(Message::binary(flipped)).await.unwrap();
        refused(&mut socket).await;

        // The whole conversation of the first connection again: its credential cannot be had, and none opens.
        let mut socket = websocket(&world, "localhost", "/connect", None).await;
        socket.send(Message::binary(sound)).await.unwrap();
        let _hello_or_refusal = socket.next().await;
        let _cut = socket.send(Message::binary(vec![3; 200])).await;
        refused(&mut socket).await;
    });
    super::patience::eventually("each refusal is recorded", || {
        (world.records_of("handshake.refused").len() == 3).then_some(())
    });
    assert_eq!(world.records_of("handshake.accepted").len(), 0);
    lives_on(&world);
}

#[test]
fn a_publisher_that_connects_and_says_nothing_is_let_go_and_recorded() {
    let world = World::with().set("limits.tls_handshake_secs=1").start();
    let began = Instant::now();
    RUNTIME.block_on(async {
        let mut socket = websocket(&world, "localhost", "/connect", None).await;
        refused(&mut socket).await;
    });
    assert!(began.elapsed() < PATIENCE);
    let record = world.record("handshake.refused", |_| true);
    assert!(record["details"]["reason"].as_str().unwrap().contains("ClientHello"), "{record}");
}

#[test]
fn an_api_call_with_a_body_that_is_too_large_or_no_json_is_refused() {
    let world = World::start();
    let send =
        |body: &str| world.curl("/api/v1/requests").by(&world, "visitor").args(&["--json", body]).run();
    let broken = send("{");
    assert_eq!((broken.status, broken.problem().as_str()), (400, "bad-body"));
    let short = send(r#"{"tunnel": "demo"}"#);
    assert_eq!((short.status, short.problem().as_str()), (422, "bad-body"));
    assert_eq!(send(r#"{"tunnel": "demo", "reason": "x", "minutes": 5, "admin": true}"#).status, 422);
    let large = world.path("large");
    std::fs::write(
        &large,
        format!(r#"{{"tunnel": "demo", "minutes": 5, "reason": "{}"}}"#, "x".repeat(100_000)),
    )
    .unwrap();
    assert_eq!(send(&format!("@{}", large.display())).status, 413);
    assert_eq!(send(r#"{"tunnel": "../../etc", "reason": "x", "minutes": 5}"#).problem(), "unusable-value");
    lives_on(&world);
}
