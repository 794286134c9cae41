//! Rotations that are broken off at each step, with keys in a sealed file and the real ledger.

use std::path::PathBuf;

use jiff::SignedDuration;
use sallyport_hsm::PublicKey;

use super::*;
use crate::access::{Scope, Subject, Tenant};
use crate::gateway::config::Config;
use crate::gateway::setup::{CONFIG_FILE, Wishes, issue_server_certificate, set_up};

struct Gateway {
    folder: tempfile::TempDir,
    config: Config,
}

impl Gateway {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes {
            state: folder.path().join("state"),
            module: None,
            domain: "gate.example".to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            tcp_ports: "2-3".to_owned(),
            people: vec!["user:admin".to_owned()],
        };
        set_up(&wishes).await.unwrap();
        let config = Config::load(&wishes.state.join(CONFIG_FILE), std::iter::empty(), &[]).unwrap();
        Self { folder, config }
    }

    async fn keys(&self) -> Keys {
        let config = self.config.clone();
        blocking(move || open_keys(&config).map_err(GatewayError::Keys)).await.unwrap()
    }

    /// As a start does it.
    async fn start(&self) -> Parts {
        Parts::open(&self.config, self.keys().await, &[]).await.unwrap()
    }

    async fn stop(parts: Parts) {
        parts.access.close().await;
        parts.ledger.close().await.unwrap();
    }

    async fn rotate(&self, what: Rotated) -> Result<Vec<String>, SetupError> {
        rotate(&self.config, Order { what, tokens_end: false, by: By::Operator }).await
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("state/tokens/admin.token")).unwrap()
    }

    fn certificate(&self) -> PathBuf {
        self.config.tls.certificate_file.clone()
    }
}

/// Prepares a key, as a rotation does that is killed right after.
async fn prepared(keys: &Keys, role: Role) -> KeyInfo {
    let keys = keys.clone();
    blocking(move || keys.prepare_successor(role).map_err(GatewayError::Keys)).await.unwrap()
}

async fn public(keys: &Keys, role: Role) -> PublicKey {
    let keys = keys.clone();
    blocking(move || keys.public_key(role).map_err(GatewayError::Keys)).await.unwrap()
}

async fn waits(keys: &Keys, role: Role) -> bool {
    let keys = keys.clone();
    blocking(move || keys.successor(role).map_err(GatewayError::Keys)).await.unwrap().is_some()
}

fn records(parts: &Parts, kind: Kind) -> Vec<(String, serde_json::Map<String, serde_json::Value>)> {
    let all = parts.ledger.reader().range(sallyport_audit::Seq::ZERO, 10_000).unwrap();
    let of_kind = all.into_iter().filter(|entry| entry.record.kind == kind);
    of_kind
        .map(|entry| (entry.record.details["role"].as_str().unwrap().to_owned(), entry.record.details))
        .collect()
}

const SIGNING: [Role; 6] =
    [Role::Tls, Role::Identity, Role::IdentityPq, Role::Ledger, Role::LedgerPq, Role::TokenSigning];

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_killed_before_the_step_that_decides_has_changed_nothing_and_the_next_goes_on_with_its_key()
 {
    let gateway = Gateway::new().await;
    let keys = gateway.keys().await;
    let mut before = Vec::new();
    for role in SIGNING {
        before.push(public(&keys, role).await);
    }
    let mut made = Vec::new();
    // The ledger's two only together: a cosigning key alone shows that the handover is behind it.
    for role in SIGNING {
        made.push(prepared(&keys, role).await);
    }
    drop(keys);
    let parts = gateway.start().await;
    for (role, before) in SIGNING.into_iter().zip(&before) {
        assert_eq!(public(&parts.keys, role).await, *before, "{role}");
        assert!(waits(&parts.keys, role).await, "{role}");
    }
    assert!(parts.access.authenticate(gateway.token().trim(), clock()).is_ok());
    assert!(records(&parts, Kind::KeyRotated).is_empty());
    Gateway::stop(parts).await;

    for what in [Rotated::Tls, Rotated::Identity, Rotated::Ledger, Rotated::TokenSigning] {
        gateway.rotate(what).await.unwrap();
    }
    let parts = gateway.start().await;
    for (role, made) in SIGNING.into_iter().zip(made) {
        assert_eq!(Some(public(&parts.keys, role).await.fingerprint()), made.fingerprint, "{role}");
        assert!(!waits(&parts.keys, role).await, "{role}");
    }
    assert!(parts.access.authenticate(gateway.token().trim(), clock()).is_ok(), "old tokens stand");
    let told: Vec<_> = records(&parts, Kind::KeyRotated).into_iter().map(|(role, _)| role).collect();
    assert_eq!(told, ["tls", "identity", "ledger", "ledger-pq", "token-signing"]);
    Gateway::stop(parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_tls_key_killed_behind_its_certificate_is_finished_at_the_next_start() {
    let gateway = Gateway::new().await;
    let keys = gateway.keys().await;
    let made = prepared(&keys, Role::Tls).await;
    let (config, provider) = (gateway.config.clone(), keys.clone());
    blocking(move || {
        let key = provider.waiting(Role::Tls).map_err(GatewayError::Keys)?;
        issue_server_certificate(&config, &provider, key.public())
    })
    .await
    .unwrap();
    drop(keys);
    let leaf = std::fs::read(gateway.certificate()).unwrap();

    let parts = gateway.start().await;
    assert_eq!(Some(public(&parts.keys, Role::Tls).await.fingerprint()), made.fingerprint);
    assert!(!waits(&parts.keys, Role::Tls).await);
    assert_eq!(std::fs::read(gateway.certificate()).unwrap(), leaf);
    let (config, keys) = (gateway.config.clone(), parts.keys.clone());
    let open = move || {
        let tls = &config.tls;
        Certificates::open(&keys, tls, &config.gateway.domain).map(drop).map_err(GatewayError::Tls)
    };
    blocking(open).await.unwrap();
    let told = records(&parts, Kind::KeyRotated);
    assert_eq!((told.len(), told[0].1["finished"].as_str()), (1, Some("at start")));
    assert_eq!(records(&parts, Kind::KeyRetired).len(), 1);
    Gateway::stop(parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_killed_behind_the_record_that_decides_is_finished_at_the_next_start() {
    let gateway = Gateway::new().await;
    let parts = gateway.start().await;
    let (ed25519, ml_dsa) =
        (prepared(&parts.keys, Role::Identity).await, prepared(&parts.keys, Role::IdentityPq).await);
    let record = rotated(None, &ed25519).detail("new_pq", name_of(&ml_dsa));
    parts.ledger.append(record).await.unwrap();
    let signing = prepared(&parts.keys, Role::TokenSigning).await;
    let keys = parts.keys.clone();
    let next = blocking(move || keys.waiting(Role::TokenSigning).map_err(GatewayError::Keys)).await.unwrap();
    let next = Arc::new(crate::gateway::adapters::ProviderTokenKeys::with(next).unwrap());
    parts.access.replace_token_key(Caller::Operator, next, true, None).await.unwrap();
    let subject: Subject = "user:vic".parse().unwrap();
    let tenant: Tenant = gateway.config.access.tenant.parse().unwrap();
    let day = SignedDuration::from_hours(24);
    let (_, of_the_new) =
        parts.access.issue_token(Caller::Operator, subject, tenant, day, Scope::default()).await.unwrap();
    Gateway::stop(parts).await;

    let parts = gateway.start().await;
    for made in [&ed25519, &ml_dsa, &signing] {
        assert_eq!(
            Some(public(&parts.keys, made.role).await.fingerprint()),
            made.fingerprint,
            "{}",
            made.role
        );
        assert!(!waits(&parts.keys, made.role).await);
    }
    for token in [gateway.token().trim(), &of_the_new] {
        assert!(parts.access.authenticate(token, clock()).is_ok());
    }
    let gone: Vec<_> = records(&parts, Kind::KeyRetired).into_iter().map(|(role, _)| role).collect();
    assert_eq!(gone, ["identity", "identity-pq", "token-signing"]);
    Gateway::stop(parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_sealing_key_that_stops_midway_leaves_all_readable_and_is_finished_at_a_start() {
    let gateway = Gateway::new().await;
    let parts = gateway.start().await;
    let before = parts.keys.inventory().unwrap().into_iter().find(|key| key.role == Role::Kek).unwrap().id;
    Gateway::stop(parts).await;
    // A data key that nothing opens: what the others sealed must not suffer from it.
    let damaged = gateway.config.ledger.directory.join(format!("personal/{}.key", "f".repeat(32)));
    let some = std::fs::read_dir(gateway.config.ledger.directory.join("personal")).unwrap();
    let some = some.map(|entry| entry.unwrap().path());
    let good = some.into_iter().find(|path| path.extension().is_some_and(|found| found == "key")).unwrap();
    std::fs::copy(&good, &damaged).unwrap();

    let error = gateway.rotate(Rotated::Kek).await.unwrap_err();
    let told = format!("{error:?}");
    assert!(told.contains(damaged.to_str().unwrap()), "{told}");
    let names = |parts: &Parts| {
        let reader = parts.ledger.reader();
        let all = reader.range(sallyport_audit::Seq::ZERO, 10_000).unwrap();
        let target = |entry: &sallyport_audit::Entry| {
            entry.personal.text(sallyport_audit::Personal::Target).map(str::to_owned)
        };
        all.iter().filter_map(target).collect::<Vec<_>>()
    };
    let parts = gateway.start().await;
    assert!(waits(&parts.keys, Role::Kek).await, "both stay");
    assert_eq!(names(&parts), ["user:admin"]);
    Gateway::stop(parts).await;

    std::fs::remove_file(&damaged).unwrap();
    let parts = gateway.start().await;
    assert!(!waits(&parts.keys, Role::Kek).await);
    let now = parts.keys.inventory().unwrap().into_iter().find(|key| key.role == Role::Kek).unwrap().id;
    assert_ne!(now, before);
    assert_eq!(names(&parts), ["user:admin"]);
    let told = records(&parts, Kind::KeyRotated);
    assert_eq!((told.len(), told[0].1["old"].as_str()), (1, Some(before.as_str())));
    Gateway::stop(parts).await;
    gateway.rotate(Rotated::Kek).await.unwrap();
    let parts = gateway.start().await;
    assert_eq!(names(&parts), ["user:admin"]);
    Gateway::stop(parts).await;
}

fn clock() -> jiff::Timestamp {
    crate::clock::now()
}
