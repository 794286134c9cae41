//! How connections were protected, as policy demands it and as reports count it.

use serde_json::Value;
use tokio::net::TcpStream;

use super::app::{App, RUNTIME, exchange};
use super::tcp::connect;
use super::tls::CLASSICAL;
use super::world::World;

const CHACHA: &str = "x25519-mlkem768/ed25519-mldsa65/chacha20poly1305";

/// A publisher may publish `strict-…`, and a visitor use `open-strict`, only over the suite of this name.
fn demanding(suite: &str) -> World {
    let world = World::with()
        .policy("p, role:publisher, main, tunnel:strict-*, publish, deny, -, !wanted")
        .policy("p, role:visitor, main, tunnel:open-strict, connect, deny, -, !wanted")
        .prepare();
    let conditions =
        format!("[condition.wanted]\ntunnel = \"post-quantum\"\ntunnel_suites = [\"{suite}\"]\n");
    std::fs::write(world.state().join("policies/conditions.toml"), conditions).unwrap();
    world
}

//= A2.7: policy can demand a suite of the tunnel's own handshake
#[test]
fn policy_demands_the_suite_of_the_tunnels_own_handshake_of_publishers_and_of_visitors() {
    let mut world = demanding(CHACHA);
    // This machine's clients offer the other suite first, or the gateway takes that alone.
    world.set("tunnels.suites=aes256gcm");
    world.start_gateway();
    let mut refused = world.try_to_publish("publisher", "strict-web", &["demo"]);
    assert!(!refused.wait().success());
    assert!(refused.err().contains("may not publish `strict-web`"), "{}", refused.err());
    let record = world.record("tunnel.refused", |record| record["object"] == "tunnel:strict-web");
    assert_eq!(record["details"]["reason"], "not-allowed");
    let publisher = world.publish_demo("open-strict");
    let visit = world.visit("open-strict", "/").by(&world, "visitor").run();
    assert_eq!(visit.status, 403, "{}", visit.text());
    let denied = world.record("access.decided", |record| record["object"] == "tunnel:open-strict");
    assert_eq!(denied["result"], "denied", "{denied}");
    drop(publisher);
    world.stop_gateway();

    world.set("tunnels.suites=chacha20poly1305");
    world.start_gateway();
    let _strict = world.publish_demo("strict-web");
    let registered = world.record("tunnel.registered", |record| record["object"] == "tunnel:strict-web");
    assert_eq!(registered["details"]["tunnel_suite"], CHACHA);
    let _open = world.publish_demo("open-strict");
    assert_eq!(world.visit("open-strict", "/").by(&world, "visitor").run().status, 200);
    // The same question, without anybody who asks it.
    let explained = |suite: &[&str]| {
        let question = ["policy", "explain", "user:visitor", "connect", "open-strict"];
        world.ask("admin", &[&question[..], suite].concat())["answer"].clone()
    };
    assert_eq!(explained(&["--tunnel-suite", CHACHA]), "allowed");
    assert_eq!(explained(&[]), "denied", "what isn't known never helps");
}

/// The report of a framework over this world's ledger.
fn report(world: &World, framework: &str, more: &[&str]) -> String {
    let (ledger, key) = (world.state().join("ledger"), world.state().join("ledger.vkey"));
    let (ledger, key) = (ledger.to_string_lossy(), key.to_string_lossy());
    let arguments =
        ["report", framework, &ledger, "--key-file", &key, "--from", "2020-01-01", "--to", "2999-01-01"];
    let run = world.auditctl(&[&arguments[..], more].concat());
    assert_eq!(run.code, 0, "{framework}: {}{}", run.out, run.err);
    run.out
}

//= issue 4: a report can count hybrid sessions, and lists the keys with their homes
#[test]
fn every_frameworks_report_lists_the_keys_and_counts_the_sessions_that_were_hybrid() {
    let mut world = World::start();
    let publisher = world.publish_demo("open-demo");
    // Debian's curl doesn't know hybrid groups.
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    let rotated = world.cli("admin", &["keys", "rotate", "tls", "--reason", "to see it in the report"]);
    assert_eq!(rotated.code, 0, "{}", rotated.err);
    drop(publisher);
    world.stop_gateway();

    for framework in ["soc2", "iso27001", "hipaa", "pci", "nist"] {
        let json: Value = serde_json::from_str(&report(&world, framework, &["--json"])).unwrap();
        let crypto = &json["cryptography"];
        assert_eq!(crypto["sessions"]["sentence"], "0 of 1 session hybrid post-quantum; 1 not", "{crypto}");
        assert_eq!(crypto["tunnels"]["sentence"], "1 of 1 tunnel registration hybrid post-quantum");
        assert_eq!(crypto["sessions"]["ways"][0]["tls"], format!("TLS 1.3, {CLASSICAL}"));
        let keys = crypto["inventory"]["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 8, "{keys:?}");
        let key = |role: &str| keys.iter().find(|key| key["role"] == role).unwrap();
        assert!(key("tls")["home"].as_str().unwrap().starts_with("token sallyport (serial "));
        assert!(
            key("tls")["extractable"].as_str().unwrap().starts_with("no, as the token attests; never was")
        );
        assert_eq!(key("ledger-pq")["home"], "file, sealed by a key in the token");
        assert!(keys.iter().all(|key| key["state"] == "in_use"), "{keys:?}");
        assert!(key("ledger")["due"].is_string() && key("ledger")["created"].is_string(), "{keys:?}");
        assert_eq!(crypto["changes"]["rotations"], 1);
        let rotation = crypto["changes"]["rows"].as_array().unwrap();
        let rotation = rotation.iter().find(|change| change["kind"] == "key.rotated").unwrap();
        assert_eq!(
            (&rotation["role"], &rotation["by"]),
            (&"tls".into(), &"a person, named in the record".into())
        );
        assert_eq!(rotation["new"], key("tls")["name"]);

        let text = report(&world, framework, &[]);
        assert!(text.contains("Sessions: 0 of 1 session hybrid post-quantum; 1 not"), "{text}");
        assert!(text.contains("Keys:     8 keys; 1 rotation in the period"), "{text}");
        let page = world.path("report.html");
        report(&world, framework, &["--html", &page.to_string_lossy()]);
        let page = std::fs::read_to_string(page).unwrap();
        for part in ["0 of 1 session hybrid post-quantum; 1 not", "no, as the token attests", "key.rotated"] {
            assert!(page.contains(part), "{framework}: {part}");
        }
    }
}

//= issue 4: "100 % of sessions hybrid"
#[test]
fn all_sessions_are_counted_as_hybrid_only_where_both_sides_of_each_were() {
    let mut world = World::with().set("tls.post_quantum=required").prepare();
    world.start_beside_tls();
    let app = App::that_answers_at_the_end(b"!".to_vec().into());
    let publisher = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);
    let (_connect, address) = connect(&world, "visitor", "open-db");
    for _ in 0..3 {
        RUNTIME.block_on(async { exchange(TcpStream::connect(address).await.unwrap(), b"?").await });
    }
    drop(publisher);
    world.stop_gateway();
    let json: Value = serde_json::from_str(&report(&world, "soc2", &["--json"])).unwrap();
    let sessions = &json["cryptography"]["sessions"];
    assert_eq!(sessions["sentence"], "3 of 3 sessions hybrid post-quantum", "{sessions}");
    assert_eq!(sessions["others"], serde_json::json!([]));
}

/// What a stock OpenSSL that knows ML-DSA is shown, and whether it is served.
fn stock(world: &World) -> (String, String) {
    let told = super::tls::stock_client(world);
    (
        told["certificate_key"].as_str().unwrap_or_default().to_owned(),
        told["status"].as_str().unwrap_or_default().to_owned(),
    )
}

//= issue 4: ML-DSA certificates as an option
#[test]
fn whoever_knows_ml_dsa_is_shown_a_certificate_with_such_a_key_and_all_others_the_first() {
    let mut world = World::with().prepare();
    let ok = "HTTP/1.1 200 OK".to_owned();
    let file = world.state().join("sallyport.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let asked =
        text.replace("#certificate_algorithm = \"ecdsa-p256\"", "certificate_algorithm = \"ml-dsa-65\"");
    assert_ne!(text, asked);
    std::fs::write(&file, asked).unwrap();
    let refused = world.refuses_to_start(&[]);
    assert!(refused.err.contains("tls-pq"), "the key isn't made by a start: {}", refused.err);
    assert_eq!(world.init(&[]).code, 0);
    world.start_gateway();
    assert_eq!(stock(&world), ("MLDSA65PublicKey".to_owned(), ok.clone()));
    // Debian's OpenSSL knows no ML-DSA; our own programs do.
    assert!(world.s_client(&[]).contains("Peer signature type: ECDSA"), "{}", world.s_client(&[]));
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    assert_eq!(
        world.record("config.loaded", |_| true)["details"]["tls_certificates"],
        "ecdsa-p256, ml-dsa-65"
    );
    let key = world.record("key.loaded", |record| record["details"]["role"] == "tls-pq");
    assert_eq!(key["details"]["home"]["kind"], "wrapped-by-token", "{key}");

    let rotated = world.cli("admin", &["keys", "rotate", "tls", "--reason", "both of them"]);
    assert_eq!(rotated.code, 0, "{}", rotated.err);
    world.record("key.retired", |record| record["details"]["role"] == "tls-pq");
    assert_eq!(stock(&world), ("MLDSA65PublicKey".to_owned(), ok));
}
