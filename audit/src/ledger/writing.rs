//! Makes signed groups durable and shows them.
//!
//! In this order: write the group and sync → note the head apart → show it to readers; then its records may be
//! acknowledged. After a failed write or sync nobody knows what is on the disk: everything that comes later is
//! refused, until the files were put back to what was acknowledged and read again (`opening::again`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::head_writer::HeadWriter;
use super::journal_writer::JournalWriter;
use super::numbering::Place;
use super::owner::{Clock, describe};
use super::publisher::Publisher;
use super::tail::Tail;
use crate::journal::Group;

/// What it writes to, and where it stands there.
pub(super) struct Writing {
    /// Behind the last acknowledged record.
    pub(super) place: Place,
    pub(super) note: Arc<str>,
    pub(super) journal: JournalWriter,
    pub(super) head: HeadWriter,
    pub(super) tail: Arc<Tail>,
    /// How much may wait in memory for the store, in bytes.
    pub(super) store_lag_bytes: usize,
    /// How often the head file is synced.
    pub(super) flush_interval: Duration,
    pub(super) publisher: Arc<Publisher>,
    pub(super) clock: Clock,
    /// When the head file was last synced.
    pub(super) synced: Instant,
    /// Why nothing is written any more.
    pub(super) failure: Option<Failure>,
}

/// What failed, and when.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) when: Timestamp,
}

impl Writing {
    /// Makes a group durable, then shows it. After an error nothing more is written.
    pub(super) fn write(
        &mut self,
        after: Place,
        note: Arc<str>,
        group: Group<Vec<u8>>,
    ) -> Result<(), String> {
        self.unless_failed(|writing| writing.keep(after, note, group))
    }

    /// Whether the head file was not synced for a while.
    pub(super) fn is_sync_due(&self) -> bool {
        self.synced.elapsed() >= self.flush_interval
    }

    /// Makes the head file durable.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        self.synced = Instant::now();
        self.unless_failed(|writing| {
            writing.head.sync().map_err(|error| format!("cannot sync the head file: {error}"))
        })
    }

    fn unless_failed(&mut self, work: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        if let Some(failure) = &self.failure {
            return Err(failure.reason.clone());
        }
        // Without a store that takes them, groups would pile up in memory.
        let worked = self.tail.failure().map_or(Ok(()), Err).and_then(|()| work(self));
        worked.inspect_err(|reason| {
            self.publisher.recovering(reason);
            self.failure = Some(Failure { reason: reason.clone(), when: (self.clock)() });
        })
    }

    /// Notes another signed head over the same records.
    pub(super) fn keep_note(&mut self, note: Arc<str>) -> Result<(), String> {
        self.head.write(&note).map_err(|error| format!("cannot write the head file: {error}"))?;
        self.note = note;
        Ok(())
    }

    fn keep(&mut self, after: Place, note: Arc<str>, group: Group<Vec<u8>>) -> Result<(), String> {
        let appended = self.journal.append(&self.place.chain, &self.note, group.frame());
        appended.map_err(|error| describe(&error))?;
        self.head.write(&note).map_err(|error| {
            self.journal.take_back(group.frame());
            format!("cannot write the head file: {error}")
        })?;
        self.tail.push(Arc::new(group), self.store_lag_bytes);
        self.place = after;
        self.note = Arc::clone(&note);
        self.publisher.durable(self.place.chain.size(), note);
        Ok(())
    }
}
