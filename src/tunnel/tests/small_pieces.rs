//! Bodies cut very small: what those that nobody takes, and pieces with nothing in them, cost the others of a tunnel, and that
//! conversations wait for nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::bed::{Door, Organisation, Pair, Running, http, name, publication, soon, tcp};
use crate::tunnel::Limits;
use crate::tunnel::client::{Publication, Target};

/// More frames of a byte than a connection's library lets wait unread.
const MANY: usize = 700_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_single_bytes_that_the_app_does_not_read_costs_nobody_else_the_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 5];
                socket.read_exact(&mut head).await.unwrap();
                if head.starts_with(b"POST") {
                    std::future::pending::<()>().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                socket.write_all(answer).await.unwrap();
            });
        }
    });
    let pair = Pair::of(http("demo"), app).await;
    let link = pair.link.clone();
    let (sent, mut all_sent) = tokio::sync::mpsc::channel(1);
    let pieces = stream::iter(0..MANY).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))));
    let told = stream::once(async move {
        sent.send(()).await.unwrap();
        std::future::pending().await
    });
    let body = StreamBody::new(pieces.chain(told).boxed());
    let uploading = {
        let link = link.clone();
        tokio::spawn(async move {
            let request = http::Request::builder().method("POST").uri("http://demo/").body(body).unwrap();
            link.request(&name("demo"), request).await.map(drop)
        })
    };
    tokio::select! {
        told = soon(all_sent.recv()) => told.unwrap(),
        closed = link.closed() => panic!("the tunnel is gone: {closed}"),
    }
    let request = http::Request::builder().uri("http://demo/").body(http_body_util::Empty::new()).unwrap();
    let answer = soon(link.request(&name("demo"), request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    uploading.abort();
    serving.abort();
}

/// Pieces with nothing in them between two with a byte: fewer than a library lets pass on one connection.
const NOTHINGS: usize = 90;

fn with_nothing_between() -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
    let edge = || stream::iter([Ok(Bytes::from_static(b"x"))]);
    edge().chain(stream::repeat_with(|| Ok(Bytes::new())).take(NOTHINGS)).chain(edge())
}

/// An app of HTTP/2 that answers with such a body, and takes such as it comes: it tells its length.
async fn app_with_nothing_between() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let length =
        async |body: Body| axum::body::to_bytes(body, 1 << 20).await.map_or(0, |all| all.len()).to_string();
    let router = Router::new()
        .route("/", post(length))
        .route("/down", get(async || Body::from_stream(with_nothing_between())));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let builder = http2::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_empty_pieces_of_uploads_and_downloads_leave_the_tunnel_as_it_is() {
    const APPS: [&str; 3] = ["one", "two", "three"];
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let mut publications = Vec::new();
    for offered in APPS {
        let target = Target::parse(&format!("h2c://{}", app_with_nothing_between().await)).unwrap();
        publications
            .push(Publication { target, ..publication(http(offered), "127.0.0.1:1".parse().unwrap()) });
    }
    let _publisher = Running::start(door.options(publications));
    let link = door.link().await;
    // More than the library of either end takes on one connection, in each direction.
    for offered in APPS {
        let body = StreamBody::new(with_nothing_between().map(|piece| piece.map(Frame::data)).boxed());
        let request = http::Request::post(format!("http://{offered}/")).body(body).unwrap();
        let answer = soon(link.request(&name(offered), request)).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "2");
        let request =
            http::Request::get(format!("http://{offered}/down")).body(Empty::<Bytes>::new()).unwrap();
        let answer = soon(link.request(&name(offered), request)).await.unwrap();
        assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "xx");
    }
    assert!(link.is_open());
}

/// Small questions in a row, each asked when the one before is answered: many more than may go at once.
const QUESTIONS: usize = 2_000;
/// How many of the first and of the last are compared.
const SOME: usize = 200;

/// How many times longer the last questions take than the first, at the median. Pieces that wait for each other would make it
/// tens.
async fn slowing(mut ask: impl AsyncFnMut()) -> f64 {
    let mut took = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        soon(ask()).await;
        took.push(began.elapsed());
    }
    let median = |some: &[Duration]| {
        let mut some = some.to_vec();
        some.sort_unstable();
        some[some.len() / 2].as_secs_f64()
    };
    median(&took[QUESTIONS - SOME..]) / median(&took[..SOME])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_in_the_bodies_of_a_request_never_slows_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    let echo = Router::new().route("/", post(async |body: Body| body));
    let serving = tokio::spawn(async move { axum::serve(listener, echo).await.unwrap() });
    let pair = Pair::of(http("demo"), app).await;
    let (questions, asked) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let body = StreamBody::new(arriving(asked));
    let request = http::Request::builder().method("POST").uri("http://demo/").body(body).unwrap();
    let mut answers = soon(pair.link.request(&name("demo"), request)).await.unwrap().into_body();
    let slowing = slowing(async || {
        questions.send(Ok(Frame::data(Bytes::from_static(b"?")))).await.unwrap();
        let answer = answers.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(answer, "?");
    })
    .await;
    assert!(slowing < 5.0, "{slowing}");
    serving.abort();
}

/// What is sent, as it arrives.
fn arriving<T>(receiver: mpsc::Receiver<T>) -> impl futures_util::Stream<Item = T> {
    stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_over_a_byte_stream_never_slows_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (mut read, mut write) = socket.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let pair = Pair::of(tcp("demo"), app).await;
    let mut stream = soon(pair.link.connect(&name("demo"))).await.unwrap();
    let slowing = slowing(async || {
        stream.write_all(b"?").await.unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"?");
    })
    .await;
    assert!(slowing < 5.0, "{slowing}");
    serving.abort();
}
