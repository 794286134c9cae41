//! SIGHUP: certificates that somebody else renews are read again while everything goes on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::app::RUNTIME;
use super::patience::eventually;
use super::process::Process;
use super::quic_client::Hello;
use super::world::World;

const NAME: &str = "shop.example.test";

fn write(path: &Path, text: &str) {
    // As renewers do it: a new file in the place of the old one.
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

/// A certificate and its key, in PEM.
fn issue() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The middle of what a client is shown, enough to know it by.
fn shown(world: &World) -> String {
    let told = world.s_client(&["-servername", NAME]);
    let pem =
        told.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END"));
    pem.map(|(body, _)| body.split_whitespace().collect()).unwrap_or_default()
}

/// Whether a client of QUIC that trusts nothing but this certificate gets in.
fn is_shown_by_quic(world: &World, pem: &str) -> bool {
    let hello = Hello::speaking(b"h3").trusting(pem);
    RUNTIME.block_on(hello.connect(world, NAME)).is_ok()
}

fn body(pem: &str) -> String {
    pem.replace("-----BEGIN CERTIFICATE-----", "")
        .replace("-----END CERTIFICATE-----", "")
        .split_whitespace()
        .collect()
}

#[test]
fn a_certificate_from_elsewhere_is_read_again_on_sighup_and_a_bad_one_changes_nothing() {
    let mut world = World::with().set("gateway.http3=on").prepare();
    let (chain, key) = (world.path("shop.pem"), world.path("shop.key"));
    let (first, first_key) = issue();
    write(&chain, &first);
    write(&key, &first_key);
    world.configure(&format!(
        "[[tls.certificate]]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
        chain.display(),
        key.display()
    ));
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    assert_eq!(shown(&world), body(&first));
    assert!(is_shown_by_quic(&world, &first));

    let (second, second_key) = issue();
    write(&chain, &second);
    write(&key, &second_key);
    assert_eq!(shown(&world), body(&first), "nobody has said so yet");
    world.gateway().signal("HUP");
    let loaded = world.record("certificate.loaded", |record| record["result"] == "success");
    let certificates = loaded["details"]["shown"].as_array().unwrap();
    assert_eq!(certificates.len(), 2, "the main one and the shop's: {loaded}");
    assert_eq!(certificates[1]["file"], chain.to_string_lossy().as_ref());
    assert_eq!(shown(&world), body(&second));
    assert!(is_shown_by_quic(&world, &second) && !is_shown_by_quic(&world, &first));

    // Not a certificate, another's key, a key that others may read: each is told, and none changes anything.
    let (stranger, _) = issue();
    let mut refusals = 0;
    let mut refused = |world: &mut World, because: &str| {
        world.gateway().signal("HUP");
        refusals += 1;
        eventually("a refusal is recorded", || {
            let records = world.records_of("certificate.loaded");
            (records.iter().filter(|record| record["result"] == "failure").count() == refusals).then_some(())
        });
        let last = world.records_of("certificate.loaded").pop().unwrap();
        assert!(last["details"]["reason"].as_str().unwrap().contains(because), "{because}: {last}");
        assert!(
            world.gateway_log().contains("THE CERTIFICATES WERE NOT EXCHANGED"),
            "{}",
            world.gateway_log()
        );
        assert_eq!(shown(world), body(&second));
    };
    write(&chain, "not a certificate");
    refused(&mut world, "cannot be read");
    write(&chain, &stranger);
    refused(&mut world, "is not for the key in");
    let mut over = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    over.not_before = rcgen::date_time_ymd(2020, 1, 1);
    over.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let pair = rcgen::KeyPair::from_pem(&second_key).unwrap();
    write(&chain, &over.self_signed(&pair).unwrap().pem());
    refused(&mut world, "and not now");
    write(&chain, &second);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&mut world, "others may read it");

    let ticks = |download: &Process| download.out().lines().filter(|line| line.starts_with("tick")).count();
    let so_far = ticks(&download);
    eventually("another tick", || (ticks(&download) > so_far).then_some(()));
    assert!(download.ended().is_none(), "the open connection went on over all of it");
}
