//! Traces: spans of gateway and publisher under one number, taken by a receiver of OTLP over HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpStream;

use super::app::{App, RUNTIME, exchange, random};
use super::patience::eventually;
use super::socket::websocket;
use super::tcp::connect;
use super::udp::{self, NameServer};
use super::world::World;

/// A receiver, and what it was sent.
fn receiver() -> (App, Arc<Mutex<Vec<Bytes>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let taking = Arc::clone(&taken);
    let take = move |body: Bytes| async move {
        taking.lock().unwrap().push(body);
        // An empty answer is a whole ExportTraceServiceResponse.
        [("content-type", "application/x-protobuf")]
    };
    (App::web(Router::new().route("/v1/traces", post(take))), taken)
}

/// Whether protobuf holds these bytes: ids and texts stand in it as they are.
fn holds(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|part| part == wanted)
}

#[test]
fn spans_of_gateway_and_publisher_stand_under_the_number_of_the_correlation_id() {
    let (receiver, taken) = receiver();
    let address = format!("http://{}/v1/traces", receiver.address());
    let mut world = World::with().set(&format!("log.traces_to={address}")).start();
    let mut publisher = world.publish_as("publisher", "open-demo", &["demo", "--traces-to", &address]);
    let answer = world.visit("open-demo", "/headers").by(&world, "visitor").run();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let reference = answer.header("sallyport-reference").unwrap();
    let trace = hex::decode(reference.strip_prefix("cor-").unwrap()).unwrap();
    let parent = answer
        .text()
        .lines()
        .find_map(|line| line.split_once("traceparent: ")?.1.split(' ').next().map(str::to_owned));
    let parent = parent.expect("the app was told of the trace");
    let words: Vec<&str> = parent.trim().split('-').collect();
    assert_eq!(hex::decode(words[1]).unwrap(), trace);
    let of_publisher = hex::decode(words[2]).unwrap();
    assert_ne!(of_publisher, trace[8..], "the app follows on the publisher's span");

    // Both send what is left when they stop.
    assert!(publisher.stop().success());
    world.stop_gateway();
    let bodies = taken.lock().unwrap().clone();
    let (gateways, publishers): (Vec<&Bytes>, Vec<&Bytes>) =
        bodies.iter().partition(|body| holds(body, b"sallyportd"));
    let with = |bodies: &[&Bytes], wanted: &[&[u8]]| {
        bodies.iter().any(|body| wanted.iter().all(|wanted| holds(body, wanted)))
    };
    assert!(with(&gateways, &[&trace, &trace[8..], b"open-demo", b"GET"]), "{} bodies", gateways.len());
    assert!(
        with(&publishers, &[&trace, &of_publisher, &trace[8..], b"open-demo"]),
        "{} bodies",
        publishers.len()
    );
    for body in &bodies {
        assert!(
            !holds(body, b"user:visitor") && !holds(body, b"/headers"),
            "a span names a person or a path"
        );
    }
}

#[test]
fn spans_of_a_byte_stream_stand_under_its_number_at_both_ends_and_say_whether_it_ended_in_order() {
    let (receiver, taken) = receiver();
    let address = format!("http://{}/v1/traces", receiver.address());
    let mut world = World::with().set(&format!("log.traces_to={address}")).start();
    let app = App::that_answers_at_the_end(random(1000));
    let app_address = app.address().to_string();
    let what = ["tcp", &app_address, "--traces-to", &address];
    let mut publisher = world.publish_as("publisher", "open-db", &what);
    let (mut connect, local) = connect(&world, "visitor", "open-db");
    RUNTIME.block_on(async { exchange(TcpStream::connect(local).await.unwrap(), b"up").await });
    let opened = world.record("session.opened", |_| true);
    world.record("session.closed", |_| true);
    connect.kill();
    assert!(publisher.stop().success());
    world.stop_gateway();

    each_end_has_a_span_in_order(&taken.lock().unwrap(), &opened, &[b"open-db", b"tcp"]);
}

#[test]
fn spans_of_a_websocket_stand_under_its_number_at_both_ends() {
    let (receiver, taken) = receiver();
    let address = format!("http://{}/v1/traces", receiver.address());
    let mut world = World::with().set(&format!("log.traces_to={address}")).start();
    let app = App::for_transfers(random(0));
    let app_address = app.address().to_string();
    let what = ["http", &app_address, "--traces-to", &address];
    let mut publisher = world.publish_as("publisher", "open-shop", &what);
    let mut socket = RUNTIME.block_on(websocket(&world, "open-shop.localhost", "/echo", Some("visitor")));
    RUNTIME.block_on(socket.close(None)).unwrap();
    drop(socket);
    let asked = world.record("http.request", |_| true);
    assert!(publisher.stop().success());
    world.stop_gateway();

    let bodies = taken.lock().unwrap().clone();
    let trace = hex::decode(asked["correlation"].as_str().unwrap().strip_prefix("cor-").unwrap()).unwrap();
    let of_it = |body: &&Bytes| holds(body, &trace) && holds(body, &trace[8..]) && holds(body, b"open-shop");
    let (gateways, publishers): (Vec<&Bytes>, Vec<&Bytes>) =
        bodies.iter().filter(of_it).partition(|body| holds(body, b"sallyportd"));
    assert!(!gateways.is_empty() && !publishers.is_empty(), "{} and {}", gateways.len(), publishers.len());
}

#[test]
fn spans_of_a_flow_of_datagrams_stand_under_its_number_at_both_ends_however_it_travels() {
    for transport in ["tls", "quic"] {
        let (receiver, taken) = receiver();
        let address = format!("http://{}/v1/traces", receiver.address());
        let traced = format!("log.traces_to={address}");
        let mut world =
            World::with().set("gateway.quic=on").set("tunnels.udp_idle_secs=1").set(&traced).start();
        let server = NameServer::start(&world);
        let how = ["--transport", transport, "--traces-to", &address];
        let (mut publisher, port) = udp::publish(&world, "public-dns", &server, &how);
        let mine = udp::socket();
        eventually("the name server answers through the tunnel", || udp::ask_from(&mine, port, 1));
        let opened = world.record("session.opened", |_| true);
        world.record("session.closed", |record| record["session"] == opened["session"]);
        assert!(publisher.stop().success());
        world.stop_gateway();
        each_end_has_a_span_in_order(&taken.lock().unwrap(), &opened, &[b"public-dns", b"udp"]);
    }
}

/// Whether gateway and publisher sent a span each of the session that was `opened`, which holds `words` and ended in order.
fn each_end_has_a_span_in_order(bodies: &[Bytes], opened: &Value, words: &[&[u8]]) {
    let trace = hex::decode(opened["correlation"].as_str().unwrap().strip_prefix("cor-").unwrap()).unwrap();
    let (gateways, publishers): (Vec<&Bytes>, Vec<&Bytes>) =
        bodies.iter().partition(|body| holds(body, b"sallyportd"));
    for (of, bodies) in [("gateway", gateways), ("publisher", publishers)] {
        let span = bodies.iter().find(|body| holds(body, &trace) && holds(body, &trace[8..]));
        let span = span.unwrap_or_else(|| panic!("no span of the {of} in {} bodies", bodies.len()));
        assert!(words.iter().all(|word| holds(span, word)), "{of}");
        assert!(!holds(span, b"it broke off"), "{of}");
    }
}

#[test]
fn nothing_waits_for_a_receiver_that_is_not_there_and_without_one_nothing_is_sent() {
    let gone = super::fronts::free_port();
    let mut world = World::with().set(&format!("log.traces_to=http://127.0.0.1:{gone}/v1/traces")).start();
    let _publisher = world.publish_demo("open-demo");
    for _ in 0..20 {
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    }
    world.stop_gateway();
}

#[test]
fn an_address_that_is_none_is_told_at_the_start() {
    let world = World::with().prepare();
    let refused = world.refuses_to_start(&["log.traces_to=collector"]);
    assert!(refused.err.contains("log.traces_to") && refused.err.contains("collector"), "{}", refused.err);
    let publish =
        world.cli("publisher", &["publish", "demo", "--name", "open-demo", "--traces-to", "collector"]);
    assert_eq!(publish.code, 2, "{}", publish.err);
}
