//! The key that seals seeds and data keys. From the moment there is a new one, it seals; what the old one sealed is
//! brought over file by file, and until the last one both open. So there is no way back, and none is needed: whatever
//! is broken off goes on at the next start.

use std::sync::Arc;

use sallyport_audit::Draft;
use sallyport_hsm::{Keys, Role};
use tracing::warn;

use super::{By, Rotation, blocking, retired, rotated};
use crate::gateway::adapters::LedgerVault;
use crate::gateway::parts::GatewayError;
use crate::gateway::setup::SetupError;

impl Rotation {
    pub(super) async fn kek(&self, by: &By) -> Result<Vec<String>, SetupError> {
        let pair = self.prepare(Role::Kek, by).await?;
        let (keys, vault) = (self.keys.clone(), self.vault.clone());
        let (seeds, data_keys) = blocking(move || bring_over(&keys, &vault)).await?;
        let record =
            rotated(pair.old.as_ref(), &pair.new).detail("seeds", seeds).detail("data_keys", data_keys);
        self.record(by.sign(record)).await?;
        let mut steps = vec![format!("{seeds} seeds and {data_keys} data keys are sealed under the new key")];
        steps.push(self.promote(&pair, by).await?);
        steps.push(
            "make a new backup: seeds and data keys in older ones open with no key any more".to_owned(),
        );
        Ok(steps)
    }
}

/// How many seeds and how many data keys were brought over.
fn bring_over(keys: &Keys, vault: &LedgerVault) -> Result<(u64, u64), GatewayError> {
    let seeds = keys.rewrap_seeds()?;
    let data_keys = vault.rewrap().map_err(GatewayError::Vault)?;
    let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
    Ok((count(seeds), count(data_keys)))
}

/// Finishes a rotation of the sealing key that was broken off, and gives what is still to be recorded of it. Blocks.
pub(in crate::gateway) fn finish_sealing(
    keys: &Keys,
    vault: &Arc<LedgerVault>,
) -> Result<Vec<Draft>, GatewayError> {
    let Some(new) = keys.successor(Role::Kek)? else { return Ok(Vec::new()) };
    warn!("a rotation of the sealing key was broken off; it is finished now");
    let old = keys.inventory()?.into_iter().find(|key| key.role == Role::Kek);
    let (seeds, data_keys) = match bring_over(keys, vault) {
        Ok(counts) => counts,
        // Whatever still opens does so with both keys there: no reason not to serve.
        Err(error) => {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            warn!(%error, why, hint = error.hint(), "it could not be finished: both sealing keys stay");
            return Ok(Vec::new());
        }
    };
    keys.promote(&new)?;
    let record = rotated(old.as_ref(), &new).detail("seeds", seeds).detail("data_keys", data_keys);
    let mut told = vec![record.detail("finished", "at start")];
    told.extend(old.as_ref().map(retired));
    Ok(told)
}
