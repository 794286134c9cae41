//! Passes over groups that an earlier check has seen.
//!
//! They are not read again, but the last of them must still be there and stand under the head that was
//! verified: otherwise what follows would hang in the air.

use super::{Break, Stop, Walk};
use crate::journal::Group;
use crate::record::Seq;

/// How far the groups that are passed over go, and the head of the last.
#[derive(Default)]
pub(super) struct Older {
    end: u64,
    note: Vec<u8>,
}

impl Older {
    /// The records before `end` were there, under `note`.
    pub(super) fn met(&mut self, end: u64, note: &[u8]) {
        self.end = end;
        self.note.clear();
        self.note.extend_from_slice(note);
    }
}

impl Walk {
    /// Whether `group` was verified before, and is not looked at again.
    pub(super) fn is_old(&mut self, group: &Group<&[u8]>) -> bool {
        let Some(older) = &mut self.older else { return false };
        let old = group.end().get() <= self.chain.size();
        if old {
            older.met(group.end().get(), group.note());
        }
        old
    }

    /// Old groups end here: they must end where the earlier check did, and under the same head.
    pub(super) fn end_of_older(&mut self) -> Result<(), Stop> {
        let Some(older) = self.older.take() else { return Ok(()) };
        let size = self.chain.size();
        let lost = |seq, what: String| {
            Err(Stop::Broken(Break { seq: Seq::new(seq), what, segment: None, offset: None }))
        };
        if let Some(origin) = self.origin.epochs().announced() {
            let what = format!(
                "it was verified earlier, and the ledger now goes on as {origin:?} without it: verify the whole \
                 ledger, and not only what is new since then"
            );
            return lost(older.end, what);
        }
        if older.end < size {
            return lost(
                older.end,
                format!("it is missing, and {size} records were there when they were verified"),
            );
        }
        if older.note != self.note.as_bytes() {
            return lost(size - 1, "the head over it is not the one that was verified earlier".to_owned());
        }
        Ok(())
    }
}
