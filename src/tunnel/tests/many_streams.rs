//! Many streams of one connection: what those who don't take what is sent to them, or don't wait for it, cost the others.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use tokio::sync::Notify;

use super::bed::{Door, Organisation, Running, name, soon};
use super::lifecycle::publishing;
use crate::tunnel::{Answer, Limits, Link, LinkError};

/// An answer that never ends.
fn flood() -> AxumBody {
    let piece = Bytes::from(vec![7; 64 << 10]);
    AxumBody::from_stream(futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())))
}

fn ask(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://demo{path}")).body(Empty::new()).unwrap()
}

/// Reads the beginning of an answer that never ends, and no more.
async fn begins(link: &Link, person: &str) -> Answer {
    let mut body = soon(link.request_of(person, &name("demo"), ask("/flood"))).await.unwrap().into_body();
    soon(body.frame()).await.unwrap().unwrap();
    body
}

async fn link(limits: Limits) -> (Link, Running, Door) {
    let mut door = Door::open(Organisation::new().gateway(1), limits).await;
    let router =
        Router::new().route("/flood", get(async || flood())).route("/block", get(async || vec![7; 60_000]));
    let publisher = Running::start(publishing(&door, router).await);
    let link = door.link().await;
    (link, publisher, door)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_taken_all_there_was_when_windows_shrink_is_given_what_comes_then() {
    const FIRST: usize = 10 * (64 << 10);
    const ALL: usize = 30 * (64 << 10);
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let goes_on = Arc::new(Notify::new());
    let waits = Arc::clone(&goes_on);
    // Two thirds of it are sent when it is told to.
    let in_two = async move || {
        let waits = Arc::clone(&waits);
        let pieces = futures_util::stream::iter(0..ALL / (64 << 10)).then(move |at| {
            let waits = Arc::clone(&waits);
            async move {
                if at == FIRST / (64 << 10) {
                    waits.notified().await;
                }
                Ok::<_, std::io::Error>(Bytes::from(vec![7; 64 << 10]))
            }
        });
        AxumBody::from_stream(pieces)
    };
    let router = Router::new().route("/flood", get(async || flood())).route("/in-two", get(in_two));
    let _publisher = Running::start(publishing(&door, router).await);
    let link = door.link().await;
    let demo = name("demo");
    let asked = link.request_of("somebody", &demo, ask("/in-two"));
    let mut body = soon(asked).await.unwrap().into_body();
    let mut taken = 0;
    let take_until = async |body: &mut Answer, taken: &mut usize, until: usize| {
        while *taken < until {
            *taken += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
    };
    soon(take_until(&mut body, &mut taken, FIRST)).await;
    let mut readers = Vec::new();
    for number in 0..64 {
        readers.push(begins(&link, &format!("reader {number}")).await);
    }
    soon(async {
        while link.windows().0 as usize >= FIRST {
            tokio::task::yield_now().await;
        }
    })
    .await;
    goes_on.notify_one();
    soon(take_until(&mut body, &mut taken, ALL)).await;
    assert_eq!(taken, ALL);
    assert!((link.windows().0 as usize) < FIRST, "the others still read nothing");
    drop(readers);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_shrink_while_many_have_something_waiting_and_grow_again_when_they_are_gone() {
    let (link, _publisher, _door) = link(Limits::default()).await;
    let whole = Limits::default().stream_window;
    assert_eq!(link.windows().0, whole);
    let mut readers = Vec::new();
    for number in 0..64 {
        readers.push(begins(&link, &format!("reader {number}")).await);
    }
    soon(async {
        while link.windows().0 >= whole / 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // What is sent for all of them together is far from a window for each.
    let received = || link.counters().bytes_received;
    let still = async {
        let mut before = received();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = received();
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let waits = soon(still).await;
    assert!(waits < u64::from(whole) * 64 / 2, "{} MiB wait for 64 who read nothing", waits >> 20);
    drop(readers);
    soon(async {
        while link.windows().0 < whole {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_beside_many_who_read_nothing_reads_on_through_windows_that_shrink_and_grow() {
    let (link, _publisher, _door) = link(Limits::default()).await;
    let mut reader = soon(link.request_of("reader", &name("demo"), ask("/flood"))).await.unwrap().into_body();
    for round in 0..3 {
        let mut idle = Vec::new();
        for number in 0..48 {
            idle.push(begins(&link, &format!("idle {number}")).await);
        }
        let mut read = 0;
        while read < 16 << 20 {
            let frame = soon(reader.frame()).await.unwrap().unwrap();
            let data = frame.into_data().unwrap();
            assert!(data.iter().all(|byte| *byte == 7), "round {round}");
            read += data.len();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_when_nobody_waits_for_them_any_more_do_not_add_up_against_the_tunnel() {
    let (link, _publisher, _door) = link(Limits::default()).await;
    for _ in 0..12 {
        // Each waits for the head, and leaves while the rest is on its way.
        let asked = (0..250).map(|number| {
            let link = link.clone();
            async move {
                let person = format!("person {}", number % 4);
                match link.request_of(&person, &name("demo"), ask("/block")).await {
                    Ok(answer) => drop(answer),
                    Err(error) => assert!(matches!(error, LinkError::Full), "{error}"),
                }
            }
        });
        soon(join_all(asked)).await;
    }
    let whole = soon(link.request_of("somebody", &name("demo"), ask("/block"))).await.unwrap();
    assert_eq!(soon(whole.into_body().collect()).await.unwrap().to_bytes().len(), 60_000);
    assert_eq!(link.lanes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_app_takes_nothing_of_ends_when_nobody_waits_for_the_answer_any_more() {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    // Answers at once, and takes nothing.
    let app = axum::routing::post(async |body: AxumBody| {
        let held = futures_util::stream::once(async move {
            let _held = body;
            std::future::pending::<Result<Bytes, std::io::Error>>().await
        });
        AxumBody::from_stream(held)
    });
    let _publisher = Running::start(publishing(&door, Router::new().route("/take", app)).await);
    let link = door.link().await;
    let piece = Bytes::from(vec![7; 64 << 10]);
    let endless =
        futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(Frame::data(piece.clone())));
    let request = Request::post("http://demo/take").body(StreamBody::new(endless)).unwrap();
    let answer = soon(link.request_of("somebody", &name("demo"), request)).await.unwrap();
    soon(async {
        while link.streams().0 == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(answer);
    // Both its directions are over, though nobody asks for the body any more.
    soon(async {
        while link.streams().0 > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
