//! Visitors by HTTP/3: the same answers, decisions, records and limits as by TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use base64::Engine as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;

use super::app::{App, RUNTIME, random, sha256};
use super::quic_client::{Hello, Http3};
use super::world::{World, finish};

const LARGE: usize = 8 << 20;

fn start() -> World {
    World::with().set("gateway.http3=on").start()
}

/// A request of `visitor` to a tunnel.
fn by_visitor(world: &World, method: &str, host: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("https://{host}:{}{path}", world.port()))
        .header("authorization", format!("Bearer {}", world.token("visitor")))
}

#[test]
fn a_visitor_by_http3_is_decided_recorded_and_answered_as_by_tcp() {
    let world = start();
    let _publisher = world.publish_demo("open-demo");
    let host = "open-demo.localhost";
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, host).await;
        let told = visitor
            .ask(by_visitor(&world, "GET", host, "/headers").header("x-forwarded-for", "10.0.0.1"), b"")
            .await;
        assert_eq!(told.status, 200);
        let text = told.text();
        assert!(text.contains("x-forwarded-for: 127.0.0.1\n") && !text.contains("10.0.0.1"), "{text}");
        assert!(text.contains("x-forwarded-proto: https\n") && !text.contains("transfer-encoding"), "{text}");
        assert!(!text.contains("authorization"), "{text}");
        for header in ["date", "sallyport-reference", "alt-svc"] {
            assert!(told.headers.contains_key(header), "{header}");
        }
        let bare = Request::get(format!("https://{host}:{}/", world.port()));
        let refused = visitor.ask(bare.header("accept", "application/json"), b"").await;
        let by_tcp = world.visit("open-demo", "/").run();
        assert_eq!(refused.status, by_tcp.status);
        let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(problem["code"], by_tcp.problem());
        let echoed = visitor.ask(by_visitor(&world, "POST", host, "/echo"), b"hello").await;
        assert_eq!((echoed.status, echoed.text().as_str()), (200, "hello"));
        let gateway = Request::get(format!("https://localhost:{}/readyz", world.port()));
        assert_eq!(visitor.ask(gateway, b"").await.status, 200);
    });
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["values"]["subject"], "user:visitor");
    assert_eq!(opened["details"]["tls_group"], "X25519MLKEM768");
    assert_eq!(opened["details"]["tls_version"], "1.3");
    world.record("http.request", |record| record["values"]["path"] == "/echo");
    let by_tcp = world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_eq!(by_tcp.header("alt-svc").unwrap(), format!("h3=\":{}\"; ma=86400", world.port()));
}

#[test]
fn without_the_setting_http3_is_neither_spoken_nor_advertised() {
    let world = World::with().set("gateway.quic=on").start();
    RUNTIME.block_on(async {
        Hello::speaking(b"h3").connect(&world, "localhost").await.expect_err("HTTP/3 is off");
    });
    assert_eq!(world.curl("/readyz").run().header("alt-svc"), None);
}

#[test]
fn eight_mebibytes_pass_unchanged_each_way_by_http3() {
    let world = start();
    let block = random(LARGE);
    let app = App::for_transfers(block.clone());
    let _publisher = world.publish_http("open-files", app.address());
    let host = "open-files.localhost";
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, host).await;
        let up = visitor.ask(by_visitor(&world, "PUT", host, "/hash"), &block).await;
        assert_eq!((up.status, up.text()), (200, format!("{LARGE} {}", hex::encode(sha256(&block)))));
        let down = visitor.ask(by_visitor(&world, "GET", host, "/block"), b"").await;
        assert_eq!(down.status, 200);
        assert!(down.body == block, "{} bytes came, of {LARGE}", down.body.len());
    });
    let closed = world.record("session.closed", |_| true);
    assert_eq!(
        (&closed["details"]["bytes_up"], &closed["details"]["bytes_down"].as_u64().map(|n| n > LARGE as u64)),
        (&LARGE.into(), &Some(true))
    );
}

#[test]
fn whatever_ends_leave_ends_a_live_stream_of_http3_also_of_one_who_reads_nothing() {
    let world = start();
    let endless = || async {
        let piece = Bytes::from(vec![7; 64 << 10]);
        axum::body::Body::from_stream(futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(piece)))
    };
    let app = App::web(Router::new().route("/endless", get(endless)));
    let _publisher = world.publish_http("open-files", app.address());
    let host = "open-files.localhost";
    RUNTIME.block_on(async {
        let mut reader = Http3::connect(&world, host).await;
        let mut idler = Http3::connect(&world, host).await;
        let mut read = reader.begin(by_visitor(&world, "GET", host, "/endless")).await;
        let mut unread = idler.begin(by_visitor(&world, "GET", host, "/endless")).await;
        read.finish().await.unwrap();
        unread.finish().await.unwrap();
        assert_eq!(read.recv_response().await.unwrap().status(), 200);
        assert_eq!(unread.recv_response().await.unwrap().status(), 200);
        assert!(read.recv_data().await.unwrap().is_some());
        world.ask("admin", &["lock", "user:visitor", "--reason", "a test"]);
        // Never an orderly end: what was cut must not look whole.
        loop {
            match read.recv_data().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the answer ended in order"),
                Err(_) => break,
            }
        }
        idler.quic.closed().await;
    });
    for _ in 0..2 {
        let closed = world.record("session.closed", |_| true);
        assert_eq!(closed["details"]["cause"], "locked", "{closed}");
    }
    super::patience::eventually("both are closed", || {
        (world.records_of("session.closed").len() == 2).then_some(())
    });
}

#[test]
fn what_a_peer_may_send_by_http3_is_bounded_and_must_be_well_formed() {
    let world = start();
    let app = App::for_transfers(random(0));
    let _publisher = world.publish_http("open-files", app.address());
    let host = "open-files.localhost";
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, host).await;
        // Too large by a little: told so. By far: a client of good will does not even send it, for it was told beforehand.
        let large = by_visitor(&world, "GET", host, "/block").header("x-large", "x".repeat(70_000));
        let told = visitor.ask(large.header("accept", "application/json"), b"").await;
        let problem: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((told.status, problem["code"].as_str()), (431, Some("head-too-large")), "{problem}");
        let large = by_visitor(&world, "GET", host, "/block").header("x-large", "x".repeat(90_000));
        let told = visitor.try_to_begin(large).await.err().expect("it is too large").to_string();
        assert!(told.contains("81920"), "{told}");
        // A frame that announces a gibibyte is cut off at its announcement: HEADERS, and of a kind that nobody knows.
        for kind in [0x01, 0x21] {
            let (mut send, _receive) = visitor.quic.open_bi().await.unwrap();
            send.write_all(&[kind, 0xbf, 0xff, 0xff, 0xff]).await.unwrap();
            let stopped = send.stopped().await.unwrap();
            assert_eq!(stopped.map(quinn::VarInt::into_inner), Some(0x0107), "kind {kind:#x}");
        }
        // Headers of a connection, which HTTP/3 has not.
        for (name, value) in
            [("connection", "upgrade"), ("upgrade", "websocket"), ("transfer-encoding", "chunked")]
        {
            let mut bad = visitor.begin(by_visitor(&world, "GET", host, "/echo").header(name, value)).await;
            bad.recv_response().await.expect_err(name);
        }
        // A body that is not as long as was announced reaches no app as a whole one.
        for (announced, body) in [("3", &b"hello"[..]), ("9", b"hello")] {
            let request = by_visitor(&world, "PUT", host, "/hash").header("content-length", announced);
            let mut lying = visitor.begin(request).await;
            let _cut = lying.send_data(Bytes::from(body)).await;
            let _cut = lying.finish().await;
            if let Ok(answer) = lying.recv_response().await {
                assert!(answer.status().is_server_error() || answer.status().is_client_error(), "{answer:?}");
            }
        }
        // As many streams as are allowed, and not one more.
        let mut open = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(std::time::Duration::from_secs(2), visitor.quic.open_bi()).await
        {
            open.push(stream);
            assert!(open.len() <= 128, "more than 128 streams were opened");
        }
        assert!(open.len() > 100, "{} streams were opened", open.len());
    });
    assert!(world.records_of("http.request").iter().all(|record| record["details"]["status"] != 200));
}

#[test]
fn a_request_that_is_given_up_by_http3_ends_at_the_app_too_though_nothing_is_sent() {
    struct Over(Arc<AtomicBool>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let world = start();
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let events = move || {
        let over = Over(Arc::clone(&told));
        async move {
            let first =
                stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(b"data: 1")) });
            let silent = first.chain(stream::pending()).map(move |piece| {
                let _kept = &over;
                piece
            });
            axum::body::Body::from_stream(silent)
        }
    };
    let app = App::web(Router::new().route("/events", get(events)));
    let _publisher = world.publish_http("open-events", app.address());
    let host = "open-events.localhost";
    let _visitor = RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, host).await;
        let mut exchange = visitor.begin(by_visitor(&world, "GET", host, "/events")).await;
        exchange.finish().await.unwrap();
        assert_eq!(exchange.recv_response().await.unwrap().status(), 200);
        assert!(exchange.recv_data().await.unwrap().is_some());
        // Which stops the answer, and leaves the connection as it is.
        drop(exchange);
        visitor
    });
    super::patience::eventually("the app hears of it", || over.load(Ordering::Relaxed).then_some(()));
    let record = world.record("http.request", |_| true);
    assert_eq!(
        (&record["details"]["status"], &record["details"]["whole"]),
        (&200.into(), &false.into()),
        "{record}"
    );
}

#[test]
fn a_gateway_that_stops_does_not_wait_for_a_visitor_by_http3_who_is_idle() {
    let mut world = World::with().set("gateway.http3=on").set("gateway.drain_secs=60").start();
    let _publisher = world.publish_demo("open-demo");
    let host = "open-demo.localhost";
    let mut visitor = RUNTIME.block_on(Http3::connect(&world, host));
    let answer = RUNTIME.block_on(visitor.ask(by_visitor(&world, "GET", host, "/"), b""));
    assert_eq!(answer.status, 200);
    // One that hears the goodbye goes by itself.
    visitor.turns_deaf();
    let began = std::time::Instant::now();
    world.stop_gateway();
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_real_browser_reads_a_tunnel_by_http3() {
    let world = start();
    let page = "<!doctype html><title>p</title><body><script>\
        document.body.textContent = 'spoken: ' + performance.getEntriesByType('navigation')[0].nextHopProtocol;\
        </script>";
    let app = App::web(Router::new().route("/", get(move || async move { Html(page) })));
    let _publisher = world.publish_http("public-page", app.address());
    let host = "public-page.localhost";
    let leaf = RUNTIME.block_on(async {
        let (_endpoint, quic) = Hello::speaking(b"h3").connect(&world, host).await.unwrap();
        let shown = quic.peer_identity().unwrap();
        shown.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap()[0].clone()
    });
    let leaf = rustls::server::ParsedCertificate::try_from(&leaf).unwrap();
    let key = base64::engine::general_purpose::STANDARD.encode(sha256(&leaf.subject_public_key_info()));
    let mut browser = std::process::Command::new("chromium");
    browser
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=10000"])
        .arg(format!("--user-data-dir={}", world.path("browser").display()))
        .arg(format!("--origin-to-force-quic-on={host}:{}", world.port()))
        .arg(format!("--ignore-certificate-errors-spki-list={key}"))
        .args(["--host-resolver-rules=MAP * 127.0.0.1", "--no-first-run", "--disable-background-networking"])
        .arg(format!("https://{host}:{}/", world.port()))
        .env("HOME", world.directory());
    let run = finish(&mut browser);
    assert!(run.out.contains("spoken: h3"), "{}{}", run.out, run.err);
}
