//! Reads what opening left out, for a thread of its own.

use std::path::Path;

use super::{Expected, Replayed, Visitor, recent, replay};
use crate::chain::Chain;
use crate::journal::{Files, Group, SegmentHeader};
use crate::ledger::LedgerError;
use crate::note::PublicKey;
use crate::record::Seq;

/// Reads the records before `until` again, which opening had left out, and checks them as opening does.
///
/// For a thread of its own: it takes as long as reading that part of the journal takes. `until` is what
/// [`Opened::checked_from`] said.
pub fn reread(directory: &Path, origin: &str, key: &PublicKey, until: Seq) -> Result<(), LedgerError> {
    struct Nothing;
    impl Visitor for Nothing {
        fn record(&mut self, _: &Chain) {}
        fn group(&mut self, _: &Group<&[u8]>, _: &Chain) {}
    }
    let files = Files::new(directory);
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let older = segments.partition_point(|segment| segment.first < until);
    let older = segments.get(..older).unwrap_or_default();
    let replayed = replay(&files, older, Replayed::genesis(key), &Expected { origin, key }, &mut Nothing)?;
    let Some(next) = segments.iter().find(|segment| segment.first == until) else { return Ok(()) };
    let goes_on = recent::header(next)
        .is_some_and(|header| header == SegmentHeader::new(&header.origin, &replayed.chain, &replayed.note));
    if goes_on && replayed.torn.is_none() {
        return Ok(());
    }
    Err(LedgerError::Damaged {
        segment: older.last().unwrap_or(next).name(),
        offset: replayed.torn.as_ref().map_or(0, |torn| torn.offset),
        seq: replayed.chain.next(),
        what: replayed.torn.map_or("the segment behind it does not go on there".to_owned(), |torn| torn.what),
    })
}
