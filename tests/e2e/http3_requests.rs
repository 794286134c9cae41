//! Requests by HTTP/3 of every kind: with and without a body, cut in every way, and what comes behind it.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;

use super::app::{App, RUNTIME};
use super::http_edge::mirror;
use super::quic_client::{Http3, Http3Answer};
use super::world::World;

const HOST: &str = "open-app.localhost";

fn start() -> World {
    World::with().set("gateway.http3=on").start()
}

fn by_visitor(world: &World, method: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("https://{HOST}:{}/", world.port()))
        .header("authorization", format!("Bearer {}", world.token("visitor")))
}

/// Says how an app of HTTP/1.1 is told the length of a body, and what it was.
async fn framing(request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let told = |name| head.headers.get(name).map_or("-", |value| value.to_str().unwrap());
    let framing = format!("{} {}", told(header::TRANSFER_ENCODING), told(header::CONTENT_LENGTH));
    let body = body.collect().await.unwrap();
    let mut trailers: HeaderMap = body.trailers().cloned().unwrap_or_default();
    let text = format!("{framing} {}", String::from_utf8(body.to_bytes().to_vec()).unwrap());
    trailers.insert("x-more", "2".parse().unwrap());
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from(text))), Ok(Frame::trailers(trailers))];
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
    (StatusCode::OK, [("trailer", "x-sum, x-more")], Body::new(body)).into_response()
}

#[test]
fn a_request_of_http3_without_a_body_is_one_without_a_body_to_the_app() {
    let world = start();
    let app = App::web(Router::new().fallback(framing));
    let _publisher = world.publish_http("open-app", app.address());
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, HOST).await;
        for method in ["GET", "OPTIONS", "DELETE", "POST"] {
            let answer = visitor.ask(by_visitor(&world, method), b"").await;
            // Of a method that means one, it may be told that there is nothing in it.
            assert!(["- - ", "- 0 "].contains(&answer.text().as_str()), "{method}: {}", answer.text());
        }
        let zero = visitor.ask(by_visitor(&world, "DELETE").header("content-length", "0"), b"").await;
        assert_eq!(zero.text(), "- 0 ");
        // And one with a body, also where it comes late, has it.
        for method in ["GET", "DELETE", "POST"] {
            let answer = visitor.ask(by_visitor(&world, method), b"hello").await;
            assert_eq!(answer.text(), "chunked - hello", "{method}");
        }
    });
}

#[test]
fn pieces_with_nothing_in_them_end_neither_a_body_nor_the_connection() {
    let world = start();
    let app = App::web(Router::new().fallback(framing));
    let _publisher = world.publish_http("open-app", app.address());
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, HOST).await;
        for method in ["POST", "GET"] {
            let mut exchange = visitor.begin(by_visitor(&world, method)).await;
            for piece in ["", "he", "", "", "llo", ""] {
                exchange.send_data(Bytes::from(piece)).await.unwrap();
            }
            exchange.finish().await.unwrap();
            let answer = Http3Answer::read(&mut exchange).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "chunked - hello"), "{method}");
        }
        assert!(visitor.quic.close_reason().is_none());
    });
}

#[test]
fn trailers_pass_both_ways_by_http3() {
    let world = start();
    let app = App::web(Router::new().fallback(framing));
    let _publisher = world.publish_http("open-app", app.address());
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, HOST).await;
        let request =
            by_visitor(&world, "POST").header("trailer", "x-sum, x-real-ip").header("te", "trailers");
        let mut exchange = visitor.begin(request).await;
        exchange.send_data(Bytes::from_static(b"hello")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "6".parse().unwrap());
        trailers.insert("x-real-ip", "10.0.0.1".parse().unwrap());
        exchange.send_trailers(trailers).await.unwrap();
        exchange.finish().await.unwrap();
        assert_eq!(exchange.recv_response().await.unwrap().status(), 200);
        while exchange.recv_data().await.unwrap().is_some() {}
        let trailers = exchange.recv_trailers().await.unwrap().expect("the app has said something behind it");
        // What the app heard behind the body, and what it added.
        assert_eq!((trailers["x-sum"].as_bytes(), trailers["x-more"].as_bytes()), (&b"6"[..], &b"2"[..]));
        assert!(!trailers.contains_key("x-real-ip"), "{trailers:?}");
    });
}

#[test]
fn head_options_and_ranges_pass_by_http3_as_they_are() {
    let world = start();
    let (app, _) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    RUNTIME.block_on(async {
        let mut visitor = Http3::connect(&world, HOST).await;
        let head = visitor.ask(by_visitor(&world, "HEAD"), b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert!(head.headers[header::CONTENT_LENGTH].to_str().unwrap().parse::<u64>().unwrap() > 0);
        let options = visitor.ask(by_visitor(&world, "OPTIONS"), b"").await;
        assert_eq!((options.status, options.headers[header::ALLOW].as_bytes()), (204, &b"GET, OPTIONS"[..]));
        let range = visitor.ask(by_visitor(&world, "GET").header("range", "bytes=2-4"), b"").await;
        assert_eq!((range.status, range.text().as_str()), (206, "cde"));
        assert_eq!(range.headers[header::CONTENT_RANGE], "bytes 2-4/10");
    });
}
