//! What the gateway logs, changed while it runs.

use serde_json::Value;

use super::patience::eventually;
use super::world::World;

#[test]
fn an_admin_changes_what_is_logged_while_the_gateway_runs_and_the_change_is_recorded() {
    let world = World::start();
    let shown = world.ask("admin", &["log-level"]);
    assert_eq!((&shown["level"], &shown["usual"]), (&"info".into(), &"info".into()));
    assert!(!world.gateway_log().contains("DEBUG"), "{}", world.gateway_log());
    let changed = world.ask("admin", &["log-level", "info,sallyport::edge=debug", "--minutes", "5"]);
    assert_eq!(changed["level"], "info,sallyport::edge=debug");
    assert!(changed["until"].as_str().is_some());
    eventually("the log says more", || {
        // Nobody knows this protocol.
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", world.port())).unwrap();
        std::io::Write::write_all(&mut socket, b"\0\0\0\0").unwrap();
        world.gateway_log().contains("DEBUG").then_some(())
    });
    let called = world
        .record("admin.called", |record| record["object"] == "gateway:log" && record["action"] == "admin");
    assert_eq!(called["details"]["level"], "info,sallyport::edge=debug");
    assert_eq!(world.ask("admin", &["log-level", "info"])["until"], serde_json::Value::Null);
}

#[test]
fn a_level_that_is_none_changes_nothing_and_only_admins_may() {
    let world = World::start();
    let wrong = world.cli("admin", &["log-level", "info,=="]);
    assert_eq!(wrong.code, 2, "{}{}", wrong.out, wrong.err);
    assert!(wrong.err.contains("is not a log level or filter"), "{}", wrong.err);
    let visitor = world.cli("visitor", &["log-level", "trace"]);
    assert_eq!(visitor.code, 4, "{}", visitor.err);
    assert_eq!(world.ask("admin", &["log-level"])["level"], "info");
}

#[test]
fn what_is_logged_of_a_request_a_stream_or_a_publisher_carries_the_id_that_its_records_carry() {
    let world = World::with()
        .set("log.format=json")
        .set("log.level=warn,sallyport::edge::publisher=info")
        .set("tunnels.breaker_failures=1")
        .start();
    let nobody = super::fronts::free_port().to_string();
    let _web = world.publish_as("publisher", "open-web", &["http", &nobody]);
    let _db = world.publish_as(
        "publisher",
        "public-db",
        &["tcp", &nobody, "--port", &world.tcp_ports().1.to_string()],
    );
    let line = |wanted: &str, tunnel: &str| -> Value {
        eventually(&format!("`{wanted}` is logged"), || {
            let log = world.gateway_log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| {
                line["fields"]["message"] == wanted && (tunnel.is_empty() || line["span"]["tunnel"] == tunnel)
            })
        })
    };
    let published = line("publisher connected", "");
    let registered = world.record("tunnel.registered", |_| true);
    assert_eq!(published["span"]["correlation"], registered["correlation"], "{published}");
    // Warnings: whatever else is left out.
    let refused = world.visit("open-web", "/").by(&world, "visitor").run();
    assert_eq!(refused.problem(), "app-unreachable");
    let warned = line("the app fails, and is left alone for a while", "open-web");
    assert_eq!(
        warned["span"]["correlation"].as_str(),
        refused.header("sallyport-reference").as_deref(),
        "{warned}"
    );
    let visitor = std::net::TcpStream::connect(("127.0.0.1", world.tcp_ports().1)).unwrap();
    let warned = line("the app fails, and is left alone for a while", "public-db");
    let opened = world.record("session.opened", |record| record["object"] == "tunnel:public-db");
    assert_eq!(warned["span"]["correlation"], opened["correlation"], "{warned}");
    drop(visitor);
}
