//! Replaces keys of a gateway that does not run: the ledger's, the TLS key, the identity.
//!
//! The new key is made beside the old one. What depends on it is brought over (the ledger by a record under a
//! head of both keys, the server's certificate by the private root), and only then does the provider put the new key
//! in place and destroy the old one. Each step can be repeated: a run that was broken off is finished by the next,
//! or by the gateway's start.

use std::path::Path;

use sallyport_audit::note;
use sallyport_audit::{Draft, Kind, Ledger, LedgerError, Outcome};
use sallyport_hsm::{KeyInfo, Keys, Role};
use tracing::warn;

use super::adapters::{LedgerCosigner, LedgerSigner};
use super::config::Config;
use super::parts::{GatewayError, key_record, open_keys, open_ledger, origin};
use super::setup::{self, SetupError};
use crate::secret_file;

/// What can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// Roles `ledger` and `ledger-pq`.
    Ledger,
    /// Role `tls`, with a new certificate.
    Tls,
    /// Roles `identity` and `identity-pq`.
    Identity,
}

impl Rotated {
    fn roles(self) -> &'static [Role] {
        match self {
            Self::Ledger => &[Role::Ledger, Role::LedgerPq],
            Self::Tls => &[Role::Tls],
            Self::Identity => &[Role::Identity, Role::IdentityPq],
        }
    }
}

/// Replaces keys, and says what was done.
///
/// # Errors
///
/// If the gateway runs (it holds the ledger), or a step fails; what was begun is finished by the next attempt.
pub async fn rotate(config: &Config, what: Rotated) -> Result<Vec<String>, SetupError> {
    if what == Rotated::Tls {
        let config = config.clone();
        blocking(move || setup::only_of_our_root(&config)).await?;
    }
    let keys = {
        let config = config.clone();
        blocking(move || open_keys(&config).map_err(GatewayError::Keys)).await?
    };
    // Before anything is made: a gateway that runs holds the ledger, and this says so.
    let (ledger, ..) = open_ledger(config, &keys).await.map_err(|error| match error {
        GatewayError::Ledger(LedgerError::Locked { directory }) => SetupError::GatewayRuns { directory },
        error => error.into(),
    })?;
    let done = replace(config, &keys, &ledger, what).await;
    let closed = ledger.close().await.map_err(|error| SetupError::from(GatewayError::Ledger(error)));
    let steps = done?;
    closed.map(|()| steps)
}

async fn replace(
    config: &Config,
    keys: &Keys,
    ledger: &Ledger,
    what: Rotated,
) -> Result<Vec<String>, SetupError> {
    let mut pairs = Vec::new();
    for role in what.roles() {
        let (keys, role) = (keys.clone(), *role);
        pairs.push(
            blocking(move || {
                let old = keys.inventory()?.into_iter().find(|key| key.role == role);
                let new = keys.prepare_successor(role)?;
                Ok::<_, GatewayError>((old, new))
            })
            .await?,
        );
    }
    for (_, new) in &pairs {
        record(ledger, key_record(Kind::KeyCreated, new)).await?;
    }
    let mut steps = Vec::new();
    if what == Rotated::Ledger {
        steps.push(hand_over(config, keys, ledger).await?);
    }
    for (old, new) in &pairs {
        let (keys, wanted) = (keys.clone(), new.clone());
        blocking(move || keys.promote(&wanted).map_err(GatewayError::Keys)).await?;
        for draft in after(old.as_ref(), new) {
            record(ledger, draft).await?;
        }
        steps.push(format!("the key `{}` ({}) is a new one, in {}", new.role, new.algorithm, new.home));
    }
    let (config, keys) = (config.clone(), keys.clone());
    match what {
        Rotated::Ledger => {
            let cosigner = blocking(move || {
                let key = LedgerCosigner::new(&keys, origin(&config))?.verifier_key();
                publish(&config.state_directory, "ledger-pq", &key)
            });
            steps.push(cosigner.await?);
        }
        Rotated::Tls => steps.extend(blocking(move || setup::certificates(&config, &keys)).await?),
        Rotated::Identity => {
            steps.push("the root certifies the new identity when the gateway starts".to_owned());
        }
    }
    Ok(steps)
}

/// Has the ledger signed by the key that waits, from a head on that both have signed.
async fn hand_over(config: &Config, keys: &Keys, ledger: &Ledger) -> Result<String, SetupError> {
    let signer = {
        let (keys, origin) = (keys.clone(), origin(config));
        blocking(move || LedgerSigner::successor(&keys, origin).map_err(GatewayError::Keys)).await?
    };
    let key = signer.verifier_key();
    ledger.hand_over(Box::new(signer)).await.map_err(GatewayError::NotRecorded)?;
    publish(&config.state_directory, "ledger", &key).map_err(SetupError::from)
}

/// Puts a new public key where auditors are told to take it from, and keeps the old one for old proofs.
fn publish(state: &Path, name: &str, key: &str) -> Result<String, GatewayError> {
    let (file, retired) = (state.join(format!("{name}.vkey")), state.join(format!("{name}-retired.vkey")));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| GatewayError::File { what: "write", path, source }
    };
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    if old.trim() != key {
        let mut all = std::fs::read_to_string(&retired).unwrap_or_default();
        all.push_str(&old);
        secret_file::write(&retired, all.as_bytes()).map_err(at(&retired))?;
        secret_file::write(&file, format!("{key}\n").as_bytes()).map_err(at(&file))?;
    }
    Ok(format!(
        "give auditors {}; {} holds the keys before it, for old proofs",
        file.display(),
        retired.display()
    ))
}

fn rotation_record(old: Option<&KeyInfo>, new: &KeyInfo) -> Draft {
    let draft = Draft::new(Kind::KeyRotated, Outcome::Success)
        .object(format!("key:{}", new.role))
        .detail("role", new.role.name());
    let fingerprint = |key: &KeyInfo| key.fingerprint.clone().unwrap_or_default();
    let draft = draft.detail("new", fingerprint(new));
    old.into_iter().fold(draft, |draft, old| draft.detail("old", fingerprint(old)))
}

async fn record(ledger: &Ledger, draft: Draft) -> Result<(), SetupError> {
    ledger.append(draft).await.map(drop).map_err(|error| GatewayError::NotRecorded(error).into())
}

/// Finishes a rotation of the ledger's keys that was recorded and then broken off, and gives what is still to be
/// recorded of it. Blocks.
///
/// `ledger` is promoted first, so a cosigning key that waits alone shows that the handover is behind it.
pub(super) fn finish_handover(config: &Config, keys: &Keys) -> Result<Vec<Draft>, GatewayError> {
    let (next, next_pq) = (keys.successor(Role::Ledger)?, keys.successor(Role::LedgerPq)?);
    let handed_over = match &next {
        Some(_) => signed_the_last_head(config, &LedgerSigner::successor(keys, origin(config))?)?,
        None => next_pq.is_some(),
    };
    let mut told = Vec::new();
    if handed_over {
        warn!("a rotation of the ledger's keys was broken off after it was recorded; it is finished now");
        for new in [next, next_pq].into_iter().flatten() {
            let old = keys.inventory()?.into_iter().find(|key| key.role == new.role);
            keys.promote(&new)?;
            told.extend(after(old.as_ref(), &new));
        }
    }
    // Files that setup wrote, and that a rotation broken off may have left as they were.
    if config.state_directory.join("ledger.vkey").exists() {
        let key = LedgerSigner::new(keys, origin(config))?.verifier_key();
        publish(&config.state_directory, "ledger", &key)?;
        let key = LedgerCosigner::new(keys, origin(config))?.verifier_key();
        publish(&config.state_directory, "ledger-pq", &key)?;
    }
    Ok(told)
}

/// What is recorded when `new` is in the place of `old`.
fn after(old: Option<&KeyInfo>, new: &KeyInfo) -> Vec<Draft> {
    // The ledger's own rotation stands in the record that closes the group under both keys.
    let rotated = (new.role != Role::Ledger).then(|| rotation_record(old, new));
    let retired = old.map(|old| key_record(Kind::KeyRetired, old).detail("private_key", "destroyed"));
    rotated.into_iter().chain(retired).collect()
}

fn signed_the_last_head(config: &Config, next: &LedgerSigner) -> Result<bool, GatewayError> {
    let files = sallyport_audit::journal::Files::new(&config.ledger.directory);
    let last = sallyport_audit::journal::scan::last_note(&files).map_err(|source| GatewayError::File {
        what: "read",
        path: files.journal(),
        source,
    })?;
    Ok(last.0.is_some_and(|text| {
        let (note, key) = (note::SignedNote::parse(&text), note::PublicKey::parse(&next.verifier_key()));
        matches!((note, key), (Ok(note), Ok(key)) if note.names(&key))
    }))
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, SetupError>
where
    T: Send + 'static,
    E: Into<SetupError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| GatewayError::Stopped(error.to_string()))?.map_err(Into::into)
}
