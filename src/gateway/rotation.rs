//! Replaces keys of a gateway that does not run: the ledger's, the TLS key, the identity.
//!
//! The new key is made beside the old one. What depends on it is brought over (the ledger by a record under a
//! head of both keys, the server's certificate by the private root), and only then does the provider put the new key
//! in place and destroy the old one. Each step can be repeated: a run that was broken off is finished by the next,
//! or by the gateway's start.

use std::path::Path;

use sallyport_audit::note;
use sallyport_audit::{Draft, Kind, Ledger, Outcome};
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
    let keys = {
        let config = config.clone();
        blocking(move || open_keys(&config).map_err(GatewayError::Keys)).await?
    };
    // Before anything is made: a gateway that runs holds the ledger, and this says so.
    let (ledger, ..) = open_ledger(config, &keys).await?;
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
        // The ledger's own rotation stands in the record that closes the group under both keys.
        if new.role != Role::Ledger {
            record(ledger, rotation_record(old.as_ref(), new)).await?;
        }
        if let Some(old) = old {
            record(ledger, key_record(Kind::KeyRetired, old).detail("private_key", "destroyed")).await?;
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

/// Finishes a handover of the ledger that was recorded, and broken off before the provider put the new key in place.
/// Blocks.
pub(super) fn finish_handover(config: &Config, keys: &Keys) -> Result<(), GatewayError> {
    let Some(next) = keys.successor(Role::Ledger)? else { return Ok(()) };
    let name = LedgerSigner::successor(keys, origin(config))?.verifier_key();
    let files = sallyport_audit::journal::Files::new(&config.ledger.directory);
    let last = sallyport_audit::journal::scan::last_note(&files).map_err(|source| GatewayError::File {
        what: "read",
        path: files.journal(),
        source,
    })?;
    let signed_by_next = last.0.is_some_and(|text| {
        let (note, key) = (note::SignedNote::parse(&text), note::PublicKey::parse(&name));
        matches!((note, key), (Ok(note), Ok(key)) if note.names(&key))
    });
    if signed_by_next {
        warn!("a rotation of the ledger's key was broken off after it was recorded; it is finished now");
        keys.promote(&next)?;
        if let Some(next) = keys.successor(Role::LedgerPq)? {
            keys.promote(&next)?;
        }
        publish(&config.state_directory, "ledger", &name)?;
        let cosigner = LedgerCosigner::new(keys, origin(config))?.verifier_key();
        publish(&config.state_directory, "ledger-pq", &cosigner)?;
    }
    Ok(())
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, SetupError>
where
    T: Send + 'static,
    E: Into<SetupError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| GatewayError::Stopped(error.to_string()))?.map_err(Into::into)
}
