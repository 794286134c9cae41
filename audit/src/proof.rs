//! One file that shows one record to a stranger, offline (c2sp.org/tlog-proof).
//!
//! Whoever is asked about one event should neither have to hand over the whole ledger nor be believed. A
//! proof holds the record, its place, the audit path to the root, and the signed head over it; with the
//! ledger's public key it shows that this record stands in the ledger at this place. It stays good for
//! ever: later records, pruning, and a new key change nothing.
//!
//! The record travels as the `extra` data of the specification, or in a file beside the proof. It is
//! believed only because the proof fits it. Nothing in the file is trusted but the key that is given from
//! elsewhere.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::digest::Digest;
use crate::note::{MAX_NOTE_BYTES, NoteError, PublicKey, SignedNote};
use crate::record::{MAX_RECORD_BYTES, Record, RecordError, Seq};
use crate::tree::verify_inclusion;

/// The first line of a proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes in a path: a tree of 2^64 leaves has no longer one.
pub const MAX_PATH: usize = 64;

/// The longest proof that is read, in bytes: record, path and note, each in base64 at its bound.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 4 * MAX_RECORD_BYTES;

/// A proof of one record, as it stands in a file. Not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The record's bytes, if they travel with the proof.
    pub record: Option<Vec<u8>>,
    /// The record's number.
    pub index: Seq,
    /// From the leaf's sibling up to the root's child.
    pub path: Vec<Digest>,
    /// The signed head, with all its signatures, as it was written.
    pub note: String,
}

/// What a proof shows, once it is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The record.
    pub record: Record,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The head under which it stands.
    pub checkpoint: Checkpoint,
    /// The signed note it stands in, for whoever asks for cosignatures.
    pub note: SignedNote,
}

impl Proof {
    /// Reads a proof, without deciding whom to trust.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(ProofError::Form("it is too long"));
        }
        let (front, note) = text.split_once("\n\n").ok_or(ProofError::Form("it has no checkpoint"))?;
        let mut lines = front.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ProofError::Form("its first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let record = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(encoded) => {
                let bytes = STANDARD.decode(encoded);
                lines.next();
                Some(bytes.map_err(|_| ProofError::Form("its extra data is not base64"))?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")?.parse().ok());
        let index = index.ok_or(ProofError::Form("it has no index"))?;
        let path = lines.map(hash).collect::<Option<Vec<_>>>();
        let path = path.ok_or(ProofError::Form("a line of its path is not a base64 SHA-256 value"))?;
        if path.len() > MAX_PATH {
            return Err(ProofError::Form("its path is longer than any tree is high"));
        }
        let proof = Self { record, index: Seq::new(index), path, note: note.to_owned() };
        // One spelling: no plus sign or leading zero in the index.
        if proof.to_string() == text { Ok(proof) } else { Err(ProofError::Form("it is spelled otherwise")) }
    }

    /// Checks it against `keys`, of which at least one must have signed the head.
    ///
    /// `beside` is the record if it does not travel with the proof; if both are there they must be alike.
    pub fn check(&self, beside: Option<&[u8]>, keys: &[PublicKey]) -> Result<Shown, ProofError> {
        if keys.is_empty() {
            return Err(ProofError::NoKey);
        }
        let (checkpoint, note) = Checkpoint::from_note(&self.note)?;
        note.verify_any(keys).map_err(ProofError::Authenticity)?;
        let bytes = match (beside, self.record.as_deref()) {
            (Some(beside), Some(inside)) if beside != inside => return Err(ProofError::TwoRecords),
            (Some(bytes), _) | (None, Some(bytes)) => bytes,
            (None, None) => return Err(ProofError::NoRecord),
        };
        let leaf = Digest::leaf(bytes);
        if !verify_inclusion(&leaf, self.index.get(), checkpoint.size, &self.path, &checkpoint.root) {
            return Err(ProofError::NotIncluded { index: self.index, size: checkpoint.size });
        }
        let record = Record::parse(bytes).map_err(ProofError::Record)?;
        if record.seq != self.index {
            return Err(ProofError::OtherNumber { index: self.index, found: record.seq });
        }
        Ok(Shown { record, bytes: bytes.to_vec(), checkpoint, note })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(record) = &self.record {
            writeln!(f, "extra {}", STANDARD.encode(record))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// A SHA-256 value in base64, in its one spelling.
pub(crate) fn hash(line: &str) -> Option<Digest> {
    let bytes = STANDARD.decode(line).ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not in the form of the specification.
    #[error("it is not a tlog-proof: {0}")]
    Form(&'static str),
    /// Its checkpoint cannot be read.
    #[error("its checkpoint cannot be used: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Without a key everything could be proved.
    #[error("no public key was given")]
    NoKey,
    /// The head is not signed by a given key, or falsely.
    #[error("its checkpoint: {0}")]
    Authenticity(NoteError),
    /// There is a path, and nothing at its end.
    #[error("it holds no record")]
    NoRecord,
    /// Two different records.
    #[error("the record that it holds is not the one that was given with it")]
    TwoRecords,
    /// The path does not lead from the record to the root.
    #[error("its path does not show the record as number {index} of the {size} under the checkpoint")]
    NotIncluded {
        /// The place it claims.
        index: Seq,
        /// How many records the checkpoint covers.
        size: u64,
    },
    /// The bytes under the root are not a record.
    #[error("what stands in the ledger at this place is not a record: {0}")]
    Record(RecordError),
    /// The ledger's owner signed a record at a place where it does not belong.
    #[error("the record at place {index} says that it is number {found}")]
    OtherNumber {
        /// Where it stands.
        index: Seq,
        /// What it says.
        found: Seq,
    },
}

impl ProofError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Checkpoint(_) => "give the file that `auditctl prove` wrote, unchanged",
            Self::NoKey => "give the ledger's public key with --key or --key-file",
            Self::Authenticity(_) => {
                "compare the key with the one that the ledger's owner published; if it is the same, do not \
                 believe this proof"
            }
            Self::NoRecord => "give the record's bytes with --record",
            Self::TwoRecords | Self::NotIncluded { .. } => {
                "do not believe the record; ask for a new proof, and for the ledger itself"
            }
            Self::Record(error) => error.hint(),
            Self::OtherNumber { .. } => "ask for the whole ledger and run `auditctl verify` on it",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kind::Kind;
    use crate::record::{Draft, Outcome};
    use crate::testing::{JournalBuilder, SoftwareSigner};
    use crate::tree::inclusion_proof;

    fn signer() -> SoftwareSigner {
        SoftwareSigner::new("example.org/ledger", [1; 32])
    }

    fn records(count: u64) -> (JournalBuilder, Vec<Vec<u8>>) {
        let mut journal = JournalBuilder::new("example.org/ledger", signer());
        journal
            .group((0..count).map(|n| Draft::new(Kind::GatewayHeartbeat, Outcome::Success).detail("n", n)));
        let records = journal.records();
        (journal, records)
    }

    fn proof(count: u64, index: usize) -> Proof {
        let (journal, records) = records(count);
        let leaves: Vec<_> = records.iter().map(|record| Digest::leaf(record)).collect();
        Proof {
            record: Some(records[index].clone()),
            index: Seq::new(index as u64),
            path: inclusion_proof(&leaves, index).unwrap(),
            note: journal.note,
        }
    }

    fn keys() -> Vec<PublicKey> {
        vec![signer().verifier()]
    }

    #[test]
    fn every_record_of_ledgers_of_many_sizes_is_shown_by_its_file_alone() {
        for count in [1, 2, 3, 7, 8, 9, 31, 70] {
            for index in 0..count {
                let proof = proof(count, usize::try_from(index).unwrap());
                let read = Proof::parse(&proof.to_string()).unwrap();
                assert_eq!(read, proof);
                assert_eq!(read.check(None, &keys()).unwrap().record.seq, Seq::new(index));
            }
        }
    }

    #[test]
    fn a_record_beside_the_proof_does_as_well_and_another_one_does_not() {
        let (_, records) = records(7);
        let without = Proof { record: None, ..proof(7, 4) };
        let read = Proof::parse(&without.to_string()).unwrap();
        assert!(read.check(Some(&records[4]), &keys()).is_ok());
        assert_eq!(read.check(None, &keys()), Err(ProofError::NoRecord));
        let wrong = ProofError::NotIncluded { index: Seq::new(4), size: 7 };
        assert_eq!(read.check(Some(&records[3]), &keys()), Err(wrong));
        assert_eq!(proof(7, 4).check(Some(&records[3]), &keys()), Err(ProofError::TwoRecords));
    }

    #[test]
    fn a_proof_by_another_key_or_without_any_shows_nothing() {
        let stranger = SoftwareSigner::new("example.org/ledger", [2; 32]).verifier();
        assert!(matches!(proof(3, 1).check(None, &[stranger]), Err(ProofError::Authenticity(_))));
        assert_eq!(proof(3, 1).check(None, &[]), Err(ProofError::NoKey));
    }

    #[test]
    fn a_record_signed_for_at_a_place_that_is_not_its_own_is_refused() {
        let (_, records) = records(3);
        let leaves = [Digest::leaf(&records[1]), Digest::leaf(&records[0])];
        let checkpoint =
            Checkpoint { origin: "example.org/ledger".to_owned(), size: 2, root: crate::tree::root(&leaves) };
        let proof = Proof {
            record: Some(records[1].clone()),
            index: Seq::ZERO,
            path: inclusion_proof(&leaves, 0).unwrap(),
            note: signer().sign_checkpoint(&checkpoint).to_string(),
        };
        let wrong = ProofError::OtherNumber { index: Seq::ZERO, found: Seq::new(1) };
        assert_eq!(proof.check(None, &keys()), Err(wrong));
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = proof(3, 1).to_string();
        for bad in [
            String::new(),
            good.replace("@v1", "@v2"),
            good.replace("index 1", "index 01"),
            good.replace("index 1", "index +1"),
            good.replace("index 1\n", ""),
            good.replace("extra ", "extra  "),
            good.replace("\n\n", "\n"),
            good.replacen("=\n", "\n", 1),
            good.replace("index 1\n", &format!("index 1\n{}", "AA==\n".repeat(3))),
        ] {
            assert!(Proof::parse(&bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_change_of_one_byte_leaves_a_proof_of_another_record(at in 0_usize..900, to in any::<u8>()) {
            let good = proof(5, 2);
            let mut bytes = good.to_string().into_bytes();
            let Some(byte) = bytes.get_mut(at) else { return Ok(()) };
            *byte = to;
            let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
            if let Ok(shown) = Proof::parse(&text).and_then(|proof| proof.check(None, &keys())) {
                prop_assert_eq!(Some(shown.bytes), good.record);
            }
        }

        #[test]
        fn no_text_makes_the_proof_reader_panic(text in "(?s).{0,200}") {
            let _ = Proof::parse(&text);
            let _ = Proof::parse(&format!("{HEADER}\n{text}"));
        }
    }
}
