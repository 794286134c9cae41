//! Begins with what is left of a pruned beginning.
//!
//! Its lines must lead to its head, the heads in it must be signed by whom its records say, and a record behind it, under later
//! heads, must declare exactly these lines: the tree alone would not notice a record that was replaced by its
//! own hash.

use super::{Place, Stop, Walk};
use crate::checkpoint::Checkpoint;
use crate::epoch;
use crate::note::SignedNote;
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

impl Walk {
    /// Reads the prefix, which stands before all segments.
    pub(super) fn prefix(&mut self, segment: &Segment) -> Result<(), Stop> {
        let place = Place { segment: NAME, offset: 0 };
        let prefix = Prefix::parse(segment.bytes.clone()).map_err(|fault| match fault {
            PrefixFault::Version { .. } => Stop::Newer(format!("{NAME}: {fault}")),
            fault => place.broken(fault.seq(), format!("in the pruned beginning of the journal, {fault}")),
        })?;
        let next = self.chain.next();
        if self.older.is_some() {
            return self.older_prefix(&prefix, place);
        }
        if next != Seq::ZERO || self.pruned.is_some() {
            return Err(place.broken(next, "a pruned beginning stands where its segment should begin"));
        }
        // No headers stand in it: what its records say of epochs begins them.
        self.origin.enter_loose();
        let (mut frontier, mut reader) = (Frontier::default(), RecordReader::default());
        for piece in prefix.pieces() {
            match piece {
                Piece::Record { seq, bytes, .. } => {
                    let record = reader.read(bytes).map_err(|error| place.broken(seq, error.to_string()))?;
                    let leaf = crate::Digest::leaf(bytes);
                    self.contents(&record, leaf, place)?;
                    self.hands.read(&record);
                    frontier.push(leaf);
                }
                Piece::Head { checkpoint, note } => self.prefix_head(checkpoint, note, place)?,
                Piece::Omitted(run) if frontier.push_subtree(run.height, run.root) => {}
                Piece::Omitted(run) => {
                    return Err(place.broken(Seq::new(run.first), "no run of its length begins there"));
                }
            }
            self.mark(&frontier);
        }
        self.prefix_head(prefix.checkpoint(), prefix.note(), place)?;
        self.origin.leave_loose().map_err(|what| place.broken(Seq::new(1), what))?;
        self.chain = prefix.chain().clone();
        self.note = prefix.note().to_string();
        let declaration = prefix.declaration();
        self.pruned = Some(Pruned { declaration, kept: prefix.kept(), declared_by: None });
        Ok(())
    }

    /// A head over the first records, of which some were pruned.
    fn prefix_head(
        &mut self,
        checkpoint: &Checkpoint,
        note: &SignedNote,
        place: Place<'_>,
    ) -> Result<(), Stop> {
        let (size, seq) = (checkpoint.size, Seq::new(checkpoint.size.saturating_sub(1)));
        self.origin.head(&checkpoint.origin).map_err(|what| place.broken(seq, what))?;
        // The last record before it may have been pruned; the last one that is there is not younger.
        self.hands.after_gap(self.tally.last_time);
        match self.hands.check(size, note) {
            Ok(()) => self.hands.remember_unknown(note, |what| place.found(Seq::ZERO, what)),
            Err(reason) if self.forged.is_none() => {
                let what = format!("the head over the pruned beginning up to it: {reason}");
                self.forged = Some(place.found(seq, what));
            }
            Err(_) => {}
        }
        self.tally.heads += 1;
        Ok(())
    }

    /// Whether `segment` lies before the end of the prefix: left from pruning that was interrupted.
    pub(super) fn is_replaced(&self, segment: &Segment) -> bool {
        let first = segment.name.strip_suffix(".seg").and_then(|digits| digits.parse::<u64>().ok());
        self.pruned.as_ref().zip(first).is_some_and(|(pruned, first)| first < pruned.declaration.size)
    }

    /// A prefix before which an earlier check has come: it must not reach beyond that.
    fn older_prefix(&mut self, prefix: &Prefix, place: Place<'_>) -> Result<(), Stop> {
        let (named, known) = (&prefix.checkpoint().origin, self.origin.get().unwrap_or_default());
        if epoch::split(named).0 != epoch::split(known).0 {
            let what = format!("it belongs to the ledger {named:?}, and those verified earlier to {known:?}");
            return Err(place.broken(Seq::ZERO, what));
        }
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
