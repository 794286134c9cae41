//! Which keys may sign the next head: [`crate::signers`], fed with the records of each group.
//!
//! Trusted: the keys that the auditor brings along. What the ledger says of its keys counts only from one of
//! those on, or back from it.

use jiff::Timestamp;

use super::Walk;
use crate::note::{NoteError, PublicKey, SignedNote};
use crate::record::RecordView;
use crate::signers::{News, Signers, SignersState};
use crate::verify::Break;

/// The ledger's keys as far as the walk has come.
pub(in crate::verify) struct Hands {
    pub(in crate::verify) signers: Signers,
    trusts_nobody: bool,
    /// What the records since the last head say about keys.
    news: News,
    /// The first head, if it is by a key that was not given.
    unknown: Option<Break>,
}

impl Hands {
    /// The keys that the auditor brought along, and what an earlier check knew of the first `size` records.
    pub(super) fn trusting(keys: &[PublicKey], earlier: Option<&SignersState>, size: u64) -> Self {
        let signers = match earlier {
            Some(state) => Signers::resume(keys, state, size),
            None => Signers::new(keys),
        };
        Self { signers, trusts_nobody: keys.is_empty(), news: News::default(), unknown: None }
    }

    /// Takes the next record of a group; whether it is to be believed is told by the head over it.
    pub(super) fn read(&mut self, record: &RecordView<'_>) {
        self.news.read(record);
    }

    /// Heads were pruned before the next one; `time` is that of the last record before it that is there.
    pub(super) fn after_gap(&mut self, time: Option<Timestamp>) {
        self.signers.after_gap();
        self.news.set_last_time(time);
    }

    /// Takes a record that stands in no group: one head over all of them follows.
    pub(super) fn read_alone(&mut self, record: &RecordView<'_>) {
        self.signers.covered(record);
    }

    /// Whether the head over the first `size` records is signed as it must be; an error says what is wrong.
    /// Called for each head in order, after all records under it were read. Without keys everything goes; the
    /// verdict then says that authenticity was not evaluated.
    pub(super) fn check(&mut self, size: u64, head: &SignedNote) -> Result<(), String> {
        let news = std::mem::take(&mut self.news);
        if self.trusts_nobody {
            return Ok(());
        }
        self.signers.head(size, head, &news).map(drop).map_err(|refused| refused.to_string())
    }

    /// Whether a head over records that are lost is by a key that may have signed it. Whether that key is to be
    /// believed at all is told at the end.
    pub(super) fn check_lost(
        &self,
        size: u64,
        head: &SignedNote,
        later: Option<&PublicKey>,
    ) -> Result<(), String> {
        // Lost together with the record that made it the ledger's.
        if later.is_some_and(|key| head.verify(key).is_ok()) {
            return Ok(());
        }
        self.signers.in_its_time(size, head, true).map_err(|error| error.to_string())
    }

    /// Whether nobody is trusted, so that a signature that holds shows nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.trusts_nobody
    }

    /// Keeps the place of a head that is good in itself, but so far not by a given key.
    pub(super) fn remember_unknown(&mut self, head: &SignedNote, place: impl FnOnce(String) -> Break) {
        if !self.trusts_nobody && !self.signers.is_anchored() && self.unknown.is_none() {
            let reason = NoteError::OtherKey { signers: head.signers() };
            self.unknown = Some(place(format!("the head over it: {reason}")));
        }
    }
}

impl Walk {
    /// At the end: if no given key is among those that signed, the first head is by a stranger.
    pub(in crate::verify) fn end_of_heads(&mut self) {
        if !self.hands.signers.is_anchored() && self.forged.is_none() {
            self.forged = self.hands.unknown.take();
        }
    }
}
