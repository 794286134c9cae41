//! Visitors who don't read, and apps that don't: however many they are, others are answered.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::Request;
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::{App, RUNTIME, random};
use super::patience::{PATIENCE, eventually};
use super::process::Process;
use super::socket::tls;
use super::world::World;

/// More than the credit of a connection was enough for, when it was as large as 32 of them hold.
const MANY: usize = 70;
/// The same of uploads, each of which fills what the kernel has between publisher and app first.
const MANY_UPLOADS: usize = 40;
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
    // Not of all of them at once: on a busy machine the first are cut before the last have come.
    eventually("more is sent than they take", || {
        let open = open();
        let filled = |session: &&serde_json::Value| session["bytes_down"].as_u64() > Some(256 << 10);
        (open.as_array()?.iter().filter(filled).count() >= MOST).then_some(())
    });
    small_uploads_are_answered(&world, "open-files");
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

/// Whether a small upload is answered five times, beside whatever else is under way.
fn small_uploads_are_answered(world: &World, tunnel: &str) {
    let file = world.path("upload");
    std::fs::write(&file, random(1000)).unwrap();
    for _ in 0..5 {
        let arguments = ["--max-time", "15", "--upload-file", &file.to_string_lossy()];
        let other = world.visit(tunnel, "/hash").by(world, "visitor").args(&arguments).run();
        assert_eq!(other.status, 200, "{}", other.complaint);
        assert!(other.text().starts_with("1000 "), "{}", other.complaint);
    }
}

#[test]
fn many_uploads_that_an_app_does_not_take_stop_nobody_else_and_those_beyond_a_bound_are_cut() {
    // Else they would end by that.
    let world = World::with().set("limits.request_secs=600").start();
    let app = App::for_uploads();
    let _publisher = world.publish_http("open-files", app.address());
    let file = world.path("large");
    std::fs::write(&file, random(8 << 20)).unwrap();
    let arguments = ["--max-time", "600", "--upload-file", &file.to_string_lossy()];
    let mut uploads: Vec<Process> = (0..MANY_UPLOADS)
        .map(|_| world.visit("open-files", "/hold").by(&world, "visitor").args(&arguments).start())
        .collect();
    eventually("more is sent than the app takes", || {
        let open = world.ask("admin", &["sessions", "list"]);
        let filled = |session: &&serde_json::Value| session["bytes_up"].as_u64() > Some(1 << 20);
        (open.as_array()?.iter().filter(filled).count() > MOST).then_some(())
    });
    let refused = |record: &serde_json::Value| record["details"]["status"] == 503;
    world.record("http.request", refused);
    small_uploads_are_answered(&world, "open-files");
    eventually("so many are left as may stay", || {
        let left = uploads.iter_mut().filter_map(|upload| upload.ended().is_none().then_some(())).count();
        assert!(left >= MOST, "{left} are left");
        (left == MOST).then_some(())
    });
    let told = uploads.iter().filter(|upload| upload.out().contains("\"app-stalled\"")).count();
    assert!(told > 0, "nobody was told why");
    for upload in &mut uploads {
        upload.kill();
    }
}

#[test]
fn byte_streams_that_an_app_does_not_take_are_cut_beyond_a_bound_and_the_record_says_why() {
    let world = World::start();
    let app = App::that_echoes_or_holds();
    let port = world.tcp_ports().1;
    let port_text = port.to_string();
    let address = app.address().to_string();
    let _publisher = world.publish_as("publisher", "public-db", &["tcp", &address, "--port", &port_text]);
    let gateway = (Ipv4Addr::LOCALHOST, port);
    let holding = RUNTIME.block_on(async {
        let mut holding = tokio::task::JoinSet::new();
        for _ in 0..MANY_UPLOADS {
            holding.spawn(async move {
                let mut stream = TcpStream::connect(gateway).await.unwrap();
                let sent = stream.write_all(&vec![b'h'; 16 << 20]).await;
                assert!(sent.is_err(), "the app took all of it");
            });
        }
        holding
    });
    let stalled = |record: &serde_json::Value| record["details"]["reason"] == "app-stalled";
    world.record("session.closed", stalled);
    let echoed = async {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(b"-heard").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        back
    };
    let echoed = RUNTIME.block_on(async { tokio::time::timeout(PATIENCE, echoed).await });
    assert_eq!(&echoed.expect("an answer in time"), b"heard");
    eventually("so many are left as may stay", || {
        let open = world.ask("admin", &["sessions", "list"]).as_array()?.len();
        assert!(open >= MOST, "{open} are left");
        (open == MOST).then_some(())
    });
    drop(holding);
}

#[test]
fn who_takes_all_streams_they_can_is_told_at_once_and_neither_others_nor_the_breaker_notice() {
    const MOST_STREAMS: usize = 756;
    let world = World::with()
        .set("limits.request_secs=600")
        .set("tunnels.breaker_failures=1")
        .policy("p, role:publisher, main, tunnel:open-*, connect, allow, -")
        .start();
    let held = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&held);
    let endless = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<&str>()
    };
    let app = App::web_by_http2(Router::new().route("/hold", get(endless)).route("/", get(async || "here")));
    let _publisher =
        world.publish_as("publisher", "open-shop", &["http", &format!("h2c://{}", app.address())]);
    let token = world.token("visitor");
    let (told, answers) = std::sync::mpsc::channel();
    RUNTIME.block_on(async {
        for _ in 0..4 {
            let stream = TokioIo::new(tls(&world, "open-shop.localhost").await);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            RUNTIME.spawn(connection);
            for _ in 0..200 {
                let (mut sender, told) = (sender.clone(), told.clone());
                let request =
                    Request::get("https://open-shop.localhost/hold").header("sallyport-token", &token);
                let request = request.body(Empty::<Bytes>::new()).unwrap();
                RUNTIME.spawn(async move {
                    let answer = sender.send_request(request).await.unwrap();
                    let status = answer.status();
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    told.send((status, String::from_utf8_lossy(&body).into_owned())).unwrap();
                });
            }
        }
    });
    for _ in MOST_STREAMS..800 {
        let (status, problem) = answers.recv_timeout(PATIENCE).unwrap();
        assert_eq!(status, 503, "{problem}");
        assert!(problem.contains("\"tunnel-full\""), "{problem}");
    }
    eventually("all others are at the app", || (held.load(Ordering::Relaxed) == MOST_STREAMS).then_some(()));
    let more = world.visit("open-shop", "/").by(&world, "visitor").run();
    assert_eq!((more.status, more.problem().as_str()), (503, "tunnel-full"));
    let other = world.visit("open-shop", "/").by(&world, "rival").run();
    assert_eq!((other.status, other.text().as_str()), (200, "here"));
    assert!(world.records_of("tunnel.health").is_empty());
    assert_eq!(world.ask("admin", &["tunnels"])[0]["state"], "live");
    let metrics = world.curl("/metrics").by(&world, "admin").run().text();
    for line in ["streams{tunnel=\"open-shop\"} 756", "streams_most{tunnel=\"open-shop\"} 1008"] {
        assert!(metrics.contains(&format!("sallyport_publisher_{line}\n")), "{line}: {metrics}");
    }
}
