//! Goes through the journal once, from where it starts to the last byte.
//!
//! One idea a file: [`pieces`] takes a segment apart into frames and compares headers, [`groups`] holds the
//! records of a group against the signed head over them, [`records`] reads each record, [`older`] passes
//! over what an earlier check has seen. Three questions have a file of their own, because records of some
//! kinds may change the answer: where the walk starts ([`start`], [`pruned`]), which keys may sign the next head
//! ([`signers`]), and which origin it must name ([`origin`]).
//!
//! Nothing that a record says is acted on before the head over it was found right.

mod groups;
mod older;
mod origin;
mod pieces;
mod pruned;
mod records;
mod signers;
mod start;

use jiff::Timestamp;

use super::{Break, Segment, Unreadable};
use crate::chain::Chain;
use crate::digest::Digest;
use crate::kind::Kind;
use crate::note::PublicKey;
use crate::record::{RecordReader, Seq};
use crate::tree::Frontier;

use older::Older;
pub(super) use origin::Origin;
pub(super) use pruned::Pruned;
use signers::Hands;
pub(super) use start::Start;

/// Why a walk ended before the end.
pub(super) enum Stop {
    /// Something is not as it was written.
    Broken(Break),
    /// Something is written in a newer format.
    Newer(String),
    /// A file could not be read.
    Unreadable(Unreadable),
}

/// What record 0 says about the ledger.
pub(super) struct Created {
    pub(super) origin: String,
    pub(super) key: String,
}

/// What was counted on the way.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) heads: u64,
    pub(super) segments: u64,
    pub(super) first_time: Option<Timestamp>,
    pub(super) last_time: Option<Timestamp>,
    pub(super) last_kind: Option<Kind>,
    /// Records that say that the clock went backwards, where it did.
    pub(super) jumps: u64,
}

/// How many statements about its length a ledger is compared with.
pub(super) const MARKS: usize = 5;

/// What was found up to now.
pub(super) struct Walk {
    pub(super) hands: Hands,
    /// Sizes at which the root is wanted.
    marks: [Option<u64>; MARKS],
    /// The roots at those sizes.
    pub(super) roots: [Option<Digest>; MARKS],
    pub(super) chain: Chain,
    /// Where an earlier check had come, and this one went on.
    pub(super) resumed: Option<u64>,
    /// The groups that an earlier check has seen, while they are passed over.
    older: Option<Older>,
    /// The pruned beginning, if there is one.
    pub(super) pruned: Option<Pruned>,
    /// How many bytes of whole segments were gone through.
    bytes: u64,
    reader: RecordReader,
    /// The last head that was found right, as it stands in the journal.
    pub(super) note: String,
    pub(super) origin: Origin,
    pub(super) created: Option<Created>,
    pub(super) tally: Tally,
    /// How many bytes of an unfinished group stand at the end.
    pub(super) unfinished: u64,
    /// The first head that is not signed by a given key.
    pub(super) forged: Option<Break>,
    /// The first record whose time runs backwards without saying so.
    pub(super) backwards: Option<Break>,
}

impl Walk {
    pub(super) fn new(keys: &[PublicKey], marks: [Option<u64>; MARKS], start: Start) -> Self {
        let older = start.journal_begins_earlier.then(Older::default);
        let mut walk = Self {
            hands: Hands::trusting(keys, start.signers.as_ref(), start.chain.size()),
            marks,
            roots: [None; MARKS],
            resumed: older.is_some().then(|| start.chain.size()),
            chain: start.chain,
            older,
            pruned: None,
            bytes: 0,
            reader: RecordReader::default(),
            note: start.note,
            origin: start.origin,
            created: start.created,
            tally: start.tally,
            unfinished: 0,
            forged: None,
            backwards: None,
        };
        walk.mark(&walk.chain.frontier().clone());
        walk
    }

    /// Goes through all `segments`; gives the reason if it had to end before the last byte.
    pub(super) fn run(
        &mut self,
        segments: impl IntoIterator<Item = Result<Segment, Unreadable>>,
        progress: &mut dyn FnMut(u64),
    ) -> Option<Stop> {
        let mut segments = segments.into_iter().peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let checked =
                segment.map_err(Stop::Unreadable).and_then(|segment| self.segment(&segment, last, progress));
            if let Err(stop) = checked {
                self.end_of_heads();
                return Some(stop);
            }
        }
        self.end_of_heads();
        self.end_of_older().err()
    }

    /// Takes one more record into chain and tree.
    fn extend(&mut self, leaf: Digest) {
        self.chain.extend(leaf);
        mark(&self.marks, &mut self.roots, self.chain.frontier());
    }

    /// Keeps the root if somebody wants it at this size.
    fn mark(&mut self, frontier: &Frontier) {
        mark(&self.marks, &mut self.roots, frontier);
    }
}

fn mark(marks: &[Option<u64>; MARKS], roots: &mut [Option<Digest>; MARKS], frontier: &Frontier) {
    for (mark, root) in marks.iter().zip(roots) {
        if *mark == Some(frontier.size()) {
            *root = Some(frontier.root());
        }
    }
}

/// Where in the files the walk is.
#[derive(Clone, Copy)]
struct Place<'a> {
    segment: &'a str,
    offset: usize,
}

impl Place<'_> {
    fn broken(self, seq: Seq, what: impl Into<String>) -> Stop {
        Stop::Broken(self.found(seq, what))
    }

    fn found(self, seq: Seq, what: impl Into<String>) -> Break {
        Break { seq, what: what.into(), segment: Some(self.segment.to_owned()), offset: Some(self.offset) }
    }
}
