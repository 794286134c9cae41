//! Connections to an app: which are used again, which are not, and what becomes of a request that an app closes one on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::bed::{Door, Organisation, Pair, Running, http, name, publication, soon};
use crate::tunnel::AppConnection::{Again, New};
use crate::tunnel::client::{Publication, Target};
use crate::tunnel::{AppConnection, Limits, Link, OriginFault, origin_fault};

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

/// Of an app that answers one request on each connection, and closes at the next, which it has read: how often it did that, and
/// how many requests with a body it has seen.
#[derive(Default)]
struct Fickle {
    closed: AtomicUsize,
    posts: AtomicUsize,
}

impl Fickle {
    async fn start() -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, fickle) = (listener.local_addr().unwrap(), Arc::<Self>::default());
        let serving = Arc::clone(&fickle);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move { serving.serve(socket).await });
            }
        });
        (address, fickle)
    }

    async fn serve(&self, mut socket: TcpStream) {
        self.read(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        self.read(&mut socket).await;
        self.closed.fetch_add(1, Ordering::SeqCst);
    }

    async fn read(&self, socket: &mut TcpStream) {
        let mut head = Vec::new();
        // A body is one byte long here.
        let is_post = |head: &[u8]| head.starts_with(b"POST");
        while !head.windows(4).any(|end| end == b"\r\n\r\n") || is_post(&head) && !head.ends_with(b"x") {
            if socket.read_buf(&mut head).await.unwrap_or_default() == 0 {
                return;
            }
        }
        self.posts.fetch_add(usize::from(is_post(&head)), Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_only_reads_is_sent_once_more_when_the_app_closes_at_it_and_any_other_is_not() {
    let (address, app) = Fickle::start().await;
    let pair = Pair::of(http("demo"), address).await;
    // A connection may not rest yet when the next request comes, which then takes a new one.
    for _ in 0..100 {
        ask(&pair.link, "/").await;
    }
    assert!(app.closed.load(Ordering::SeqCst) > 10, "no connection was used again");

    let (mut sent, mut failed) = (0, 0);
    while failed == 0 && sent < 100 {
        let request = Request::post("http://demo/").body(Full::from("x")).unwrap();
        let answer = soon(pair.link.request(&name("demo"), request)).await.unwrap();
        sent += 1;
        if answer.status() == 502 {
            failed += 1;
            assert_eq!(origin_fault(&answer), Some(OriginFault::BadAnswer));
        }
        soon(answer.into_body().collect()).await.unwrap();
    }
    assert_eq!((failed, app.posts.load(Ordering::SeqCst)), (1, sent), "each is seen once");
}

/// An app of HTTP/2 that takes `at_once` requests on each connection, and answers none before it has `all`.
struct Patient {
    address: SocketAddr,
    connections: AtomicUsize,
    requests: AtomicUsize,
    together: Notify,
}

impl Patient {
    async fn start(at_once: u32, all: usize) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            together: Notify::new(),
        });
        let serving = Arc::clone(&app);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let app = Arc::clone(&serving);
                let service = service_fn(move |_| {
                    let app = Arc::clone(&app);
                    async move {
                        let together = app.together.notified();
                        if app.requests.fetch_add(1, Ordering::SeqCst) + 1 < all {
                            together.await;
                        } else {
                            app.together.notify_waiters();
                        }
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
                    }
                });
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(at_once);
                tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
            }
        });
        app
    }

    async fn publish(&self) -> (Link, Running, Door) {
        let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
        let target = Target::parse(&format!("h2c://{}", self.address)).unwrap();
        let publication = Publication { target, ..publication(http("demo"), self.address) };
        let publisher = Running::start(door.options(vec![publication]));
        (door.link().await, publisher, door)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_what_an_app_of_http_2_takes_on_one_connection_go_onto_others() {
    let app = Patient::start(10, 25).await;
    let (link, _publisher, _door) = app.publish().await;
    soon(futures_util::future::join_all((0..25).map(|_| ask(&link, "/")))).await;
    assert_eq!(app.connections.load(Ordering::SeqCst), 3);
    // All of it is over: what comes now needs no further one.
    ask(&link, "/").await;
    assert_eq!(app.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_of_http_2_that_has_all_that_it_takes_is_busy_and_does_not_count_as_late() {
    // One more than there may be connections.
    let app = Patient::start(1, 9).await;
    let (link, _publisher, _door) = app.publish().await;
    let held: Vec<_> = (0..8)
        .map(|_| {
            let link = link.clone();
            tokio::spawn(async move { ask(&link, "/").await })
        })
        .collect();
    soon(async {
        while app.requests.load(Ordering::SeqCst) < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let request = Request::get("http://demo/").body(Empty::<Bytes>::new()).unwrap();
    let answer = soon(link.request(&name("demo"), request)).await.unwrap();
    assert_eq!((answer.status().as_u16(), origin_fault(&answer)), (502, Some(OriginFault::Busy)));
    assert_eq!(app.connections.load(Ordering::SeqCst), 8);
    held.iter().for_each(tokio::task::JoinHandle::abort);
    // Those who gave up leave their seats.
    futures_util::future::join_all(held).await;
    app.requests.store(9, Ordering::SeqCst);
    ask(&link, "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_of_http_2_takes_no_more_on_one_connection_goes_onto_the_next_and_what_it_has_it_answers()
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (taken, leave) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let (seen, release) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let service = {
        let (seen, release) = (Arc::clone(&seen), Arc::clone(&release));
        service_fn(move |request: Request<hyper::body::Incoming>| {
            let (seen, release) = (Arc::clone(&seen), Arc::clone(&release));
            async move {
                if request.uri().path() == "/slow" {
                    seen.notify_one();
                    release.notified().await;
                }
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
            }
        })
    };
    let (counting, leaves) = (Arc::clone(&taken), Arc::clone(&leave));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let (service, leaves) = (service.clone(), Arc::clone(&leaves));
            tokio::spawn(async move {
                let builder = http2::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
                tokio::select! {
                    _ended = &mut connection => return,
                    () = leaves.notified() => connection.as_mut().graceful_shutdown(),
                }
                let _ended = connection.await;
            });
        }
    });
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let target = Target::parse(&format!("h2c://{address}")).unwrap();
    let publication = Publication { target, ..publication(http("demo"), address) };
    let _publisher = Running::start(door.options(vec![publication]));
    let link = door.link().await;

    let slow = tokio::spawn({
        let link = link.clone();
        async move { ask(&link, "/slow").await }
    });
    soon(seen.notified()).await;
    leave.notify_one();
    // Before the app's word arrives they go onto the first connection, and then onto another.
    while taken.load(Ordering::SeqCst) < 2 {
        ask(&link, "/").await;
    }
    release.notify_one();
    soon(slow).await.unwrap();
}
