//! What a witness's answer to `add-checkpoint` is worth. (c2sp.org/tlog-witness)
//!
//! Pure: status and body are arguments, and so is the time. Not trusted: the witness and the way to it. Only
//! a cosignature by the key that was configured, over the very head that was sent and made just now, counts;
//! everything else is a trouble with its own words. What the peer writes is never repeated in them.

use crate::checkpoint::Checkpoint;
use crate::note::{CosignerKey, NoteSignature, SignedNote};

/// The longest answer that is read, in bytes: some post-quantum signatures and room to spare.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How far a witness's clock may be from ours, in seconds. A cosignature that is older was kept from earlier.
pub const MAX_CLOCK_DIFFERENCE: u64 = 600;

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most [`MAX_ANSWER_BYTES`] long.
    pub body: Vec<u8>,
}

/// An answer that takes us further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It cosigned the head, at this POSIX time.
    Cosigned {
        /// Its line for the note.
        line: NoteSignature,
        /// When, by its clock.
        time: u64,
    },
    /// The last head that it cosigned has another size than we thought.
    Conflict {
        /// How many records that head covers.
        size: u64,
    },
}

/// Why a witness did not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No answer.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Not one of the statuses of the specification.
    #[error("answered with the HTTP status {0}")]
    Status(u16),
    /// 404.
    #[error("does not watch this ledger")]
    UnknownLedger,
    /// 403.
    #[error("does not know the key that signs this ledger")]
    UnknownKey,
    /// It has cosigned a head that this ledger does not have.
    #[error("has seen {theirs} records of this ledger, and there are {ours}")]
    Ahead {
        /// How many it has seen.
        theirs: u64,
        /// How many there are.
        ours: u64,
    },
    /// The same number of records, and another root.
    #[error("has seen another history of {size} records of this ledger")]
    TwoHistories {
        /// How many.
        size: u64,
    },
    /// 422: our records do not lead from what it has seen.
    #[error("has seen other first {old} records than the ones that this ledger has now")]
    OtherBeginning {
        /// How many.
        old: u64,
    },
    /// It named one size and then another, again and again.
    #[error("names ever other sizes of the last head that it cosigned")]
    NeverSettles,
    /// Not what the specification says.
    #[error("gave an answer that cannot be read")]
    Form,
    /// Nothing in the answer is by its key.
    #[error("gave an answer without a cosignature of its key")]
    NotCosigned,
    /// The cosignature is false, or of another head.
    #[error("gave a false cosignature, or one of another head")]
    False,
    /// The cosignature was made at another time.
    #[error("gave a cosignature whose time differs from this clock by {seconds} s")]
    OtherTime {
        /// By how much.
        seconds: u64,
    },
    /// No proof could be made, which is no fault of the witness.
    #[error("was not asked: {0}")]
    NoProof(String),
}

impl Trouble {
    /// Whether the witness says that this is not the ledger which it has seen before.
    pub fn is_dispute(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::TwoHistories { .. } | Self::OtherBeginning { .. })
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) | Self::Status(_) => {
                "look at the witness and the way to it; it is asked again"
            }
            Self::UnknownLedger | Self::UnknownKey => {
                "give the witness's operator this ledger's public key, whose name is the ledger's origin"
            }
            Self::Ahead { .. } | Self::TwoHistories { .. } | Self::OtherBeginning { .. } => {
                "if an old copy of the ledger was restored, put the newer journal and head file back; keep the directory as it is; \
                 docs/operator.md says more under \"Witnesses\""
            }
            Self::NeverSettles | Self::Form | Self::NotCosigned | Self::False => {
                "compare the witness's address and key with what its operator published"
            }
            Self::OtherTime { .. } => "compare this clock and the witness's with a good one",
            Self::NoProof(_) => "run `auditctl verify` on the ledger",
        }
    }
}

/// Judges the answer to a request with the head in `note` and a proof from `old` records, at `now` (POSIX time).
pub(super) fn judge(
    reply: &Reply,
    key: &CosignerKey,
    (checkpoint, note): (&Checkpoint, &SignedNote),
    old: u64,
    now: u64,
) -> Result<Answer, Trouble> {
    if reply.body.len() > MAX_ANSWER_BYTES {
        return Err(Trouble::Form);
    }
    let body = std::str::from_utf8(&reply.body).map_err(|_| Trouble::Form);
    match reply.status {
        200 => cosigned(body?, key, (checkpoint, note), now),
        409 => {
            let digits = body?;
            let digits = digits.strip_suffix('\n').unwrap_or(digits);
            let size: u64 = digits.parse().map_err(|_| Trouble::Form)?;
            match size {
                // One spelling.
                _ if size.to_string() != digits => Err(Trouble::Form),
                _ if size > checkpoint.size => Err(Trouble::Ahead { theirs: size, ours: checkpoint.size }),
                // What was asked began right there, so it can only be the root that differs.
                _ if size == old && old == checkpoint.size => Err(Trouble::TwoHistories { size }),
                _ if size == old => Err(Trouble::NeverSettles),
                _ => Ok(Answer::Conflict { size }),
            }
        }
        403 => Err(Trouble::UnknownKey),
        404 => Err(Trouble::UnknownLedger),
        422 => Err(Trouble::OtherBeginning { old }),
        status => Err(Trouble::Status(status)),
    }
}

fn cosigned(
    body: &str,
    key: &CosignerKey,
    (checkpoint, note): (&Checkpoint, &SignedNote),
    now: u64,
) -> Result<Answer, Trouble> {
    // The answer behind the head is a note, by the specification.
    let answer = SignedNote::parse(&format!("{}\n{body}", note.text())).map_err(|_| Trouble::Form)?;
    let mut best = None;
    for line in answer.signatures() {
        let alone = note.with_only(line.clone());
        match key.verify(checkpoint, &alone) {
            Ok(Some(time)) if best.as_ref().is_none_or(|(latest, _)| time > *latest) => {
                best = Some((time, line.clone()));
            }
            // Lines by keys that were not asked for are passed over.
            Ok(_) => {}
            Err(_) => return Err(Trouble::False),
        }
    }
    let (time, line) = best.ok_or(Trouble::NotCosigned)?;
    match time.abs_diff(now) {
        seconds if seconds > MAX_CLOCK_DIFFERENCE => Err(Trouble::OtherTime { seconds }),
        _ => Ok(Answer::Cosigned { line, time }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::testing::{SoftwareSigner, SoftwareWitness};

    const NOW: u64 = 1_800_000_000;

    fn head(size: u64) -> (Checkpoint, SignedNote) {
        let checkpoint = Checkpoint { origin: "example.org/ledger".to_owned(), size, root: Digest::ZERO };
        let note = SoftwareSigner::new("example.org/ledger", [1; 32]).sign_checkpoint(&checkpoint);
        (checkpoint, note)
    }

    fn witness() -> SoftwareWitness {
        SoftwareWitness::new("witness.example.net/w1", [2; 32])
    }

    fn answer(status: u16, body: impl Into<Vec<u8>>, old: u64) -> Result<Answer, Trouble> {
        let (checkpoint, note) = head(9);
        judge(&Reply { status, body: body.into() }, &witness().verifier(), (&checkpoint, &note), old, NOW)
    }

    fn lines(size: u64, time: u64) -> String {
        format!("{}\n", witness().cosign(&head(size).0, time))
    }

    #[test]
    fn a_cosignature_of_this_head_made_now_counts_and_lines_by_others_are_passed_over() {
        let Ok(Answer::Cosigned { line, time }) = answer(200, lines(9, NOW), 0) else { panic!("not taken") };
        assert_eq!((line, time), (witness().cosign(&head(9).0, NOW), NOW));
        let other = SoftwareWitness::new("other", [3; 32]).cosign(&head(9).0, NOW);
        assert!(answer(200, format!("{other}\n{}", lines(9, NOW)), 0).is_ok());
        assert_eq!(answer(200, format!("{other}\n"), 0), Err(Trouble::NotCosigned));
    }

    #[test]
    fn a_witness_that_lies_is_not_counted() {
        assert_eq!(answer(200, lines(8, NOW), 0), Err(Trouble::False), "another head");
        let stranger = SoftwareWitness::new("witness.example.net/w1", [9; 32]).cosign(&head(9).0, NOW);
        assert_eq!(
            answer(200, format!("{stranger}\n"), 0),
            Err(Trouble::NotCosigned),
            "another key of its name"
        );
        let forged = NoteSignature { signature: vec![7; 72], ..witness().cosign(&head(9).0, NOW) };
        assert_eq!(answer(200, format!("{forged}\n"), 0), Err(Trouble::False));
        assert_eq!(answer(200, format!("{}{forged}\n", lines(9, NOW)), 0), Err(Trouble::False));
        for time in [NOW - 601, NOW + 601] {
            assert_eq!(answer(200, lines(9, time), 0), Err(Trouble::OtherTime { seconds: 601 }));
        }
    }

    #[test]
    fn a_witness_that_knows_another_history_is_a_dispute() {
        for (trouble, expected) in [
            (answer(409, "10\n", 0), Trouble::Ahead { theirs: 10, ours: 9 }),
            (answer(409, "9\n", 9), Trouble::TwoHistories { size: 9 }),
            (answer(422, "", 4), Trouble::OtherBeginning { old: 4 }),
        ] {
            assert!(expected.is_dispute());
            assert_eq!(trouble, Err(expected));
        }
        assert_eq!(answer(409, "4\n", 0), Ok(Answer::Conflict { size: 4 }));
        assert_eq!(answer(409, "4", 0), Ok(Answer::Conflict { size: 4 }));
    }

    #[test]
    fn whatever_else_comes_is_a_trouble_and_no_dispute() {
        let huge = vec![b'x'; MAX_ANSWER_BYTES + 1];
        for (status, body, old, expected) in [
            (200, Vec::new(), 0, Trouble::Form),
            (200, b"nonsense".to_vec(), 0, Trouble::Form),
            (200, vec![0xff], 0, Trouble::Form),
            (200, huge.clone(), 0, Trouble::Form),
            (409, huge, 0, Trouble::Form),
            (409, b"+4\n".to_vec(), 0, Trouble::Form),
            (409, b"04\n".to_vec(), 0, Trouble::Form),
            (409, b"99999999999999999999\n".to_vec(), 0, Trouble::Form),
            (409, b"4\n".to_vec(), 4, Trouble::NeverSettles),
            (403, Vec::new(), 0, Trouble::UnknownKey),
            (404, Vec::new(), 0, Trouble::UnknownLedger),
            (302, Vec::new(), 0, Trouble::Status(302)),
            (500, Vec::new(), 0, Trouble::Status(500)),
        ] {
            assert!(!expected.is_dispute() && !expected.hint().is_empty());
            assert_eq!(answer(status, body, old), Err(expected));
        }
    }
}
