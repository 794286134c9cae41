//! Checks one segment by itself, from where its own header says that it begins.
//!
//! Why: whoever has a copy of one segment, or tries on purpose whether a change in it is found, need not read a ledger of years.
//!
//! Promised: its records are in their form, numbered, linked, and under the roots of their heads.
//! Not promised: that the header is right, that the heads are signed by the ledger's key, and that nothing is missing
//! before or behind. For that there is [`verify`](super::verify), over all of it.

use std::iter;

use super::walk::{MARKS, Origin, Start, Stop, Walk};
use super::{Break, Segment};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::epoch::Epochs;
use crate::journal::{Frame, FrameKind, SegmentHeader};
use crate::record::Seq;
use crate::tree::Frontier;

/// Why a segment is not to be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// Something in it is not as it was written.
    #[error("record {}: {}", .0.seq, .0.what)]
    Broken(Break),
    /// It cannot be read, or this program is too old for it.
    #[error("{0}")]
    Unread(String),
}

/// Checks it, and tells how many records it holds.
pub fn alone(segment: Segment) -> Result<u64, Unsound> {
    let (first, start) = start(&segment.bytes)
        .ok_or_else(|| Unsound::Unread(format!("the header of {} cannot be read", segment.name)))?;
    let mut walk = Walk::new(&[], [None; MARKS], start);
    match walk.run(iter::once(Ok(segment)), &mut |_| {}) {
        None => Ok(walk.chain.size().saturating_sub(first)),
        Some(Stop::Broken(found)) => Err(Unsound::Broken(found)),
        Some(Stop::Newer(what)) => Err(Unsound::Unread(what)),
        Some(Stop::Unreadable(error)) => Err(Unsound::Unread(error.to_string())),
    }
}

/// Where the header says that the segment begins, and the number of its first record.
fn start(bytes: &[u8]) -> Option<(u64, Start)> {
    let frame = Frame::read(bytes, 0).ok()??;
    let header = (frame.kind == FrameKind::Segment).then(|| SegmentHeader::parse(frame.bytes).ok())??;
    let first = header.first.get();
    if first == 0 {
        return Some((first, Start::genesis()));
    }
    // The epoch of the records before it: with its own first record another one may begin.
    let (head, _) = Checkpoint::from_note(&header.note).ok()?;
    let mut epochs = Epochs::default();
    epochs.header(&head.origin, Seq::ZERO).ok()?;
    let frontier = Frontier::resume(first, header.peaks)?;
    let start = Start {
        chain: Chain::resume(header.prev, frontier),
        note: header.note,
        origin: Origin::after(epochs.all().to_vec()),
        ..Start::genesis()
    };
    Some((first, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Group;
    use crate::kind::Kind;
    use crate::record::{Draft, Outcome};
    use crate::testing::{JournalBuilder, SoftwareSigner};

    const ORIGIN: &str = "gateway.example.org/ledger";

    /// Ten records in three segments.
    fn segments() -> Vec<Segment> {
        let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
        let key = signer.verifier().to_string();
        let mut journal = JournalBuilder::new(ORIGIN, signer);
        let draft = |n: u64| Draft::new(Kind::HttpRequest, Outcome::Success).detail("n", n);
        journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
            .detail("origin", ORIGIN)
            .detail("key", key)]);
        journal.group((1..3).map(draft)).rotate();
        journal.group((3..5).map(draft)).group((5..9).map(draft)).rotate();
        journal.group([draft(9)]);
        journal.segments.into_iter().map(|(name, bytes)| Segment { name, bytes }).collect()
    }

    #[test]
    fn a_segment_is_checked_from_where_its_header_says_that_it_begins() {
        let counts: Vec<_> = segments().into_iter().map(alone).collect();
        assert_eq!(counts, [Ok(3), Ok(6), Ok(1)]);
    }

    #[test]
    fn every_bit_of_every_record_matters_wherever_the_segment_begins() {
        for segment in segments() {
            let mut at = 0;
            while let Some(frame) = Frame::read(&segment.bytes, at).unwrap() {
                let group = Group::parse(frame.bytes).ok().filter(|_| frame.kind == FrameKind::Group);
                let records: Vec<_> = group
                    .iter()
                    .flat_map(|group| {
                        group.records().map(|(seq, ..)| (seq, group.record_range(seq).unwrap()))
                    })
                    .collect();
                for (seq, range) in records {
                    for byte in range {
                        let mut altered = segment.clone();
                        altered.bytes[at + byte] ^= 1 << (byte % 8);
                        let Err(Unsound::Broken(found)) = alone(altered) else {
                            panic!("byte {byte} of record {seq} was changed, and nobody noticed");
                        };
                        assert_eq!(found.seq, seq);
                    }
                }
                at += frame.bytes.len();
            }
        }
    }

    #[test]
    fn what_is_no_segment_is_not_called_sound() {
        for bytes in [Vec::new(), b"SPS1".to_vec(), vec![0; 200]] {
            assert!(matches!(alone(Segment { name: "x".to_owned(), bytes }), Err(Unsound::Unread(_))));
        }
    }
}
