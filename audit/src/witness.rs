//! What a witness decides: has this ledger only grown since I last saw it? (c2sp.org/tlog-witness)
//!
//! A ledger's owner can show two histories to two people. A witness prevents that: for each ledger it keeps
//! the last head which it cosigned, and cosigns another one only with a proof that the new one contains the
//! old one. Whoever demands a witness's cosignature therefore sees the history which the witness saw.
//!
//! Pure: requests are bytes, and the last head is an argument. The shell must keep the new head durably
//! before it gives the cosignature away, and must let nobody in between the question and the keeping.
//!
//! Trusted: the keys of the ledgers that are watched. Not trusted: whoever asks.

mod handover;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::digest::Digest;
use crate::note::{MAX_NOTE_BYTES, NoteError, PublicKey, SignedNote};
use crate::proof::hash;
use crate::tree::{Frontier, verify_consistency};

pub use handover::{NotFollowed, follow};

/// The most lines of a consistency proof.
pub const MAX_PROOF_LINES: usize = 63;

/// The longest request that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 64 * (MAX_PROOF_LINES + 1);

/// The body of `add-checkpoint`: a head, and the proof that it contains an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many records the earlier head covers; 0 if there is none.
    pub old: u64,
    /// The consistency proof from the earlier head.
    pub proof: Vec<Digest>,
    /// The new head as it was signed.
    pub note: String,
}

impl Request {
    /// Reads a request, without deciding whom to trust.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let form = Refusal::Form;
        if text.len() > MAX_REQUEST_BYTES {
            return Err(form("it is too long"));
        }
        let (front, note) =
            text.split_once("\n\n").ok_or(form("it has no empty line before the checkpoint"))?;
        let mut lines = front.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")?.parse().ok());
        let old = old.ok_or(form("its first line is not `old` and a number"))?;
        let proof = lines.map(hash).collect::<Option<Vec<_>>>();
        let proof = proof.ok_or(form("a line of its proof is not a base64 SHA-256 value"))?;
        if proof.len() > MAX_PROOF_LINES {
            return Err(form("its proof has too many lines"));
        }
        let request = Self { old, proof, note: note.to_owned() };
        // One spelling: no plus sign or leading zero in the size.
        if request.to_string() == text { Ok(request) } else { Err(form("it is spelled otherwise")) }
    }

    /// Decides whether its head may be cosigned, after `last`, the last head that was cosigned for its
    /// origin. A ledger is known by a key whose name is its origin in its first epoch.
    pub fn decide(&self, keys: &[PublicKey], last: Option<&Checkpoint>) -> Result<Accepted, Refusal> {
        let (checkpoint, note) = Checkpoint::from_note(&self.note).map_err(Refusal::Checkpoint)?;
        // One key signs all epochs of a ledger; each is a log of its own, of which `last` is kept apart.
        let (base, _) = crate::epoch::split(&checkpoint.origin);
        let keys: Vec<_> = keys.iter().filter(|key| key.name() == base).cloned().collect();
        if keys.is_empty() {
            return Err(Refusal::UnknownOrigin { origin: checkpoint.origin });
        }
        note.verify_any(&keys).map_err(Refusal::NotSigned)?;
        if self.old > checkpoint.size {
            return Err(Refusal::Shorter { old: self.old, size: checkpoint.size });
        }
        let empty =
            Checkpoint { origin: checkpoint.origin.clone(), size: 0, root: Frontier::default().root() };
        let last = last.unwrap_or(&empty);
        if last.origin != checkpoint.origin {
            return Err(Refusal::UnknownOrigin { origin: checkpoint.origin });
        }
        if self.old != last.size {
            return Err(Refusal::Conflict { size: last.size });
        }
        if self.old == checkpoint.size && last.root != checkpoint.root {
            return Err(Refusal::TwoHistories { size: last.size });
        }
        let consistent = match self.old {
            0 => self.proof.is_empty() && (checkpoint.size > 0 || checkpoint.root == empty.root),
            old => {
                let new = (checkpoint.size, &checkpoint.root);
                verify_consistency((old, &last.root), new, &self.proof)
            }
        };
        if !consistent {
            return Err(Refusal::Inconsistent { old: self.old, size: checkpoint.size });
        }
        let kept = note.keeping(&keys);
        Ok(Accepted { checkpoint, note, kept })
    }
}

/// Whether `origin` is an epoch that its ledger has left, by the origins of all heads that were cosigned. An epoch is a
/// log of its own, so without this a ledger could grow in two of them, and each would look whole.
///
/// # Errors
///
/// If a later epoch of the same ledger is among them.
pub fn is_current<'a>(origin: &str, cosigned: impl IntoIterator<Item = &'a str>) -> Result<(), Refusal> {
    let (base, number) = crate::epoch::split(origin);
    let later = |other: &&str| {
        let (known, epoch) = crate::epoch::split(other);
        known == base && epoch > number
    };
    match cosigned.into_iter().find(later) {
        None => Ok(()),
        Some(later) => Err(Refusal::EndedEpoch { origin: origin.to_owned(), later: later.to_owned() }),
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// A head that may be cosigned. Only [`Request::decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    checkpoint: Checkpoint,
    note: SignedNote,
    kept: SignedNote,
}

impl Accepted {
    /// What is to be cosigned.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The head with all the lines that were sent.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The head with the ledger's own lines alone: what a witness should remember. Anybody can add lines to a
    /// head, and must not be able to make a note so long that the witness cannot read it again.
    pub fn kept(&self) -> &SignedNote {
        &self.kept
    }
}

/// Why a head is not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a request.
    #[error("it is not a request to a witness: {0}")]
    Form(&'static str),
    /// Its head cannot be read.
    #[error("its checkpoint cannot be used: {0}")]
    Checkpoint(CheckpointError),
    /// Not a ledger that is watched.
    #[error("the ledger {origin:?} is not watched here")]
    UnknownOrigin {
        /// Its name.
        origin: String,
    },
    /// An epoch that the ledger has left.
    #[error("a head of {later:?} was cosigned before, and {origin:?} is an epoch that ended with it")]
    EndedEpoch {
        /// The epoch that was sent.
        origin: String,
        /// The later one that was cosigned.
        later: String,
    },
    /// Not signed by the ledger's key.
    #[error("its checkpoint: {0}")]
    NotSigned(NoteError),
    /// The proof is from a larger head than it leads to.
    #[error("it goes from {old} records to {size}")]
    Shorter {
        /// From.
        old: u64,
        /// To.
        size: u64,
    },
    /// The proof is not from the last head that was cosigned.
    #[error("the last head that was cosigned covers {size} records, and the proof must begin there")]
    Conflict {
        /// How many records the last head covers.
        size: u64,
    },
    /// The same number of records with another root.
    #[error("another history of {size} records was cosigned before: THE LEDGER HAS TWO HISTORIES")]
    TwoHistories {
        /// How many records.
        size: u64,
    },
    /// The new head does not contain the old one.
    #[error("its proof does not show that the head over {size} records contains the one over {old}")]
    Inconsistent {
        /// From.
        old: u64,
        /// To.
        size: u64,
    },
}

impl Refusal {
    /// The HTTP status of the specification.
    pub fn status(&self) -> u16 {
        match self {
            Self::Form(_) | Self::Checkpoint(_) | Self::Shorter { .. } => 400,
            Self::NotSigned(_) => 403,
            Self::UnknownOrigin { .. } | Self::EndedEpoch { .. } => 404,
            Self::Conflict { .. } | Self::TwoHistories { .. } => 409,
            Self::Inconsistent { .. } => 422,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Checkpoint(_) | Self::Shorter { .. } => {
                "make the request with `auditctl witness request`"
            }
            Self::UnknownOrigin { .. } => "give the ledger's public key, whose name must be its origin",
            Self::NotSigned(_) => "compare the key with the one that the ledger's owner published",
            Self::Conflict { .. } => "make the request again with `--old` and this number",
            Self::TwoHistories { .. } | Self::Inconsistent { .. } | Self::EndedEpoch { .. } => {
                "keep this request and the witness's state: together they are evidence; ask for the ledger itself"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::SoftwareSigner;
    use crate::tree::{consistency_proof, root};

    const ORIGIN: &str = "example.org/ledger";

    fn signer() -> SoftwareSigner {
        SoftwareSigner::new(ORIGIN, [1; 32])
    }

    fn leaves(count: u64, history: u8) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(&[&[history], &n.to_be_bytes()])).collect()
    }

    fn checkpoint(leaves: &[Digest]) -> Checkpoint {
        Checkpoint { origin: ORIGIN.to_owned(), size: leaves.len() as u64, root: root(leaves) }
    }

    fn request(old: u64, leaves: &[Digest]) -> Request {
        let proof = consistency_proof(leaves, usize::try_from(old).unwrap()).unwrap_or_default();
        Request { old, proof, note: signer().sign_checkpoint(&checkpoint(leaves)).to_string() }
    }

    fn decide(request: &Request, last: Option<&Checkpoint>) -> Result<Checkpoint, Refusal> {
        let request = Request::parse(&request.to_string())?;
        request.decide(&[signer().verifier()], last).map(|accepted| accepted.checkpoint)
    }

    #[test]
    fn a_ledger_that_only_grew_is_cosigned_from_every_size_to_every_later_one() {
        let all = leaves(40, 1);
        for new in 1..=40 {
            assert!(decide(&request(0, &all[..new]), None).is_ok());
            for old in 1..=new {
                let last = checkpoint(&all[..old]);
                let accepted = decide(&request(old as u64, &all[..new]), Some(&last));
                assert_eq!(accepted, Ok(checkpoint(&all[..new])), "{old} to {new}");
            }
        }
    }

    #[test]
    fn a_later_epoch_is_another_log_and_needs_no_other_key() {
        let all = leaves(9, 2);
        let second = Checkpoint { origin: format!("{ORIGIN}#2"), ..checkpoint(&all) };
        let request = Request { note: signer().sign_checkpoint(&second).to_string(), ..request(0, &all) };
        assert_eq!(decide(&request, None), Ok(second));
        // What was cosigned of the epoch before says nothing about it, and is not taken for it.
        let before = checkpoint(&leaves(9, 1));
        assert!(matches!(decide(&request, Some(&before)), Err(Refusal::UnknownOrigin { .. })));
    }

    #[test]
    fn an_epoch_ends_with_the_first_head_of_a_later_one() {
        let (second, tenth) = (format!("{ORIGIN}#2"), format!("{ORIGIN}#10"));
        let seen = [second.as_str(), "other.example.org#7"];
        assert!(matches!(is_current(ORIGIN, seen), Err(Refusal::EndedEpoch { .. })));
        assert_eq!(is_current(&second, seen), Ok(()));
        assert_eq!(is_current(&tenth, seen), Ok(()));
        assert!(is_current(&second, [tenth.as_str()]).is_err());
        assert_eq!(is_current("other.example.org#7", [tenth.as_str(), ORIGIN]), Ok(()));
    }

    #[test]
    fn another_history_is_never_cosigned() {
        let (seen, other) = (leaves(9, 1), leaves(20, 2));
        let last = checkpoint(&seen);
        assert_eq!(decide(&request(9, &other), Some(&last)), Err(Refusal::Inconsistent { old: 9, size: 20 }));
        assert_eq!(decide(&request(9, &other[..9]), Some(&last)), Err(Refusal::TwoHistories { size: 9 }));
        assert_eq!(decide(&request(0, &other), Some(&last)), Err(Refusal::Conflict { size: 9 }));
        assert_eq!(decide(&request(7, &seen[..7]), Some(&last)), Err(Refusal::Conflict { size: 9 }));
    }

    #[test]
    fn each_refusal_has_the_status_of_the_specification() {
        let all = leaves(9, 1);
        let good = request(0, &all);
        let status = |request: &Request, keys: &[PublicKey]| {
            request.decide(keys, Some(&checkpoint(&all[..4]))).unwrap_err().status()
        };
        let ours = [signer().verifier()];
        assert_eq!(status(&good, &[]), 404);
        assert_eq!(status(&good, &[SoftwareSigner::new(ORIGIN, [2; 32]).verifier()]), 403);
        assert_eq!(status(&Request { old: 10, ..good.clone() }, &ours), 400);
        assert_eq!(status(&good, &ours), 409);
        assert_eq!(status(&Request { old: 4, ..good.clone() }, &ours), 422);
        assert_eq!(Request::parse("old 0\n").unwrap_err().status(), 400);
    }

    #[test]
    fn a_proof_where_none_belongs_is_refused() {
        let padded = Request { proof: vec![Digest::ZERO], ..request(0, &leaves(3, 1)) };
        assert_eq!(decide(&padded, None), Err(Refusal::Inconsistent { old: 0, size: 3 }));
        let good = request(2, &leaves(3, 1)).to_string();
        for bad in [
            good.replace("old 2", "old 02"),
            good.replace("old 2", "old +2"),
            good.replace("old 2", "old"),
            good.replacen("\n\n", "\n", 1),
            good.replacen(
                "old 2\n",
                &format!("old 2\n{}", format!("{}\n", "A".repeat(43) + "=").repeat(64)),
                1,
            ),
        ] {
            assert!(matches!(Request::parse(&bad), Err(Refusal::Form(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_request_reader_panic(text in "(?s).{0,200}") {
            let _ = Request::parse(&text);
            let _ = Request::parse(&format!("old 3\n{text}"));
        }
    }
}
