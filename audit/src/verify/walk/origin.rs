//! Which origin the next segment and the next head must name.
//!
//! The first one that is met is the ledger's. It changes only where a record of kind `ledger.resumed`, the first
//! of its segment, begins a new epoch (see [`crate::epoch`]). What record 0 says of it is compared at the end, by
//! the verdict; so is whether the auditor accepts what was declared.

use crate::digest::Digest;
use crate::epoch::{Epoch, Epochs};
use crate::kind::Kind;
use crate::record::{RecordView, Seq};

/// The origins that a ledger's headers and heads name.
#[derive(Clone, Default)]
pub(in crate::verify) struct Origin {
    epochs: Epochs,
    /// Records stand in tiles, without headers.
    loose: bool,
}

impl Origin {
    /// After records in these epochs.
    pub(in crate::verify) fn after(epochs: Vec<Epoch>) -> Self {
        Self { epochs: Epochs::resume(epochs), loose: false }
    }

    /// Before record 0 of records that stand in no segment; record 0 says the origin.
    pub(in crate::verify) fn loose() -> Self {
        Self { loose: true, ..Self::default() }
    }

    /// The records that follow stand in no segment.
    pub(super) fn enter_loose(&mut self) {
        self.loose = true;
    }

    /// They stand in segments again.
    pub(super) fn leave_loose(&mut self) -> Result<(), String> {
        self.loose = false;
        self.epochs.end_of_loose()
    }

    /// The origin, once one was met.
    pub(in crate::verify) fn get(&self) -> Option<&str> {
        self.epochs.origin()
    }

    /// The epochs so far.
    pub(in crate::verify) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Takes the origin in the header of the segment that begins with record `next`. An error says why it cannot
    /// stand there; so with all below.
    pub(super) fn header(&mut self, found: &str, next: Seq) -> Result<(), String> {
        self.epochs.header(found, next)
    }

    /// Takes a record in its right place.
    pub(super) fn record(&mut self, record: &RecordView<'_>, leaf: Digest) -> Result<(), String> {
        let details = || record.details();
        if self.loose {
            self.epochs.loose_record(record.seq, record.kind, details)?;
        } else {
            self.epochs.record(record.seq, record.kind, details)?;
        }
        if record.kind == Kind::LedgerResumed {
            self.epochs.declared_by(leaf);
        }
        Ok(())
    }

    /// Takes the origin in a head.
    pub(in crate::verify) fn head(&self, found: &str) -> Result<(), String> {
        self.epochs.head(found)
    }
}
