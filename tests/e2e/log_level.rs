//! What the gateway logs, changed while it runs.

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
