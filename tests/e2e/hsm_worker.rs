//! The token's module in a process of its own: it crashes, and the gateway does not.

use std::net::SocketAddr;

use sallyport_hsm::testing::FaultyModule;

use super::hsm_faults::{health, serves, until};
use super::world::World;

//= G2: a crash in the vendor's module cannot kill the gateway
#[test]
fn a_module_that_crashes_is_an_outage_and_the_gateway_serves_again_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let faulty = FaultyModule::build(directory.path());
    faulty.be("");
    let free: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probes = free.to_string();
    let plan = World::with()
        .set(&format!("keys.module={}", faulty.path().display()))
        .set(&format!("gateway.health_listen={probes}"))
        .set("keys.worker=true")
        .set("keys.timeout_ms=2000");
    let mut world = plan.start();
    let _publisher = world.publish_demo("open-demo");
    assert!(serves(&world));
    let status = world.ask("admin", &["status"]);
    assert!(status["hsm"]["worker"]["pid"].is_u64(), "{status}");

    faulty.be("crash");
    until(&probes, "down", None);
    assert!(!serves(&world), "no session begins without the keys");
    let told = health(&probes).expect("the gateway itself is there");
    assert_eq!(told["ready"], false, "{told}");

    faulty.be("");
    until(&probes, "up", None);
    assert!(serves(&world));
    let status = world.ask("admin", &["status"]);
    assert!(status["hsm"]["worker"]["restarts"].as_u64().unwrap() >= 1, "{status}");
    assert_eq!(world.records_of("gateway.started").len(), 1, "nobody restarted it");
    world.stop_gateway();
    let verdict = world.verify(&world.state().join("ledger"));
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
}
