//! Ways around the record and the decision that were found once, and must stay shut.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::app::{App, RUNTIME, random};
use super::patience::{PATIENCE, eventually};
use super::sign_in::Browser;
use super::socket::tls;
use super::world::World;

#[test]
fn a_visitor_who_hangs_up_while_a_session_is_opened_leaves_none_open_in_the_ledger() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let token = world.token("visitor");
    RUNTIME.block_on(async {
        for _ in 0..20 {
            let mut stream = tls(&world, "open-demo.localhost").await;
            let request = format!(
                "GET / HTTP/1.1\r\nHost: open-demo.localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            drop(stream);
        }
    });
    eventually("every session that was opened is closed", || {
        let (opened, closed) =
            (world.records_of("session.opened").len(), world.records_of("session.closed").len());
        let none_live = world.ask("admin", &["sessions", "list"]).as_array().unwrap().is_empty();
        (none_live && opened == closed).then_some(())
    });
}

#[test]
fn every_request_is_recorded_before_its_session_is_closed() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    for _ in 0..8 {
        assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    }
    eventually("eight sessions are closed", || (world.records_of("session.closed").len() == 8).then_some(()));
    let mut closed = std::collections::BTreeSet::new();
    for record in world.records() {
        let session = record["session"].as_str().unwrap_or_default().to_owned();
        match record["kind"].as_str().unwrap() {
            "session.closed" => assert!(closed.insert(session)),
            "http.request" => assert!(!closed.contains(&session), "{record}"),
            _ => {}
        }
    }
}

#[test]
fn a_web_app_cannot_be_used_as_a_raw_stream_past_the_record_of_each_request() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let refused = world.cli("visitor", &["connect", "open-demo", "--stdio"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("is an HTTP tunnel"), "{}", refused.err);
    assert!(world.records_of("session.opened").is_empty());
}

#[test]
fn only_websocket_is_an_upgrade() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let answer = world
        .visit("open-demo", "/headers")
        .by(&world, "visitor")
        .header("Connection: Upgrade")
        .header("Upgrade: h2c")
        .args(&["--http1.1"])
        .run();
    assert_eq!(answer.status, 200);
    assert!(!answer.text().to_lowercase().contains("h2c"), "{}", answer.text());
}

#[test]
fn a_protocol_that_the_operator_names_upgrades_where_it_is_named_and_the_app_switches_to_it() {
    let mut world = World::with().prepare();
    world.configure("[[tunnel]]\nname = \"open-made\"\nupgrades = \"echo/1\"\n");
    world.start_gateway();
    let (app, other) = (App::that_switches_to("Echo/1"), App::that_switches_to("h2c"));
    let _publisher = world.publish_http("open-made", app.address());
    let ask = |protocol: &str| {
        format!(
            "GET /made HTTP/1.1\r\nHost: open-made.localhost\r\nSallyport-Token: {}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n",
            world.token("visitor")
        )
    };
    let head = async |stream: &mut TlsStream<TcpStream>| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    };
    RUNTIME.block_on(async {
        let mut stream = tls(&world, "open-made.localhost").await;
        stream.write_all(ask("echo/1").as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let (said, mut echoed) = (random(100_000), vec![0; 100_000]);
        let (mut read, mut write) = tokio::io::split(stream);
        let (sent, read) = tokio::join!(write.write_all(&said), read.read_exact(&mut echoed));
        sent.unwrap();
        read.unwrap();
        assert!(said == echoed);
    });
    world.record("http.request", |record| record["details"]["bytes_up"] == 100_000);
    // Another is not asked for, and an app that switches to another is not followed.
    let _other = world.publish_http("open-other", other.address());
    let visit = |tunnel: &str, protocol: &str| {
        world
            .visit(tunnel, "/")
            .by(&world, "visitor")
            .header("Connection: Upgrade")
            .header(&format!("Upgrade: {protocol}"))
            .args(&["--http1.1"])
            .run()
    };
    for (tunnel, protocol) in
        [("open-made", "other/1"), ("open-other", "echo/1"), ("open-other", "websocket")]
    {
        let answer = visit(tunnel, protocol);
        assert_eq!(answer.status, 502, "{tunnel} {protocol}: {}", answer.text());
    }
}

#[test]
fn the_visitors_forms_work_in_a_browser_that_speaks_http_2() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let origin = format!("Origin: https://localhost:{}", world.port());
    for version in ["--http1.1", "--http2"] {
        let signed_in = world
            .curl(&format!("/sign-in/demo?browser={}&to=%2F", "a".repeat(43)))
            .page()
            .header(&origin)
            .args(&[version, "--data-urlencode", &format!("token={}", world.token("visitor"))])
            .run();
        assert_eq!(signed_in.status, 303, "{version}: {}", signed_in.text());
    }
}

#[test]
fn an_apps_own_bearer_token_is_the_apps_and_locks_nobody_out() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let browser = Browser::new(&world);
    let desk = browser.to_the_desk("open-demo", "/");
    assert_eq!(browser.show(&desk, &world.token("visitor")).status, 200);
    let session = browser.session("open-demo");
    let answer = world
        .visit("open-demo", "/headers")
        .header("Authorization: Bearer the-apps-own")
        .header(&format!("Cookie: theme=dark; __Host-sallyport={session}"))
        .run();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("authorization: Bearer the-apps-own"), "{}", answer.text());
    assert!(answer.text().contains("cookie: theme=dark") && !answer.text().contains("__Host-sallyport"));
    assert!(world.records_of("auth.failed").is_empty());
}

#[test]
fn an_app_cannot_sign_a_visitor_in_as_somebody_else_not_even_while_it_answers_an_upgrade() {
    let world = World::start();
    let app = App::that_answers_raw(
        "HTTP/1.1 200 OK\r\nset-cookie: __Host-sallyport=forged; Path=/; Secure\r\nset-cookie: own=1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let _publisher = world.publish_http("open-app", app.address());
    for upgrade in [false, true] {
        let mut visit = world.visit("open-app", "/").by(&world, "visitor").args(&["--http1.1"]);
        if upgrade {
            visit = visit.header("Connection: Upgrade").header("Upgrade: websocket");
        }
        let answer = visit.run();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("set-cookie").as_deref(), Some("own=1"), "upgrade: {upgrade}");
    }
}

#[test]
fn guessing_at_the_form_on_which_one_asks_is_recorded_and_bounded() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let guess = || {
        world
            .visit("demo", "/.sallyport/request")
            .header("Cookie: __Host-sallyport=guess")
            .args(&["--data", "reason=x&minutes=1"])
            .run()
            .status
    };
    assert_eq!(guess(), 401);
    world.record("auth.failed", |record| record["object"] == "tunnel:demo");
    eventually("the address must wait", || (guess() == 429).then_some(()));
}

#[test]
fn a_record_of_a_decision_names_nobody_in_its_plain_part() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    world.visit("demo", "/").by(&world, "visitor").run();
    world.try_to_publish("visitor", "demo2", &["demo"]).wait();
    for record in world.records() {
        let plain = record["details"].to_string();
        // Rules name roles; people's own names are values beside the record.
        assert!(!plain.contains("user:visitor") && !plain.contains("user:admin"), "{record}");
    }
}

#[test]
fn a_visitor_who_reads_nothing_is_dropped_when_its_session_is_cut() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let token = world.token("visitor");
    RUNTIME.block_on(async {
        let mut stream = tls(&world, "open-demo.localhost").await;
        let request = format!(
            "GET /stream HTTP/1.1\r\nHost: open-demo.localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let id = eventually("the session is open", || {
            world.ask("admin", &["sessions", "list"])[0]["id"].as_str().map(str::to_owned)
        });
        world.ask("admin", &["sessions", "kill", &id, "--reason", "test"]);
        let closed = world.record("session.closed", |record| record["session"] == id.as_str());
        assert_eq!(closed["result"], "success", "{closed}");
        // What is still in flight may be read; then there is an end, or a reset.
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection is still open");
    });
}
