//! The fold at a start: by the index if there is one that the ledger agrees with, else over every record.

use sallyport_audit::Digest;

use super::fact::{Fact, Stamp};
use super::index::{Index, Place, Unused};
use super::log::{LogError, RecordLog};
use super::state::State;
use super::token::TokenKeys;

/// Records that are read without an index before one is made: some seconds of a start.
const MAKE_AFTER: u64 = 50_000;

/// What a start has read.
pub(super) struct Folded {
    pub(super) state: State,
    pub(super) index: Index,
    /// Whether so much was read that the next start should have an index.
    pub(super) worth_keeping: bool,
}

/// Folds what the log holds.
///
/// # Errors
///
/// A record of access that can't be read.
pub(super) fn fold(
    log: &dyn RecordLog,
    keys: &dyn TokenKeys,
    place: Option<&Place>,
) -> Result<Folded, LogError> {
    if let Some(place) = place {
        match by_index(log, keys, place) {
            Ok(folded) => return Ok(folded),
            Err(ByIndex::Log(error)) => return Err(error),
            Err(ByIndex::Unused(Unused::None)) => {}
            Err(ByIndex::Unused(why)) => {
                tracing::warn!(%why, "the index of access isn't used; every record of the ledger is looked at");
            }
        }
    }
    on_from(log, State::default(), Index::new())
}

enum ByIndex {
    Unused(Unused),
    Log(LogError),
}

impl From<Unused> for ByIndex {
    fn from(why: Unused) -> Self {
        Self::Unused(why)
    }
}

fn by_index(log: &dyn RecordLog, keys: &dyn TokenKeys, place: &Place) -> Result<Folded, ByIndex> {
    let kept = place.read(&keys.public_key_p256())?;
    let last = match kept.end.checked_sub(1) {
        None => Some(Digest::ZERO),
        Some(last) => log.digest(last).map_err(Unused::Lost)?,
    };
    if last != Some(kept.last) {
        return Err(Unused::OtherLedger.into());
    }
    let (mut state, mut seen) = (State::default(), Index::new());
    let mut visit = |stamp: Stamp, fact: Fact| {
        state.apply(stamp, &fact);
        seen.add(stamp);
    };
    log.replay_these(&kept.records, &mut visit).map_err(Unused::Lost)?;
    if !kept.agrees(&seen) {
        return Err(Unused::Differs.into());
    }
    seen.reach(kept.end, kept.last);
    on_from(log, state, seen).map_err(ByIndex::Log)
}

fn on_from(log: &dyn RecordLog, mut state: State, mut index: Index) -> Result<Folded, LogError> {
    let from = index.end;
    let mut visit = |stamp: Stamp, fact: Fact| {
        state.apply(stamp, &fact);
        index.add(stamp);
    };
    let end = log.replay(from, &mut visit)?;
    if let Some(last) = end.checked_sub(1).map(|last| log.digest(last)).transpose()?.flatten() {
        index.reach(end, last);
    }
    Ok(Folded { state, worth_keeping: end.saturating_sub(from) >= MAKE_AFTER, index })
}
