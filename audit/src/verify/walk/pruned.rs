//! Begins with what is left of a pruned beginning.
//!
//! Its lines must lead to its head, a trusted key must have signed that, and a record behind it, under later
//! heads, must declare exactly these lines: the tree alone would not notice a record that was replaced by its
//! own hash.

use super::{Place, Stop, Walk};
use crate::prefix::{Declaration, NAME, Piece, Prefix, PrefixFault};
use crate::record::{RecordReader, RecordView, Seq};
use crate::tree::Frontier;
use crate::verify::{Segment, Unreadable};

/// What is known of a pruned beginning.
pub(in crate::verify) struct Pruned {
    /// What a record must say of it.
    pub(in crate::verify) declaration: Declaration,
    /// How many records stand in it whole.
    pub(in crate::verify) kept: u64,
    /// The record that declares it, once it was met.
    pub(in crate::verify) declared_by: Option<Seq>,
}

impl Pruned {
    /// How many records are no longer there.
    pub(in crate::verify) fn gone(&self) -> u64 {
        self.declaration.size.saturating_sub(self.kept)
    }
}

impl Walk<'_> {
    /// Reads the prefix, which stands before all segments.
    pub(super) fn prefix(&mut self, segment: &Segment) -> Result<(), Stop> {
        let place = Place { segment: NAME, offset: 0 };
        let prefix = Prefix::parse(segment.bytes.clone()).map_err(|fault| match fault {
            PrefixFault::Version { .. } => Stop::Newer(format!("{NAME}: {fault}")),
            fault => place.broken(fault.seq(), format!("in the pruned beginning of the journal, {fault}")),
        })?;
        let next = self.chain.next();
        let origin = &prefix.checkpoint().origin;
        self.origin.expect(origin).map_err(|what| place.broken(next, what))?;
        if self.older.is_some() {
            return self.older_prefix(&prefix);
        }
        if next != Seq::ZERO || self.pruned.is_some() {
            return Err(place.broken(next, "a pruned beginning stands where its segment should begin"));
        }
        let (mut frontier, mut reader) = (Frontier::default(), RecordReader::default());
        for piece in prefix.pieces() {
            match piece {
                Piece::Record { seq, bytes, .. } => {
                    let record = reader.read(bytes).map_err(|error| place.broken(seq, error.to_string()))?;
                    self.contents(&record, place);
                    frontier.push(crate::Digest::leaf(bytes));
                }
                Piece::Omitted(run) if frontier.push_subtree(run.height, run.root) => {}
                Piece::Omitted(run) => {
                    return Err(place.broken(Seq::new(run.first), "no run of its length begins there"));
                }
            }
            self.mark(&frontier);
        }
        if let Err(reason) = self.signers.check(prefix.note())
            && self.forged.is_none()
        {
            self.forged = Some(place.found(next, format!("the head over the pruned beginning: {reason}")));
        }
        self.tally.heads += 1;
        self.chain = prefix.chain().clone();
        self.note = prefix.note().to_string();
        let declaration = prefix.declaration();
        self.pruned = Some(Pruned { declaration, kept: prefix.kept(), declared_by: None });
        Ok(())
    }

    /// Whether `segment` lies before the end of the prefix: left from pruning that was interrupted.
    pub(super) fn is_replaced(&self, segment: &Segment) -> bool {
        let first = segment.name.strip_suffix(".seg").and_then(|digits| digits.parse::<u64>().ok());
        self.pruned.as_ref().zip(first).is_some_and(|(pruned, first)| first < pruned.declaration.size)
    }

    /// A prefix before which an earlier check has come: it must not reach beyond that.
    fn older_prefix(&mut self, prefix: &Prefix) -> Result<(), Stop> {
        let Some(older) = &mut self.older else { return Ok(()) };
        let verified = self.chain.size();
        if prefix.size() > verified {
            return Err(Stop::Unreadable(Unreadable {
                name: NAME.to_owned(),
                reason: format!(
                    "of the {verified} records that were verified earlier the last were pruned since, so there is \
                     nothing to go on from; verify the whole ledger, without --since"
                ),
            }));
        }
        if prefix.size() == verified {
            older.met(verified, prefix.note().to_string().as_bytes());
        }
        Ok(())
    }

    /// Takes note of a record that may declare the prefix.
    pub(super) fn declared(&mut self, record: &RecordView<'_>) {
        if let Some(pruned) = &mut self.pruned
            && Declaration::read(&record.details()).as_ref() == Some(&pruned.declaration)
        {
            pruned.declared_by = Some(record.seq);
        }
    }
}
