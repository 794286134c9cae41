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

mod assess;
mod blame;
mod directory;
mod verdict;
mod walk;

use jiff::{SignedDuration, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::journal::head::{self, HeadFile};
use crate::note::{PublicKey, SignedNote};

use assess::Assessment;
pub use directory::directory;
pub use verdict::{Break, Overall, Part, State, Summary, Verdict};
use walk::Walk;

/// What the auditor brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The ledger's public keys, known from elsewhere. Without any, authenticity cannot be evaluated.
    pub keys: Vec<PublicKey>,
    /// A checkpoint kept elsewhere, as a signed note.
    pub checkpoint: Option<String>,
    /// The present time, to say how old the last record is.
    pub now: Option<Timestamp>,
    /// How old the last record may be.
    pub max_age: Option<SignedDuration>,
}

/// One segment file.
#[derive(Clone, Debug)]
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
/// `segments` in the order of their names; they are taken one at a time, so a ledger need not fit into
/// memory. `head_file` must have been read before the first segment, or a ledger that is being written
/// would seem to be behind it.
pub fn verify<I>(segments: I, head_file: Option<&[u8]>, trust: &Trust) -> Verdict
where
    I: IntoIterator<Item = Result<Segment, Unreadable>>,
{
    let known = Known::read(head_file, trust);
    let mut walk = Walk::new(&trust.keys, known.sizes());
    let stop = walk.run(segments);
    Assessment { walk: &walk, stop: stop.as_ref(), known: &known, trust }.verdict()
}

/// The two statements about the ledger's length that the journal is compared with.
struct Known {
    head: Statement,
    checkpoint: Statement,
}

/// A statement about the ledger's length, as far as it can be believed.
enum Statement {
    /// None was there.
    Absent,
    /// It cannot be used, and why.
    Unusable(String),
    /// It was not signed by a key that was given.
    Foreign(String),
    /// Signed by a key that was given (or no key was given at all).
    Usable(Checkpoint),
}

impl Known {
    fn read(head_file: Option<&[u8]>, trust: &Trust) -> Self {
        let head = match head_file.map(head::read) {
            None => Statement::Absent,
            Some(HeadFile::Blank) => Statement::Unusable("the head file is blank".to_owned()),
            Some(HeadFile::Damaged) => Statement::Unusable("the head file cannot be read".to_owned()),
            Some(HeadFile::Head { checkpoint, note, .. }) => Statement::judge(checkpoint, &note, &trust.keys),
        };
        let checkpoint = match trust.checkpoint.as_deref().map(Checkpoint::from_note) {
            None => Statement::Absent,
            Some(Err(error)) => Statement::Unusable(format!("the given checkpoint cannot be used: {error}")),
            Some(Ok((checkpoint, note))) => Statement::judge(checkpoint, &note, &trust.keys),
        };
        Self { head, checkpoint }
    }

    fn sizes(&self) -> [Option<u64>; 2] {
        [&self.head, &self.checkpoint].map(|statement| match statement {
            Statement::Usable(checkpoint) => Some(checkpoint.size),
            _ => None,
        })
    }
}

impl Statement {
    fn judge(checkpoint: Checkpoint, note: &SignedNote, keys: &[PublicKey]) -> Self {
        match walk::signed_by_any(note, keys) {
            Ok(()) => Self::Usable(checkpoint),
            Err(reason) => Self::Foreign(reason),
        }
    }
}

#[cfg(test)]
mod tests;
