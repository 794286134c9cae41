//! Limits on people who are known: calls, sessions.

use super::patience::eventually;
use super::socket::websocket;
use super::world::World;
use crate::app::{App, RUNTIME};

#[test]
fn whoever_calls_too_often_is_told_how_long_to_wait_and_recorded_once() {
    let world = World::with().set("limits.api_per_user=5").set("limits.api_per_address=0").start();
    let call = |person: &str| world.curl("/api/v1/whoami").by(&world, person).run();
    let first = call("visitor");
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit-policy").as_deref(), Some("\"user\";q=5;w=60"));
    assert!(first.header("ratelimit").unwrap().starts_with("\"user\";r=4;t="), "{}", first.head);
    let beyond = eventually("the limit is reached", || {
        let answer = call("visitor");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((beyond.status, beyond.problem().as_str()), (429, "rate-limited"));
    let wait: u64 = beyond.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(beyond.header("ratelimit").unwrap().starts_with("\"user\";r=0;"), "{}", beyond.head);
    assert_eq!(call("visitor").status, 429);
    assert_eq!(call("publisher").status, 200, "others are not touched");
    let refused = world.records_of("connection.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["details"]["reason"], "rate-limited");
    assert_eq!(refused[0]["values"]["subject"], "user:visitor");
}

#[test]
fn an_address_may_make_so_many_calls_whoever_makes_them() {
    let world = World::with().set("limits.api_per_address=3").start();
    let call = |person: &str| world.curl("/api/v1/whoami").by(&world, person).run().status;
    let people = ["visitor", "publisher", "admin", "rival"].into_iter().cycle();
    let mut calls = people.map(call);
    eventually("the limit is reached", || (calls.next() == Some(429)).then_some(()));
}

#[test]
fn one_person_has_so_many_sessions_and_no_more() {
    let world = World::with().set("limits.sessions_per_user=2").start();
    let app = App::that_echoes();
    let _publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let open = || RUNTIME.block_on(websocket(&world, "localhost", "/visit/open-db", Some("visitor")));
    let (first, _second) = (open(), open());
    let third = || world.curl("/visit/open-db").by(&world, "visitor").args(UPGRADE).run();
    let refused = third();
    assert_eq!((refused.status, refused.problem().as_str()), (429, "too-many-sessions"));
    assert_eq!(third().status, 429);
    let records = world.records_of("session.refused");
    assert_eq!(records.len(), 1, "once for a burst");
    assert_eq!(records[0]["details"]["reason"], "too-many-sessions");
    drop(first);
    let _again = eventually("there is room again", || {
        let sessions = world.ask("admin", &["sessions", "list"]).as_array().unwrap().len();
        (sessions < 2).then(open)
    });
}

#[test]
fn whoever_asks_a_tunnel_too_often_must_wait_and_is_recorded_once() {
    let world = World::with().set("limits.requests_per_user=4").set("limits.requests_per_address=0").start();
    let _publisher = world.publish_demo("open-app");
    let ask = |person: &str| world.visit("open-app", "/").by(&world, person).run();
    let beyond = eventually("the limit is reached", || {
        let answer = ask("visitor");
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(beyond.problem(), "rate-limited");
    assert_eq!(beyond.header("ratelimit-policy").as_deref(), Some("\"user\";q=4;w=60"));
    let wait: u64 = beyond.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(ask("visitor").status, 429);
    assert_ne!(ask("publisher").status, 429, "others are not touched");
    let refused = world.records_of("connection.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["object"], "tunnel:open-app");
    assert_eq!(refused[0]["details"]["by"], "user");
    assert_eq!(refused[0]["values"]["subject"], "user:visitor");
}

#[test]
fn a_page_of_another_site_speaks_into_no_tunnel_with_a_visitors_certificate() {
    let world = World::start();
    let app = App::that_echoes();
    let _publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let visit =
        |origin: &str| world.curl("/visit/open-db").by(&world, "visitor").header(origin).args(UPGRADE).run();
    let refused = visit("Origin: https://evil.example");
    assert_eq!((refused.status, refused.problem().as_str()), (403, "foreign-page"));
    let refused = visit("Sec-Fetch-Site: same-site");
    assert_eq!((refused.status, refused.problem().as_str()), (403, "foreign-page"));
    assert!(world.records_of("session.opened").is_empty());
}

/// What makes a request an upgrade.
pub(super) const UPGRADE: &[&str] = &[
    "--http1.1",
    "--header",
    "Connection: Upgrade",
    "--header",
    "Upgrade: websocket",
    "--header",
    "Sec-WebSocket-Version: 13",
    "--header",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
