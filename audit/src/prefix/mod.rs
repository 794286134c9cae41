//! The pruned beginning of a journal: what is left of records that had to go.
//!
//! Records older than every rule demands are taken out of a ledger, and a forger takes records out, too;
//! the difference must be plain to a stranger. So the beginning of a pruned journal is replaced by a file
//! that still speaks of every number: a record that had to stay stands whole, a run that went is stated by
//! the roots of the subtrees it filled. Both together lead to the root that was signed when the last of them
//! was written, so every later record, head and proof stands on them as before.
//!
//! That the right ones stayed no hash can say: whoever drops a record and states its hash comes to the same
//! root. Therefore a record of kind `retention.pruned`, behind the prefix and under signed heads, names the
//! digest of exactly these lines. A prefix without it is refused.
//!
//! Who may sign changes along the way, and a stranger may know only one of the keys. So the heads over those
//! groups whose records name, replace or lend a key, or begin an epoch, stand there, too.
//!
//! One JSON object in a line: the head; then records and runs in the order of their numbers; a record that
//! has sealed personal values is followed by a line with them, which no digest covers. Specified in
//! `docs/ledger-format.md`.

mod fault;
mod lines;
mod read;
mod write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::kind::Kind;
use crate::note::SignedNote;
use crate::record::{Record, Seq};
use crate::tree::Subtree;

pub use fault::PrefixFault;
pub use read::Prefix;
pub use write::{PrefixWriter, Written};

/// The format that this program writes and reads.
pub const PREFIX_VERSION: u64 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    pruned: Head,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The signed head over exactly the records that the prefix speaks of.
    checkpoint: String,
    format: u64,
    /// The record that declares this prefix has this number or a later one; a hint, so that nobody has to
    /// look at all records for it.
    recorded_from: Seq,
}

/// The signed head over all records before this line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CoverLine {
    head: String,
}

/// The sealed values of the record in the line before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedLine {
    sealed: String,
}

/// What a prefix, or a whole journal, says of some numbers.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// A record, whole.
    Record {
        /// Its number.
        seq: Seq,
        /// Its canonical bytes.
        bytes: &'a [u8],
        /// The sealed personal values beside it; empty if there are none.
        sealed: &'a [u8],
    },
    /// Records that were pruned.
    Omitted(Subtree),
    /// The signed head over all before it: of a prefix, where keys change hands.
    Head {
        /// What it says.
        checkpoint: &'a Checkpoint,
        /// By whom.
        note: &'a SignedNote,
    },
}

/// What a `retention.pruned` record says of a prefix, and a prefix of itself: the two must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// How many records the prefix speaks of.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The digest of the prefix's lines, without those of sealed values.
    pub digest: Digest,
}

impl Declaration {
    /// What `record` declares; `None` if it is of another kind or says less.
    pub fn of(record: &Record) -> Option<Self> {
        (record.kind == Kind::RetentionPruned).then(|| Self::read(&record.details)).flatten()
    }

    /// What the details of a record of kind `retention.pruned` declare.
    pub fn read(details: &Map<String, Value>) -> Option<Self> {
        let digest = |key: &str| Digest::parse(details.get(key)?.as_str()?);
        let size = details.get("size")?.as_u64()?;
        Some(Self { size, root: digest("root")?, digest: digest("digest")? })
    }

    /// Whether the bytes of a record are those of one that declares this. Cheap for all other records.
    pub fn is_made_by(&self, record: &[u8]) -> bool {
        // Its own kind stands in it in plain, so that most records need not be parsed.
        const KIND: &[u8] = b"\"kind\":\"retention.pruned\"";
        record.windows(KIND.len()).any(|window| window == KIND)
            && Record::parse(record).is_ok_and(|record| Self::of(&record).as_ref() == Some(self))
    }
}

/// The greatest height that a run beginning at `first` may have in a prefix of `size` records: tiles behind
/// it (c2sp.org/tlog-tiles) hold the roots of full tiles before it, so those may not be merged away.
///
/// On the tile level k the hashes of the tile in which record `size` lies are kept apart. The last record is
/// a run of its own, because the next one names its leaf hash.
pub(crate) fn tallest(first: u64, size: u64) -> u32 {
    if first + 1 == size {
        return 0;
    }
    (2..8)
        .find(|level| {
            let width = 1_u64 << (8 * level);
            first >= size / width * width
        })
        .map_or(56, |level| 8 * (level - 1))
}

/// The name of the file, for messages.
pub const NAME: &str = "pruned";

#[cfg(test)]
mod tests;
