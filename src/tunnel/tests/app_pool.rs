//! Connections to an app of HTTP/1.1: used again, and which are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use super::bed::{Pair, http, name, soon};
use crate::tunnel::AppConnection::{Again, New};
use crate::tunnel::{AppConnection, Link};

/// An app, and how many connections it has taken.
async fn app(router: Router) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::<AtomicUsize>::default();
    let counting = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (address, taken)
}

/// Asks for `path`, reads the answer whole, and says by which connection it came.
async fn ask(link: &Link, path: &str) -> Option<AppConnection> {
    let request = Request::get(format!("http://demo{path}")).body(Empty::<Bytes>::new()).unwrap();
    let answer = soon(link.request(&name("demo"), request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("sallyport-")), "{answer:?}");
    let by = answer.extensions().get().copied();
    soon(answer.into_body().collect()).await.unwrap();
    by
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_requests_in_a_row_all_but_few_use_a_connection_that_has_rested() {
    let (address, taken) = app(Router::new().route("/", get(async || "hello"))).await;
    let pair = Pair::of(http("demo"), address).await;
    let mut again = 0;
    for _ in 0..100 {
        again += usize::from(ask(&pair.link, "/").await == Some(Again));
    }
    // Wanted are 80 in 100. Each that is not used again is a connection that was made.
    assert!(again > 80, "{again}");
    assert_eq!(taken.load(Ordering::SeqCst), 100 - again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_an_answer_was_given_up_or_that_the_app_ends_is_not_used_again() {
    let endless = async || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![7; 4096])));
    let last = async || Response::builder().header("connection", "close").body(Body::from("bye")).unwrap();
    let (address, _) = app(Router::new().route("/endless", get(endless)).route("/last", get(last))).await;
    let pair = Pair::of(http("demo"), address).await;
    for _ in 0..3 {
        let request = Request::get("http://demo/endless").body(Empty::<Bytes>::new()).unwrap();
        let mut answer = soon(pair.link.request(&name("demo"), request)).await.unwrap();
        assert_eq!(answer.extensions().get(), Some(&New));
        soon(answer.body_mut().frame()).await.unwrap().unwrap();
        drop(answer);
        assert_eq!(ask(&pair.link, "/last").await, Some(New));
    }
}
