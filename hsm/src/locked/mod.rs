//! Where a secret lies that no token holds: in memory that is never swapped out and never dumped.
//!
//! Seeds, data keys and the keys of a sealed file are there for as long as this process runs. A page that the system
//! writes to its swap area, or into the dump of a crash, outlives the process on a disk.
//!
//! Promised:
//! - A [`Secret`] lies in pages that are locked (`mlock`), left out of dumps (`MADV_DONTDUMP`) and not given to child
//!   processes (`MADV_DONTFORK`), and is zeroed when it is dropped. It has no `Debug`, no `Clone` and no `Serialize`.
//! - A system that does not lock (`RLIMIT_MEMLOCK`) is never passed over in silence: the log warns, and
//!   [`locked_memory`], which listings and status show, says how much is not locked, and why.
//!
//! Not promised: that nothing else of a secret is anywhere. A key is expanded from it for each operation, in memory of
//! AWS-LC that lives for that operation and is zeroed when it is freed. Against a dump in that moment there is
//! [`forbid_dumps`], which also keeps other processes of the same user out of this one's memory.

mod pages;

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use serde::{Deserialize, Serialize};

use crate::error::{Fault, KeyError};
use crate::wrapped;
use pages::{PAGES_LEN, Pages, Run};

/// All pages that were mapped. They are few, and kept: a secret that goes makes room for the next.
static POOL: Mutex<Vec<Arc<Pages>>> = Mutex::new(Vec::new());

/// Secret bytes in locked memory.
pub(crate) struct Secret(Run);

impl Secret {
    /// Has `fill` write `length` bytes, which are zero before.
    pub(crate) fn new(
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), KeyError>,
    ) -> Result<Self, KeyError> {
        let mut secret = Self(take(length)?);
        fill(secret.0.bytes_mut())?;
        Ok(secret)
    }

    /// A copy. Whoever holds the original has to zero it.
    pub(crate) fn copy_of(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::new(bytes.len(), |secret| {
            secret.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// Fresh random bytes.
    pub(crate) fn random(length: usize) -> Result<Self, KeyError> {
        Self::new(length, wrapped::random)
    }

    /// The only way to the bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.bytes()
    }
}

fn take(length: usize) -> Result<Run, KeyError> {
    let failed = |error: Fault| KeyError::operation("find memory for a secret", error);
    if length > PAGES_LEN {
        return Err(failed(Fault::new(format!("{length} bytes are more than {PAGES_LEN}"))));
    }
    let mut pool = POOL.lock();
    if let Some(run) = pool.iter().find_map(|pages| pages.take(length)) {
        return Ok(run);
    }
    let pages = Pages::map().map_err(|error| failed(error.into()))?;
    if let Some(error) = pages.refused() {
        tracing::warn!(
            %error,
            "KEYS IN MEMORY CAN BE SWAPPED OUT OR DUMPED: the system does not lock their memory; raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=)"
        );
    }
    let run = pages.take(length);
    pool.push(pages);
    run.ok_or_else(|| failed(Fault::new("new pages have no room")))
}

/// How this process's memory for secrets is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedMemory {
    /// Bytes that are locked and left out of dumps, whether a secret is in them or not.
    pub locked_bytes: usize,
    /// Bytes that should be and are not.
    pub unlocked_bytes: usize,
    /// Why the system refused, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How this process's memory for secrets is kept.
pub fn locked_memory() -> LockedMemory {
    let mut told = LockedMemory::default();
    for pages in POOL.lock().iter() {
        match pages.refused() {
            None => told.locked_bytes += PAGES_LEN,
            Some(error) => {
                told.unlocked_bytes += PAGES_LEN;
                told.refused = Some(error.to_string());
            }
        }
    }
    told
}

impl std::fmt::Display for LockedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.refused {
            None => write!(f, "{} KiB locked, left out of dumps", self.locked_bytes / 1024),
            Some(why) => write!(
                f,
                "NOT LOCKED: {} KiB can be swapped out ({why}); raise RLIMIT_MEMLOCK",
                self.unlocked_bytes / 1024
            ),
        }
    }
}

/// Keeps this process's memory out of dumps, and from other processes of the same user (`PR_SET_DUMPABLE`).
///
/// For the whole process and until it ends: debuggers and tracers need root then.
pub fn forbid_dumps() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests;
