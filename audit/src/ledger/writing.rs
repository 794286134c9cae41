//! Makes signed groups durable and shows them.
//!
//! In this order: write the group and sync → note the head apart → show it to readers; then its records may be
//! acknowledged. After a failed write or sync nobody knows what is on the disk: everything that comes later is
//! refused, until the ledger is opened again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::head_writer::HeadWriter;
use super::journal_writer::JournalWriter;
use super::owner::describe;
use super::publisher::Publisher;
use super::tail::Tail;
use crate::chain::Chain;
use crate::journal::Group;

/// What it writes to, and where it stands there.
pub(super) struct Writing {
    pub(super) chain: Chain,
    pub(super) note: Arc<str>,
    pub(super) journal: JournalWriter,
    pub(super) head: HeadWriter,
    pub(super) tail: Arc<Tail>,
    /// How much may wait in memory for the store, in bytes.
    pub(super) store_lag_bytes: usize,
    /// How often the head file is synced.
    pub(super) flush_interval: Duration,
    pub(super) publisher: Arc<Publisher>,
    /// When the head file was last synced.
    pub(super) synced: Instant,
    /// Why nothing is written any more.
    pub(super) failed: Option<String>,
}

impl Writing {
    /// Makes a group durable, then shows it. After an error nothing more is written.
    pub(super) fn write(
        &mut self,
        chain: Chain,
        note: Arc<str>,
        group: Group<Vec<u8>>,
    ) -> Result<(), String> {
        self.unless_failed(|writing| writing.keep(chain, note, group))
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
        if let Some(reason) = &self.failed {
            return Err(reason.clone());
        }
        work(self).inspect_err(|reason| {
            self.publisher.failed(reason);
            self.failed = Some(reason.clone());
        })
    }

    /// Notes another signed head over the same records.
    pub(super) fn keep_note(&mut self, note: Arc<str>) -> Result<(), String> {
        self.head.write(&note).map_err(|error| format!("cannot write the head file: {error}"))?;
        self.note = note;
        Ok(())
    }

    fn keep(&mut self, chain: Chain, note: Arc<str>, group: Group<Vec<u8>>) -> Result<(), String> {
        self.journal.append(&self.chain, &self.note, group.frame()).map_err(|error| describe(&error))?;
        self.head.write(&note).map_err(|error| format!("cannot write the head file: {error}"))?;
        self.tail.push(Arc::new(group), self.store_lag_bytes)?;
        self.chain = chain;
        self.note = Arc::clone(&note);
        self.publisher.durable(self.chain.size(), note);
        Ok(())
    }
}
