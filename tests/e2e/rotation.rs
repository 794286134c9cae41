//! Keys that are replaced: the ledger goes on under the new one, and whoever trusts the old one can still check it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;

use serde_json::Value;

use super::app::App;
use super::patience::PATIENCE;
use super::process::Process;
use super::world::{Run, World};

fn good(run: &Run) {
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}

/// Verifies this world's ledger with a key from a file.
fn verify_with(world: &World, key: &Path) -> Run {
    let ledger = world.state().join("ledger");
    world.auditctl(&["verify", ledger.to_str().unwrap(), "--key-file", key.to_str().unwrap()])
}

/// The key that auditors have of this world's ledger now, kept in a file of its own.
fn keep(world: &World, name: &str) -> std::path::PathBuf {
    let kept = world.path(name);
    std::fs::copy(world.state().join("ledger.vkey"), &kept).unwrap();
    kept
}

/// `sallyportd keys … --json`
fn keys(world: &World, what: &str) -> Value {
    let run = world.daemon(&["keys", what, "--json"]);
    good(&run);
    assert_eq!(run.err, "", "nothing beside the answer");
    serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{what}: {error}: {}", run.out))
}

fn fingerprint(world: &World, role: &str) -> String {
    let listed = keys(world, "list");
    let key = listed.as_array().unwrap().iter().find(|key| key["role"] == role).unwrap();
    key["fingerprint"].as_str().unwrap().to_owned()
}

/// Begins to rotate the ledger's keys, and kills it where it reads `NAME-retired.vkey`: at a pipe that nobody fills.
fn broken_off_at(world: &World, name: &str) {
    let retired = world.state().join(format!("{name}-retired.vkey"));
    assert!(std::process::Command::new("mkfifo").arg(&retired).status().unwrap().success());
    let mut rotating =
        Process::start("rotate", world.directory(), &mut world.daemon_command(&["keys", "rotate", "ledger"]));
    let (arrived, met) = mpsc::channel();
    let pipe = retired.clone();
    // Opening waits until the other side opens it, too.
    std::thread::spawn(move || arrived.send(std::fs::File::options().write(true).open(pipe)));
    let met = met.recv_timeout(PATIENCE);
    assert!(met.is_ok(), "it never came there: {}", rotating.err());
    rotating.kill();
    std::fs::remove_file(&retired).unwrap();
}

#[test]
fn a_ledger_goes_on_under_its_new_key_and_both_keys_vouch_for_it_but_no_other() {
    let mut world = World::start();
    let ledger = world.state().join("ledger");
    let old = keep(&world, "old.vkey");
    world.stop_gateway();
    let proof = world.path("before.tlog-proof");
    let (ledger_path, proof_path) = (ledger.to_str().unwrap(), proof.to_str().unwrap());
    good(&world.auditctl(&["prove", ledger_path, "1", "--out", proof_path]));
    let (before, before_pq) = (fingerprint(&world, "ledger"), fingerprint(&world, "ledger-pq"));

    let rotated = world.daemon(&["keys", "rotate", "ledger"]);
    good(&rotated);
    let new = keep(&world, "new.vkey");
    assert_ne!(std::fs::read(&old).unwrap(), std::fs::read(&new).unwrap());
    assert_eq!(
        std::fs::read(world.state().join("ledger-retired.vkey")).unwrap(),
        std::fs::read(&old).unwrap(),
        "the key before it is kept for old proofs"
    );
    assert_ne!(fingerprint(&world, "ledger"), before);
    assert_ne!(fingerprint(&world, "ledger-pq"), before_pq);

    world.start_gateway();
    let roles = |kind: &str| {
        let records = world.records_of(kind);
        records
            .iter()
            .map(|record| record["details"]["role"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(roles("key.rotated"), ["ledger", "ledger-pq"]);
    assert_eq!(roles("key.retired"), ["ledger", "ledger-pq"]);
    world.stop_gateway();

    for key in [&old, &new] {
        good(&verify_with(&world, key));
    }
    let stranger = World::with().prepare();
    assert_eq!(verify_with(&world, &stranger.state().join("ledger.vkey")).code, 1);
    let check =
        |key: &Path| world.auditctl(&["check-proof", proof_path, "--key-file", key.to_str().unwrap()]).code;
    assert_eq!((check(&old), check(&new)), (0, 1), "a proof from before stays good with the key from before");
}

#[test]
fn a_rotation_killed_between_the_handover_and_the_old_keys_end_is_finished_at_the_next_start() {
    let mut world = World::with().prepare();
    let old = keep(&world, "old.vkey");
    let before = fingerprint(&world, "ledger");
    broken_off_at(&world, "ledger");
    assert_eq!(fingerprint(&world, "ledger"), before, "the old key is still there");

    world.start_gateway();
    assert!(world.gateway_log().contains("it is finished now"), "{}", world.gateway_log());
    assert_eq!(world.records_of("key.rotated").len(), 2);
    assert_eq!(world.records_of("key.retired").len(), 2);
    world.stop_gateway();
    assert_ne!(fingerprint(&world, "ledger"), before);
    let new = keep(&world, "new.vkey");
    assert_ne!(std::fs::read(&old).unwrap(), std::fs::read(&new).unwrap());
    for key in [&old, &new] {
        good(&verify_with(&world, key));
    }
    good(&world.daemon(&["keys", "rotate", "ledger"]));
    for key in [&old, &new, &keep(&world, "third.vkey")] {
        good(&verify_with(&world, key));
    }
}

#[test]
fn a_rotation_killed_before_auditors_were_given_the_cosigning_key_gives_it_at_the_next_start() {
    let mut world = World::with().prepare();
    let file = world.state().join("ledger-pq.vkey");
    let before = std::fs::read(&file).unwrap();
    broken_off_at(&world, "ledger-pq");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    world.start_gateway();
    world.stop_gateway();
    assert_ne!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::read(world.state().join("ledger-pq-retired.vkey")).unwrap(), before);
    let (ledger, key) = (world.state().join("ledger"), world.state().join("ledger.vkey"));
    let [ledger, key, cosigner] = [&ledger, &key, &file].map(|path| path.to_str().unwrap());
    good(&world.auditctl(&["verify", ledger, "--key-file", key, "--cosigner-file", cosigner]));
}

#[test]
fn the_stopped_gateways_command_changes_nothing_while_one_runs() {
    let world = World::start();
    let before = keys(&world, "list");
    for what in ["ledger", "tls", "identity", "token-signing", "kek"] {
        let refused = world.daemon(&["keys", "rotate", what]);
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(
            refused.err.contains("gateway-runs") && refused.err.contains("sallyport keys rotate"),
            "{}",
            refused.err
        );
    }
    assert_eq!(keys(&world, "list"), before);
    assert!(world.records_of("key.rotated").is_empty());
}

/// The serial number of the certificate that the next handshake shows for the gateway's own name.
fn serial(world: &World) -> String {
    let answer = world.curl("/readyz").args(&["--write-out", "%{certs}"]).run();
    let text = answer.text();
    let serial = text.lines().find_map(|line| line.strip_prefix("Serial Number:"));
    serial.unwrap_or_else(|| panic!("no serial in {text}{}", answer.complaint)).to_owned()
}

/// The gateway's keys as an admin sees them: role and id.
fn served(world: &World) -> BTreeMap<String, String> {
    let listed = world.ask("admin", &["keys", "list"]);
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(|key| (text(key, "role"), text(key, "id"))).collect()
}

#[test]
fn every_key_is_replaced_while_the_gateway_serves_and_a_download_goes_on_over_all_of_it() {
    let mut world = World::start();
    let old = keep(&world, "old.vkey");
    let old_pq = std::fs::read(world.state().join("ledger-pq.vkey")).unwrap();
    let (send, events) = tokio::sync::mpsc::channel(1);
    let app = App::of_events(events);
    let _publisher = world.publish_http("open-events", app.address());
    let mut visit = world.visit("open-events", "/events").by(&world, "visitor").start();
    let mut told = 0;
    let mut goes_on = || {
        told += 1;
        let event = format!("data: {told}");
        send.blocking_send(format!("{event}\n\n")).unwrap();
        visit.line(&event, |line| (line == event).then_some(()));
    };
    goes_on();
    let before = served(&world);
    for what in ["tls", "identity", "token-signing", "ledger", "kek"] {
        let shown = serial(&world);
        let answer = world.ask("admin", &["keys", "rotate", what, "--reason", "it is time"]);
        assert!(!answer["steps"].as_array().unwrap().is_empty(), "{answer}");
        goes_on();
        assert_eq!(serial(&world) != shown, what == "tls", "{what}: the next handshake");
        // Somebody new, with a token of the key before: to the tunnel, whose certificate is one of its own.
        let fresh = world.visit("open-events", "/nothing").by(&world, "visitor").run();
        assert_ne!(fresh.status, 0, "{what}: {}", fresh.complaint);
        assert_ne!(fresh.status, 401, "{what}: {}", fresh.text());
        let second = world.publish_as("rival", &format!("open-{what}"), &["demo"]);
        drop(second);
    }
    for (role, id) in served(&world) {
        assert_eq!(id != before[&role], role != "certificate-authority", "{role}");
    }
    let listed = world.ask("admin", &["keys", "list"]);
    let ledger = listed.as_array().unwrap().iter().find(|key| key["role"] == "ledger").unwrap();
    assert!(ledger["last_used"].is_string(), "{ledger}");
    let rotated = world.records_of("key.rotated");
    let roles: Vec<_> = rotated.iter().map(|record| record["details"]["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["tls", "identity", "token-signing", "ledger", "ledger-pq", "kek"]);
    for record in &rotated {
        // The ledger's own stands in the form that verifiers read; who and why is at the key that was made.
        if record["details"]["role"] != "ledger" {
            assert_eq!(record["values"]["reason"], "it is time", "{record}");
            assert_eq!(record["values"]["subject"], "user:admin", "{record}");
        }
    }
    let jwks = world.curl("/.well-known/jwks.json").run().json();
    assert_eq!(
        jwks["keys"].as_array().unwrap().len(),
        2,
        "the one that signs, and the one before it: {jwks}"
    );
    drop(send);
    assert!(visit.wait().success(), "{}", visit.err());

    // A restart finds the same.
    let after = served(&world);
    world.stop_gateway();
    world.start_gateway();
    assert_eq!(served(&world), after);
    assert!(world.records().iter().any(|record| record["values"]["subject"] == "user:visitor"));
    world.stop_gateway();
    let new = keep(&world, "new.vkey");
    for key in [&old, &new] {
        good(&verify_with(&world, key));
    }
    // The cosigner's key from before leads to the one after it, and each counts.
    let kept = world.path("old-pq.vkey");
    std::fs::write(&kept, old_pq).unwrap();
    let (ledger, key) = (world.state().join("ledger"), new.to_str().unwrap().to_owned());
    for cosigner in [&kept, &world.state().join("ledger-pq.vkey")] {
        let (ledger, cosigner) = (ledger.to_str().unwrap(), cosigner.to_str().unwrap());
        good(&world.auditctl(&["verify", ledger, "--key-file", &key, "--cosigner-file", cosigner]));
    }
    let stranger = World::with().prepare();
    let (ledger, cosigner) = (ledger.to_str().unwrap(), stranger.state().join("ledger-pq.vkey"));
    let cosigner = cosigner.to_str().unwrap();
    let verdict = world.auditctl(&["verify", ledger, "--key-file", &key, "--cosigner-file", cosigner]);
    assert_eq!(verdict.code, 1, "{}", verdict.out);
}

#[test]
fn a_token_key_that_is_revoked_at_once_ends_all_tokens_and_cuts_what_stands_on_them() {
    let world = World::start();
    let (send, events) = tokio::sync::mpsc::channel(1);
    let app = App::of_events(events);
    let publisher = world.publish_http("open-events", app.address());
    let mut visit = world.visit("open-events", "/events").by(&world, "visitor").start();
    send.blocking_send("data: 1\n\n".to_owned()).unwrap();
    visit.line("the first event", |line| (line == "data: 1").then_some(()));
    let command = ["keys", "rotate", "token-signing", "--reason", "it leaked", "--now"];
    world.ask("admin", &command);
    visit.wait();
    let refused = world.curl("/api/v1/whoami").by(&world, "admin").run();
    assert_eq!((refused.status, refused.problem()), (401, "other-key".to_owned()));
    assert_eq!(world.curl("/.well-known/jwks.json").run().json()["keys"].as_array().unwrap().len(), 1);
    drop(publisher);
}

#[test]
fn whoever_may_not_run_the_keys_sees_and_replaces_none() {
    let world = World::start();
    let before = served(&world);
    assert_eq!(world.cli("visitor", &["keys", "list"]).code, 4);
    for what in ["tls", "identity", "token-signing", "ledger", "kek"] {
        let refused = world.cli("visitor", &["keys", "rotate", what, "--reason", "I want to"]);
        assert_eq!(refused.code, 4, "{}", refused.err);
    }
    assert_eq!(served(&world), before);
    assert!(world.records_of("key.rotated").is_empty());
    let denied = world.records_of("admin.called");
    let denied =
        denied.iter().filter(|record| record["result"] == "denied" && record["object"] == "gateway:keys");
    assert_eq!(denied.count(), 6);
}

#[test]
fn the_tls_key_gets_a_new_certificate_but_one_of_another_root_is_left_as_it_is() {
    let mut world = World::with().prepare();
    let (file, stranger) = (world.state().join("tls/server.pem"), World::with().prepare());
    let ours = std::fs::read(&file).unwrap();
    let foreign = std::fs::read(stranger.state().join("tls/server.pem")).unwrap();
    std::fs::write(&file, &foreign).unwrap();
    let before = keys(&world, "list");
    let refused = world.daemon(&["keys", "rotate", "tls"]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("foreign-certificate"), "{}", refused.err);
    assert_eq!((keys(&world, "list"), std::fs::read(&file).unwrap()), (before.clone(), foreign));

    std::fs::write(&file, &ours).unwrap();
    good(&world.daemon(&["keys", "rotate", "tls"]));
    assert_ne!(keys(&world, "list"), before);
    assert_ne!(std::fs::read(&file).unwrap(), ours);
    // Ready for those who pin the root, which is the same.
    world.start_gateway();
}

#[test]
fn the_keys_the_token_and_the_backup_plan_are_told_as_json_and_without_noise() {
    let world = World::with().prepare();
    let roles = [
        "tls",
        "identity",
        "identity-pq",
        "ledger",
        "ledger-pq",
        "token-signing",
        "certificate-authority",
        "kek",
    ];
    let (listed, plan) = (keys(&world, "list"), keys(&world, "backup-plan"));
    for role in roles {
        let key = listed.as_array().unwrap().iter().find(|key| key["role"] == role);
        assert!(key.unwrap_or_else(|| panic!("no {role} in {listed}"))["created"].is_string());
        let kept = plan.as_array().unwrap().iter();
        assert!(
            kept.filter_map(|item| item["what"].as_str()).any(|what| what.starts_with(&format!("{role} ("))),
            "{plan}"
        );
    }
    let probed = keys(&world, "probe");
    let needed: Vec<_> =
        probed.as_array().unwrap().iter().filter(|ability| ability["needed"] == true).collect();
    assert!(!needed.is_empty() && needed.iter().all(|ability| ability["works"] == true), "{probed}");
}

#[test]
fn with_delegated_signing_most_heads_are_by_lent_keys_and_verify_says_how_many_are_not() {
    let mut world = World::with().set("ledger.delegate=on").start();
    let old = keep(&world, "old.vkey");
    for _ in 0..20 {
        world.records();
    }
    assert_eq!(world.records_of("key.delegated").len(), 1);
    world.stop_gateway();
    let verdict = verify_with(&world, &old);
    good(&verdict);
    assert!(verdict.out.contains(" heads itself ("), "{}", verdict.out);

    good(&world.daemon(&["keys", "rotate", "ledger"]));
    world.start_gateway();
    world.records();
    world.stop_gateway();
    for key in [&old, &keep(&world, "new.vkey")] {
        good(&verify_with(&world, key));
    }
}

#[test]
fn a_publisher_that_knows_only_the_identity_before_is_led_to_the_new_one_and_to_no_other() {
    let mut world = World::start();
    // A root that is no Sallyport organisation's stands first: so nobody but the first meeting vouches for the identity.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut bundle = root.self_signed(&key).unwrap().pem();
    bundle.push_str(&std::fs::read_to_string(world.root()).unwrap());
    let roots = world.path("bundle.pem");
    std::fs::write(&roots, bundle).unwrap();
    let publish = |world: &World| {
        let mut command = world.client("publisher");
        command.env("SALLYPORT_CA_FILE", &roots).args(["publish", "demo", "--name", "demo", "--json"]);
        Process::start(&format!("led-{}", super::world::next()), world.directory(), &mut command)
    };
    let is_known = |world: &World, trust: &str| {
        let mut publisher = publish(world);
        publisher.line(trust, |line| line.contains(trust).then_some(()));
        publisher.line("that its tunnel is open", |line| line.contains("registered").then_some(()));
        assert!(publisher.stop().success());
    };
    is_known(&world, "\"trust\":\"first-use\"");
    // Twice: one rotation was missed.
    for _ in 0..2 {
        world.ask("admin", &["keys", "rotate", "identity", "--reason", "it is time"]);
    }
    is_known(&world, "\"trust\":\"known\"");
    // And by a gateway that was stopped meanwhile.
    world.stop_gateway();
    good(&world.daemon(&["keys", "rotate", "identity"]));
    world.start_gateway();
    is_known(&world, "\"trust\":\"known\"");

    // Without the statements, or with those of somebody else, other keys are what an impostor has.
    world.ask("admin", &["keys", "rotate", "identity", "--reason", "it is time"]);
    let statements = world.state().join("identity-successions");
    let ours = std::fs::read(&statements).unwrap();
    let mut forged = ours.clone();
    *forged.last_mut().unwrap() ^= 1;
    for bytes in [Vec::new(), forged] {
        std::fs::write(&statements, bytes).unwrap();
        let mut refused = publish(&world);
        assert_eq!(refused.wait().code(), Some(4), "{}", refused.err());
        assert!(refused.err().contains("CHANGED"), "{}", refused.err());
    }
    std::fs::write(&statements, ours).unwrap();
    is_known(&world, "\"trust\":\"known\"");
}

/// What the second verifier, which is written from the specification alone, says of this world's ledger.
fn second(world: &World, key: &Path, cosigner: &Path) -> String {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = home.join("target/stock-client/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/prepare test", python.display());
    let read = |path: &Path| std::fs::read_to_string(path).unwrap().trim().to_owned();
    let mut command = std::process::Command::new(python);
    command.arg(home.join("tests/second-verifier/verify.py"));
    command.args(["--key", &read(key), "--cosigner", &read(cosigner)]).arg(world.state().join("ledger"));
    let run = super::world::finish(&mut command);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    run.out.trim().rsplit_once(": ").unwrap().1.to_owned()
}

#[test]
fn a_second_verifier_follows_the_cosigners_handover_too_and_believes_no_strangers() {
    let mut world = World::with().prepare();
    let file = world.state().join("ledger-pq.vkey");
    let old = world.path("old-pq.vkey");
    std::fs::copy(&file, &old).unwrap();
    world.start_gateway();
    world.stop_gateway();
    let key = world.state().join("ledger.vkey");
    assert_eq!(second(&world, &key, &old), "verified, cosigned");
    good(&world.daemon(&["keys", "rotate", "ledger"]));
    world.start_gateway();
    world.stop_gateway();
    assert_ne!(std::fs::read(&file).unwrap(), std::fs::read(&old).unwrap());
    for cosigner in [&old, &file] {
        assert_eq!(second(&world, &key, cosigner), "verified, cosigned", "{}", cosigner.display());
    }
    let stranger = World::with().prepare();
    assert_eq!(second(&world, &key, &stranger.state().join("ledger-pq.vkey")), "verified, not cosigned");
}
