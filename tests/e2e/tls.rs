//! How connections are protected: what is agreed on, what is refused, and what the records say of it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::app::{App, RUNTIME, exchange};
use super::patience::eventually;
use super::process::Process;
use super::world::{World, finish};

impl World {
    /// What Debian's `openssl s_client` tells of one handshake.
    pub(crate) fn s_client(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port())]);
        command.arg("-CAfile").arg(self.root()).args(arguments).stdin(Stdio::null());
        let output = command.output().expect("openssl runs (Debian: apt-get install openssl)");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A free port that the gateway tells its readiness on, without TLS.
    pub(crate) fn health(&self) -> String {
        format!("127.0.0.1:{}", self.tcp_ports().1)
    }

    /// Starts the gateway, for clients that its TLS refuses: readiness is told beside it.
    pub(crate) fn start_beside_tls(&mut self) {
        // The last port of the block is taken out of the tunnels' range.
        let (first, last) = self.tcp_ports();
        self.set(&format!("tunnels.tcp_ports={first}-{}", last - 1));
        self.set(&format!("gateway.health_listen={}", self.health()));
        self.start_gateway();
    }
}

/// What gateway and Debian's curl agree on, who have no hybrid exchange in common. X25519 is no exchange that FIPS 140-3 approves.
pub(super) const CLASSICAL: &str = if cfg!(sallyport_fips) { "secp256r1" } else { "X25519" };

#[test]
fn the_records_of_sessions_and_tunnels_say_what_each_side_agreed_on() {
    let world = World::start();
    let _publisher = world.publish_demo("open-web");
    let app = App::that_answers_at_the_end(b"!".to_vec().into());
    let _tcp = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);

    // Debian's curl doesn't know hybrid groups; our own client does.
    assert_eq!(world.visit("open-web", "/").by(&world, "visitor").run().status, 200);
    let mut command = world.client("visitor");
    command.args(["connect", "open-db"]);
    let mut connect = Process::start("connect", world.directory(), &mut command);
    let address: std::net::SocketAddr = connect.line("where the tunnel is", |line| {
        line.split(' ').find_map(|word| word.trim_end_matches(';').parse().ok())
    });
    RUNTIME.block_on(async { exchange(tokio::net::TcpStream::connect(address).await.unwrap(), b"?").await });

    let classical = world.record("session.opened", |record| record["object"] == "tunnel:open-web");
    let hybrid = world.record("session.opened", |record| record["object"] == "tunnel:open-db");
    let said = |record: &serde_json::Value| {
        let of = |name: &str| record["details"][name].clone();
        (of("tls_version"), of("tls_group"), of("tls_hybrid"), of("tunnel_post_quantum"))
    };
    assert_eq!(said(&classical), ("1.3".into(), CLASSICAL.into(), false.into(), true.into()));
    assert_eq!(said(&hybrid), ("1.3".into(), "X25519MLKEM768".into(), true.into(), true.into()));
    for kind in ["tunnel.registered", "session.opened"] {
        let record = world.record(kind, |_| true);
        assert!(record["details"]["tls_suite"].as_str().unwrap().starts_with("TLS13_"), "{record}");
        let suite = record["details"]["tunnel_suite"].as_str().unwrap().to_owned();
        assert!(suite.contains("mldsa65"), "{suite}");
    }
    assert_eq!(world.record("tunnel.registered", |_| true)["details"]["tls_hybrid"], true);
}

#[test]
fn a_client_without_the_hybrid_exchange_is_refused_where_it_is_required_and_that_is_recorded() {
    let mut world = World::with().set("tls.post_quantum=required").prepare();
    world.start_beside_tls();
    let refused = world.visit("open-demo", "/").run();
    assert_eq!(refused.status, 0, "{}", refused.text());
    let told = world.s_client(&["-groups", "X25519:P-256"]);
    assert!(told.contains("handshake failure") && !told.contains("BEGIN CERTIFICATE"), "{told}");

    // Our own client knows it.
    let _publisher = world.publish_demo("open-demo");
    let record = world.record("connection.refused", |_| true);
    assert_eq!(
        (&record["result"], &record["details"]["reason"]),
        (&"denied".into(), &"tls-key-exchange".into())
    );
    assert!(record["values"]["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    let loaded = world.record("config.loaded", |_| true);
    assert_eq!(loaded["details"]["tls_post_quantum"], "required");
    assert_eq!(world.record("tunnel.registered", |_| true)["details"]["tls_group"], "X25519MLKEM768");
}

/// One handshake by a stock OpenSSL that is not Debian's: 3.5 or newer, as Python's `cryptography` bundles it.
pub(crate) fn stock_client(world: &World) -> serde_json::Value {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = home.join("target/stock-client/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/prepare test", python.display());
    let mut command = Command::new(python);
    command.arg(home.join("tests/tools/stock_client.py"));
    command.args([&world.port().to_string(), "localhost"]).arg(world.root());
    let run = finish(&mut command);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    serde_json::from_str(&run.out).unwrap()
}

#[test]
fn a_stock_openssl_agrees_on_the_hybrid_exchange_with_a_gateway_whose_key_is_in_the_token() {
    let world = World::start();
    let keys = world.daemon(&["keys", "list", "--json"]);
    let keys: serde_json::Value = serde_json::from_str(&keys.out).unwrap();
    let key = keys.as_array().unwrap().iter().find(|key| key["role"] == "tls").unwrap();
    assert_eq!(
        (&key["home"]["kind"], &key["attestation"]["extractable"]),
        (&"token".into(), &false.into()),
        "{key}"
    );

    let told = stock_client(&world);
    assert_eq!(told["version"], "TLSv1.3", "{told}");
    assert_eq!(told["group"], "X25519MLKEM768", "{told}");
    assert_eq!(told["status"], "HTTP/1.1 200 OK", "{told}");

    // And where nothing else is taken.
    let mut strict = World::with().set("tls.post_quantum=required").prepare();
    strict.start_beside_tls();
    assert_eq!(stock_client(&strict)["group"], "X25519MLKEM768");
}

#[test]
fn a_peer_that_is_refused_again_and_again_does_not_fill_the_ledger() {
    let mut world = World::with().set("tls.post_quantum=required").prepare();
    world.start_beside_tls();
    for _ in 0..20 {
        assert_eq!(world.visit("open-demo", "/").run().status, 0);
    }
    let recorded = world.records_of("connection.refused").len();
    assert!((1..=6).contains(&recorded), "{recorded} records of 20 refusals");
}

#[test]
fn tls_1_2_is_spoken_only_where_it_was_configured_and_the_records_say_so() {
    let mut world = World::start();
    let old =
        |world: &World| world.visit("open-demo", "/").by(world, "visitor").args(&["--tls-max", "1.2"]).run();
    assert_eq!(old(&world).status, 0);
    assert_eq!(world.record("connection.refused", |_| true)["details"]["reason"], "tls-version");
    assert_eq!(world.record("config.loaded", |_| true)["details"]["tls_minimum"], "1.3");
    world.stop_gateway();

    world.set("tls.minimum=1.2");
    world.start_gateway();
    assert!(world.gateway_log().contains("TLS 1.2 IS SPOKEN HERE"), "{}", world.gateway_log());
    world.record("config.loaded", |record| record["details"]["tls_minimum"] == "1.2");
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(old(&world).status, 200);
    let opened = world.record("session.opened", |_| true);
    assert_eq!(
        (&opened["details"]["tls_version"], &opened["details"]["tls_hybrid"]),
        (&"1.2".into(), &false.into())
    );
    // Forward-secret AEAD suites alone.
    for weak in ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"] {
        let told = world.s_client(&["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]);
        assert!(told.contains("Cipher is (NONE)"), "{weak}: {told}");
    }
    let told = world.s_client(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]);
    assert!(told.contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"), "{told}");
    let told = world.s_client(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(told.contains("Cipher is (NONE)"), "{told}");
}

#[test]
fn a_name_of_its_own_gets_its_own_certificate_and_an_unknown_name_gets_the_main_one() {
    let mut world = World::with().prepare();
    let (chain, key) = (world.path("shop.pem"), world.path("shop.key"));
    let own = rcgen::generate_simple_self_signed(vec![
        "shop.example.test".to_owned(),
        "*.shop.example.test".to_owned(),
    ]);
    let own = own.unwrap();
    std::fs::write(&chain, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    world.configure(&format!(
        "[[tls.certificate]]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
        chain.display(),
        key.display()
    ));
    let refused = world.refuses_to_start(&[]);
    assert!(refused.err.contains("others may read it"), "{}", refused.err);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    world.start_gateway();
    assert!(world.gateway_log().contains("A TLS KEY LIES IN A FILE"), "{}", world.gateway_log());
    let loaded = world.record("config.loaded", |_| true);
    assert_eq!(loaded["details"]["tls_key_files"][0], key.to_string_lossy().as_ref());

    let shown = |name: &str| {
        let told = world.s_client(&["-servername", name]);
        let line = told.lines().find(|line| line.starts_with("subject=")).unwrap_or_default();
        line.to_owned()
    };
    for name in ["shop.example.test", "cart.shop.example.test", "SHOP.example.test"] {
        assert!(shown(name).contains("rcgen self signed cert"), "{name}: {}", shown(name));
    }
    for name in ["localhost", "elsewhere.example.test", "a.b.shop.example.test"] {
        assert!(shown(name).contains("Sallyport gateway"), "{name}: {}", shown(name));
    }
}

#[test]
fn a_certificate_that_is_not_for_its_key_is_refused_at_start() {
    let world = World::with().prepare();
    let (chain, key) = (world.path("shop.pem"), world.path("shop.key"));
    let make = || rcgen::generate_simple_self_signed(vec!["shop.example.test".to_owned()]).unwrap();
    std::fs::write(&chain, make().cert.pem()).unwrap();
    std::fs::write(&key, make().signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let block = format!("[[tls.certificate]]\ncertificate_file = \"{}\"\n", chain.display());
    world.configure(&format!("{block}key_file = \"{}\"\n", key.display()));
    let refused = world.refuses_to_start(&[]);
    assert!(refused.err.contains("is not for the key in"), "{}", refused.err);
}

#[test]
fn the_gateway_renews_its_own_certificate_while_it_serves_and_drops_no_connection() {
    let mut world = World::with().prepare();
    let file = world.state().join("tls/server.pem");
    let before = std::fs::read_to_string(&file).unwrap();
    world.start_gateway();
    let publisher = world.publish_demo("open-demo");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "90 days are not due");
    drop(publisher);
    world.stop_gateway();

    // Issued for 90 days, and 90 are less than a third of 300.
    world.set("tls.leaf_days=300");
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    eventually("the certificate is renewed", || {
        (std::fs::read_to_string(&file).unwrap() != before).then_some(())
    });
    let (renewed, shown) = (world.path("renewed.pem"), std::fs::read_to_string(&file).unwrap());
    eventually("the new certificate is shown", || {
        let told = world.s_client(&["-servername", "localhost"]);
        let served =
            told.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END")?.0.trim().to_owned();
        shown.replace('\r', "").contains(&served).then_some(())
    });
    std::fs::write(&renewed, &shown).unwrap();
    let lasts = Command::new("openssl")
        .args(["x509", "-noout", "-checkend", &(200 * 86_400).to_string(), "-in", &renewed.to_string_lossy()])
        .output()
        .unwrap();
    assert!(lasts.status.success(), "it lasts as long as tls.leaf_days says");
    let ticks = |download: &Process| download.out().lines().filter(|line| line.starts_with("tick")).count();
    let so_far = ticks(&download);
    eventually("another tick", || (ticks(&download) > so_far).then_some(()));
    assert!(download.ended().is_none(), "the open connection goes on");
}

#[test]
fn settings_that_contradict_each_other_are_told_together() {
    let world = World::with().prepare();
    let refused = world.refuses_to_start(&[
        "tls.minimum=1.2",
        "tls.post_quantum=required",
        "tls.clients_file=tls/clients.pem",
        "tls.leaf_days=0",
    ]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    for key in ["tls.minimum", "tls.clients_file", "tls.leaf_days"] {
        assert!(refused.err.contains(key), "{key}: {}", refused.err);
    }
}
