//! Checks a ledger without trusting whoever wrote it.
//!
//! Pure functions over bytes: the journal, the head file, and what the auditor brings along (public keys, a
//! checkpoint kept elsewhere, the time). The answer comes in parts and never as one "OK", because the parts
//! rest on different things: a ledger can be unchanged and yet cut short, complete and yet signed by a
//! stranger. What the check does not prove is said with it.
//!
//! Trusted: the keys that are given, nothing else. An empty ledger, one without signed heads, one signed by
//! another key and one that is shorter than its head file or the given checkpoint never pass.
//!
//! Start with [`verify`]; [`directory`] reads the files for it.

mod alone;
mod assess;
mod blame;
mod cosigned;
mod directory;
mod gaps;
mod key_sentences;
mod since;
mod tiles;
mod verdict;
mod walk;

use jiff::{SignedDuration, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::journal::head::{self, HeadFile};
use crate::note::{CosignerKey, PublicKey, SignedNote};
use crate::signers::Signers;

pub use alone::{Unsound, alone};
use assess::Assessment;
pub use directory::{Progress, directory, directory_since, directory_with_archive};
pub use since::{MAX_STATE_BYTES, StateError, Verified};
pub use tiles::{is_tiles, tiles};
pub use verdict::{Break, Overall, Part, State, Summary, Verdict};
use walk::{Start, Walk};

/// What the auditor brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Public keys of the ledger, known from elsewhere: any of those it has had. Without one, authenticity
    /// cannot be evaluated.
    pub keys: Vec<PublicKey>,
    /// Whether the last head must be signed by the ledger's own key, and not by one that it lent signing to.
    pub own_key_only: bool,
    /// A checkpoint kept elsewhere, as a signed note.
    pub checkpoint: Option<String>,
    /// The last signed head of an earlier copy of the ledger.
    pub earlier: Option<String>,
    /// The head that lies beside the ledger with cosignatures. [`directory`] reads it if none is given.
    pub cosigned: Option<String>,
    /// The head that lies beside the ledger with the cosignatures of witnesses. [`directory`] reads it, too.
    pub witnessed: Option<String>,
    /// Who must have cosigned one of the heads that the records are compared with.
    pub cosigners: Vec<CosignerKey>,
    /// How many of them; all, if nothing is said.
    pub quorum: Option<usize>,
    /// The last declaration of a gap that is accepted, with all before it, as
    /// [`Epoch::declaration`](crate::epoch::Epoch::declaration) names it; none, if nothing is said.
    pub accept_epoch: Option<String>,
    /// The present time, to say how old the last record is.
    pub now: Option<Timestamp>,
    /// How old the last record may be.
    pub max_age: Option<SignedDuration>,
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its file name.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// A file that could not be read, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be read: {reason}")]
pub struct Unreadable {
    /// Which file.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Checks a ledger.
///
/// `segments` in the order of their names, after the prefix (under [`NAME`](crate::prefix::NAME)) if the journal was
/// pruned; they are taken one at a time, so a ledger need not fit into memory. `head_file` must have been read before the first segment, or a ledger that is being written
/// would seem to be behind it.
pub fn verify<I>(segments: I, head_file: Option<&[u8]>, trust: &Trust) -> Verdict
where
    I: IntoIterator<Item = Result<Segment, Unreadable>>,
{
    verify_since(segments, head_file, trust, None, &mut |_| {}).0
}

/// Checks what was added to a ledger since `since`, whose records are passed over.
///
/// `segments` may begin with the last one that begins before the first new record. `progress` is told how
/// many bytes were gone through. Gives the state from which the next check can go on, if nothing failed.
pub fn verify_since<I>(
    segments: I,
    head_file: Option<&[u8]>,
    trust: &Trust,
    since: Option<&Verified>,
    progress: &mut dyn FnMut(u64),
) -> (Verdict, Option<Verified>)
where
    I: IntoIterator<Item = Result<Segment, Unreadable>>,
{
    let known = Known::read(head_file, trust);
    let start = since.and_then(Verified::start).unwrap_or_else(Start::genesis);
    let mut walk = Walk::new(&trust.keys, known.sizes(), start);
    let stop = walk.run(segments, progress);
    let known = known.judged(&walk.hands.signers);
    let verdict = Assessment { walk: &walk, stop: stop.as_ref(), known: &known, trust, since }.verdict();
    let state = (verdict.overall() == Overall::Verified).then(|| Verified::of(&walk, trust.now)).flatten();
    (verdict, state)
}

/// The statements about the ledger's length that the records are compared with.
struct Known {
    checkpoint: Statement,
    earlier: Statement,
    cosigned: Statement,
    witnessed: Statement,
    head: Statement,
    /// What the head is called in sentences.
    head_name: &'static str,
}

/// A statement about the ledger's length, as far as it can be believed.
enum Statement {
    /// None was there.
    Absent,
    /// It cannot be used, and why.
    Unusable(String),
    /// It says something; whether it may be believed is known when the records have told who signed when.
    Read(Checkpoint, SignedNote),
    /// It was not signed by a key that is trusted for its size.
    Foreign(String),
    /// Signed by a key that is trusted for its size (or no key was given at all).
    Usable(Checkpoint, SignedNote),
}

impl Known {
    fn read(head_file: Option<&[u8]>, trust: &Trust) -> Self {
        let head = match head_file.map(head::read) {
            None => Statement::Absent,
            Some(HeadFile::Blank) => Statement::Unusable("the head file is blank".to_owned()),
            Some(HeadFile::Damaged) => Statement::Unusable("the head file cannot be read".to_owned()),
            Some(HeadFile::Head { checkpoint, note, .. }) => Statement::Read(checkpoint, note),
        };
        Self::with(head, "the head file beside it", trust)
    }

    fn with(head: Statement, head_name: &'static str, trust: &Trust) -> Self {
        let given = |note: &Option<String>, name: &str| match note.as_deref().map(Checkpoint::from_note) {
            None => Statement::Absent,
            Some(Err(error)) => Statement::Unusable(format!("{name} cannot be used: {error}")),
            Some(Ok((checkpoint, note))) => Statement::Read(checkpoint, note),
        };
        Self {
            checkpoint: given(&trust.checkpoint, GIVEN),
            earlier: given(&trust.earlier, EARLIER),
            cosigned: given(&trust.cosigned, COSIGNED),
            witnessed: given(&trust.witnessed, WITNESSED),
            head,
            head_name,
        }
    }

    fn all(&self) -> [(&'static str, &Statement); walk::MARKS] {
        [
            (GIVEN, &self.checkpoint),
            (EARLIER, &self.earlier),
            (COSIGNED, &self.cosigned),
            (WITNESSED, &self.witnessed),
            (self.head_name, &self.head),
        ]
    }

    fn sizes(&self) -> [Option<u64>; walk::MARKS] {
        self.all().map(|(_, statement)| match statement {
            Statement::Read(checkpoint, _) => Some(checkpoint.size),
            _ => None,
        })
    }

    /// Each statement, believed or not.
    fn judged(self, signers: &Signers) -> Self {
        Self {
            checkpoint: self.checkpoint.judged(signers),
            earlier: self.earlier.judged(signers),
            cosigned: self.cosigned.judged(signers),
            witnessed: self.witnessed.judged(signers),
            head: self.head.judged(signers),
            head_name: self.head_name,
        }
    }
}

/// How statements that the auditor brings along are called in sentences.
const GIVEN: &str = "the given checkpoint";
const EARLIER: &str = "the head of the earlier copy";
/// And those that the ledger's owner keeps beside it.
const COSIGNED: &str = "the cosigned head beside it";
const WITNESSED: &str = "the witnessed head beside it";

impl Statement {
    fn judged(self, signers: &Signers) -> Self {
        match self {
            Self::Read(checkpoint, note) => match signers.statement(checkpoint.size, &note) {
                Ok(()) => Self::Usable(checkpoint, note),
                Err(reason) => Self::Foreign(reason.to_string()),
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod handover_tests;
#[cfg(test)]
mod tests;
