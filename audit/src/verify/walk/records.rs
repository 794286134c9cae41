//! Reads each record, in its place: form, number, link, and what it says that matters to the walk.

use super::{Created, Place, Stop, Walk};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::epoch::Resumed;
use crate::journal::Group;
use crate::kind::Kind;
use crate::record::{RecordError, RecordReader, RecordView, Seq};
use crate::verify::blame;

impl Walk {
    /// Checks the records of a group; gives back a stop for later when one is of a newer format.
    pub(super) fn records(
        &mut self,
        group: &Group<&[u8]>,
        before: &Chain,
        head: Option<&Checkpoint>,
        place: Place<'_>,
    ) -> Result<Option<Stop>, Stop> {
        let mut newer = None;
        let mut reader = std::mem::take(&mut self.reader);
        for (seq, bytes, _) in group.records() {
            let leaf = Digest::leaf(bytes);
            match reader.read(bytes) {
                Ok(record) => {
                    if record.seq != seq {
                        return Err(place.broken(seq, format!("it says that it is record {}", record.seq)));
                    }
                    if record.prev != self.chain.prev() {
                        let (seq, what) = blame::broken_link(group, seq, record.prev, before, head);
                        return Err(place.broken(seq, what));
                    }
                    self.contents(&record, leaf, place)?;
                    self.hands.read(&record);
                }
                // Believed only if the head over it was signed for it; a forger gets a plain answer.
                Err(error @ RecordError::Version { .. }) => {
                    newer.get_or_insert((seq, error.to_string()));
                }
                Err(error) => return Err(place.broken(seq, error.to_string())),
            }
            self.extend(leaf);
        }
        self.reader = reader;
        let fits = head.is_some_and(|head| *head == self.chain.checkpoint(&head.origin));
        match newer {
            Some((seq, error)) if !fits => Err(place.broken(seq, format!("it was changed: {error}"))),
            Some((seq, error)) => Ok(Some(Stop::Newer(format!("Record {seq}: {error}")))),
            None => Ok(None),
        }
    }

    /// Takes a record that stands in no group, from `name`.
    pub(in crate::verify) fn single(&mut self, bytes: &[u8], name: &str) -> Result<Digest, Stop> {
        let place = Place { segment: name, offset: 0 };
        let seq = self.chain.next();
        let record = RecordReader::default().read(bytes).map_err(|error| match error {
            RecordError::Version { .. } => Stop::Newer(format!("Record {seq}: {error}")),
            error => place.broken(seq, error.to_string()),
        })?;
        if record.seq != seq {
            return Err(place.broken(seq, format!("it says that it is record {}", record.seq)));
        }
        if record.prev != self.chain.prev() {
            return Err(place.broken(seq, "its `prev` is not the digest of the record before it"));
        }
        let leaf = Digest::leaf(bytes);
        self.contents(&record, leaf, place)?;
        self.hands.read_alone(&record);
        self.extend(leaf);
        Ok(leaf)
    }

    /// Notes what a record in its right place says. The head over it was not looked at yet.
    pub(super) fn contents(
        &mut self,
        record: &RecordView<'_>,
        leaf: Digest,
        place: Place<'_>,
    ) -> Result<(), Stop> {
        self.time(record, place);
        self.origin.record(record, leaf).map_err(|what| place.broken(record.seq, what))?;
        // Kinds that bear on what follows, each with its rule.
        match record.kind {
            Kind::LedgerCreated if record.seq == Seq::ZERO => self.created = created(record),
            Kind::RetentionPruned => self.declared(record),
            Kind::LedgerResumed => self.lost_head(record, place)?,
            _ => {}
        }
        self.tally.last_kind = Some(record.kind);
        Ok(())
    }

    /// The head that a new epoch names as lost must be one that the ledger signed.
    fn lost_head(&self, record: &RecordView<'_>, place: Place<'_>) -> Result<(), Stop> {
        let Some(resumed) = Resumed::read(&record.details()) else { return Ok(()) };
        let lost = resumed.lost();
        let checked =
            lost.map_or(Ok(()), |(head, note)| self.hands.check_lost(head.size, &note, resumed.key.as_ref()));
        checked.map_err(|reason| place.broken(record.seq, format!("the lost head that it names: {reason}")))
    }

    fn time(&mut self, record: &RecordView<'_>, place: Place<'_>) {
        if record.seq == Seq::ZERO {
            self.tally.first_time = Some(record.time);
        }
        if let Some(last) = self.tally.last_time.filter(|last| *last > record.time) {
            if record.kind == Kind::ClockJumped {
                self.tally.jumps += 1;
            } else if self.backwards.is_none() {
                let what = format!("its time {} is before that of the record before it, {last}", record.time);
                self.backwards = Some(place.found(record.seq, what));
            }
        }
        self.tally.last_time = Some(record.time);
    }
}

fn created(record: &RecordView<'_>) -> Option<Created> {
    let details = record.details();
    let text = |key: &str| details.get(key)?.as_str().map(str::to_owned);
    Some(Created { origin: text("origin")?, key: text("key")? })
}
