//! The one thread that decides in which order drafts become records.
//!
//! It gives numbers (`numbering`) and hands a group to the committers (`committer`) when the signer is free and
//! whoever may come has come (`gathering`). Collecting and hashing go on while groups are signed and written. Nothing is given to anybody before its
//! group is durable, and what cannot be signed leaves no trace: its numbers are taken back before anything else
//! is signed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::committer::Order;
use super::inbox::{AWAITED, Gone, Inbox};
use super::numbering::{Numbering, Refused, Unsigned};
use super::publisher::Publisher;
use super::signing::Own;
use super::trouble::Trouble;
use super::{AppendError, LedgerError, LedgerOptions, LedgerStatus, Receipt};
use crate::record::Prepared;

mod gathering;
mod troubled;

use gathering::{Gathering, Wait};
use troubled::enqueued;

/// While it has nothing else to do, the owner is woken to number so many drafts that somebody waits for.
const BATCH: usize = 32;

/// Reads the wall clock; a test gives its own.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Tells who closed the ledger how that went.
pub(super) type Closer = oneshot::Sender<Result<(), LedgerError>>;

/// Tells who appended a draft where it stands.
pub(super) type Reply = oneshot::Sender<Result<Receipt, AppendError>>;

/// What reaches the owner.
pub(super) enum Message {
    /// From a caller: record this.
    Record(Pending),
    /// From a caller: have the ledger signed by another key from now on.
    HandOver(Handover),
    /// From a caller: finish, and say how that went.
    Close(Closer),
    /// The last handle was dropped: finish.
    Abandoned,
    /// From a committer: the signer is ready for the next group.
    Free,
    /// From a committer: so many callers are being told that their records are durable.
    Answered(usize),
    /// From a committer: a group is durable, and its callers have their answers.
    Written,
    /// From a committer: the key provider does not sign; here is the group again, if it was one.
    Stalled(Option<Box<Unsigned>>, String),
    /// From a committer: these drafts could not be written, and nothing can until the files are opened again.
    Unwritten(Vec<Pending>, String),
    /// From a committer: the files were opened again, and numbering goes on here.
    Recovered(Box<Numbering>),
    /// From a committer: the files could not be opened again.
    Unrecovered(LedgerError),
    /// From a committer: it has stopped for good, and why.
    Broken(String),
}

/// How the owner's work ended, and who waits to hear it.
pub(super) struct Ended {
    pub(super) close: Option<Closer>,
    pub(super) result: Result<(), LedgerError>,
    /// What could not be recorded; in the queue until that is closed, lest its room be given to others who would never hear of it.
    pub(super) left: VecDeque<Pending>,
}

/// A draft that waits to be recorded.
pub(super) struct Pending {
    pub(super) prepared: Prepared,
    /// Who waits for it to be durable; nobody, when it was only enqueued.
    pub(super) reply: Option<Reply>,
    /// Its room in the queue, free again when this is dropped.
    #[expect(dead_code, reason = "held, and never read")]
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// The ledger is to be signed by another key from now on.
pub(super) struct Handover {
    pub(super) to: Own,
    pub(super) reply: Reply,
}

/// Everything that only the owner may touch.
pub(super) struct Owner {
    options: LedgerOptions,
    numbering: Numbering,
    committers: SyncSender<Order>,
    publisher: Arc<Publisher>,
    /// Whether the signer is at work.
    signing: bool,
    gathering: Gathering,
    /// Drafts for which the open group has no room.
    waiting: VecDeque<Pending>,
    /// Enqueued drafts that a failing key provider or disk kept from being recorded.
    held: VecDeque<Pending>,
    /// Since writing failed, until it works again.
    trouble: Option<Trouble>,
    /// Whether what is held is to be tried again.
    again: bool,
    /// Waits until all that came before it is signed; what comes after it waits for that.
    handover: Option<Handover>,
    /// Whether the ledger is to be closed, and who waits for that.
    closing: bool,
    close: Option<Closer>,
}

impl Owner {
    pub(super) fn new(
        options: LedgerOptions,
        numbering: Numbering,
        committers: SyncSender<Order>,
        publisher: Arc<Publisher>,
    ) -> Self {
        let (waiting, held) = (VecDeque::new(), VecDeque::new());
        let gathering = Gathering::new(options.patience);
        Self {
            options,
            numbering,
            committers,
            publisher,
            signing: false,
            gathering,
            waiting,
            held,
            trouble: None,
            again: false,
            handover: None,
            closing: false,
            close: None,
        }
    }

    /// Works until the ledger is closed or its last handle is dropped, and gives back who waits for that.
    pub(super) fn run(mut self, inbox: &Inbox) -> Ended {
        loop {
            if let Err(reason) = self.round(inbox) {
                return self.fail(inbox, reason);
            }
            let idle = !self.signing
                && self.numbering.is_empty()
                && self.waiting.is_empty()
                && self.handover.is_none();
            if self.closing && idle {
                let (result, mut left) = (self.unrecorded(), self.held);
                left.extend(self.trouble.into_iter().flat_map(|trouble| trouble.unwritten));
                return Ended { close: self.close, result, left };
            }
        }
    }

    /// Takes what has arrived, gives it numbers, and keeps the signer busy; an error means that the ledger has
    /// stopped.
    fn round(&mut self, inbox: &Inbox) -> Result<(), String> {
        match self.wait(inbox) {
            Some(first) => self.take(first)?,
            None if self.retries() => self.try_again()?,
            None => {}
        }
        for _ in 1..self.options.group_records {
            let Ok(Some(message)) = inbox.take() else { break };
            self.take(message)?;
        }
        if let Some(trouble) = &self.trouble {
            let due = trouble.left().is_zero() && !self.signing && !self.closing;
            return if due { self.order(Order::OpenAgain) } else { Ok(()) };
        }
        self.number()?;
        if self.signing || self.gathers() {
            return Ok(());
        }
        if let Some(unsigned) = self.numbering.close() {
            self.commit(unsigned)?;
            self.number()?;
        } else if let Some(Handover { to, reply }) = self.handover.take() {
            match self.numbering.hand_over(to, reply) {
                Ok(unsigned) => self.commit(unsigned)?,
                Err(refused) => {
                    let (reply, reason) = *refused;
                    let _ = reply.send(Err(AppendError::SignerUnavailable { reason }));
                }
            }
            self.number()?;
        }
        Ok(())
    }

    /// Whether the open group waits for more drafts, though the signer is free.
    fn gathers(&self) -> bool {
        // A provider that failed is asked again with whatever there is: until it signs, nobody is let in.
        let pressed = self.closing || self.handover.is_some() || self.numbering.is_full() || self.retries();
        !pressed && self.gathering.left().is_some()
    }

    /// Whether a key provider that failed is to be asked again after a while.
    fn retries(&self) -> bool {
        let stalled = matches!(&*self.publisher.status.borrow(), LedgerStatus::Stalled { .. });
        // A committer that signs sets the status to open, also while the vault still keeps drafts from being sealed.
        self.trouble.is_none() && !self.signing && (stalled || !self.held.is_empty())
    }

    /// The next message; none when there is something to do without one.
    fn wait(&self, inbox: &Inbox) -> Option<Message> {
        let began = Instant::now();
        let (wanted, time) = match &self.trouble {
            Some(trouble) if !self.signing => (1, Some(trouble.left())),
            Some(_) => (1, None),
            None if self.retries() => (1, Some(self.options.retry_interval)),
            // Nobody is woken only because the signer is free: mostly the group is written right after.
            None if self.signing => (BATCH * AWAITED, Some(gathering::LONGEST)),
            None => match self.gathering.left() {
                Some(Wait::Callers(missing, left)) => (missing.min(BATCH) * AWAITED, Some(left)),
                Some(Wait::Anybody(left)) => (AWAITED, Some(left)),
                None => (1, None),
            },
        };
        loop {
            match inbox.take() {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                // The threads that sign and write hold the way here; without them nothing can be done.
                Err(Gone) => return Some(Message::Broken("its threads are gone".to_owned())),
            }
            let left = time.map(|time| time.saturating_sub(began.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            inbox.sleep(wanted, left);
        }
    }

    fn take(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Record(pending) => {
                if pending.reply.is_some() {
                    self.gathering.came();
                }
                self.waiting.push_back(pending);
                self.again = true;
                self.refuse_in_trouble();
            }
            Message::HandOver(Handover { reply, .. }) if self.handover.is_some() => {
                let reason = "another key is being handed the ledger".to_owned();
                let _ = reply.send(Err(AppendError::SignerUnavailable { reason }));
            }
            Message::HandOver(handover) => {
                self.handover = Some(handover);
                self.refuse_in_trouble();
            }
            Message::Close(close) => {
                self.close = Some(close);
                (self.closing, self.again) = (true, true);
            }
            Message::Abandoned => {
                (self.closing, self.again) = (true, true);
            }
            Message::Free => self.signing = false,
            Message::Answered(callers) => self.gathering.answered(callers),
            Message::Written => self.gathering.written(),
            Message::Stalled(unsigned, reason) => {
                self.signing = false;
                self.gathering.failed();
                let mut drafts = VecDeque::new();
                let before = unsigned.map(|unsigned| {
                    drafts.extend(unsigned.waiting.into_iter().map(|(pending, _)| pending));
                    unsigned.before
                });
                if self.trouble.is_some() {
                    self.unwritten(drafts, reason);
                    return Ok(());
                }
                if let Some(before) = before {
                    drafts.extend(self.numbering.go_back(before));
                }
                self.stall(drafts, &reason);
            }
            Message::Unwritten(drafts, reason) => self.unwritten(drafts, reason),
            Message::Recovered(numbering) => self.recovered(*numbering),
            Message::Unrecovered(error) => self.unrecovered(&error)?,
            Message::Broken(reason) => return Err(reason),
        }
        Ok(())
    }

    /// A failing key provider is asked again: with what it kept from being recorded, or with nothing.
    fn try_again(&mut self) -> Result<(), String> {
        if self.trouble.is_some() {
            return Ok(());
        }
        self.again = true;
        if self.held.is_empty() { self.order(Order::Probe) } else { Ok(()) }
    }

    fn commit(&mut self, unsigned: Box<Unsigned>) -> Result<(), String> {
        self.gathering.ordered();
        self.order(Order::Commit(unsigned))
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        self.signing = true;
        self.committers.send(order).map_err(|_| "the threads that sign and write are gone".to_owned())
    }

    /// Gives numbers to what waits, oldest first, while the open group has room.
    fn number(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.again) {
            self.held.append(&mut self.waiting);
            std::mem::swap(&mut self.held, &mut self.waiting);
        }
        // What arrived before a handover has numbers already; the rest comes behind it.
        while !self.numbering.is_full() && self.held.is_empty() && self.handover.is_none() {
            let Some(pending) = self.waiting.pop_front() else { break };
            let awaited = pending.reply.is_some();
            match self.numbering.add(pending) {
                Ok(()) => self.gathering.numbered(awaited),
                Err(refused) => match *refused {
                    (pending, Refused::Stalled(reason)) => self.stall(VecDeque::from([pending]), &reason),
                    (pending, Refused::Failed(reason)) => {
                        self.waiting.push_front(pending);
                        self.publisher.failed(&reason);
                        return Err(reason);
                    }
                },
            }
        }
        Ok(())
    }

    /// Those who wait, for `drafts` and for what came after them, are told; what was only enqueued is kept for
    /// the next attempt.
    fn stall(&mut self, drafts: VecDeque<Pending>, reason: &str) {
        self.publisher.stalled(reason);
        let error = AppendError::SignerUnavailable { reason: reason.to_owned() };
        let all = drafts.into_iter().chain(self.held.drain(..)).chain(self.waiting.drain(..));
        self.held = enqueued(all, &error);
    }

    /// After a failure every draft is refused, until the ledger is closed.
    fn fail(mut self, inbox: &Inbox, reason: String) -> Ended {
        let refused = || AppendError::Failed { reason: reason.clone() };
        let open = self.numbering.close().into_iter().flat_map(|unsigned| unsigned.waiting);
        let unwritten = self.trouble.into_iter().flat_map(|trouble| trouble.unwritten);
        for pending in unwritten.chain(open.map(|(pending, _)| pending)).chain(self.held).chain(self.waiting)
        {
            answer(pending, refused());
        }
        if let Some(Handover { reply, .. }) = self.handover {
            let _ = reply.send(Err(refused()));
        }
        // The committers end when they have refused what they still have.
        drop(self.committers);
        let (mut closing, mut close) = (self.closing, self.close);
        while !closing {
            match inbox.next() {
                Ok(Message::Record(pending)) => answer(pending, refused()),
                Ok(Message::Close(closer)) => (closing, close) = (true, Some(closer)),
                Ok(Message::Abandoned) | Err(Gone) => closing = true,
                Ok(Message::Stalled(unsigned, _)) => {
                    let waiting = unsigned.map(|unsigned| unsigned.waiting).unwrap_or_default();
                    for (pending, _) in waiting {
                        answer(pending, refused());
                    }
                }
                Ok(Message::Unwritten(drafts, _)) => {
                    for pending in drafts {
                        answer(pending, refused());
                    }
                }
                Ok(Message::HandOver(Handover { reply, .. })) => {
                    let _ = reply.send(Err(refused()));
                }
                Ok(
                    Message::Free
                    | Message::Answered(_)
                    | Message::Written
                    | Message::Recovered(_)
                    | Message::Unrecovered(_)
                    | Message::Broken(_),
                ) => {}
            }
        }
        Ended { close, result: Err(LedgerError::Failed { reason }), left: VecDeque::new() }
    }

    /// What a closing ledger could not record.
    fn unrecorded(&self) -> Result<(), LedgerError> {
        let unwritten = self.trouble.as_ref().map_or(0, |trouble| trouble.unwritten.len());
        let drafts = self.held.len() + unwritten;
        if drafts == 0 {
            let failed = |trouble: &Trouble| LedgerError::Failed { reason: trouble.reason.clone() };
            return self.trouble.as_ref().map_or(Ok(()), |trouble| Err(failed(trouble)));
        }
        let reason = match &*self.publisher.status.borrow() {
            LedgerStatus::Stalled { reason } | LedgerStatus::Recovering { reason } => reason.clone(),
            _ => "the ledger was closed".to_owned(),
        };
        Err(LedgerError::Unrecorded { drafts, reason })
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
