//! Where a walk starts, and what is known there.
//!
//! Before record 0 nothing is known. Behind records that were proved in another way (by an earlier check
//! whose state was kept) the walk starts with the right edge of the tree over them: the heads that follow
//! fit only if the new records stand on exactly those.
//!
//! Trusted: whoever makes a [`Start`] has proved that its chain leads to its note, and that a trusted key
//! signed that.

use super::{Created, Origin, Tally};
use crate::chain::Chain;
use crate::signers::SignersState;

/// What is known before the first segment is read.
pub(in crate::verify) struct Start {
    /// All records that need not be read.
    pub(in crate::verify) chain: Chain,
    /// The signed head over them; empty if there are none.
    pub(in crate::verify) note: String,
    pub(in crate::verify) origin: Origin,
    pub(in crate::verify) created: Option<Created>,
    pub(in crate::verify) tally: Tally,
    /// The ledger's keys, if they are known; else the first head and record 0 tell.
    pub(in crate::verify) signers: Option<SignersState>,
    /// Whether the journal still holds some of those records, which are then passed over. The last of them
    /// must be there, under `note`.
    pub(in crate::verify) journal_begins_earlier: bool,
}

impl Start {
    /// Before record 0.
    pub(in crate::verify) fn genesis() -> Self {
        Self {
            chain: Chain::genesis(),
            note: String::new(),
            origin: Origin::default(),
            created: None,
            tally: Tally::default(),
            signers: None,
            journal_begins_earlier: false,
        }
    }
}
