//! Answers that come before all of a request has: nobody who sends a large one is told "connection reset" in place of why.

use std::convert::Infallible;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::routing::put;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::{App, RUNTIME};
use super::patience::PATIENCE;
use super::socket::{said, tls};
use super::world::World;

/// More than the network holds between two programs.
const LARGE: usize = 32 << 20;

fn put_large(host: &str, more: &str) -> Vec<u8> {
    let head = format!("PUT /large HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LARGE}\r\n{more}\r\n");
    [head.as_bytes(), &vec![b'x'; LARGE]].concat()
}

/// By HTTP/1.1, an app that answers at once, and one of HTTP/2.
fn apps(status: u16) -> [(App, &'static str); 2] {
    let reason = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
    let answer = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsaid");
    let one = App::that_answers_heads(move |_| answer.clone());
    let two =
        Router::new().route("/large", put(async move || (StatusCode::from_u16(status).unwrap(), "said")));
    [(one, "http"), (App::web_by_http2(two), "h2c")]
}

/// What a visitor by HTTP/2 is answered that waits for leave to send its body.
async fn by_http2(world: &World) -> (u16, String) {
    let stream = TokioIo::new(tls(world, "open-app.localhost").await);
    let (mut visitor, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let driving = tokio::spawn(connection);
    let nothing = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let request = Request::put("https://open-app.localhost/large")
        .header("sallyport-token", world.token("visitor"))
        .header("expect", "100-continue")
        .body(nothing)
        .unwrap();
    let asking = async {
        let answer = visitor.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await.expect("it is answered");
    driving.abort();
    answer
}

#[test]
fn whoever_sends_a_large_upload_that_is_refused_reads_why() {
    let mut world = World::with().prepare();
    world.configure("[[tunnel]]\nname = \"open-files\"\nbody_bytes = 1000\n");
    world.start_gateway();
    let [(app, _), _] = apps(200);
    let _publisher = world.publish_http("open-files", app.address());
    let token = format!("Sallyport-Token: {}\r\n", world.token("visitor"));
    for (host, more, status, code) in [
        ("open-files.localhost", "", 401, "not-signed-in"),
        ("open-files.localhost", token.as_str(), 413, "body-too-large"),
        ("none.localhost", token.as_str(), 404, "unknown-name"),
    ] {
        let answer = RUNTIME.block_on(said(&world, "localhost", &put_large(host, more)));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{code}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    }
}

#[test]
fn so_does_whoever_sends_it_in_clear() {
    let world = World::start();
    let answer = RUNTIME.block_on(async {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
        stream.write_all(&put_large("open-files.localhost", "")).await.expect("all of it is taken");
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
        read.expect("it ends").expect("it ends in order");
        answer
    });
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"code\":\"not-tls\""), "{answer}");
}

#[test]
fn an_app_may_answer_before_it_has_the_body_also_to_whoever_waits_for_leave_to_send_it() {
    let world = World::start();
    for status in [417, 403, 200] {
        for (app, scheme) in apps(status) {
            let target = format!("{scheme}://{}", app.address());
            let mut publisher = world.publish_as("publisher", "open-app", &["http", &target]);
            let by_curl = world
                .visit("open-app", "/large")
                .by(&world, "visitor")
                .header("Expect: 100-continue")
                .args(&["--http1.1", "--request", "PUT", "--data", "a body that the app does not read"])
                .run();
            assert_eq!((by_curl.status, by_curl.text().as_str()), (status, "said"), "{}", by_curl.complaint);
            let by_http2 = RUNTIME.block_on(by_http2(&world));
            assert_eq!(by_http2, (status, "said".to_owned()), "to {scheme}");
            assert!(publisher.stop().success());
        }
    }
}
