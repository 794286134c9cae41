//! What comes behind a body, and bodies where none are usual, by every HTTP that visitors and apps speak.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::app::{App, RUNTIME};
use super::frames::{DATA, HEADERS, Http2, Outcome, field};
use super::process::Process;
use super::socket::said;
use super::world::World;

const HOST: &str = "open-app.localhost";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// An app of HTTP/1.1 and one of HTTP/2, each published in turn.
fn with_each_app(world: &World, router: &Router, visit: impl Fn(&str)) {
    let apps = [("http", App::web(router.clone())), ("h2c", App::web_by_http2(router.clone()))];
    for (scheme, app) in apps {
        let target = format!("{scheme}://{}", app.address());
        let mut publisher: Process = world.publish_as("publisher", "open-app", &["http", &target]);
        visit(scheme);
        assert!(publisher.stop().success());
    }
}

/// The bytes of a request by HTTP/1.1 with a body of unknown length.
fn in_pieces(world: &World, method: &str, more: &str, behind: &str) -> Vec<u8> {
    let token = world.token("visitor");
    format!(
        "{method} / HTTP/1.1\r\nHost: {HOST}\r\nSallyport-Token: {token}\r\nConnection: close\r\n{more}\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{behind}\r\n"
    )
    .into_bytes()
}

#[test]
fn a_body_of_unknown_length_reaches_an_app_whatever_the_method() {
    let world = World::start();
    let takes = async |body: String| if body == "hello" { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    with_each_app(&world, &Router::new().fallback(takes), |scheme| {
        for method in ["GET", "HEAD", "DELETE", "POST"] {
            let answer = RUNTIME.block_on(said(&world, HOST, &in_pieces(&world, method, "", "")));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{method} to {scheme}: {answer}");
            let token = format!("Bearer {}", world.token("visitor"));
            let head = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", "/")];
            let shown = [("authorization", token.as_str())];
            let head: Vec<u8> =
                head.iter().chain(&shown).flat_map(|(name, value)| field(name, value)).collect();
            let outcome = RUNTIME.block_on(async {
                let mut http2 = Http2::begin(&world, HOST).await;
                http2.frame(HEADERS, END_HEADERS, 1, &head).await;
                http2.frame(DATA, END_STREAM, 1, b"hello").await;
                http2.outcome().await
            });
            assert_eq!(outcome, Outcome::Answered(0x88), "{method} to {scheme}");
        }
    });
}

#[test]
fn trailers_of_a_request_reach_an_app_and_none_of_them_says_what_only_the_gateway_may() {
    let world = World::start();
    let told = async |request: Request<Body>| {
        let all = request.into_body().collect().await.unwrap();
        let trailers = all.trailers().cloned().unwrap_or_default();
        let mut names: Vec<_> =
            trailers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        names.sort();
        format!("{} {}", String::from_utf8(all.to_bytes().to_vec()).unwrap(), names.join(","))
    };
    with_each_app(&world, &Router::new().fallback(told), |scheme| {
        let behind = "X-Sum: 6\r\nX-Forwarded-For: 10.0.0.1\r\nSallyport-Subject: user:admin\r\n";
        let announced = "Trailer: X-Sum, X-Forwarded-For, Sallyport-Subject\r\n";
        let request = in_pieces(&world, "POST", announced, behind);
        let answer = RUNTIME.block_on(said(&world, HOST, &request));
        assert!(answer.ends_with("\r\n\r\nhello x-sum=6"), "{scheme}: {answer}");
    });
}

#[test]
fn trailers_of_an_app_reach_a_visitor_by_http_1_who_understands_them_and_nobody_else_misses_anything() {
    let world = World::start();
    let answer = async || {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "6".parse().unwrap());
        let frames =
            [Ok::<_, std::io::Error>(Frame::data(Bytes::from("hello"))), Ok(Frame::trailers(trailers))];
        ([("trailer", "X-Sum")], Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    };
    with_each_app(&world, &Router::new().fallback(answer), |scheme| {
        for (more, wanted) in [("TE: trailers\r\n", true), ("", false)] {
            let token = world.token("visitor");
            let request = format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nSallyport-Token: {token}\r\n{more}Connection: close\r\n\r\n"
            );
            let answer = RUNTIME.block_on(said(&world, HOST, request.as_bytes()));
            let end = if wanted {
                "\r\n5\r\nhello\r\n0\r\nx-sum: 6\r\n\r\n"
            } else {
                "\r\n5\r\nhello\r\n0\r\n\r\n"
            };
            // An app of HTTP/1.1 is not told that somebody does not understand them, and says less itself.
            assert!(answer.to_lowercase().ends_with(end), "{scheme}, {more:?}: {answer}");
        }
    });
}
