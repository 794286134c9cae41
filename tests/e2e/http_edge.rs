//! HTTP as the edge carries it: what an app sees of a request, what a visitor sees of an answer, and that no message means
//! one thing to the gateway and another to the app.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::app::{App, RUNTIME};
use super::patience::{PATIENCE, eventually};
use super::socket::tls;
use super::world::World;

/// An app that tells each visitor what it saw of the request, and remembers the paths.
pub(crate) fn mirror() -> (App, Arc<Mutex<Vec<String>>>) {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let answer = move |request: axum::extract::Request| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            seen.lock().unwrap().push(format!("{} {}", head.method, head.uri));
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or(Bytes::from_static(b"broken"));
            if head.method == Method::OPTIONS {
                return (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, OPTIONS")]).into_response();
            }
            if let Some(range) = head.headers.get(header::RANGE) {
                assert_eq!(range, "bytes=2-4");
                let headers = [(header::CONTENT_RANGE, "bytes 2-4/10"), (header::SERVER, "mirror")];
                return (StatusCode::PARTIAL_CONTENT, headers, "cde").into_response();
            }
            let headers: Vec<_> = head
                .headers
                .iter()
                .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
                .collect();
            let told = json!({
                "method": head.method.as_str(), "uri": head.uri.to_string(), "headers": headers,
                "body": String::from_utf8_lossy(&body),
            });
            ([(header::SERVER, "mirror"), (header::CONTENT_TYPE, "application/json")], told.to_string())
                .into_response()
        }
    };
    (App::web(Router::new().fallback(answer)), paths)
}

/// All values of a header that the app saw.
fn seen<'a>(told: &'a Value, name: &str) -> Vec<&'a str> {
    let pairs = told["headers"].as_array().unwrap().iter();
    pairs.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

#[test]
fn an_app_learns_where_a_request_came_from_by_the_gateways_word_alone() {
    let world = World::start();
    let (app, _) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    for version in ["--http1.1", "--http2"] {
        let answer = world
            .visit("open-app", "/where?a=b")
            .by(&world, "visitor")
            .header("X-Forwarded-For: 10.0.0.1")
            .header("X_Forwarded_For: 10.0.0.1")
            .header("Forwarded: for=10.0.0.1")
            .header("X-Forwarded-User: admin")
            .header("traceparent: 00-11111111111111111111111111111111-2222222222222222-01")
            .header("Sallyport-Tunnel: other")
            .header("X-Own: kept")
            .args(&[version])
            .run();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (told, host) = (answer.json(), format!("open-app.localhost:{}", world.port()));
        let reference = answer.header("sallyport-reference").unwrap();
        assert_eq!(told["uri"], "/where?a=b");
        assert_eq!(seen(&told, "x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen(&told, "forwarded"), [format!("for=127.0.0.1;host=\"{host}\";proto=https")]);
        assert_eq!(seen(&told, "host"), [host.as_str()]);
        assert_eq!(seen(&told, "x-forwarded-proto"), ["https"]);
        assert_eq!(seen(&told, "x-request-id"), [reference.as_str()]);
        let trace = seen(&told, "traceparent")[0].to_owned();
        assert_eq!(trace.split('-').nth(1), reference.strip_prefix("cor-"), "{trace}");
        assert_eq!(seen(&told, "x-own"), ["kept"]);
        for gone in ["x_forwarded_for", "x-forwarded-user", "sallyport-tunnel", "authorization"] {
            assert!(seen(&told, gone).is_empty(), "{gone}: {told}");
        }
    }
}

#[test]
fn head_options_ranges_and_an_expected_100_continue_pass_as_they_are() {
    let world = World::start();
    let (app, _) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    let visit = |path: &str| world.visit("open-app", path).by(&world, "visitor");
    for version in ["--http1.1", "--http2"] {
        let head = visit("/").args(&["--head", version]).run();
        // curl prints the head in place of a body, and nothing behind it.
        assert_eq!(head.status, 200);
        assert_eq!(
            head.text().split_once("\r\n\r\n").map(|(_, behind)| behind.to_owned()),
            Some(String::new())
        );
        assert!(head.header("content-length").unwrap().parse::<u64>().unwrap() > 0, "{}", head.head);
        let options = visit("/").args(&["-X", "OPTIONS", version]).run();
        assert_eq!((options.status, options.header("allow").as_deref()), (204, Some("GET, OPTIONS")));
        let range = visit("/").args(&["--range", "2-4", version]).run();
        assert_eq!((range.status, range.text().as_str()), (206, "cde"));
        assert_eq!(range.header("content-range").as_deref(), Some("bytes 2-4/10"));
    }
    let posted =
        visit("/").header("Expect: 100-continue").args(&["--http1.1", "--data", "after the go-ahead"]).run();
    assert!(posted.head.starts_with("HTTP/1.1 100 Continue"), "{}", posted.head);
    assert_eq!(posted.json()["body"], "after the go-ahead");
}

#[test]
fn behind_the_answers_to_head_and_options_nothing_comes_but_the_next_answer() {
    let world = World::start();
    let (app, _) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    let (host, token) = ("open-app.localhost", world.token("visitor"));
    let request = |method: &str, more: &str| {
        format!("{method} /x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let all = [request("HEAD", ""), request("OPTIONS", ""), request("GET", "Connection: close\r\n")].concat();
    let answers = RUNTIME.block_on(async {
        let mut stream = tls(&world, host).await;
        stream.write_all(all.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let _closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await.unwrap();
        String::from_utf8(answers).unwrap()
    });
    let parts: Vec<&str> = answers.splitn(4, "\r\n\r\n").collect();
    let [head, options, get, body] = parts[..] else { panic!("{answers}") };
    assert!(head.starts_with("HTTP/1.1 200 "), "{answers}");
    let length = |head: &str| {
        let line = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        line.unwrap_or(0_usize)
    };
    assert!(length(head) > 0, "{answers}");
    assert!(options.starts_with("HTTP/1.1 204 "), "bytes behind the answer to HEAD: {answers}");
    assert!(get.starts_with("HTTP/1.1 200 "), "bytes behind the answer to OPTIONS: {answers}");
    assert_eq!(body.len(), length(get));
}

#[test]
fn what_a_browser_and_an_app_say_of_other_origins_passes_untouched_and_a_private_tunnel_says_nothing_of_it() {
    const ASKED: [(&str, &str); 3] = [
        ("origin", "https://elsewhere.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-own, content-type"),
    ];
    const TOLD: [(&str, &str); 6] = [
        ("access-control-allow-origin", "https://elsewhere.example"),
        ("access-control-allow-methods", "GET,  PUT"),
        ("access-control-allow-headers", "X-Own, Content-Type"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "Origin, Access-Control-Request-Method"),
    ];
    let world = World::start();
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&came);
    let answer = move |request: axum::extract::Request| {
        seen.lock().unwrap().push((request.method().to_string(), request.headers().clone()));
        async { (StatusCode::NO_CONTENT, axum::response::AppendHeaders(TOLD)) }
    };
    let app = App::web(Router::new().fallback(answer));
    let _public = world.publish_http("public-app", app.address());
    let _private = world.publish_as("rival", "open-app", &["http", &app.address().to_string()]);
    let preflight = |tunnel: &str, version: &str| {
        let asked = world.visit(tunnel, "/").args(&["-X", "OPTIONS", version]);
        ASKED.iter().fold(asked, |asked, (name, value)| asked.header(&format!("{name}: {value}"))).run()
    };
    for version in ["--http1.1", "--http2"] {
        let answer = preflight("public-app", version);
        assert_eq!(answer.status, 204, "{}", answer.text());
        for (name, value) in TOLD {
            assert_eq!(answer.header(name).as_deref(), Some(value), "{version}");
        }
        let (method, headers) = came.lock().unwrap().pop().unwrap();
        assert_eq!(method, "OPTIONS");
        for (name, value) in ASKED {
            assert_eq!(headers[name], value, "{version}");
        }
        let refused = preflight("open-app", version);
        assert_eq!((refused.status, refused.problem().as_str()), (401, "not-signed-in"));
        assert!(!refused.head.to_lowercase().contains("access-control-"), "{}", refused.head);
        assert!(came.lock().unwrap().is_empty(), "the app heard of it");
    }
}

/// Bytes that a careless pair of servers would take for two requests, or for one with another body; and the answers, of which
/// there is one. RFC 9112 section 6.3 lets the first two be taken by their chunks, if the connection ends behind them.
const SMUGGLED: &[(&str, &[&str], &str)] = &[
    (
        "both lengths",
        &["200"],
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "both lengths the other way round",
        &["200"],
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "two lengths",
        &["400"],
        "Content-Length: 5\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a length with a sign",
        &["400"],
        "Content-Length: +0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a space before the colon",
        &["400"],
        "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "an unknown coding last",
        &["400"],
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a coding in disguise",
        &["400"],
        "Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a folded line",
        &["400"],
        "X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a chunk's size with a trick",
        &["400", "502"],
        "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    ("a zero byte", &["400"], "X: a\0b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    ("two hosts", &["400"], "Host: localhost\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"),
];

#[test]
fn a_message_that_could_mean_two_things_is_refused_and_nothing_behind_it_is_read() {
    let world = World::start();
    let (app, paths) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    let (host, token) = ("open-app.localhost", world.token("visitor"));
    for (what, allowed, rest) in SMUGGLED {
        let request = format!(
            "POST /first HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{}",
            // What is smuggled would be let in, if it were a request.
            rest.replace("Host: HOST", &format!("Host: {host}\r\nAuthorization: Bearer {token}"))
        );
        let answer = RUNTIME.block_on(async {
            let mut stream = tls(&world, host).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // Whether it is closed in order is not what matters here.
            let _closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect(what);
            String::from_utf8_lossy(&answer).into_owned()
        });
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(allowed.contains(&status), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
        if status == "200" {
            // The app got what the chunks say, and heard of no length.
            assert!(answer.contains("\"body\":\"\""), "{what}: {answer}");
            assert!(!answer.contains("[\"content-length\",\"6\"]"), "{what}: {answer}");
        }
    }
    let seen = paths.lock().unwrap();
    assert!(!seen.iter().any(|path| path.contains("smuggled")), "{seen:?}");
}

#[test]
fn trailers_of_an_app_reach_visitors_of_http_2() {
    let world = World::start();
    let app = App::that_answers_raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n",
    );
    let _publisher = world.publish_http("open-app", app.address());
    let answer =
        world.visit("open-app", "/").by(&world, "visitor").header("TE: trailers").args(&["--http2"]).run();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
    assert_eq!(answer.header("x-sum").as_deref(), Some("6"), "{}", answer.head);
}

#[test]
fn a_header_that_the_operator_adds_stands_beside_those_of_the_app() {
    let mut world = World::with().prepare();
    world.configure(
        "[[tunnel]]\nname = \"open-app\"\nanswer_headers = \"+Set-Cookie: c=3; Location: /elsewhere\"\n",
    );
    world.start_gateway();
    let app = App::for_answers();
    let _publisher = world.publish_http("open-app", app.address());
    let answer = world.visit("open-app", "/answer/200").by(&world, "visitor").run();
    let all = |name: &str| {
        let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    assert_eq!(all("set-cookie"), ["a=1", "b=2", "c=3"]);
    assert_eq!(all("location"), ["/elsewhere"]);
}

#[test]
fn an_operator_lays_down_headers_domains_and_paths_for_a_tunnel_and_policy_still_decides_about_each() {
    let mut world = World::with().prepare();
    world.configure(
        "[[tunnel]]\nname = \"open-shop\"\nhost = \"shop.internal\"\ndomains = \"shop.example.test\"\n\
         paths = \"/api = open-api, /private = private-api\"\nrequest_headers = \"X-Stage: live; -X-Debug\"\n\
         answer_headers = \"X-Frame-Options: DENY; -Server\"\n",
    );
    world.start_gateway();
    let ((shop, _), (api, paths)) = (mirror(), mirror());
    let _shop = world.publish_http("open-shop", shop.address());
    let _api = world.publish_http("open-api", api.address());
    let _private = world.publish_as("rival", "private-api", &["http", &api.address().to_string()]);
    let told = world
        .visit("open-shop", "/")
        .by(&world, "visitor")
        .header("X-Debug: 1")
        .header("X-Stage: mine")
        .run();
    assert_eq!(told.header("x-frame-options").as_deref(), Some("DENY"));
    assert_eq!(told.header("server"), None);
    let told = told.json();
    assert_eq!(seen(&told, "host"), ["shop.internal"]);
    assert_eq!(seen(&told, "x-stage"), ["live"]);
    assert!(seen(&told, "x-debug").is_empty());
    let domain = format!("https://shop.example.test:{}", world.port());
    let elsewhere = super::curl::Curl::to(&world, &format!("{domain}/a")).by(&world, "visitor").run();
    assert_eq!(elsewhere.status, 200, "{}", elsewhere.complaint);
    assert_eq!(seen(&elsewhere.json(), "x-forwarded-host"), [format!("shop.example.test:{}", world.port())]);
    let api = world.visit("open-shop", "/api/v1").by(&world, "visitor").run();
    assert_eq!((api.status, api.json()["uri"].as_str()), (200, Some("/api/v1")));
    assert_eq!(
        api.header("server").as_deref(),
        Some("mirror"),
        "the rules are those of the tunnel behind the path"
    );
    let refused = world.visit("open-shop", "/private/x").by(&world, "visitor").run();
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(!paths.lock().unwrap().iter().any(|path| path.contains("private")));
    let objects: Vec<_> = world
        .records_of("http.request")
        .iter()
        .map(|record| record["object"].as_str().unwrap().to_owned())
        .collect();
    assert!(objects.contains(&"tunnel:open-api".to_owned()), "{objects:?}");
}

#[test]
fn a_strict_tunnels_request_is_on_record_when_its_answer_arrives_and_the_closing_record_counts_them() {
    let mut world = World::with().prepare();
    world.configure("[[tunnel]]\nname = \"open-strict\"\naudit = \"strict\"\n");
    world.start_gateway();
    let (app, _) = mirror();
    let _publisher = world.publish_http("open-strict", app.address());
    let answer = world.visit("open-strict", "/a").by(&world, "visitor").run();
    assert_eq!(answer.status, 200);
    // No waiting: it was durable before.
    let records = world.records_of("http.request");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["details"]["released"], "after");
    assert_eq!(records[0]["details"]["status"], 200);
    assert_eq!(records[0]["details"]["bytes_down"], answer.body.len());
    let closed = eventually("the session is closed", || world.records_of("session.closed").pop());
    assert_eq!(closed["details"]["requests"], 1, "{closed}");
    assert_eq!(closed["details"]["requests_recorded"], 1, "{closed}");
    assert_eq!(closed["details"]["requests_lost"], 0, "{closed}");
}

#[test]
fn a_record_says_what_passed_each_way_and_of_an_answer_without_a_body_nothing() {
    for audit in ["buffered", "strict"] {
        let mut world = World::with().prepare();
        world.configure(&format!("[[tunnel]]\nname = \"open-app\"\naudit = \"{audit}\"\n"));
        world.start_gateway();
        let (app, _) = mirror();
        let _publisher = world.publish_http("open-app", app.address());
        let visit = |path: &str| world.visit("open-app", path).by(&world, "visitor");
        let details = |path: &str| {
            let record = world.record("http.request", |record| record["values"]["path"] == path);
            record["details"].clone()
        };
        let head = visit("/head").args(&["--head"]).run();
        assert!(head.header("content-length").unwrap().parse::<u64>().unwrap() > 0, "{}", head.head);
        let recorded = details("/head");
        assert_eq!((&recorded["bytes_down"], &recorded["whole"]), (&0.into(), &true.into()), "{audit}");
        let posted = visit("/posted").args(&["--data-binary", &"x".repeat(1234)]).run();
        let recorded = details("/posted");
        assert_eq!(recorded["bytes_up"], 1234, "{audit}: {recorded}");
        assert_eq!(recorded["bytes_down"], posted.body.len(), "{audit}: {recorded}");
        assert_eq!(recorded["whole"], true);
    }
}

#[test]
fn metrics_tell_of_requests_by_tunnel_to_people_who_may_read_and_at_the_address_set_aside() {
    let aside = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::with().set(&format!("gateway.metrics_listen={aside}")).start();
    let (app, _) = mirror();
    let _publisher = world.publish_http("open-app", app.address());
    assert_eq!(world.visit("open-app", "/").by(&world, "visitor").run().status, 200);
    assert_eq!(world.visit("none", "/").args(&["--insecure"]).by(&world, "visitor").run().status, 404);
    let wanted = [
        "sallyport_requests_total{tunnel=\"open-app\",class=\"2xx\"} 1",
        "sallyport_request_seconds_count{tunnel=\"open-app\"} 1",
        "sallyport_refusals_total{code=\"unknown-name\"} 1",
        "sallyport_tunnels{state=\"live\"} 1",
        "sallyport_sessions_opened_total{tunnel=\"open-app\"} 1",
        "sallyport_ready 1",
        "sallyport_hsm_up 1",
    ];
    eventually("the request is counted", || {
        let told = super::curl::Curl::to(&world, &format!("http://{aside}/metrics")).run();
        assert_eq!(told.status, 200, "{}", told.complaint);
        let text = told.text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        wanted.iter().all(|line| text.lines().any(|told| told == *line)).then_some(())
    });
    assert_eq!(world.curl("/metrics").by(&world, "admin").run().status, 200);
    assert_eq!(world.curl("/metrics").by(&world, "visitor").run().status, 403);
    assert_eq!(world.curl("/metrics").run().status, 401);
}
