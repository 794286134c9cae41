//! At start, ledger and data keys must tell the same of who was erased.
//!
//! A key whose erasure the ledger tells of may be there again, or its tombstone gone, when a backup was put back: it is
//! destroyed again. A key that was destroyed when the gateway died before it could say so: that is said now.

use std::collections::BTreeSet;
use std::sync::Arc;

use sallyport_audit::{KeyId, Kind, Ledger, Outcome, ReadError, Seq};
use tracing::warn;

use super::adapters::LedgerVault;
use super::parts::GatewayError;
use crate::access::{Access, AccessError};

/// Records read at a time: a few megabytes at most.
const BATCH: usize = 1024;

/// Opens access once ledger and keys agree.
pub(super) async fn reconciled<F>(
    ledger: &Ledger,
    vault: &Arc<LedgerVault>,
    open: impl Fn() -> F,
) -> Result<Access, GatewayError>
where
    F: Future<Output = Result<Access, AccessError>>,
{
    let mut opened = open().await;
    let told = match &opened {
        Ok(access) => Some(access.erased_keys()),
        // Values of somebody erased are unreadable, and not erased, when the key's tombstone is gone.
        Err(AccessError::Replay(_)) => {
            let ledger = ledger.clone();
            let read = tokio::task::spawn_blocking(move || erased_in(&ledger)).await;
            read.map_err(|error| GatewayError::Stopped(error.to_string()))?.ok()
        }
        Err(_) => None,
    };
    if let Some(told) = told {
        let keys = vault.clone();
        let again = tokio::task::spawn_blocking(move || keys.erase_again(&told)).await;
        let again = again.map_err(|error| GatewayError::Stopped(error.to_string()))?;
        if again.map_err(GatewayError::Vault)? {
            warn!("data keys of erased people were there again, or their tombstones gone: erased again");
            if let Ok(access) = opened {
                access.close().await;
            }
            opened = open().await;
        }
    }
    let access = opened?;
    for key in vault.erased().difference(&access.erased_keys()) {
        warn!(%key, "recording an erasure that was broken off");
        access.complete_erasure(*key).await?;
    }
    Ok(access)
}

/// The keys whose erasure the ledger tells of, read without what access is folded from.
fn erased_in(ledger: &Ledger) -> Result<BTreeSet<KeyId>, ReadError> {
    let (reader, mut from, mut keys) = (ledger.reader(), Seq::ZERO, BTreeSet::new());
    loop {
        let batch = reader.range(from, BATCH)?;
        let Some(last) = batch.last() else { return Ok(keys) };
        from = last.record.seq.next();
        let erasures = batch.iter().map(|entry| &entry.record);
        let erasures = erasures.filter(|r| r.kind == Kind::PersonalErased && r.result == Outcome::Success);
        keys.extend(erasures.filter_map(|record| KeyId::parse(record.details.get("key")?.as_str()?)));
    }
}
