//! Messages that mean one thing to the gateway and another to whoever is behind it: by HTTP/2 from visitors, and in the answers of
//! apps. Those of HTTP/1.1 from visitors are in `http_edge`.

use super::app::{App, RUNTIME};
use super::frames::{DATA, HEADERS, Http2, Outcome, field};
use super::http_edge::mirror;
use super::world::World;

const HOST: &str = "open-app.localhost";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Fields that no request may have, beside those that it must have: an app of HTTP/1.1 would take each for more than one field, for
/// another request, or for a body of another length.
const NO_FIELDS: &[(&str, &[(&str, &str)])] = &[
    ("a coding", &[("transfer-encoding", "chunked")]),
    ("a connection", &[("connection", "close, x-forwarded-for")]),
    ("an upgrade", &[("upgrade", "h2c")]),
    (
        "a value that ends its line",
        &[("x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: open-app.localhost\r\n")],
    ),
    ("a value with a bare line feed", &[("x", "a\ntransfer-encoding: chunked")]),
    ("a value with a zero byte", &[("x", "a\0b")]),
    ("a name that ends its line", &[("x: a\r\ntransfer-encoding", "chunked")]),
    ("a name with a colon", &[("x:y", "z")]),
    ("a name in capitals", &[("Transfer-Encoding", "chunked")]),
    ("a name that is none", &[("", "x")]),
    ("a second path", &[(":path", "/smuggled")]),
    ("a second method", &[(":method", "GET")]),
    ("a second host", &[(":authority", "localhost")]),
    ("an unknown part of the request's line", &[(":smuggled", "x")]),
    ("two lengths", &[("content-length", "0"), ("content-length", "4")]),
    ("a length with a sign", &[("content-length", "+0")]),
];

/// What may not stand in a request's line.
const NO_LINES: &[(&str, &str, &str)] = &[
    ("a path that ends the line", "POST", "/ HTTP/1.1\r\nhost: open-app.localhost\r\n\r\nGET /smuggled"),
    ("a path with a space", "POST", "/ /smuggled"),
    ("no path", "POST", ""),
    ("a method that is two lines", "GET /smuggled HTTP/1.1\r\nx: y\r\n\r\nPOST", "/"),
    ("a method with a space", "GET /smuggled", "/"),
];

/// What becomes of a request with this head and body.
fn send(world: &World, head: &[(&str, &str)], body: &str) -> Outcome {
    let token = format!("Bearer {}", world.token("visitor"));
    let shown = [("authorization", token.as_str())];
    let head: Vec<u8> = head.iter().chain(&shown).flat_map(|(name, value)| field(name, value)).collect();
    RUNTIME.block_on(async {
        let mut http2 = Http2::begin(world, HOST).await;
        http2.frame(HEADERS, END_HEADERS, 1, &head).await;
        http2.frame(DATA, END_STREAM, 1, body.as_bytes()).await;
        http2.outcome().await
    })
}

fn line<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)]
}

#[test]
fn a_request_of_http_2_that_would_be_another_in_http_1_is_refused_and_nothing_of_it_reaches_the_app() {
    let world = World::start();
    let (app, paths) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    assert_eq!(send(&world, &line("POST", "/good"), "body"), Outcome::Answered(0x88));

    let fields =
        NO_FIELDS.iter().map(|(what, more)| (what, [line("POST", "/first"), more.to_vec()].concat()));
    let lines = NO_LINES.iter().map(|(what, method, path)| (what, line(method, path)));
    for (what, head) in fields.chain(lines) {
        let outcome = send(&world, &head, "");
        assert!(matches!(outcome, Outcome::Refused(_) | Outcome::Answered(0x8c)), "{what}: {outcome:?}");
    }
    let late = [line("POST", "/first"), vec![("x", "y"), (":path", "/smuggled")]].concat();
    assert!(matches!(send(&world, &late, ""), Outcome::Refused(_)), "a path behind the fields");
    // Whom it visits stands in the request's line, and the app hears of nobody else.
    let two = [line("POST", "/two"), vec![("host", "localhost")]].concat();
    assert!(matches!(send(&world, &two, ""), Outcome::Answered(0x88 | 0x8c) | Outcome::Refused(_)));

    // A body of another length than was announced breaks off, whoever has seen its beginning.
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: open-app.localhost\r\n\r\n";
    for (length, body) in [("0", smuggled), ("4", smuggled), ("200", smuggled)] {
        let head = [line("POST", "/short"), vec![("content-length", length)]].concat();
        let outcome = send(&world, &head, body);
        assert_ne!(outcome, Outcome::Answered(0x88), "{length}");
    }
    assert_eq!(send(&world, &line("POST", "/last"), "body"), Outcome::Answered(0x88));
    let seen = paths.lock().unwrap().clone();
    let ours = ["POST /good", "POST /two", "POST /short", "POST /last"];
    assert!(seen.iter().all(|path| ours.contains(&path.as_str())), "{seen:?}");
}

/// Answers that a careless pair of servers would take for two, or for one with another body.
const MALFORMED: &[(&str, &str)] = &[
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nevil"),
    ("a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nevil"),
    ("a length in a list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 4\r\n\r\nevil"),
    ("a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nevil"),
    ("a zero byte", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 4\r\n\r\nevil"),
    ("a version that is none", "HTTP/7.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ("no status", "HTTP/1.1 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ("no HTTP", "evil"),
];

#[test]
fn an_answer_of_an_app_that_could_mean_two_things_is_told_as_its_fault_and_nothing_of_it_is_passed_on() {
    let world = World::start();
    for (what, answer) in MALFORMED {
        let app = App::that_answers_raw(answer);
        let _publisher = world.publish_http("open-app", app.address());
        let got = world.visit("open-app", "/").by(&world, "visitor").run();
        assert_eq!(got.status, 502, "{what}: {}{}", got.head, got.text());
        assert!(!got.text().contains("evil"), "{what}: {}", got.text());
    }
}

#[test]
fn an_answer_with_both_lengths_is_its_chunks_and_one_whose_chunks_are_broken_breaks_off() {
    let world = World::start();
    let head = "HTTP/1.1 200 OK\r\n";
    let both = [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
    ];
    for lengths in both {
        let answer = format!("{head}{lengths}\r\nConnection: close\r\n\r\n4\r\ngood\r\n0\r\n\r\n");
        let app = App::that_answers_raw(answer.leak());
        let _publisher = world.publish_http("open-app", app.address());
        let got = world.visit("open-app", "/").by(&world, "visitor").run();
        // RFC 9112 section 6.3: the chunks count, and no other length is passed on.
        assert_eq!((got.status, got.text().as_str()), (200, "good"), "{lengths}: {}", got.complaint);
        assert_ne!(got.header("content-length").as_deref(), Some("2"), "{lengths}");
    }
    for chunks in
        ["4x\r\ngood\r\n0\r\n\r\n", "0x4\r\ngood\r\n0\r\n\r\n", "4\r\ngoodevil\r\n0\r\n\r\n", "4\r\ngood\r\n"]
    {
        let answer = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        let app = App::that_answers_raw(answer.leak());
        let _publisher = world.publish_http("open-app", app.address());
        let got = world.visit("open-app", "/").by(&world, "visitor").run();
        assert!(!got.text().contains("evil"), "{chunks:?}: {}", got.text());
        // curl complains of an answer that ends before it is whole.
        assert!(got.status == 502 || got.complaint.contains("curl: ("), "{chunks:?}: {}", got.complaint);
    }
}

#[test]
fn what_an_app_says_behind_an_answer_is_nobodys_answer() {
    let world = World::start();
    let app = App::that_says_always(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let _publisher = world.publish_http("open-app", app.address());
    for visit in 0..20 {
        let got = world.visit("open-app", "/").by(&world, "visitor").run();
        assert_eq!((got.status, got.text().as_str()), (200, "good"), "{visit}");
    }
}
