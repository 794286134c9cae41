//! What a verification leaves behind, so that the next one need read only what is new.
//!
//! A ledger of years should be checked every day, and reading years every day is not done for long. The
//! state holds the right edge of the tree over all that was verified: the next check adds the new records
//! to it, and their signed heads fit only if they stand on exactly those old ones. That is a consistency
//! proof, made by computing.
//!
//! Trusted: the state itself, so it belongs to the auditor and not beside the ledger. It names the ledger
//! and holds a head that must be signed by a given key, so it cannot be mistaken for another's. What was
//! verified is not read again; only a check without it finds that old records were damaged since.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::walk::{Created, Origin, Start, Tally, Walk};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::kind::Kind;
use crate::note::PublicKey;
use crate::signers::{Signers, SignersState};
use crate::tree::Frontier;

/// The format that this program writes and reads.
const STATE_VERSION: u64 = 1;

/// The longest state that is read, in bytes.
pub const MAX_STATE_BYTES: usize = 1 << 20;

/// Where a verification ended, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    format: u64,
    origin: String,
    /// The epochs up to there.
    epochs: Vec<Epoch>,
    /// The key that record 0 names.
    key: String,
    size: u64,
    prev: Digest,
    peaks: Vec<Digest>,
    /// The signed head over them.
    note: String,
    heads: u64,
    segments: u64,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
    last_kind: Option<Kind>,
    jumps: u64,
    /// The ledger's keys up to there.
    signers: SignersState,
    /// When it was checked, by the checker's clock.
    checked_at: Option<Timestamp>,
}

impl Verified {
    /// Reads a state, and checks that it fits together.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        match serde_json::from_str::<Version>(text) {
            Ok(Version { format }) if format != STATE_VERSION => {
                return Err(StateError::Version { found: format });
            }
            _ => {}
        }
        let state: Self = serde_json::from_str(text).map_err(|error| StateError::Form(error.to_string()))?;
        let chain = state.chain().ok_or_else(|| StateError::Form("its hashes do not fit its size".into()))?;
        let (head, _) =
            Checkpoint::from_note(&state.note).map_err(|error| StateError::Form(error.to_string()))?;
        if state.epochs.last().is_none_or(|epoch| epoch.origin != state.origin) {
            return Err(StateError::Form("its epochs do not lead to its origin".into()));
        }
        if head != chain.checkpoint(&state.origin) {
            return Err(StateError::Form("its hashes do not lead to its signed head".into()));
        }
        Ok(state)
    }

    /// The text to be kept.
    pub fn to_text(&self) -> String {
        // A struct of numbers and strings always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// How many records were verified.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When.
    pub fn checked_at(&self) -> Option<Timestamp> {
        self.checked_at
    }

    /// The ledger's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether its head is signed by one of `keys`, or by a key that the ledger was handed to or from them.
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        self.is_vouched_for(&Signers::resume(keys, &self.signers, self.size))
    }

    /// Whether its head is by a key of this ledger, as far as its keys are known now.
    pub(super) fn is_vouched_for(&self, signers: &Signers) -> bool {
        let head = Checkpoint::from_note(&self.note);
        signers.is_anchored() && head.is_ok_and(|(_, note)| signers.statement(self.size, &note).is_ok())
    }

    fn chain(&self) -> Option<Chain> {
        let frontier = Frontier::resume(self.size, self.peaks.clone())?;
        (self.size > 0).then(|| Chain::resume(self.prev, frontier))
    }

    /// What a walk that went to the end without trouble leaves behind.
    pub(super) fn of(walk: &Walk, now: Option<Timestamp>) -> Option<Self> {
        let created = walk.created.as_ref()?;
        Some(Self {
            format: STATE_VERSION,
            origin: walk.origin.get()?.to_owned(),
            epochs: walk.origin.epochs().all().to_vec(),
            key: created.key.clone(),
            size: walk.chain.size(),
            prev: walk.chain.prev(),
            peaks: walk.chain.frontier().peaks().to_vec(),
            note: walk.note.clone(),
            heads: walk.tally.heads,
            segments: walk.tally.segments,
            first_time: walk.tally.first_time,
            last_time: walk.tally.last_time,
            last_kind: walk.tally.last_kind,
            jumps: walk.tally.jumps,
            signers: walk.hands.signers.state(),
            checked_at: now,
        })
    }

    /// Where a walk goes on that need not read what this one has read.
    pub(super) fn start(&self) -> Option<Start> {
        Some(Start {
            chain: self.chain()?,
            note: self.note.clone(),
            origin: Origin::after(self.epochs.clone()),
            created: Some(Created { origin: self.epochs.first()?.origin.clone(), key: self.key.clone() }),
            tally: Tally {
                heads: self.heads,
                segments: self.segments,
                first_time: self.first_time,
                last_time: self.last_time,
                last_kind: self.last_kind,
                jumps: self.jumps,
            },
            signers: Some(self.signers.clone()),
            journal_begins_earlier: true,
        })
    }
}

/// Why a text is not a state to go on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not one, or changed.
    #[error("it is not the state of a verification: {0}")]
    Form(String),
    /// Written by a newer program.
    #[error("it is written in state format {found}, and this program reads format {STATE_VERSION}")]
    Version {
        /// The version it names.
        found: u64,
    },
}

impl StateError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Form(_) => "verify the whole ledger, without --since, and keep a new state",
            Self::Version { .. } => "use a newer auditctl, or verify the whole ledger without --since",
        }
    }
}
