//! The private root is replaced while everything goes on: announced, switched to, and the one before retired.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::patience::eventually;
use super::process::Process;
use super::world::{Run, World, finish};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// A copy of the bundle, as somebody has it who was given it then.
fn keep(world: &World, name: &str) -> PathBuf {
    let kept = world.path(name);
    std::fs::copy(world.root(), &kept).unwrap();
    kept
}

fn roots(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().matches(BEGIN).count()
}

fn rotate(world: &World, step: &str) -> Run {
    world.cli("admin", &["keys", "rotate", step, "--reason", "the root is old"])
}

/// Whether the gateway's TLS certificate is believed by somebody who has this file.
fn believed(world: &World, file: &Path) -> bool {
    let told = world.curl("/readyz").args(&["--cacert", &file.to_string_lossy()]).run();
    told.status == 200
}

/// A publisher that has this file.
fn publisher(world: &World, name: &str, file: &Path) -> Process {
    let mut command = world.client("publisher");
    command.env("SALLYPORT_CA_FILE", file);
    command.args(["publish", "demo", "--name", name, "--give-up-after", "1", "--json"]);
    Process::start(&format!("publisher-{name}"), world.directory(), &mut command)
}

fn is_up(publisher: &mut Process) {
    publisher.line("that its tunnel is open", |line| {
        (serde_json::from_str::<Value>(line).ok()?["event"] == "registered").then_some(())
    });
}

//= issue 4: the root's rotation command; whoever has the bundle goes on through it
#[test]
fn the_root_is_replaced_in_three_steps_and_whoever_has_the_bundle_of_the_first_goes_on_through_all() {
    let mut world = World::with().set("tls.clients=accept").start();
    let before = keep(&world, "before.pem");
    let mut held = publisher(&world, "open-demo", &before);
    is_up(&mut held);
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    let early = world.certify("visitor");
    let whoami =
        |world: &World, certificate| finish(world.client_by_certificate(certificate).arg("whoami")).code;
    assert_eq!(whoami(&world, &early), 0);

    // Steps out of their order change nothing.
    for step in ["root-switch", "root-retire"] {
        let refused = rotate(&world, step);
        assert!(
            refused.code != 0 && refused.err.contains("root-order"),
            "{step}: {}{}",
            refused.out,
            refused.err
        );
    }
    assert_eq!(std::fs::read(world.root()).unwrap(), std::fs::read(&before).unwrap());

    let announced = rotate(&world, "root-announce");
    assert_eq!(announced.code, 0, "{}", announced.err);
    let bundle = keep(&world, "bundle.pem");
    assert_eq!(roots(&bundle), 2);
    let given =
        world.curl("/.well-known/sallyport/roots.pem").args(&["--cacert", &before.to_string_lossy()]).run();
    assert_eq!(
        given.text(),
        std::fs::read_to_string(&bundle).unwrap(),
        "it is handed out under the root before"
    );
    assert!(believed(&world, &before) && believed(&world, &bundle));
    let mut both = publisher(&world, "open-two", &bundle);
    is_up(&mut both);

    let switched = rotate(&world, "root-switch");
    assert_eq!(switched.code, 0, "{}", switched.err);
    assert!(believed(&world, &bundle), "whoever has the bundle goes on");
    assert!(!believed(&world, &before), "the next root issues");
    let mut late = publisher(&world, "open-late", &before);
    assert!(!late.wait().success(), "whoever has only the root before is told so: {}", late.err());
    let mut after = publisher(&world, "open-after", &bundle);
    is_up(&mut after);
    // What the root before has issued still counts, and so does what the next one issues.
    let later = world.certify("visitor");
    assert_eq!((whoami(&world, &early), whoami(&world, &later)), (0, 0));

    // The gateway's identity is certified by the next root too.
    let retired = rotate(&world, "root-retire");
    assert_eq!(retired.code, 0, "{}", retired.err);
    let last = keep(&world, "last.pem");
    assert_eq!(roots(&last), 1);
    assert!(believed(&world, &bundle) && believed(&world, &last) && !believed(&world, &before));
    assert!(whoami(&world, &early) != 0, "what the root before has issued counts no more");
    assert_eq!(whoami(&world, &later), 0);
    let ticks = |download: &Process| download.out().lines().filter(|line| line.starts_with("tick")).count();
    let so_far = ticks(&download);
    eventually("another tick", || (ticks(&download) > so_far).then_some(()));
    assert!(download.ended().is_none() && held.ended().is_none() && both.ended().is_none());

    let steps: Vec<_> = world
        .records_of("certificate.loaded")
        .iter()
        .map(|record| {
            (record["details"]["step"].clone(), record["details"]["roots"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(steps, [("announced".into(), 2), ("switched".into(), 2), ("retired".into(), 1)]);
    for kind in ["key.rotated", "key.retired"] {
        let record = world.record(kind, |record| record["details"]["role"] == "certificate-authority");
        assert_eq!(record["values"]["reason"], "the root is old", "{record}");
    }

    world.stop_gateway();
    world.start_gateway();
    assert!(believed(&world, &bundle) && !believed(&world, &before), "and so it stays after a start");
    // And once more: nothing is left of the first time.
    assert_eq!(rotate(&world, "root-announce").code, 0);
    assert_eq!(roots(&world.root()), 2);
}

#[test]
fn a_switch_that_was_broken_off_after_it_was_decided_is_finished_at_the_next_start() {
    let mut world = World::with().prepare();
    assert_eq!(world.daemon(&["keys", "rotate", "root-announce"]).code, 0);
    let bundle = keep(&world, "bundle.pem");
    // As the switch leaves it when it is killed at once behind its first step: the next root stands first.
    let text = std::fs::read_to_string(&bundle).unwrap();
    let (_, next) = text.rsplit_once(BEGIN).unwrap();
    let first = text.strip_suffix(&format!("{BEGIN}{next}")).unwrap();
    std::fs::write(world.root(), format!("{BEGIN}{next}{first}")).unwrap();

    world.start_gateway();
    assert!(
        world.gateway_log().contains("a switch to the next root was broken off"),
        "{}",
        world.gateway_log()
    );
    let rotated = world.record("key.rotated", |record| record["details"]["role"] == "certificate-authority");
    assert_eq!(rotated["details"]["finished"], "at start");
    let new = world.path("new.pem");
    std::fs::write(&new, format!("{BEGIN}{next}")).unwrap();
    eventually("the certificate is issued anew", || believed(&world, &new).then_some(()));
    let _publisher = {
        let mut up = publisher(&world, "open-demo", &new);
        is_up(&mut up);
        up
    };
    assert_eq!(rotate(&world, "root-retire").code, 0);
}

#[test]
fn a_pinned_gateway_must_show_that_identity_and_a_pin_that_is_none_is_refused() {
    let world = World::start();
    let listed = world.daemon(&["keys", "list"]).out;
    let pin = listed.lines().find_map(|line| line.split_once("as publishers see it: ")).unwrap().1.to_owned();
    let publish = |pin: &str, name: &str| {
        let mut command = world.client("publisher");
        command.args(["--pin", pin, "publish", "demo", "--name", name, "--give-up-after", "1", "--json"]);
        Process::start(&format!("publisher-{name}"), world.directory(), &mut command)
    };
    let mut good = publish(&pin, "open-good");
    is_up(&mut good);
    let mut other = publish(&format!("SHA256:{}", "A".repeat(43)), "open-other");
    assert!(!other.wait().success());
    assert!(other.err().contains("another identity than the one that is pinned"), "{}", other.err());
    assert!(world.records_of("tunnel.registered").len() == 1, "no token was sent");
    let short = &pin[..pin.len() - 1];
    let long = format!("{pin}A");
    let lower = pin.replace("SHA256:", "sha256:");
    for bad in ["", "SHA256:", "open sesame", short, &long, &lower, &format!("{pin}=")] {
        let refused = world.cli("publisher", &["--pin", bad, "publish", "demo", "--name", "open-bad"]);
        assert_eq!(refused.code, 2, "{bad}: {}", refused.err);
        assert!(refused.err.contains("this is no fingerprint") || bad.is_empty(), "{bad}: {}", refused.err);
    }
}
