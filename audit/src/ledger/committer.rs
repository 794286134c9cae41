//! Takes groups from their last record to being durable: has them signed, writes them, answers.
//!
//! Two threads do this in turn, so that one group can be signed while the one before it is written. They go hand
//! over hand: whoever signs takes the journal before it lets go of the signer, so groups are written in the order of
//! their numbers; and a group is given to one thread for its whole way, because every change of threads costs
//! each record time.
//!
//! The signer is free as soon as a group is signed. Whether the next one is signed at once or grows meanwhile is the
//! owner's business (`owner::gathering`).

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inbox::Messages;
use super::numbering::Unsigned;
use super::opening::Again;
use super::owner::{Message, Pending};
use super::publisher::Publisher;
use super::signing::{Signed, Signing, Unable};
use super::writing::Writing;
use super::{LedgerError, Receipt};

const FAULT: &str = "the writing thread met a fault";

/// What the owner wants to be done.
pub(super) enum Order {
    /// Make this group durable.
    Commit(Box<Unsigned>),
    /// Find out whether signing works again.
    Probe,
    /// Find out whether writing works again.
    OpenAgain,
}

/// What signs, and what is to be signed.
pub(super) type Desk = (Signing, Receiver<Order>);

/// The threads' common work.
pub(super) struct Committer {
    pub(super) signing: Mutex<Desk>,
    pub(super) writing: Mutex<Writing>,
    pub(super) owner: Messages,
    pub(super) publisher: Arc<Publisher>,
    pub(super) again: Again,
    /// After so long without a group the head file is synced.
    pub(super) flush_interval: Duration,
}

impl Committer {
    /// Works until the owner is gone; an error says why nothing could be written any more.
    pub(super) fn run(&self) -> Result<(), String> {
        while self.turn()? {}
        self.sign_at_end();
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).sync()
    }

    /// When a lent key signed the last head, the own key signs it too, into the head file.
    fn sign_at_end(&self) {
        let (Ok(mut desk), Ok(mut journal)) = (self.signing.lock(), self.writing.lock()) else { return };
        let signed = desk.0.sign_at_end(&journal.note, journal.place.chain.size());
        let kept = signed.and_then(|note| note.map_or(Ok(()), |note| journal.keep_note(note)));
        if let Err(reason) = kept {
            tracing::warn!(reason, "the ledger's own key could not sign the last head; a lent key has");
        }
    }

    /// Does one thing; whether there will be another.
    fn turn(&self) -> Result<bool, String> {
        let mut desk = self.signing.lock().map_err(|_| "the signing thread met a fault".to_owned())?;
        let (signing, orders) = &mut *desk;
        match orders.recv_timeout(self.flush_interval) {
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => self.sync(),
            Ok(Order::Probe) => {
                let probed = signing.probe();
                self.answer(probed.map_err(|reason| (None, reason)));
            }
            Ok(Order::OpenAgain) => {
                let mut journal = self.writing.lock().map_err(|_| FAULT.to_owned())?;
                let opened = self.again.open(signing, &mut journal);
                self.owner.tell(match opened {
                    Ok(numbering) => Message::Recovered(numbering),
                    Err(error) => Message::Unrecovered(error),
                });
            }
            Ok(Order::Commit(unsigned)) => match signing.sign(unsigned) {
                Ok(signed) => self.write(signed, desk)?,
                Err(Unable::Stalled(unsigned, reason)) => self.answer(Err((Some(unsigned), reason))),
                Err(Unable::Failed(waiting, reason)) => {
                    self.owner.tell(Message::Unwritten(pending(waiting), reason.clone()));
                    self.owner.tell(Message::Unrecovered(LedgerError::Fault { reason }));
                }
            },
        }
        Ok(true)
    }

    /// Makes a group durable and answers for it; the next one may be signed meanwhile.
    fn write(&self, signed: Signed, desk: MutexGuard<'_, Desk>) -> Result<(), String> {
        let Signed { after, note, group, waiting, callers } = signed;
        let mut journal = self.writing.lock().map_err(|_| FAULT.to_owned())?;
        self.answer(Ok(()));
        drop(desk);
        let written = journal.write(after, note, group);
        let sync_is_due = journal.is_sync_due();
        match written {
            Ok(()) => {
                drop(journal);
                // Before the first of them can be back.
                self.owner.tell(Message::Answered(callers));
                let rest = acknowledge(waiting);
                self.owner.tell(Message::Written);
                // Only now: letting go of what a thousand callers brought takes time.
                drop(rest);
            }
            // Told before anybody else can write, so that the owner hears of failures in their order.
            Err(reason) => {
                self.owner.tell(Message::Unwritten(pending(waiting), reason));
                drop(journal);
            }
        }
        if sync_is_due {
            self.sync();
        }
        Ok(())
    }

    /// Tells the owner that the signer is free again, or what it could not sign.
    fn answer(&self, signed: Result<(), (Option<Box<Unsigned>>, String)>) {
        self.owner.tell(match signed {
            Ok(()) => {
                self.publisher.signing();
                Message::Free
            }
            Err((unsigned, reason)) => Message::Stalled(unsigned, reason),
        });
    }

    fn sync(&self) {
        let Ok(mut journal) = self.writing.lock() else { return };
        if journal.failure.is_none()
            && let Err(reason) = journal.sync()
        {
            self.owner.tell(Message::Unwritten(Vec::new(), reason));
        }
    }
}

/// The drafts of a group that was not written.
fn pending(waiting: Vec<(Pending, Receipt)>) -> Vec<Pending> {
    waiting.into_iter().map(|(pending, _)| pending).collect()
}

/// Tells everybody in a durable group where their draft stands; gives back what is left of the drafts.
fn acknowledge(mut waiting: Vec<(Pending, Receipt)>) -> Vec<(Pending, Receipt)> {
    for (pending, receipt) in &mut waiting {
        if let Some(reply) = pending.reply.take() {
            // Whoever no longer waits does not need the answer.
            let _ = reply.send(Ok(*receipt));
        }
    }
    waiting
}
