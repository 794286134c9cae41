//! The thread that makes signed groups durable, shows them, and answers who waits for them.
//!
//! In this order: write the group and sync → note the head apart → show it to readers → answer. After a failed
//! write or sync nobody knows what is on the disk: everything that comes later is refused, until the ledger is
//! opened again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::head_writer::HeadWriter;
use super::journal_writer::JournalWriter;
use super::owner::{Message, Messages, describe, refuse};
use super::publisher::Publisher;
use super::signing::Signed;
use super::tail::Tail;
use super::{AppendError, Receipt, owner::Pending};
use crate::chain::Chain;

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
}

impl Writing {
    /// Makes a group durable, then shows it; gives back who is to be told.
    pub(super) fn write(&mut self, signed: Signed) -> Result<Vec<(Pending, Receipt)>, String> {
        let Signed { chain, note, group, waiting } = signed;
        match self.keep(chain, note, group) {
            Ok(()) => Ok(waiting),
            Err(reason) => {
                self.publisher.failed(&reason);
                refuse(waiting, &AppendError::Failed { reason: reason.clone() });
                Err(reason)
            }
        }
    }

    fn keep(
        &mut self,
        chain: Chain,
        note: Arc<str>,
        group: crate::journal::Group<Vec<u8>>,
    ) -> Result<(), String> {
        self.journal.append(&self.chain, &self.note, group.frame()).map_err(|error| describe(&error))?;
        self.head.write(&note).map_err(|error| format!("cannot write the head file: {error}"))?;
        self.tail.push(Arc::new(group), self.store_lag_bytes)?;
        self.chain = chain;
        self.note = Arc::clone(&note);
        self.publisher.durable(self.chain.size(), note);
        Ok(())
    }

    /// Makes the head file durable.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        self.head.sync().map_err(|error| {
            let reason = format!("cannot sync the head file: {error}");
            self.publisher.failed(&reason);
            reason
        })
    }

    /// Works until no more groups come, or until writing fails: then it says why and refuses the rest.
    pub(super) fn run(mut self, groups: &Receiver<Signed>, owner: &Messages) -> Result<(), String> {
        let ended = self.work(groups);
        if let Err(reason) = &ended {
            owner.tell(Message::Broken(reason.clone()));
            for signed in groups {
                refuse(signed.waiting, &AppendError::Failed { reason: reason.clone() });
            }
        }
        ended
    }

    fn work(&mut self, groups: &Receiver<Signed>) -> Result<(), String> {
        let mut synced = Instant::now();
        loop {
            let next = if self.head.is_dirty() {
                groups.recv_timeout(self.flush_interval)
            } else {
                groups.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(signed) => acknowledge(self.write(signed)?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            if synced.elapsed() >= self.flush_interval {
                synced = Instant::now();
                self.sync()?;
            }
        }
    }
}

/// Tells everybody in a durable group where their draft stands.
fn acknowledge(waiting: Vec<(Pending, Receipt)>) {
    for (pending, receipt) in waiting {
        drop(pending.permit);
        if let Some(reply) = pending.reply {
            // Whoever no longer waits does not need the answer.
            let _ = reply.send(Ok(receipt));
        }
    }
}
