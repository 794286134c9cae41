//! The keys that sign the ledger's heads: handed over under a head of both, while records keep coming.

use std::path::Path;

use sallyport_audit::note;
use sallyport_audit::signers::CosignerHandover;
use sallyport_audit::{Cosigner as _, Draft};
use sallyport_hsm::{Keys, Role};
use tracing::warn;

use super::{By, Rotation, blocking, retired};
use crate::gateway::adapters::{LedgerCosigner, LedgerSigner};
use crate::gateway::config::Config;
use crate::gateway::parts::{GatewayError, origin};
use crate::gateway::setup::SetupError;
use crate::secret_file;

impl Rotation {
    pub(super) async fn heads(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let (own, cosigning) =
            (self.prepare(Role::Ledger, by).await?, self.prepare(Role::LedgerPq, by).await?);
        let (keys, config) = (self.keys.clone(), self.config.clone());
        let signers = move || {
            let name = origin(&config);
            let old = LedgerCosigner::new(&keys, name.clone())?;
            Ok::<_, GatewayError>((
                LedgerSigner::successor(&keys, name.clone())?,
                old,
                LedgerCosigner::successor(&keys, name)?,
            ))
        };
        let (signer, mut old_cosigner, cosigner) = blocking(signers).await?;
        let key = signer.verifier_key();
        self.ledger.hand_over(Box::new(signer)).await.map_err(GatewayError::NotRecorded)?;
        // At once: whatever is proved from here on stands under a head of the new key.
        if let Some(shown) = &self.shown {
            shown.verifier_key.send_replace(key.clone());
        }
        let mut steps = vec![self.give(&key, "ledger").await?];
        steps.push(self.promote(&own, by).await?);

        // Under a head of the ledger's own key, before the first cosignature of the new one.
        let key = cosigner.verifier_key();
        let named = {
            let next = key.clone();
            blocking(move || cosigner_rotated(&mut old_cosigner, &next)).await?
        };
        self.record(by.sign(named)).await?;
        if let Some(seat) = self.shown.as_ref().and_then(|shown| shown.cosigner.as_ref()) {
            seat.take_over(Box::new(cosigner)).await.map_err(GatewayError::Cosign)?;
        }
        steps.push(self.promote(&cosigning, by).await?);
        steps.push(self.give(&key, "ledger-pq").await?);
        Ok(steps)
    }

    async fn give(&self, key: &str, name: &'static str) -> Result<String, SetupError> {
        let (state, key) = (self.config.state_directory.clone(), key.to_owned());
        blocking(move || publish(&state, name, &key)).await
    }
}

/// The record that names the next cosigning key, signed by the one that goes. Blocks.
fn cosigner_rotated(old: &mut LedgerCosigner, new: &str) -> Result<Draft, GatewayError> {
    let unusable =
        |error: &dyn std::fmt::Display| GatewayError::Stopped(format!("the cosigning key: {error}"));
    let read = |text: &str| note::CosignerKey::parse(text).map_err(|error| unusable(&error));
    let handover = CosignerHandover { old: read(&old.verifier_key())?, new: read(new)? };
    let signature = old.sign(&handover.message()).map_err(|error| unusable(&error))?;
    Ok(handover.draft(&signature))
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

/// Finishes a rotation of the ledger's keys that was recorded and then broken off, and gives what is still to be
/// recorded of it. Blocks.
///
/// `ledger` is promoted first, so a cosigning key that waits alone shows that the handover is behind it.
pub(in crate::gateway) fn finish_handover(config: &Config, keys: &Keys) -> Result<Vec<Draft>, GatewayError> {
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
            if new.role == Role::LedgerPq {
                let next = LedgerCosigner::successor(keys, origin(config))?.verifier_key();
                // Said twice, if it was said before: the second time changes nothing.
                told.push(cosigner_rotated(&mut LedgerCosigner::new(keys, origin(config))?, &next)?);
            }
            keys.promote(&new)?;
            told.extend(old.as_ref().map(retired));
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
