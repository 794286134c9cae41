//! Connections to an app that are made before anybody needs them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use super::bed::{Door, Organisation, Running, http, name, publication, soon};
use crate::tunnel::AppConnection::{self, Again};
use crate::tunnel::client::AppConnectionTurn::{self as Turn, Closed, Failed, MadeAhead};
use crate::tunnel::client::{Event, Publication, Target, TlsRoots};
use crate::tunnel::{Limits, Link};

/// Whose page `/last` ends the connection on which it is asked for.
fn pages() -> Router {
    let last = async || Response::builder().header("connection", "close").body(Body::from("bye")).unwrap();
    Router::new().route("/", get(async || "hello")).route("/last", get(last))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>) {
    while let Ok((socket, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => answer(socket).await,
                Some(tls) => answer(tls.accept(socket).await.unwrap()).await,
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ended = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages())).await;
}

async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, None));
    address
}

/// A publisher that wants `warm` connections ahead.
async fn publisher(target: Target, warm: usize, roots: TlsRoots) -> (Running, Link, Door) {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let published = Publication { target, ..publication(http("demo"), door.address) };
    let options = door.options(vec![published]);
    let running =
        Running::start(crate::tunnel::client::PublisherOptions { warm, app_roots: roots, ..options });
    let link = door.link().await;
    (running, link, door)
}

fn in_clear(address: SocketAddr) -> Target {
    Target::parse(&address.to_string()).unwrap()
}

fn became(event: &Event, wanted: Turn) -> bool {
    matches!(event, Event::AppConnection { tunnel, turn, .. } if tunnel == "demo" && *turn == wanted)
}

/// The next one of an app's connections of which this is told.
async fn told(running: &mut Running, wanted: Turn) {
    running.event(|event| became(event, wanted)).await;
}

/// How the answer came.
async fn ask(link: &Link, path: &str) -> Option<AppConnection> {
    let request = Request::get(format!("http://demo{path}")).body(Empty::<Bytes>::new()).unwrap();
    let answer = soon(link.request(&name("demo"), request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let by = answer.extensions().get().copied();
    soon(answer.into_body().collect()).await.unwrap();
    by
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_wanted_ahead_are_there_before_anybody_asks_and_again_when_one_was_used_up() {
    let (mut running, link, _door) = publisher(in_clear(app().await), 3, TlsRoots::System).await;
    for _ in 0..3 {
        told(&mut running, MadeAhead).await;
    }
    for _ in 0..5 {
        assert_eq!(ask(&link, "/last").await, Some(Again), "the visitor waited for a connection");
        told(&mut running, MadeAhead).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_wish_none_is_made_before_it_is_needed() {
    let (mut running, link, _door) = publisher(in_clear(app().await), 0, TlsRoots::System).await;
    assert_eq!(ask(&link, "/").await, Some(AppConnection::New));
    let first = running.event(|event| matches!(event, Event::AppConnection { .. })).await;
    assert!(became(&first, Turn::Made), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_comes_later_is_found_and_one_that_closes_what_rests_is_left_alone_for_longer_each_time()
{
    // A port that is taken, at which nobody listens yet.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let (mut running, _link, _door) = publisher(in_clear(address), 1, TlsRoots::System).await;
    told(&mut running, Failed).await;
    let listener = socket.listen(16).unwrap();
    let accepted = soon(listener.accept()).await.unwrap();
    told(&mut running, MadeAhead).await;
    // It is here, and lets nothing rest: pauses of at least half a second, one, and two.
    drop(accepted);
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    told(&mut running, Closed).await;
    let began = Instant::now();
    for _ in 0..3 {
        told(&mut running, Closed).await;
    }
    assert!(began.elapsed() > Duration::from_secs(3), "it spins: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_ahead_are_made_inside_tls_too() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certified.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve(listener, Some(TlsAcceptor::from(Arc::new(tls)))));
    let target = Target::parse(&format!("https://localhost:{port}")).unwrap();
    let (mut running, link, _door) = publisher(target, 1, TlsRoots::File(file.path().to_owned())).await;
    told(&mut running, MadeAhead).await;
    assert_eq!(ask(&link, "/").await, Some(Again));
    // What comes next of the connection to the app: nothing that the request had to make.
    running.stop.cancel();
    while let Some(event) = soon(running.events.recv()).await {
        assert!(!became(&event, Turn::Made), "{event:?}");
    }
}
