//! Publisher and gateway over real TLS on loopback: requests, byte streams, faults of the app.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Body as AxumBody;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{Door, Organisation, Pair, Running, http, name, publication, soon, tcp};
use crate::tunnel::client::Event;
use crate::tunnel::{Limits, LinkError, Offer, OriginFault, Proof, origin_fault};

const MIB: usize = 1 << 20;

/// A local app of the publisher; ends with the test's runtime.
async fn app(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A local TCP service of the publisher: `serve` gets each connection.
async fn tcp_app<F: Future<Output = ()> + Send>(
    serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            serve(socket).await;
        }
    });
    address
}

/// An address at which nothing listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn sealed_pair(offer: Offer, target: SocketAddr) -> Pair {
    Pair::at(
        Door::open_behind_ingress(Organisation::new().gateway(1), Limits::default()).await,
        offer,
        target,
    )
    .await
}

fn get_request(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

/// A body of `length` bytes in chunks, made as it is asked for.
struct Flood {
    left: usize,
    chunk: Bytes,
}

impl Flood {
    fn of(length: usize) -> Self {
        let chunk: Vec<u8> = (0..64 * 1024_usize).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
        Self { left: length, chunk: chunk.into() }
    }
}

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(self.chunk.len());
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.slice(..length)))))
    }
}

/// How long a body is, and its SHA-256.
async fn digest_of<B: Body<Data = Bytes> + Unpin>(mut body: B) -> (usize, Vec<u8>)
where
    B::Error: std::fmt::Debug,
{
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap_or_default();
        length += data.len();
        hash.update(&data);
    }
    (length, hash.finish().as_ref().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_local_app_and_its_answer_comes_back() {
    let app = app(Router::new().route("/hello", get(async || "hello from the app"))).await;
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let _publisher = Running::start(door.options(vec![publication(http("demo"), app)]));
    let registration = door.registration().await;
    assert!(matches!(registration.proof(), Proof::Token(token) if token.expose_secret() == "a token"));
    assert_eq!(registration.offers(), [http("demo")]);
    assert!(registration.client_version().starts_with("sallyport/"));
    assert!(!registration.sealed(), "both ends share one TLS connection");
    let acceptance = super::bed::everything(&registration);
    let link = soon(registration.accept(acceptance)).await.unwrap();

    let response =
        soon(link.request(&name("demo"), get_request("https://demo.localhost/hello"))).await.unwrap();
    assert_eq!((response.status().as_u16(), origin_fault(&response)), (200, None));
    let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, "hello from the app");
    let counters = link.counters();
    assert_eq!((counters.requests, counters.streams), (1, 0));
    assert!(counters.bytes_sent > 0 && counters.bytes_received > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_ingress_everything_works_through_sealed_frames() {
    let app = app(Router::new().route("/echo", post(async |body: Bytes| body))).await;
    let pair = sealed_pair(http("demo"), app).await;
    assert_eq!(pair.link.mode(), crate::tunnel::handshake::Mode::Sealed);
    let request = Request::post("http://demo/echo").body(Full::from("through the seal")).unwrap();
    let response = soon(pair.link.request(&name("demo"), request)).await.unwrap();
    assert_eq!(soon(response.into_body().collect()).await.unwrap().to_bytes(), "through the seal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_streams_both_ways_and_arrives_the_same_bare_and_sealed() {
    let router = || {
        let echo = post(async |body: AxumBody| body);
        Router::new().route("/echo", echo)
    };
    let (length, expected) = digest_of(Flood::of(64 * MIB)).await;
    for pair in [
        Pair::of(http("demo"), app(router()).await).await,
        sealed_pair(http("demo"), app(router()).await).await,
    ] {
        let request = Request::post("http://demo/echo").body(Flood::of(64 * MIB)).unwrap();
        let response = soon(pair.link.request(&name("demo"), request)).await.unwrap();
        assert_eq!(soon(digest_of(response.into_body())).await, (length, expected.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_does_not_read_does_not_make_the_gateway_buffer_the_download() {
    let router = Router::new().route("/flood", get(async || AxumBody::new(Flood::of(1024 * MIB))));
    let pair = Pair::of(http("demo"), app(router).await).await;
    let response = soon(pair.link.request(&name("demo"), get_request("http://demo/flood"))).await.unwrap();
    // Others go on beside it, and what was received stays within the stream's window.
    let window = u64::from(Limits::default().stream_window);
    for _ in 0..50 {
        let other = soon(pair.link.request(&name("demo"), get_request("http://demo/none"))).await.unwrap();
        assert_eq!(other.status(), 404);
    }
    assert!(pair.link.counters().bytes_received < window + MIB as u64);
    drop(response);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_sees_the_visitors_host_and_headers_but_none_of_ours_nor_of_the_connection() {
    let router = Router::new().route(
        "/headers",
        any(async |method: Method, headers: HeaderMap| {
            let mut lines: Vec<_> =
                headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
            lines.sort();
            format!("{method} {}", lines.join(" "))
        }),
    );
    let pair = Pair::of(http("demo"), app(router).await).await;
    let request = Request::delete("/headers")
        .header("host", "demo.example:8443")
        .header("x-app", "1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("sallyport-tunnel", "other")
        .header("sallyport-stream", "bytes")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = soon(pair.link.request(&name("demo"), request)).await.unwrap();
    let seen = soon(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(seen, "DELETE host=demo.example:8443 x-app=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_cannot_imitate_the_publishers_own_answers() {
    let router = Router::new().route(
        "/",
        get(async || {
            let mut response = "fine".into_response();
            response.headers_mut().insert("sallyport-origin-error", "unreachable".parse().unwrap());
            response
        }),
    );
    let pair = Pair::of(http("demo"), app(router).await).await;
    let response = soon(pair.link.request(&name("demo"), get_request("http://demo/"))).await.unwrap();
    assert_eq!(origin_fault(&response), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_app_that_is_down_is_a_502_with_its_reason() {
    let mut pair = Pair::of(http("demo"), nobody().await).await;
    let response =
        soon(pair.link.request(&name("demo"), get_request("http://demo/x?secret=1"))).await.unwrap();
    assert_eq!((response.status().as_u16(), origin_fault(&response)), (502, Some(OriginFault::Unreachable)));
    let event = pair.publisher.event(|event| matches!(event, Event::Request { .. })).await;
    let Event::Request { method, path, status, .. } = event else { unreachable!() };
    assert_eq!(
        (method.as_str(), path.as_str(), status),
        ("GET", "/x", 502),
        "and no query in the status line"
    );

    let refused = soon(pair.link.connect(&name("demo"))).await.err().unwrap();
    assert!(matches!(refused, LinkError::Origin { fault: OriginFault::Unreachable }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_app_that_does_not_speak_http_is_a_502_with_its_reason() {
    let app = tcp_app(async |mut socket| {
        socket.write_all(b"SSH-2.0-hello\r\n").await.unwrap();
    })
    .await;
    let pair = Pair::of(http("demo"), app).await;
    let response = soon(pair.link.request(&name("demo"), get_request("http://demo/"))).await.unwrap();
    assert_eq!((response.status().as_u16(), origin_fault(&response)), (502, Some(OriginFault::BadAnswer)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_the_publisher_does_not_serve_is_a_502_with_its_reason() {
    let pair = Pair::of(http("demo"), nobody().await).await;
    let response = soon(pair.link.request(&name("other"), get_request("http://other/"))).await.unwrap();
    assert_eq!(origin_fault(&response), Some(OriginFault::UnknownTunnel));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_the_app_breaks_off_is_an_error_for_the_visitor_and_no_end() {
    let app = tcp_app(async |mut socket| {
        let mut request = [0; 1024];
        let _read = socket.read(&mut request).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await.unwrap();
    })
    .await;
    let pair = Pair::of(http("demo"), app).await;
    // An end that comes quickly overtakes the answer's head.
    match soon(pair.link.request(&name("demo"), get_request("http://demo/"))).await {
        Ok(response) => {
            assert_eq!(response.status(), 200);
            assert!(soon(response.into_body().collect()).await.is_err());
        }
        Err(error) => assert!(matches!(error, LinkError::Stream(_)), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_stream_keeps_its_other_direction_open_when_one_has_ended() {
    let app = tcp_app(async |mut socket| {
        let mut question = Vec::new();
        socket.read_to_end(&mut question).await.unwrap();
        // Only after the visitor's end was seen does the answer begin.
        socket.write_all(b"you said: ").await.unwrap();
        socket.write_all(&question).await.unwrap();
    })
    .await;
    for pair in [Pair::of(tcp("db"), app).await, sealed_pair(tcp("db"), app).await] {
        let mut stream = soon(pair.link.connect(&name("db"))).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "you said: hello");
        assert_eq!(pair.link.counters().streams, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_may_end_its_direction_first_and_still_hear_the_visitor() {
    let (heard, mut hearing) = tokio::sync::mpsc::channel(1);
    let app = tcp_app(move |mut socket| {
        let heard = heard.clone();
        async move {
            socket.write_all(b"go on").await.unwrap();
            socket.shutdown().await.unwrap();
            let mut rest = String::new();
            socket.read_to_string(&mut rest).await.unwrap();
            heard.send(rest).await.unwrap();
        }
    })
    .await;
    let pair = Pair::of(tcp("db"), app).await;
    let mut stream = soon(pair.link.connect(&name("db"))).await.unwrap();
    let mut greeting = String::new();
    soon(stream.read_to_string(&mut greeting)).await.unwrap();
    assert_eq!(greeting, "go on");
    stream.write_all(b"after your end").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(soon(hearing.recv()).await.unwrap(), "after your end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_stream_that_the_app_resets_is_an_error_for_the_visitor_and_no_end() {
    let app = tcp_app(async |mut socket| {
        socket.write_all(b"half of the dump").await.unwrap();
        let mut go = [0; 2];
        socket.read_exact(&mut go).await.unwrap();
        socket.set_zero_linger().unwrap();
    })
    .await;
    let pair = Pair::of(tcp("db"), app).await;
    let mut stream = soon(pair.link.connect(&name("db"))).await.unwrap();
    let mut first = [0; 16];
    soon(stream.read_exact(&mut first)).await.unwrap();
    stream.write_all(b"go").await.unwrap();
    let mut rest = Vec::new();
    assert!(soon(stream.read_to_end(&mut rest)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_stream_that_the_gateway_drops_is_reset_at_the_app() {
    let (seen, mut seeing) = tokio::sync::mpsc::channel(1);
    let app = tcp_app(move |mut socket| {
        let seen = seen.clone();
        async move {
            let mut all = Vec::new();
            seen.send(socket.read_to_end(&mut all).await.is_err()).await.unwrap();
        }
    })
    .await;
    let pair = Pair::of(tcp("db"), app).await;
    let mut stream = soon(pair.link.connect(&name("db"))).await.unwrap();
    stream.write_all(b"half of an upload").await.unwrap();
    drop(stream);
    assert!(soon(seeing.recv()).await.unwrap(), "the app must not take it for the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_once_do_not_mix() {
    let app = tcp_app(async |mut socket| {
        tokio::spawn(async move {
            let (mut read, mut write) = socket.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
    })
    .await;
    let pair = Pair::of(tcp("db"), app).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_u32 {
        let link = pair.link.clone();
        tasks.spawn(async move {
            let mut stream = link.connect(&name("db")).await.unwrap();
            let sent: Vec<u8> = (0..10_000_u32).flat_map(|n| (n ^ number).to_be_bytes()).collect();
            let mut received = vec![0; sent.len()];
            stream.write_all(&sent).await.unwrap();
            stream.read_exact(&mut received).await.unwrap();
            assert_eq!(received, sent, "stream {number}");
        });
    }
    soon(async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    })
    .await;
}
