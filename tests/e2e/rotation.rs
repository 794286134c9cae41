//! Keys that are replaced: the ledger goes on under the new one, and whoever trusts the old one can still check it.

use std::path::Path;
use std::sync::mpsc;

use serde_json::Value;

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
fn keys_of_a_gateway_that_runs_are_not_rotated_and_nothing_is_changed() {
    let world = World::start();
    let before = keys(&world, "list");
    for what in ["ledger", "tls", "identity"] {
        let refused = world.daemon(&["keys", "rotate", what]);
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(
            refused.err.contains("gateway-runs") && refused.err.contains("stop the gateway"),
            "{}",
            refused.err
        );
    }
    assert_eq!(keys(&world, "list"), before);
    assert!(world.records_of("key.rotated").is_empty());
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
