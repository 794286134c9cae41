//! The token fails in every way that can be had, under a real gateway: a real SoftHSM, and in front of it, only for what it
//! cannot be made to do (be slow, hang, crash), a shim that a file tells to do so.
//!
//! The last line is JSON: how long recovery took, what was lost. `make hsm-faults` prints it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sallyport_hsm::testing::FaultyModule;
use serde_json::{Value, json};

use super::patience::eventually;
use super::world::World;

/// What the gateway says of itself where no key is needed.
pub(super) fn health(address: &str) -> Option<Value> {
    let said = std::process::Command::new("curl")
        .args(["--silent", "--max-time", "5", &format!("http://{address}/readyz.json")])
        .output()
        .unwrap();
    serde_json::from_slice(&said.stdout).ok()
}

pub(super) fn until(address: &str, state: &str, cause: Option<&str>) -> Duration {
    let began = Instant::now();
    eventually(&format!("the HSM is {state}"), || {
        let hsm = &health(address)?["hsm"];
        (hsm["state"] == state && cause.is_none_or(|cause| hsm["cause"] == cause)).then_some(())
    });
    began.elapsed()
}

pub(super) fn serves(world: &World) -> bool {
    world.visit("open-demo", "/").by(world, "visitor").run().status == 200
}

fn so_command(world: &World, arguments: &[&str]) {
    let state = world.state();
    let so_pin = std::fs::read_to_string(state.join("secrets/so.pin")).unwrap();
    let module = sallyport_hsm::find_softhsm().unwrap();
    let done = std::process::Command::new("pkcs11-tool")
        .env("SOFTHSM2_CONF", world.path("softhsm2.conf"))
        .args(["--module", module.to_str().unwrap(), "--token-label", "sallyport"])
        .args(["--login", "--login-type", "so", "--so-pin", so_pin.trim()])
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "pkcs11-tool: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_gateway_survives_what_its_token_does_and_loses_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let faulty = FaultyModule::build(directory.path());
    faulty.be("");
    let free: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probes = free.to_string();
    let plan = World::with()
        .set(&format!("keys.module={}", faulty.path().display()))
        .set(&format!("gateway.health_listen={probes}"))
        .set("keys.timeout_ms=1000")
        .set("keys.on_down=end");
    let mut world = plan.start();
    let _publisher = world.publish_demo("open-demo");
    let (mut served, mut refused, mut told) = (0_u32, 0_u32, json!({}));
    let mut visit = |world: &World| if serves(world) { served += 1 } else { refused += 1 };
    visit(&world);

    // Slow: served all the same, and said.
    faulty.be("slow 50");
    visit(&world);
    let slow = world.ask("admin", &["status"]);
    assert_eq!(slow["hsm"]["state"], "up", "{slow}");
    assert!(slow["hsm"]["latency"]["p99_us"].as_u64().unwrap() >= 50_000, "{}", slow["hsm"]);
    faulty.be("");

    // Pulled out, and put back.
    let (token, away) = (world.path("softhsm"), world.path("softhsm-away"));
    std::fs::rename(&token, &away).unwrap();
    told["pulled_noticed_ms"] = json!(until(&probes, "down", None).as_millis());
    visit(&world);
    std::fs::rename(&away, &token).unwrap();
    told["pulled_recovered_ms"] = json!(until(&probes, "up", None).as_millis());
    visit(&world);

    // A module that hangs: nobody waits with it.
    faulty.be("hang");
    told["hang_noticed_ms"] = json!(until(&probes, "down", Some("not-answering")).as_millis());
    visit(&world);
    faulty.be("");
    told["hang_recovered_ms"] = json!(until(&probes, "up", None).as_millis());
    visit(&world);

    // The PIN is changed under it: presented once, then a person's turn.
    let pin_file = world.state().join("secrets/user.pin");
    so_command(&world, &["--init-pin", "--pin", "another PIN"]);
    std::fs::rename(&token, &away).unwrap();
    until(&probes, "down", None);
    std::fs::rename(&away, &token).unwrap();
    until(&probes, "needs-operator", Some("pin-refused"));
    visit(&world);
    std::fs::write(&pin_file, "another PIN").unwrap();
    told["pin_corrected_recovered_ms"] = json!(until(&probes, "up", None).as_millis());
    visit(&world);

    // Another token under the same label: refused in its own words, and ours is used again when it is back.
    std::fs::rename(&token, &away).unwrap();
    std::fs::create_dir(&token).unwrap();
    let other = std::process::Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", world.path("softhsm2.conf"))
        .args(["--init-token", "--free", "--label", "sallyport", "--so-pin", "12345678", "--pin", "12345678"])
        .output()
        .unwrap();
    assert!(other.status.success(), "softhsm2-util: {}", String::from_utf8_lossy(&other.stderr));
    until(&probes, "down", Some("token-exchanged"));
    assert!(world.gateway_log().contains("is another one now"));
    visit(&world);
    std::fs::remove_dir_all(&token).unwrap();
    std::fs::rename(&away, &token).unwrap();
    told["exchanged_recovered_ms"] = json!(until(&probes, "up", None).as_millis());
    visit(&world);

    // Each outage is on record, with cause and length, and every record stands.
    let (downs, ups) = eventually("the last outage's end is recorded", || {
        let (downs, ups) = (world.records_of("hsm.down"), world.records_of("hsm.up"));
        (downs.len() >= 4 && ups.len() == downs.len()).then_some((downs, ups))
    });
    for up in &ups {
        assert!(up["details"]["down_ms"].is_u64() && up["details"]["cause"].is_string(), "{up}");
    }
    let opened = world.records_of("session.opened").len();
    world.stop_gateway();
    let verdict = world.verify(&world.state().join("ledger"));
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    told["served"] = json!(served);
    told["refused_while_down"] = json!(refused);
    told["outages"] = json!(downs.len());
    told["records_lost"] = json!(u64::from(served).saturating_sub(opened as u64));
    println!("{told}");
    assert_eq!((served, told["records_lost"].as_u64()), (6, Some(0)), "{told}");
}
