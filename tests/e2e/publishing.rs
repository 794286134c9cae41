//! Publishers: whose name it is, what happens when they are lost, and how they come back.

use axum::Router;
use axum::body::Body;
use axum::routing::get;

use super::app::App;
use super::patience::eventually;
use super::world::World;

#[test]
fn a_name_that_is_taken_is_refused_with_the_reason() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let refused = world.cli("rival", &["publish", "demo", "--name", "demo"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("the name `demo` is in use by somebody else"), "{}", refused.err);
    assert!(refused.err.contains("hint: choose another name"), "{}", refused.err);
    let own = world.cli("publisher", &["publish", "demo", "--name", "demo"]);
    assert_eq!(own.code, 4, "{}", own.err);
    assert!(own.err.contains("by another publisher of yours"), "{}", own.err);
    let record = world.record("tunnel.refused", |record| record["values"]["subject"] == "user:rival");
    assert_eq!(record["object"], "tunnel:demo");
    assert_eq!(record["result"], "denied");
}

#[test]
fn a_publisher_that_is_told_to_has_connections_to_its_app_ready_and_says_so() {
    let world = World::start();
    let app = App::web(Router::new().route("/", get(async || "hello")));
    let what = ["http", &app.address().to_string(), "--warm", "2"];
    let mut publisher = world.try_to_publish("publisher", "open-app", &what);
    for _ in 0..2 {
        publisher.line("of a connection made ahead", |line| line.contains("\"made-ahead\"").then_some(()));
    }
    eventually("the app is visited by one of them", || {
        (world.visit("open-app", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
    let metrics = world.curl("/metrics").by(&world, "admin").run().text();
    let again = "sallyport_app_connections_total{tunnel=\"open-app\",connection=\"again\"} 1\n";
    assert!(metrics.contains(again), "{metrics}");
    assert!(!metrics.contains("connection=\"new\""), "{metrics}");
}

#[test]
fn a_publisher_whose_host_vanished_is_not_turned_away_for_itself_when_it_is_back() {
    let world = World::start();
    let mut vanished = world.publish_demo("demo");
    // No goodbye and no answer any more; the heartbeat is not due for a while.
    vanished.signal("STOP");
    let _back = world.publish_demo("demo");
    let grant = world.grant("demo");
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200, "{grant}");
}

#[test]
fn a_publisher_with_much_to_send_gives_up_a_gateway_that_is_silent() {
    let mut world =
        World::with().set("tunnels.heartbeat_secs=1").set("tunnels.heartbeat_timeout_secs=1").start();
    let flood = || async {
        let piece = axum::body::Bytes::from(vec![7; 64 << 10]);
        Body::from_stream(futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())))
    };
    let app = App::web(Router::new().route("/flood", get(flood)));
    let mut publisher = world.publish_http("open-flood", app.address());
    // More than the system's buffers take: the publisher's goodbye stays behind it.
    let mut visits: Vec<_> = (0..16)
        .map(|_| {
            let visit = world.visit("open-flood", "/flood").by(&world, "visitor");
            visit.args(&["--output", "/dev/null"]).start()
        })
        .collect();
    eventually("all of them flow", || {
        let open = world.ask("admin", &["sessions", "list"]);
        let flows = |session: &&serde_json::Value| session["bytes_down"].as_u64() > Some(1 << 20);
        (open.as_array()?.iter().filter(flows).count() == visits.len()).then_some(())
    });
    world.gateway().signal("STOP");
    publisher.line("that the gateway is lost", |line| {
        line.contains("the gateway did not answer the heartbeat").then_some(())
    });
    for visit in &mut visits {
        visit.kill();
    }
}

#[test]
fn a_name_with_bad_characters_is_refused_before_anything_is_sent() {
    let world = World::start();
    let long = "x".repeat(64);
    for name in ["Demo", "-demo", "de mo", "demo.evil", "dé", "", long.as_str()] {
        let refused = world.cli("publisher", &["publish", "demo", &format!("--name={name}")]);
        assert_eq!(refused.code, 2, "`{name}`: {}", refused.err);
        assert!(refused.err.contains("hint:"), "{}", refused.err);
    }
    assert_eq!(world.records_of("tunnel.registered").len(), 0);
}

#[test]
fn whoever_may_not_publish_is_refused_and_that_is_recorded() {
    let world = World::start();
    let refused = world.cli("visitor", &["publish", "demo", "--name", "demo"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("user:visitor may not publish `demo`"), "{}", refused.err);
    let record = world.record("tunnel.refused", |_| true);
    assert_eq!(record["values"]["subject"], "user:visitor");
    assert_eq!(record["action"], "publish");
}

#[test]
fn more_tunnels_than_a_user_may_have_are_refused() {
    let world = World::with().set("tunnels.max_per_user=1").start();
    let _publisher = world.publish_demo("one");
    let refused = world.cli("publisher", &["publish", "demo", "--name", "two"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("1 are allowed") && refused.err.contains("hint:"), "{}", refused.err);
}

#[test]
fn a_publisher_that_is_killed_leaves_its_name_kept_and_its_successor_takes_it_back() {
    let world = World::with().set("tunnels.queue_secs=0").start();
    let mut publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    publisher.kill();
    world.record("tunnel.lost", |record| record["object"] == "tunnel:open-demo");
    let away = world.visit("open-demo", "/").by(&world, "visitor").run();
    assert_eq!((away.status, away.problem().as_str()), (502, "publisher-away"));
    // Kept from others, not from its owner.
    let rival = world.cli("rival", &["publish", "demo", "--name", "open-demo"]);
    assert_eq!(rival.code, 4, "{}", rival.err);
    let _again = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
}

#[test]
fn a_publisher_that_stays_away_longer_than_the_grace_loses_its_name() {
    let world = World::with().set("tunnels.reconnect_grace_secs=1").start();
    let mut publisher = world.publish_demo("open-demo");
    publisher.kill();
    eventually("the name is free", || {
        let answer = world.visit("open-demo", "/").by(&world, "visitor").run();
        (answer.status == 404).then_some(())
    });
    let _rival = world.publish_as("rival", "open-demo", &["demo"]);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
}

#[test]
fn a_publisher_that_stalls_is_noticed_by_the_heartbeat_and_comes_back_with_its_ticket() {
    let world = World::with()
        .set("tunnels.heartbeat_secs=1")
        .set("tunnels.heartbeat_timeout_secs=1")
        .set("tunnels.queue_secs=0")
        .start();
    let mut publisher = world.publish_demo("open-demo");
    publisher.signal("STOP");
    let lost = world.record("tunnel.lost", |_| true);
    assert!(lost["details"]["reason"].as_str().unwrap().contains("heartbeat"), "{lost}");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 502);
    publisher.signal("CONT");
    let back = world.record("tunnel.registered", |record| record["details"]["resumed"] == true);
    assert_eq!(back["object"], "tunnel:open-demo");
    eventually("the tunnel leads to the app again", || {
        (world.visit("open-demo", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
}

#[test]
fn a_publisher_that_leaves_on_purpose_frees_its_name_at_once() {
    let world = World::start();
    let mut publisher = world.publish_demo("open-demo");
    assert!(publisher.stop().success(), "{}", publisher.err());
    world.record("tunnel.closed", |record| record["object"] == "tunnel:open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 404);
    let _rival = world.publish_as("rival", "open-demo", &["demo"]);
}

#[test]
fn a_publisher_that_leaves_on_purpose_brings_to_its_end_what_its_visitors_have() {
    let world = World::start();
    let (send, events) = tokio::sync::mpsc::channel(1);
    let app = App::of_events(events);
    let mut publisher = world.publish_http("open-events", app.address());
    let mut visit = world.visit("open-events", "/events").by(&world, "visitor").start();
    send.blocking_send("first\n".to_owned()).unwrap();
    visit.line("the first piece", |line| (line == "first").then_some(()));
    publisher.signal("TERM");
    world.record("tunnel.closed", |record| record["object"] == "tunnel:open-events");
    assert_eq!(world.visit("open-events", "/").by(&world, "visitor").run().status, 404, "the name is free");
    send.blocking_send("last\n".to_owned()).unwrap();
    drop(send);
    assert!(visit.wait().success(), "{}", visit.err());
    assert_eq!(visit.out(), "first\nlast\n");
    assert!(publisher.wait().success(), "{}", publisher.err());
    let closed = world.record("session.closed", |record| record["object"] == "tunnel:open-events");
    assert_eq!(closed["details"]["bytes_down"], "first\nlast\n".len());
}

#[test]
fn a_request_that_only_reads_is_made_again_when_another_publisher_takes_the_name_over() {
    let world = World::start();
    let app = App::that_stalls();
    let mut vanished = world.publish_http("open-shop", app.address());
    let mut visit = world.visit("open-shop", "/").by(&world, "visitor").start();
    world.record("session.opened", |record| record["object"] == "tunnel:open-shop");
    vanished.signal("STOP");
    let _back = world.publish_demo("open-shop");
    assert!(visit.wait().success(), "{}", visit.err());
    assert!(!visit.out().contains("session-ended"), "{}", visit.out());
    let made = world.record("http.request", |record| record["details"]["status"] == 200);
    let given_up = world.record("http.request", |record| record["details"]["retried"] == true);
    assert_eq!(made["correlation"], given_up["correlation"], "{made} {given_up}");
}

#[test]
fn a_publisher_comes_back_by_itself_when_the_gateway_does() {
    let mut world = World::start();
    let mut publisher = world.publish_demo("open-demo");
    world.stop_gateway();
    publisher.line("that the gateway went away", |line| line.contains("\"disconnected\"").then_some(()));
    world.start_gateway();
    eventually("the tunnel leads to the app again", || {
        (world.visit("open-demo", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
    assert_eq!(publisher.ended(), None);
}

#[test]
fn a_publisher_whose_token_is_revoked_is_dismissed_and_says_so() {
    let world = World::start();
    let mut publisher = world.publish_demo("open-demo");
    let tokens = world.ask("admin", &["tokens", "list"]);
    let token = tokens.as_array().unwrap().iter().find(|token| token["subject"] == "user:publisher").unwrap();
    world.ask("admin", &["tokens", "revoke", token["id"].as_str().unwrap(), "--reason", "laptop lost"]);
    assert_eq!(publisher.wait().code(), Some(4), "{}", publisher.err());
    assert!(publisher.err().contains("revoked"), "{}", publisher.err());
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 404);
    let again = world.cli("publisher", &["publish", "demo", "--name", "open-demo"]);
    assert_eq!(again.code, 4, "{}", again.err);
}

#[test]
fn a_publisher_meets_the_gateway_over_the_post_quantum_handshake() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let accepted = world.record("handshake.accepted", |_| true);
    assert_eq!(accepted["details"]["suite"], "x25519-mlkem768/ed25519-mldsa65/aes256gcm");
    assert_eq!(accepted["details"]["post_quantum"], true);
    assert_eq!(accepted["details"]["sealed"], false);
}

#[test]
fn the_doctor_goes_the_whole_way_and_names_the_first_step_that_fails() {
    let mut world = World::start();
    let well = world.cli("publisher", &["doctor", "--name", "open-check", "--json"]);
    assert_eq!(well.code, 0, "{}{}", well.out, well.err);
    let steps: Vec<serde_json::Value> =
        well.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["name", "connect", "tls", "quic", "gateway", "websocket", "authentication", "handshake", "tunnel"]
    );
    let handshake = steps[7]["detail"].as_str().unwrap();
    assert!(handshake.contains("by tls (x25519-mlkem768/"), "{handshake}");
    let tls = steps[2]["detail"].as_str().unwrap();
    assert!(tls.contains("X25519MLKEM768"), "{tls}");
    let quic = steps[3]["detail"].as_str().unwrap();
    assert!(quic.contains("publishers use TCP"), "{quic}");
    // It has said goodbye: the name is not kept for it.
    world.record("tunnel.closed", |record| record["object"] == "tunnel:open-check");
    assert!(world.records_of("tunnel.lost").is_empty());
    let refused = world.cli("visitor", &["doctor", "--name", "open-check"]);
    assert_eq!(refused.code, 4, "{}{}", refused.out, refused.err);
    assert!(refused.out.contains("ok     handshake") && refused.err.contains("tunnel: "), "{}", refused.err);
    world.stop_gateway();
    let away = world.cli("publisher", &["doctor"]);
    assert_eq!(away.code, 3);
    assert!(away.out.contains("ok     name") && away.out.contains("FAILED connect"), "{}", away.out);
    assert!(away.err.contains("does the gateway run"), "{}", away.err);
}

#[test]
fn a_visitor_who_comes_while_the_publisher_is_away_waits_for_it_and_one_without_leave_does_not() {
    let world = World::with().set("tunnels.queue_secs=60").start();
    let mut publisher = world.publish_demo("open-demo");
    publisher.kill();
    eventually("the gateway has seen the loss", || {
        let tunnels = world.ask("admin", &["tunnels"]);
        (tunnels[0]["state"] == "away").then_some(())
    });
    let refused = world.visit("open-demo", "/").run();
    assert_eq!(refused.status, 401, "{}", refused.text());
    let wait = |number: usize| {
        eventually("so many wait", || {
            let metrics = world.curl("/metrics").by(&world, "admin").run().text();
            let line = format!("sallyport_visitors_waiting{{tunnel=\"open-demo\"}} {number}\n");
            metrics.contains(&line).then_some(())
        });
    };
    wait(0);
    let mut waiting = world.visit("open-demo", "/headers").by(&world, "visitor").start();
    wait(1);
    let _publisher = world.publish_demo("open-demo");
    assert!(waiting.wait().success());
    assert!(waiting.out().contains("x-request-id"), "{}", waiting.out());
}

#[test]
fn leave_for_one_session_is_not_used_up_by_waiting_for_the_publisher() {
    let world = World::with().set("tunnels.queue_secs=60").start();
    let mut publisher = world.publish_demo("demo");
    let arguments = ["request", "demo", "--reason", "one look", "--minutes", "30", "--once"];
    let request = world.ask("visitor", &arguments)["id"].as_str().unwrap().to_owned();
    world.ask("admin", &["requests", "approve", &request]);
    publisher.kill();
    eventually("the gateway has seen the loss", || {
        (world.ask("admin", &["tunnels"])[0]["state"] == "away").then_some(())
    });
    let mut waiting = world.visit("demo", "/headers").by(&world, "visitor").start();
    let _publisher = world.publish_demo("demo");
    assert!(waiting.wait().success());
    assert!(waiting.out().contains("x-request-id"), "{}", waiting.out());
}

#[test]
fn leave_for_one_session_is_not_used_up_where_nobody_is_to_be_visited() {
    let world = World::with().set("tunnels.queue_secs=0").start();
    let mut publisher = world.publish_demo("demo");
    let arguments = ["request", "demo", "--reason", "one look", "--minutes", "30", "--once"];
    let request = world.ask("visitor", &arguments)["id"].as_str().unwrap().to_owned();
    world.ask("admin", &["requests", "approve", &request]);
    publisher.kill();
    eventually("the gateway has seen the loss", || {
        (world.ask("admin", &["tunnels"])[0]["state"] == "away").then_some(())
    });
    let nobody = world.visit("demo", "/headers").by(&world, "visitor").run();
    assert_eq!((nobody.status, nobody.problem().as_str()), (502, "publisher-away"));
    let _publisher = world.publish_demo("demo");
    let let_in = world.visit("demo", "/headers").by(&world, "visitor").run();
    assert_eq!(let_in.status, 200, "{}", let_in.text());
}

#[test]
fn whoever_publishes_a_name_first_owns_it_where_the_operator_wants_it_so_and_nobody_after_them() {
    let world = World::with().set("access.tunnel_owner=first-publisher").start();
    let mut publisher = world.publish_demo("shop");
    let shares = world.ask("publisher", &["shares", "shop"]);
    assert_eq!(shares[0]["who"], "user:publisher", "{shares}");
    assert_eq!(shares[0]["role"], "owner");
    assert_eq!(shares[0]["state"], "active");
    assert_eq!(shares[0]["backed"], true);
    world.ask("publisher", &["share", "shop", "with", "user:visitor", "--role", "viewer"]);
    assert!(publisher.stop().success(), "a publisher that says goodbye frees its name");
    // Whoever comes then finds a tunnel that others have had a part in, also when nobody owns it any more.
    let id = shares[0]["id"].as_str().unwrap();
    world.ask("publisher", &["unshare", id, "--reason", "not mine any more"]);
    let _rival = world.publish_as("rival", "shop", &["demo"]);
    let held = world.ask("rival", &["shares", "shop"]);
    assert_eq!(held, serde_json::json!([]), "{held}");
}
