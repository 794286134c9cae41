//! Tests of publishers that are away, or seem to be, and of those who wait for them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;

use super::breaker::{Breaker, BreakerRules};
use super::heir::Heir;
use super::reservation::Wanted;
use super::route::Route;
use super::routes::{Lookup, Routes};
use crate::access::TunnelFacts;
use crate::clock;
use crate::tunnel::tests::bed::{Door, Organisation, Running, http, name, publication, soon};
use crate::tunnel::{Farewell, FarewellCode, Limits, Link, TunnelKind};

const LONG: Duration = Duration::from_mins(10);

/// A publisher's link.
pub(super) async fn link() -> (Link, Door, Running) {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new()).await.unwrap() });
    let publisher = Running::start(door.options(vec![publication(http("demo"), address)]));
    (door.link().await, door, publisher)
}

pub(super) fn route(id: &str, link: &Link) -> Route {
    Route {
        name: name("demo"),
        kind: TunnelKind::Http,
        owner: "user:a".to_owned(),
        id: id.to_owned(),
        since: clock::now(),
        protection: TunnelFacts { suite: "", post_quantum: true, sealed: false },
        transport: "tls",
        link: link.clone(),
        breaker: Arc::new(Breaker::new(BreakerRules { failures: 0, rest: LONG })),
        app: Arc::default(),
        heir: Heir::default(),
    }
}

#[tokio::test]
async fn those_who_wait_go_on_in_the_order_in_which_they_came_but_for_those_whose_time_is_over() {
    let (link, _door, _publisher) = link().await;
    let (routes, demo) = (Routes::new(LONG), [http("demo")]);
    let publish = |id: &str| {
        let wanted = Wanted { owner: "user:a", publisher: None, fresh: id, offers: &demo, most: 1 };
        routes.reserve(&wanted, Instant::now()).ok().unwrap().publish(route(id, &link));
    };
    publish("tun-1");
    assert!(routes.lost(&demo[0].name, "tun-1", Instant::now()));
    let went_on = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = tokio::task::JoinSet::new();
    let mut begin = |number: usize| {
        let (routes, went_on) = (routes.clone(), Arc::clone(&went_on));
        let mut wait = Box::pin(async move {
            let back = routes.returned(&name("demo"), LONG).await;
            if back.is_some_and(|route| route.id == "tun-2") {
                went_on.lock().unwrap().push(number);
            }
        });
        // Each takes its place before the next one comes.
        assert!((&mut wait).now_or_never().is_none());
        waiting.spawn(wait);
    };
    for number in 0..99 {
        begin(number);
    }
    // One whose time is over, and one who takes its place.
    assert!(soon(routes.returned(&demo[0].name, Duration::ZERO)).await.is_none());
    begin(99);
    // One more than may wait.
    assert!(routes.returned(&demo[0].name, LONG).now_or_never().unwrap().is_none());
    // Each waits by now: tasks are begun in the order in which they were made.
    soon(tokio::spawn(async {})).await.unwrap();
    publish("tun-2");
    soon(waiting.join_all()).await;
    assert_eq!(*went_on.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_publisher_that_was_only_slow_has_its_name_again_when_nobody_came_in_its_place() {
    let (link, _door, _publisher) = link().await;
    let (routes, demo, now) = (Routes::new(LONG), [http("demo")], Instant::now());
    let wanted = |fresh| Wanted { owner: "user:a", publisher: None, fresh, offers: &demo, most: 1 };
    routes.reserve(&wanted("one"), now).ok().unwrap().publish(route("tun-1", &link));
    let doubt = || Some(routes.doubt(routes.held("user:a", &demo[0].name), now));
    let leads_to = || match routes.lookup(&demo[0].name, now) {
        Lookup::Live(route) => Some(route.id.clone()),
        Lookup::Away | Lookup::Unknown => None,
    };
    // The other's registration fails.
    let doubted = doubt();
    assert_eq!(leads_to(), None);
    drop(routes.reserve(&wanted("two"), now).ok().unwrap().in_place_of(doubted));
    assert_eq!(leads_to().as_deref(), Some("tun-1"));
    // The other comes.
    let doubted = doubt();
    let reservation = routes.reserve(&wanted("two"), now).ok().unwrap().in_place_of(doubted);
    let gone = reservation.publish(route("tun-2", &link));
    drop(reservation);
    assert_eq!((gone.len(), leads_to().as_deref()), (1, Some("tun-2")));
    // One that is gone for good is lost.
    let doubted = doubt();
    link.close(Farewell { code: FarewellCode::Draining, grace: Duration::ZERO });
    drop(doubted);
    assert_eq!(leads_to(), None);
}
