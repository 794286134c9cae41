//! The one thread that numbers records.
//!
//! A group goes through these steps, and nothing is given to anybody before the last: number and hash every
//! draft and seal its personal values → extend the tree → have the head signed → check the signature →
//! write the group and sync → note the head apart → show it to readers → answer. The chain moves on only
//! when the group is durable, so a group that could not be signed leaves no trace: its numbers were never
//! given.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::head_writer::HeadWriter;
use super::journal_writer::JournalWriter;
use super::stamp::Stamp;
use super::tail::Tail;
use super::{AppendError, LedgerError, LedgerOptions, LedgerStatus, Receipt};
use crate::chain::Chain;
use crate::digest::Digest;
use crate::journal::{Group, GroupWriter};
use crate::keys::{HeadSigner, Vault};
use crate::kind::Kind;
use crate::note::{PublicKey, SignedNote};
use crate::record::{Draft, Outcome, Prepared, time_text};

/// Reads the wall clock; a test gives its own.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Tells who closed the ledger how that went.
pub(super) type Closer = oneshot::Sender<Result<(), LedgerError>>;

/// Tells who appended a draft where it stands.
pub(super) type Reply = oneshot::Sender<Result<Receipt, AppendError>>;

/// What reaches the owner.
pub(super) enum Message {
    Record(Pending),
    Close(Closer),
}

/// How the owner's work ended, and who waits to hear it.
pub(super) struct Ended {
    pub(super) close: Option<Closer>,
    pub(super) result: Result<(), LedgerError>,
}

/// A draft that waits to be numbered.
pub(super) struct Pending {
    pub(super) prepared: Prepared,
    /// Who waits for it to be durable; nobody, when it was only enqueued.
    pub(super) reply: Option<Reply>,
    /// Its room in the queue, free again when this is dropped.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Everything that only the owner may touch.
pub(super) struct Owner {
    pub(super) options: LedgerOptions,
    pub(super) signer: Box<dyn HeadSigner>,
    pub(super) key: PublicKey,
    pub(super) vault: Arc<dyn Vault>,
    pub(super) clock: Clock,
    pub(super) chain: Chain,
    pub(super) last_time: Option<Timestamp>,
    pub(super) note: Arc<str>,
    pub(super) journal: JournalWriter,
    pub(super) head: HeadWriter,
    pub(super) tail: Arc<Tail>,
    pub(super) publish: Publisher,
    /// Enqueued drafts that a failing signer kept from being recorded.
    pub(super) held: VecDeque<Pending>,
}

/// Where others see how far the ledger is.
pub(super) struct Publisher {
    pub(super) status: watch::Sender<LedgerStatus>,
    pub(super) heads: watch::Sender<u64>,
    pub(super) note: watch::Sender<Arc<str>>,
}

/// Why a group was not recorded.
pub(super) enum Refusal {
    /// The key provider did not do its part; nothing was numbered.
    Stalled(String),
    /// Writing failed; what is on the disk is unknown until the ledger is opened again.
    Failed(String),
}

/// What one round of receiving brought.
struct Round {
    batch: Vec<Pending>,
    close: Option<Closer>,
    disconnected: bool,
}

impl Owner {
    /// Works until the ledger is closed or its last handle is dropped, and gives back who waits for that.
    pub(super) fn run(mut self, messages: &Receiver<Message>) -> Ended {
        let mut synced = Instant::now();
        loop {
            let Round { batch, close, disconnected } = self.receive(messages);
            if let Err(reason) = self.record(batch) {
                return failed(messages, close, reason);
            }
            let ending = close.is_some() || disconnected;
            if ending || synced.elapsed() >= self.options.flush_interval {
                synced = Instant::now();
                if let Err(error) = self.head.sync() {
                    let reason = format!("cannot sync the head file: {error}");
                    self.fail(&reason);
                    return failed(messages, close, reason);
                }
            }
            if ending {
                return Ended { close, result: self.unrecorded() };
            }
        }
    }

    /// Waits for the first message, then takes what else has arrived, up to one group.
    fn receive(&self, messages: &Receiver<Message>) -> Round {
        let mut round = Round { batch: Vec::new(), close: None, disconnected: false };
        let stalled = matches!(&*self.publish.status.borrow(), LedgerStatus::Stalled { .. });
        let patience = if stalled {
            Some(self.options.retry_interval)
        } else {
            self.head.is_dirty().then_some(self.options.flush_interval)
        };
        let mut bytes = 0;
        let mut next = wait(messages, patience);
        loop {
            match next {
                Ok(Message::Record(pending)) => {
                    bytes += pending.prepared.weight();
                    round.batch.push(pending);
                }
                Ok(Message::Close(reply)) => round.close = Some(reply),
                Err(TryRecvError::Empty) => return round,
                Err(TryRecvError::Disconnected) => round.disconnected = true,
            }
            let full = round.batch.len() >= self.options.group_records || bytes >= self.options.group_bytes;
            if full || round.close.is_some() || round.disconnected {
                return round;
            }
            next = messages.try_recv();
        }
    }

    /// Records what was held back and then `batch`; an error means that the ledger has stopped.
    fn record(&mut self, batch: Vec<Pending>) -> Result<(), String> {
        let stalled = matches!(&*self.publish.status.borrow(), LedgerStatus::Stalled { .. });
        let mut waiting = std::mem::take(&mut self.held);
        waiting.extend(batch);
        if waiting.is_empty() && stalled {
            match self.probe() {
                Err(Refusal::Failed(reason)) => return Err(reason),
                Err(Refusal::Stalled(_)) | Ok(()) => {}
            }
        }
        while !waiting.is_empty() {
            let group = self.next_group(&mut waiting);
            match self.commit(&group) {
                Ok(receipts) => acknowledge(group, receipts),
                Err(Refusal::Stalled(reason)) => {
                    self.stall(group.into_iter().chain(waiting), &reason);
                    return Ok(());
                }
                Err(Refusal::Failed(reason)) => {
                    self.fail(&reason);
                    for pending in group.into_iter().chain(waiting) {
                        answer(pending, AppendError::Failed { reason: reason.clone() });
                    }
                    return Err(reason);
                }
            }
        }
        Ok(())
    }

    /// The oldest drafts, as many as one group may have.
    fn next_group(&self, waiting: &mut VecDeque<Pending>) -> Vec<Pending> {
        let (mut bytes, mut records) = (0, 0);
        while let Some(pending) = waiting.get(records) {
            bytes += pending.prepared.weight();
            records += 1;
            if records >= self.options.group_records || bytes >= self.options.group_bytes {
                break;
            }
        }
        waiting.drain(..records).collect()
    }

    /// Numbers, signs and writes one group; the receipts stand in the order of the drafts.
    pub(super) fn commit(&mut self, drafts: &[Pending]) -> Result<Vec<Receipt>, Refusal> {
        let mut chain = self.chain.clone();
        let weight: usize = drafts.iter().map(|pending| pending.prepared.weight()).sum();
        let mut group = GroupWriter::new(chain.next(), weight + drafts.len() * 256);
        let mut stamp = Stamp::default();
        let mut time = (self.clock)();
        if let Some(last) = self.last_time.filter(|last| *last > time) {
            let jump = clock_jump(last, time, &self.options.node)
                .map_err(|error| Refusal::Failed(error.to_string()))?;
            self.place(&jump, time, &mut stamp, &mut chain, &mut group)?;
        }
        let mut receipts = Vec::with_capacity(drafts.len());
        for pending in drafts {
            // Within a group time never runs backwards; between groups a jump is a record of its own.
            time = time.max((self.clock)());
            receipts.push(self.place(&pending.prepared, time, &mut stamp, &mut chain, &mut group)?);
        }
        let note: Arc<str> = self.sign(&chain)?.into();
        let group = group.finish(&note).ok_or_else(|| Refusal::Failed("a group grew too long".to_owned()))?;
        self.write(chain, note, group)?;
        self.last_time = Some(time);
        Ok(receipts)
    }

    /// Gives one draft its place in the group.
    fn place(
        &self,
        prepared: &Prepared,
        time: Timestamp,
        stamp: &mut Stamp,
        chain: &mut Chain,
        group: &mut GroupWriter,
    ) -> Result<Receipt, Refusal> {
        let (seq, prev) = (chain.next(), chain.prev());
        let bytes = group.record(|out| prepared.write(seq, stamp.text(time), prev, out));
        // `Prepared` has bounded the length already.
        let bytes = bytes.ok_or_else(|| Refusal::Failed(format!("record {seq} grew too long")))?;
        let digest = Digest::leaf(bytes);
        if let Some(sidecar) = prepared.sidecar() {
            let sealed = sidecar.seal(&*self.vault, digest, time);
            group.seal(
                &sealed.map_err(|error| {
                    Refusal::Stalled(format!("personal values cannot be sealed: {error}"))
                })?,
            );
        }
        chain.extend(digest);
        Ok(Receipt { seq, time, digest })
    }

    /// Has the head over `chain` signed, and believes the signature only after checking it.
    fn sign(&mut self, chain: &Chain) -> Result<String, Refusal> {
        let text = chain.checkpoint(&self.options.origin).text();
        let signature =
            self.signer.sign(text.as_bytes()).map_err(|error| Refusal::Stalled(error.to_string()))?;
        if !self.key.verify(text.as_bytes(), &signature) {
            return Err(Refusal::Stalled("the key provider returned a false signature".to_owned()));
        }
        Ok(SignedNote::new(text, &self.key, &signature).to_string())
    }

    /// Makes the group durable, then shows it.
    fn write(&mut self, chain: Chain, note: Arc<str>, group: Group<Vec<u8>>) -> Result<(), Refusal> {
        let failed = |error: LedgerError| Refusal::Failed(describe(&error));
        self.journal.append(&self.chain, &self.note, group.frame()).map_err(failed)?;
        self.head
            .write(&note)
            .map_err(|error| Refusal::Failed(format!("cannot write the head file: {error}")))?;
        self.tail.push(Arc::new(group), self.options.store_lag_bytes).map_err(Refusal::Failed)?;
        self.chain = chain;
        self.note = Arc::clone(&note);
        self.publish.note.send_replace(note);
        self.publish.heads.send_replace(self.chain.size());
        self.publish.status.send_replace(LedgerStatus::Open { records: self.chain.size() });
        Ok(())
    }

    /// Asks whether signing works again, by signing the head that is already signed.
    fn probe(&mut self) -> Result<(), Refusal> {
        let chain = self.chain.clone();
        self.sign(&chain)?;
        self.publish.status.send_replace(LedgerStatus::Open { records: chain.size() });
        Ok(())
    }

    /// Waiters are told; what was only enqueued is kept for the next attempt.
    fn stall(&mut self, drafts: impl Iterator<Item = Pending>, reason: &str) {
        tracing::warn!(reason, "the ledger cannot sign; nothing is recorded until it can");
        self.publish.status.send_replace(LedgerStatus::Stalled { reason: reason.to_owned() });
        for pending in drafts {
            if pending.reply.is_some() {
                answer(pending, AppendError::SignerUnavailable { reason: reason.to_owned() });
            } else {
                self.held.push_back(pending);
            }
        }
    }

    fn fail(&self, reason: &str) {
        let hint = "no record is taken any more: look at the disk, then restart the gateway; what was acknowledged is kept";
        tracing::error!(reason, hint, "the ledger has stopped");
        self.publish.status.send_replace(LedgerStatus::Failed { reason: reason.to_owned() });
    }

    /// What a closing ledger could not record.
    fn unrecorded(&self) -> Result<(), LedgerError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let reason = match &*self.publish.status.borrow() {
            LedgerStatus::Stalled { reason } => reason.clone(),
            _ => "the ledger was closed".to_owned(),
        };
        Err(LedgerError::Unrecorded { drafts: self.held.len(), reason })
    }
}

/// The first message, or none within `patience`.
fn wait(messages: &Receiver<Message>, patience: Option<Duration>) -> Result<Message, TryRecvError> {
    match patience {
        None => messages.recv().map_err(|mpsc::RecvError| TryRecvError::Disconnected),
        Some(patience) => messages.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        }),
    }
}

/// After a failure every draft is refused, until the ledger is closed.
fn failed(messages: &Receiver<Message>, mut close: Option<Closer>, reason: String) -> Ended {
    while close.is_none() {
        match messages.recv() {
            Ok(Message::Record(pending)) => answer(pending, AppendError::Failed { reason: reason.clone() }),
            Ok(Message::Close(reply)) => close = Some(reply),
            Err(mpsc::RecvError) => break,
        }
    }
    Ended { close, result: Err(LedgerError::Failed { reason }) }
}

/// Tells everybody in a durable group where their draft stands.
fn acknowledge(group: Vec<Pending>, receipts: Vec<Receipt>) {
    for (pending, receipt) in group.into_iter().zip(receipts) {
        drop(pending.permit);
        if let Some(reply) = pending.reply {
            // Whoever no longer waits does not need the answer.
            let _ = reply.send(Ok(receipt));
        }
    }
}

/// Tells whoever waits for a draft that it was not recorded.
fn answer(pending: Pending, error: AppendError) {
    if let Some(reply) = pending.reply {
        let _ = reply.send(Err(error));
    } else {
        tracing::error!(%error, "an event that was accepted could not be recorded");
    }
}

/// An error with its causes, in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The record which says that the wall clock went backwards.
fn clock_jump(from: Timestamp, to: Timestamp, node: &str) -> Result<Prepared, crate::record::RecordError> {
    let back = from.duration_since(to);
    let draft = Draft::new(Kind::ClockJumped, Outcome::Success)
        .detail("from", time_text(from))
        .detail("to", time_text(to))
        .detail(
            "back_ms",
            i64::try_from(back.as_millis()).unwrap_or(i64::MAX).min(crate::record::MAX_INTEGER),
        );
    Prepared::new(draft, node, [0; 32])
}
