//! Several publishers of one name, apps that are not well, and apps that fail.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{any, get};

use super::app::{App, RUNTIME};
use super::patience::eventually;
use super::process::Process;
use super::socket::websocket;
use super::world::World;

/// An app that says its name, whose `/healthz` can be made to fail.
fn app(name: &'static str) -> (App, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let looked = Arc::clone(&well);
    let health = move || async move {
        if looked.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    let router = Router::new().route("/", any(move || async move { name })).route("/healthz", get(health));
    (App::web(router), well)
}

fn publish(world: &World, app: &App, more: &[&str]) -> Process {
    let address = app.address().to_string();
    let mut what = vec!["http", &address, "--join"];
    what.extend(more);
    world.publish_as("publisher", "open-shop", &what)
}

/// Who answered, of some visits.
fn answers(world: &World) -> BTreeSet<String> {
    (0..6)
        .map(|_| {
            let answer = world.visit("open-shop", "/").by(world, "visitor").run();
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.text()
        })
        .collect()
}

fn both() -> BTreeSet<String> {
    ["one", "two"].map(str::to_owned).into()
}

#[test]
fn publishers_that_share_a_name_share_its_visitors_and_when_one_goes_the_other_goes_on() {
    let world = World::start();
    let ((one, _), (two, _)) = (app("one"), app("two"));
    let mut first = publish(&world, &one, &[]);
    let _second = publish(&world, &two, &[]);
    assert_eq!(answers(&world), both());
    assert_eq!(world.ask("admin", &["tunnels"]).as_array().unwrap().len(), 2);
    first.kill();
    // Not one visit fails, also before the loss is seen: a request that was not made is made again.
    assert_eq!(answers(&world), BTreeSet::from(["two".to_owned()]));
    let _again = publish(&world, &one, &[]);
    eventually("both serve again", || (answers(&world) == both()).then_some(()));
}

#[test]
fn a_request_that_is_made_again_is_recorded_as_such_and_counted_once() {
    for audit in ["buffered", "strict"] {
        let mut world = World::with().prepare();
        world.configure(&format!("[[tunnel]]\nname = \"open-shop\"\naudit = \"{audit}\"\n"));
        world.start_gateway();
        let came = Arc::new(std::sync::Mutex::new(Vec::new()));
        // Whoever is asked first never answers.
        let holding = |name: &'static str| {
            let came = Arc::clone(&came);
            let answer = move || {
                let asked = {
                    let mut came = came.lock().unwrap();
                    came.push(name);
                    came.len()
                };
                async move {
                    if asked == 1 {
                        std::future::pending::<()>().await;
                    }
                    name
                }
            };
            App::web(Router::new().route("/which", get(answer)).route("/healthz", get(async || "")))
        };
        let (one, two) = (holding("one"), holding("two"));
        let mut publishers = [publish(&world, &one, &[]), publish(&world, &two, &[])];
        let mut visit = world.visit("open-shop", "/which").by(&world, "visitor").start();
        let asked = eventually("an app is asked", || came.lock().unwrap().first().copied());
        publishers[usize::from(asked == "two")].kill();
        assert!(visit.wait().success());
        assert_eq!(visit.out(), if asked == "one" { "two" } else { "one" });
        world.record("http.request", |record| record["details"]["status"] == 200);
        let records = world.records_of("http.request");
        let [first, second] = &records[..] else { panic!("{records:?}") };
        assert_eq!(first["details"]["retried"], true, "{first}");
        assert!(first["details"]["status"].is_null(), "{first}");
        assert_eq!(first["correlation"], second["correlation"]);
        let metrics = world.curl("/metrics").by(&world, "admin").run().text();
        let counted =
            |class: &str| metrics.contains(&format!("tunnel=\"open-shop\",class=\"{class}\"}} 1\n"));
        assert!(counted("2xx") && !counted("5xx") && !counted("cancelled"), "{metrics}");
        // More where the handshake took long.
        let window = "sallyport_publisher_window_bytes{tunnel=\"open-shop\"} ";
        assert!(metrics.contains(window), "{metrics}");
    }
}

#[test]
fn a_name_is_joined_only_by_its_owner_and_only_if_both_say_so() {
    let world = World::start();
    let (one, _) = app("one");
    let address = one.address().to_string();
    let _first = publish(&world, &one, &[]);
    let alone = world.cli("publisher", &["publish", "http", &address, "--name", "open-shop"]);
    assert_eq!(alone.code, 4, "{}", alone.err);
    let rival = world.cli("rival", &["publish", "http", &address, "--name", "open-shop", "--join"]);
    assert_eq!(rival.code, 4, "{}", rival.err);
    assert!(rival.err.contains("in use by somebody else"), "{}", rival.err);
    let other = world.cli("publisher", &["publish", "tcp", &address, "--name", "open-shop", "--join"]);
    assert_eq!(other.code, 4, "{}", other.err);
}

#[test]
fn an_app_that_is_not_well_is_taken_out_and_comes_back_and_both_are_recorded() {
    let world = World::start();
    let ((one, well), (two, _)) = (app("one"), app("two"));
    let looks = [
        "--health-check",
        "/healthz",
        "--health-secs",
        "1",
        "--health-failures",
        "1",
        "--health-successes",
        "1",
    ];
    let _first = publish(&world, &one, &looks);
    let mut second = publish(&world, &two, &[]);
    assert_eq!(answers(&world), both());
    well.store(false, Ordering::Relaxed);
    let told = world.record("tunnel.health", |record| record["result"] == "failure");
    assert_eq!(
        (&told["object"], &told["details"]["reason"]),
        (&"tunnel:open-shop".into(), &"status-503".into())
    );
    assert_eq!(answers(&world), BTreeSet::from(["two".to_owned()]));
    // Alone, it is not visited either: a visitor is told at once.
    assert!(second.stop().success());
    let refused = world.visit("open-shop", "/").by(&world, "visitor").run();
    assert_eq!((refused.status, refused.problem().as_str()), (503, "app-unwell"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.ask("admin", &["tunnels"])[0]["state"], "unwell");
    well.store(true, Ordering::Relaxed);
    world.record("tunnel.health", |record| record["result"] == "success");
    assert_eq!(answers(&world), BTreeSet::from(["one".to_owned()]));
}

#[test]
fn a_check_by_tcp_finds_an_app_that_is_not_there() {
    let world = World::start();
    let gone = super::fronts::free_port().to_string();
    let looks = ["--health-check", "tcp", "--health-secs", "1", "--health-failures", "1"];
    let mut what = vec!["http", &gone];
    what.extend(looks);
    let _publisher = world.publish_as("publisher", "open-shop", &what);
    let told = world.record("tunnel.health", |_| true);
    assert_eq!(told["details"]["reason"], "unreachable");
    assert_eq!(told["values"]["subject"], "user:publisher");
}

#[test]
fn an_app_that_fails_in_a_row_is_left_alone_and_tried_again() {
    let world = World::with().set("tunnels.breaker_failures=3").set("tunnels.breaker_secs=1").start();
    let port = super::fronts::free_port();
    let _publisher = world.publish_as("publisher", "open-shop", &["http", &port.to_string()]);
    let visit = || world.visit("open-shop", "/").by(&world, "visitor").run();
    for _ in 0..3 {
        assert_eq!(visit().problem(), "app-unreachable");
    }
    let spared = visit();
    assert_eq!((spared.status, spared.problem().as_str()), (503, "app-resting"));
    let wait: u64 = spared.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(world.ask("admin", &["tunnels"])[0]["state"], "resting");
    let metrics = world.curl("/metrics").by(&world, "admin").run().text();
    assert!(metrics.contains("sallyport_app_resting{tunnel=\"open-shop\"} 1"), "{metrics}");
    // The app comes, and is found.
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut socket, _) = listener.accept().unwrap();
        let _head = socket.read(&mut [0; 4096]).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
    });
    eventually("the app is tried again", || (visit().status == 200).then_some(()));
    answering.join().unwrap();
    assert_eq!(world.ask("admin", &["tunnels"])[0]["state"], "live");
    // Each turn is on record, with why.
    let turns = world.records_of("tunnel.health");
    let words: Vec<&str> =
        turns.iter().map(|record| record["details"]["breaker"].as_str().unwrap()).collect();
    assert!(
        words.starts_with(&["opened", "half-open"]) && words.ends_with(&["half-open", "closed"]),
        "{words:?}"
    );
    assert_eq!((&turns[0]["result"], &turns[0]["object"]), (&"failure".into(), &"tunnel:open-shop".into()));
    assert_eq!(turns[0]["details"]["reason"], "unreachable");
    assert_eq!(turns[0]["details"]["rest_secs"], 1);
    assert_eq!(turns.last().unwrap()["result"], "success");
    let metrics = world.curl("/metrics").by(&world, "admin").run().text();
    for line in [
        "app_resting{tunnel=\"open-shop\"} 0",
        "app_breaker_turns_total{tunnel=\"open-shop\",turn=\"closed\"} 1",
    ] {
        assert!(metrics.contains(&format!("sallyport_{line}")), "{line}: {metrics}");
    }
}

#[test]
fn an_app_that_is_only_asked_for_websockets_is_found_again_by_one() {
    let world = World::with().set("tunnels.breaker_failures=1").set("tunnels.breaker_secs=1").start();
    let port = super::fronts::free_port();
    let _publisher = world.publish_as("publisher", "open-shop", &["http", &port.to_string()]);
    let visit = || world.visit("open-shop", "/").by(&world, "visitor").args(super::limits::UPGRADE).run();
    assert_eq!(visit().status, 502);
    assert_eq!(visit().problem(), "app-resting");
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut socket, _) = listener.accept().unwrap();
        let _head = socket.read(&mut [0; 4096]).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
    });
    eventually("the app is tried again", || (visit().status == 200).then_some(()));
    answering.join().unwrap();
    assert_eq!(world.ask("admin", &["tunnels"])[0]["state"], "live");
}

#[test]
fn an_app_of_http_2_is_not_left_alone_because_visitors_ask_it_for_websockets() {
    let world = World::with().set("tunnels.breaker_failures=2").start();
    let app = App::web(Router::new().fallback(async || "well"));
    let target = format!("h2c://{}", app.address());
    let _publisher = world.publish_as("publisher", "open-shop", &["http", &target]);
    for _ in 0..3 {
        let refused = world.visit("open-shop", "/").by(&world, "visitor").args(super::limits::UPGRADE).run();
        assert_eq!((refused.status, refused.problem().as_str()), (501, "no-upgrade"));
    }
    let visit = world.visit("open-shop", "/").by(&world, "visitor").run();
    assert_eq!((visit.status, visit.text().as_str()), (200, "well"));
    assert!(world.records_of("tunnel.health").is_empty());
}

#[test]
fn a_tunnel_has_its_own_time_for_an_answer_and_its_own_largest_body() {
    let mut world = World::with().prepare();
    world.configure("[[tunnel]]\nname = \"open-shop\"\nrequest_secs = 1\nbody_bytes = 1000\n");
    world.start_gateway();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let take = move |request: Request| async move {
        let body = to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
        counted.fetch_add(body.len(), Ordering::Relaxed);
        body.len().to_string()
    };
    let never = || async { std::future::pending::<Body>().await };
    let app = App::web(Router::new().route("/take", any(take)).route("/never", get(never)));
    let _publisher = world.publish_http("open-shop", app.address());
    let put = |bytes: usize, how: &str| {
        world
            .visit("open-shop", "/take")
            .by(&world, "visitor")
            .header(how)
            .args(&["--request", "PUT", "--data-binary", &"x".repeat(bytes)])
            .run()
    };
    for how in ["X-Usual: 1", "Transfer-Encoding: chunked"] {
        assert_eq!(put(1000, how).text(), "1000", "{how}");
        let refused = put(1001, how);
        assert_eq!((refused.status, refused.problem().as_str()), (413, "body-too-large"), "{how}");
    }
    assert_eq!(read.load(Ordering::Relaxed), 2000, "the app took a body that was too large");
    let late = world.visit("open-shop", "/never").by(&world, "visitor").run();
    assert_eq!((late.status, late.problem().as_str()), (504, "publisher-timeout"));
    assert!(late.json()["detail"].as_str().unwrap().contains("within 1 s"), "{}", late.text());
}

#[test]
fn requests_beyond_what_an_app_takes_wait_in_turns_and_a_full_line_says_so() {
    let mut world = World::with().set("tunnels.line=2").set("tunnels.queue_secs=30").prepare();
    world.configure("[[tunnel]]\nname = \"open-shop\"\nat_once = 1\n");
    world.start_gateway();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (opened, came) = (Arc::clone(&gate), Arc::clone(&order));
    let answer = move |request: Request| async move {
        came.lock().unwrap().push(request.uri().path().to_owned());
        opened.acquire().await.unwrap().forget();
        "done"
    };
    let app = App::web(Router::new().fallback(answer));
    let _publisher = world.publish_http("open-shop", app.address());
    let visit = |path: &str, urgency: &str| {
        let priority = format!("Priority: u={urgency}");
        world.visit("open-shop", path).by(&world, "visitor").header(&priority).start()
    };
    let mut inside = visit("/inside", "3");
    eventually("the first is at the app", || (order.lock().unwrap().len() == 1).then_some(()));
    let waiting = |number: usize| {
        eventually("so many wait", || {
            let metrics = world.curl("/metrics").by(&world, "admin").run().text();
            let of_all = format!("sallyport_requests_waiting {number}\n");
            let of_it = format!("sallyport_app_waiting{{tunnel=\"open-shop\"}} {number}\n");
            (metrics.contains(&of_all) && metrics.contains(&of_it)).then_some(())
        });
    };
    waiting(0);
    let mut late = visit("/batch", "5");
    waiting(1);
    let mut urgent = visit("/urgent", "0");
    waiting(2);
    let refused = world.visit("open-shop", "/more").by(&world, "visitor").run();
    assert_eq!((refused.status, refused.problem().as_str()), (503, "line-full"));
    gate.add_permits(100);
    for one in [&mut inside, &mut late, &mut urgent] {
        assert!(one.wait().success());
    }
    let order = order.lock().unwrap();
    assert_eq!(order[0], "/inside");
    let place = |path: &str| order.iter().position(|seen| seen == path).unwrap();
    assert!(place("/urgent") < place("/batch"), "{order:?}");
}

#[test]
fn a_place_at_an_app_is_held_until_the_answer_is_over_however_requests_are_recorded() {
    for audit in ["buffered", "strict"] {
        let world = one_at_a_time(audit);
        let (send, events) = tokio::sync::mpsc::channel(1);
        let app = App::of_events(events);
        let _publisher = world.publish_http("open-shop", app.address());
        let visit = |path: &str| world.visit("open-shop", path).by(&world, "visitor");
        let mut first = visit("/events").start();
        send.blocking_send("data: 1\n".to_owned()).unwrap();
        first.line("the first event", |line| (line == "data: 1").then_some(()));
        let refused = visit("/other").run();
        assert_eq!((refused.status, refused.problem().as_str()), (503, "line-full"), "{audit}");
        drop(send);
        assert!(first.wait().success());
        eventually("the place is given back", || (visit("/other").run().status == 404).then_some(()));
    }
}

#[test]
fn a_websocket_has_a_place_at_the_app_as_long_as_it_lives() {
    for audit in ["buffered", "strict"] {
        let world = one_at_a_time(audit);
        let app = App::for_transfers(super::app::random(0));
        let _publisher = world.publish_http("open-shop", app.address());
        let open = websocket(&world, "open-shop.localhost", "/echo", Some("visitor"));
        let mut socket = RUNTIME.block_on(open);
        for more in [&[][..], super::limits::UPGRADE] {
            let refused = world.visit("open-shop", "/block").by(&world, "visitor").args(more).run();
            assert_eq!((refused.status, refused.problem().as_str()), (503, "line-full"), "{audit}");
        }
        RUNTIME.block_on(socket.close(None)).unwrap();
        drop(socket);
        let visit = || world.visit("open-shop", "/block").by(&world, "visitor").run().status;
        eventually("the place is given back", || (visit() == 200).then_some(()));
    }
}

/// A gateway whose tunnel `open-shop` gets one request at a time, and lets nobody wait.
fn one_at_a_time(audit: &str) -> World {
    let mut world = World::with().set("tunnels.line=0").prepare();
    world.configure(&format!("[[tunnel]]\nname = \"open-shop\"\nat_once = 1\naudit = \"{audit}\"\n"));
    world.start_gateway();
    world
}

#[test]
fn an_app_of_http_2_that_has_all_that_it_takes_is_busy_and_is_not_left_alone_for_that() {
    let world = World::with().set("tunnels.breaker_failures=1").start();
    let (open, opened) = tokio::sync::watch::channel(false);
    let arrived = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&arrived);
    let hold = move || {
        let mut opened = opened.clone();
        counting.fetch_add(1, Ordering::SeqCst);
        async move {
            opened.wait_for(|open| *open).await.unwrap();
            "at last"
        }
    };
    let router = Router::new().route("/hold", get(hold)).route("/", get(async || "here"));
    let app = App::web_by_http2_that_takes(1, router);
    let target = format!("h2c://{}", app.address());
    let _publisher = world.publish_as("publisher", "open-shop", &["http", &target]);
    let mut visits: Vec<_> =
        (0..8).map(|_| world.visit("open-shop", "/hold").by(&world, "visitor").start()).collect();
    eventually("all connections are in use", || (arrived.load(Ordering::SeqCst) == 8).then_some(()));
    let refused = world.visit("open-shop", "/").by(&world, "visitor").run();
    assert_eq!((refused.status, refused.problem().as_str()), (503, "app-busy"));
    open.send_replace(true);
    assert!(visits.iter_mut().all(|one| one.wait().success()));
    let answer = world.visit("open-shop", "/").by(&world, "visitor").run();
    assert_eq!((answer.status, answer.text().as_str()), (200, "here"));
}
