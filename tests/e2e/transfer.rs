//! Bytes: many, unchanged, unbuffered, and both ways at once.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use super::app::{App, RUNTIME, random, sha256};
use super::patience::PATIENCE;
use super::socket::{tls, websocket};
use super::world::World;

const LARGE: usize = 64 << 20;

#[test]
fn sixty_four_mebibytes_pass_unchanged_each_way() {
    let world = World::start();
    let block = random(LARGE);
    let app = App::for_transfers(block.clone());
    let _publisher = world.publish_http("open-files", app.address());
    let file = world.path("upload");
    std::fs::write(&file, &block).unwrap();
    let expected = format!("{LARGE} {}", hex::encode(sha256(&block)));

    for flag in ["--http1.1", "--http2"] {
        let up = world
            .visit("open-files", "/hash")
            .by(&world, "visitor")
            .args(&[flag, "--upload-file", &file.to_string_lossy()])
            .run();
        assert_eq!((up.status, up.text()), (200, expected.clone()), "{}", up.complaint);
        let down = world.visit("open-files", "/block").by(&world, "visitor").args(&[flag]).run();
        assert_eq!(down.status, 200, "{}", down.complaint);
        assert!(down.body == block, "{} bytes came, of {LARGE}", down.body.len());
    }
    let closed = world.record("session.closed", |record| record["details"]["bytes_down"] == LARGE);
    assert_eq!(closed["details"]["bytes_up"], 0);
    world.record("session.closed", |record| record["details"]["bytes_up"] == LARGE);
}

#[test]
fn events_reach_the_visitor_one_by_one_as_the_app_sends_them() {
    let world = World::start();
    let (send, events) = mpsc::channel(1);
    let app = App::of_events(events);
    let _publisher = world.publish_http("open-events", app.address());
    let mut visit = world.visit("open-events", "/events").by(&world, "visitor").start();
    // Each event is sent only when the one before has arrived: a buffer on the way would stop this for ever.
    for number in 0..5 {
        let event = format!("data: {number}");
        send.blocking_send(format!("{event}\n\n")).unwrap();
        visit.line(&event, |line| (line == event).then_some(()));
    }
    drop(send);
    assert!(visit.wait().success(), "{}", visit.err());
    let record = world.record("http.request", |record| record["values"]["path"] == "/events");
    assert_eq!(record["details"]["whole"], true);
}

#[test]
fn a_websocket_passes_through_an_http_tunnel_and_a_kill_cuts_it() {
    let world = World::start();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-chat", app.address());
    let host = "open-chat.localhost";
    RUNTIME.block_on(async {
        let mut socket = websocket(&world, host, "/echo", Some("visitor")).await;
        for text in ["hello", "again"] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
        }
        let large = random(1 << 20);
        socket.send(Message::binary(large.clone())).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == Message::binary(large));

        let open = world.ask("admin", &["sessions", "list"]);
        assert!(open[0]["bytes_up"].as_u64() > Some(1 << 20), "{open}");
        let id = open[0]["id"].as_str().unwrap();
        world.ask("admin", &["sessions", "kill", id, "--reason", "enough"]);
        assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_) | Message::Binary(_)))));
        let closed = world.record("session.closed", |record| record["session"] == id);
        assert_eq!(closed["details"]["reason"], "killed");
    });
    let upgraded = world.record("http.request", |record| record["values"]["path"] == "/echo");
    assert_eq!(upgraded["details"]["status"], 101);
}

#[test]
fn thousands_of_frames_of_a_websocket_pass_both_ways_at_once_unchanged_and_in_order() {
    const FRAMES: usize = 5000;
    let world = World::start();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-chat", app.address());
    RUNTIME.block_on(async {
        let socket = websocket(&world, "open-chat.localhost", "/echo", Some("visitor")).await;
        let (mut send, mut receive) = socket.split();
        // Of every length from nothing to what needs two bytes for it, and some that need eight.
        let length = |number: usize| if number.is_multiple_of(500) { 70_000 } else { number % 1024 };
        let sending = async {
            let mut digest = Context::new(&SHA256);
            for number in 0..FRAMES {
                let frame = random(length(number));
                digest.update(&frame);
                send.send(Message::binary(frame)).await.unwrap();
            }
            digest.finish()
        };
        let receiving = async {
            let mut received = Context::new(&SHA256);
            for number in 0..FRAMES {
                let frame = receive.next().await.unwrap().unwrap().into_data();
                assert_eq!(frame.len(), length(number), "frame {number}");
                received.update(&frame);
            }
            received.finish()
        };
        let both = async { tokio::join!(sending, receiving) };
        let (there, back) = tokio::time::timeout(PATIENCE * 3, both).await.expect("all come back");
        assert_eq!(there.as_ref(), back.as_ref());
    });
}

#[test]
fn the_record_of_a_websocket_says_what_passed_and_whether_it_ended_in_order() {
    let world = World::start();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-chat", app.address());
    RUNTIME.block_on(async {
        let mut socket = websocket(&world, "open-chat.localhost", "/echo", Some("visitor")).await;
        socket.send(Message::binary(random(1000))).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().len(), 1000);
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        let _gone = socket.get_mut().shutdown().await;
    });
    let record = world.record("http.request", |record| record["values"]["path"] == "/echo");
    let details = &record["details"];
    // A message of so many bytes and a close, each in a frame of its own; masked on the way up (RFC 6455 section 5.2).
    assert_eq!((&details["bytes_up"], &details["bytes_down"]), (&1014.into(), &1006.into()), "{details}");
    assert_eq!(details["whole"], true);
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["bytes_down"], details["bytes_down"]);
}

#[test]
fn a_websocket_without_a_token_is_refused_before_the_app_hears_of_it() {
    let world = World::start();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-chat", app.address());
    let refused = world
        .visit("open-chat", "/echo")
        .header("Connection: Upgrade")
        .header("Upgrade: websocket")
        .header("Sec-WebSocket-Version: 13")
        .header("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        .args(&["--http1.1"])
        .run();
    assert_eq!((refused.status, refused.problem().as_str()), (401, "not-signed-in"));
}

#[test]
fn a_visitor_who_stops_reading_stops_the_app_and_nobody_else() {
    let world = World::start();
    let block = random(LARGE);
    let app = App::for_transfers(block.clone());
    let _publisher = world.publish_http("open-files", app.address());
    let mut lazy =
        world.visit("open-files", "/block").by(&world, "visitor").args(&["--limit-rate", "1"]).start();
    super::patience::eventually("the slow download has begun", || {
        let open = world.ask("admin", &["sessions", "list"]);
        open.as_array()?.iter().any(|session| session["bytes_down"].as_u64() > Some(0)).then_some(())
    });
    let other = world.visit("open-files", "/block").by(&world, "visitor").run();
    assert!(other.status == 200 && other.body == block, "{} {}", other.status, other.complaint);
    let open = world.ask("admin", &["sessions", "list"]);
    let taken = open[0]["bytes_down"].as_u64().unwrap();
    assert!(taken < LARGE as u64 / 2, "the gateway took {taken} bytes for a visitor who reads none");
    lazy.kill();
}

#[test]
fn what_the_app_answers_is_what_the_visitor_gets() {
    let world = World::start();
    let app = App::for_answers();
    let _publisher = world.publish_http("open-app", app.address());
    for version in ["--http1.1", "--http2"] {
        let visit = |path: &str| world.visit("open-app", path).by(&world, "visitor").args(&[version]);
        for status in [200, 201, 302, 404, 418, 500, 503] {
            let answer = visit(&format!("/answer/{status}?a=b%20c&d")).run();
            assert_eq!(answer.status, status);
            assert_eq!(answer.text(), format!("GET /answer/{status}?a=b%20c&d"));
            assert_eq!(answer.header("x-app").as_deref(), Some("kept"));
            assert_eq!(answer.header("location").as_deref(), Some("/next"));
            assert_eq!(
                answer.head.to_ascii_lowercase().matches("set-cookie: ").count(),
                2,
                "{}",
                answer.head
            );
            assert_eq!(answer.header("connection"), None, "{}", answer.head);
        }
        for method in ["DELETE", "PATCH", "OPTIONS"] {
            let answer = visit("/answer/200").args(&["--request", method]).run();
            assert_eq!(answer.text(), format!("{method} /answer/200"));
        }
        let head = visit("/answer/200").args(&["--head"]).run();
        assert_eq!((head.status, head.header("x-app").as_deref()), (200, Some("kept")));
        let nothing = visit("/answer/304").run();
        assert_eq!((nothing.status, nothing.body.len()), (304, 0));
    }
}

#[test]
fn a_download_that_breaks_off_on_either_side_is_recorded_as_not_whole() {
    let world = World::start();
    let mut publisher = world.publish_demo("open-demo");
    let begin = || {
        let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
        download.line("a first tick", |line| line.starts_with("tick").then_some(()));
        download
    };
    // The visitor goes away.
    begin().kill();
    let closed = world.record("session.closed", |_| true);
    assert_eq!(closed["details"]["reason"], "visitor-closed");
    let record = world.record("http.request", |record| record["session"] == closed["session"]);
    assert_eq!(record["details"]["whole"], false);
    assert_eq!(record["details"]["bytes_down"], closed["details"]["bytes_down"]);

    // The publisher dies: what the visitor got must not look complete.
    let mut download = begin();
    publisher.kill();
    assert!(!download.wait().success());
    let record = world.record("http.request", |record| record["session"] != closed["session"]);
    assert_eq!(record["details"]["whole"], false);
}

/// Asks so often for a little on one connection, and tells the median of how long each answer took.
async fn clicks(visitor: &mut TlsStream<TcpStream>, request: &str, times: usize) -> Duration {
    let mut took = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        visitor.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"little") {
            assert_ne!(visitor.read_buf(&mut answer).await.unwrap(), 0, "it ended");
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[times / 2]
}

#[test]
fn a_download_that_takes_all_there_is_leaves_clicks_their_turn() {
    let world = World::start();
    let piece = random(64 << 10);
    let endless = move || {
        let piece = piece.clone();
        async move { Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()))) }
    };
    let app = App::web(Router::new().route("/", get(async || "little")).route("/endless", get(endless)));
    let _publisher = world.publish_http("open-app", app.address());
    let host = "open-app.localhost";
    let asking = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nSallyport-Token: {}\r\n\r\n", world.token("visitor"))
    };
    let work = async {
        let mut visitor = tls(&world, host).await;
        clicks(&mut visitor, &asking("/"), 5).await;
        let alone = clicks(&mut visitor, &asking("/"), 40).await;

        let mut download = tls(&world, host).await;
        download.write_all(asking("/endless").as_bytes()).await.unwrap();
        let mut buffer = vec![0; 1 << 20];
        let (begun, under_way) = tokio::sync::oneshot::channel();
        let reading = tokio::spawn(async move {
            let (mut came, mut begun) = (0, Some(begun));
            loop {
                came += download.read(&mut buffer).await.unwrap();
                // The queues on the way are full by now.
                if came > 16 << 20 {
                    begun.take().map(|begun| begun.send(()));
                }
            }
        });
        under_way.await.unwrap();
        let beside = clicks(&mut visitor, &asking("/"), 40).await;
        assert!(!reading.is_finished(), "the download ended");
        reading.abort();
        // Ten times as long is what the processors have to do beside; what is behind megabytes takes a hundred times as long.
        let bound = alone * 20 + Duration::from_millis(100);
        assert!(beside < bound, "alone {alone:?}, beside a download {beside:?}");
    };
    RUNTIME
        .block_on(async { tokio::time::timeout(PATIENCE * 2, work).await.expect("the clicks are answered") });
}
