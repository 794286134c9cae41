//! What HTTP asks of an answer besides its status, and visitors who speak an older HTTP.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::app::{App, RUNTIME};
use super::patience::PATIENCE;
use super::socket::{said, tls};
use super::world::World;

/// The answer to these lines.
fn ask(world: &World, host: &str, lines: &str) -> String {
    RUNTIME.block_on(said(world, host, lines.as_bytes()))
}

#[test]
fn a_401_says_how_to_prove_who_one_is_and_a_405_what_may_be_done() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let bearer = Some("Bearer realm=\"sallyport\"");
    let asks = [
        world.visit("open-demo", "/"),
        world.visit("open-demo", "/").page(),
        world.visit("open-demo", "/").header("Authorization: Bearer nonsense"),
        world.curl("/api/v1/whoami"),
    ];
    for ask in asks {
        let answer = ask.run();
        assert_eq!(
            (answer.status, answer.header("www-authenticate").as_deref()),
            (401, bearer),
            "{}",
            answer.head
        );
    }
    let connect = "CONNECT open-demo.localhost:443 HTTP/1.1\r\nHost: open-demo.localhost:443\r\nConnection: close\r\n\r\n";
    let answer = RUNTIME.block_on(async {
        let mut stream = tls(&world, "open-demo.localhost").await;
        stream.write_all(connect.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Whether it is closed in order is not what matters here.
        let _closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
        String::from_utf8_lossy(&answer).into_owned()
    });
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\"code\":\"no-proxy\""), "{answer}");
    assert!(
        answer.to_lowercase().contains("\r\nallow: get, head, post, put, patch, delete, options\r\n"),
        "{answer}"
    );
}

#[test]
fn a_401_of_the_apps_own_is_the_apps_own() {
    let world = World::start();
    let app = App::for_answers();
    let _publisher = world.publish_http("open-app", app.address());
    let answer = world.visit("open-app", "/answer/401").by(&world, "visitor").run();
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, None), "{}", answer.head);
}

#[test]
fn by_http_1_1_a_host_is_named_in_letters_of_ascii_or_the_request_is_refused_and_nothing_behind_it_is_read() {
    let world = World::start();
    let behind = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for host in ["", "Host: d\u{e9}mo.localhost\r\n"] {
        let answer = ask(&world, "localhost", &format!("GET / HTTP/1.1\r\n{host}\r\n{behind}"));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"code\":\"bad-host\""), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[test]
fn a_visitor_by_http_1_0_gets_whole_answers_without_chunks() {
    let world = World::start();
    let pieces = || stream::iter(["hel", "lo"].map(Ok::<_, std::io::Error>));
    let app = App::web(Router::new().route("/", get(async move || Body::from_stream(pieces()))));
    let _publisher = world.publish_http("open-app", app.address());
    let token = world.token("visitor");
    let answer = ask(
        &world,
        "open-app.localhost",
        &format!("GET / HTTP/1.0\r\nHost: open-app.localhost\r\nSallyport-Token: {token}\r\n\r\n"),
    );
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
    let visit = world.visit("open-app", "/").by(&world, "visitor").args(&["--http1.0"]).run();
    assert_eq!((visit.status, visit.text().as_str()), (200, "hello"), "{}", visit.complaint);
    // It need not name a host, and is then nobody's.
    let nobody = ask(&world, "open-app.localhost", "GET / HTTP/1.0\r\n\r\n");
    assert!(nobody.starts_with("HTTP/1.0 404 ") && nobody.contains("\"code\":\"unknown-name\""), "{nobody}");
}
