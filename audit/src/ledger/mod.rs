//! The ledger of a running gateway: one owner, group commit, journal first.
//!
//! Promised: when [`Ledger::append`] returns a [`Receipt`], the record is in the journal, `fdatasync`ed,
//! and under a head signed by the key provider. Numbers are given in the order in which drafts reach the
//! owner and never change. Readers see every record from the moment its receipt is given.
//!
//! How: callers bring their drafts into canonical form themselves. One thread (`owner`) gives numbers and hashes;
//! two others (`committer`) take turns at having a group's head signed, writing the group, syncing once, and
//! answering all. So the three overlap; a group is what arrived while the one before it was on its way, with those who
//! come back right after it. A last thread (`feeder`) puts groups into the query store behind them, bounded; until it has, readers
//! find them in memory (`tail`). The store is only ever a copy: what is wrong with it is mended from the
//! journal when the ledger is opened (`opening`).
//!
//! When the signer fails, what was numbered behind it is taken back: waiters get an error, the ledger is [`LedgerStatus::Stalled`]
//! and tries again. After a failed write or sync nobody knows what is on the disk: nothing more is accepted, the ledger is
//! [`LedgerStatus::Recovering`], puts its files back to what was acknowledged, reads them again as at every opening, and
//! goes on by itself when that works (`opening::again`).
//!
//! Start with `owner`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot, watch};

use crate::digest::Digest;
use crate::keys::{HeadSigner, Vault};
use crate::record::{Draft, Prepared, Seq};

mod background;
mod block;
mod committer;
mod error;
mod feeder;
mod handover;
mod head_writer;
mod inbox;
mod indexer;
mod journal_writer;
mod lending;
mod numbering;
mod opening;
mod options;
mod owner;
pub mod pruning;
mod publisher;
mod reader;
mod replay;
mod scrub;
mod search;
mod signing;
mod sled_store;
mod stall;
mod stamp;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod torn;
mod trouble;
mod writing;

pub use crate::disk::{Disk, DiskFile, RealDisk};
pub use error::{AppendError, LedgerError, ReadError};
pub use lending::Lending;
pub use opening::{not_held, reread};
pub use options::LedgerOptions;
pub use reader::{Entry, Reader};
pub use scrub::{Damage, Findings, ScrubNow, ScrubOptions, Scrubbed, Scrubbing};
pub use search::{Page, Search};
pub use stall::OnStall;

use inbox::Messages;
use owner::{Message, Pending, Reply};

/// What can be said about a ledger that is open in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerStatus {
    /// Records are accepted.
    Open {
        /// How many records are durable and signed.
        records: u64,
    },
    /// The key provider does not sign or seal. Nothing is accepted until it does; it is asked again.
    Stalled {
        /// The provider's words.
        reason: String,
    },
    /// Writing failed. Nothing is accepted until the files could be opened again and written; that is tried again.
    Recovering {
        /// What failed last, on what.
        reason: String,
    },
    /// It has stopped for good: the files are not what was acknowledged, or the program met a fault.
    Failed {
        /// What is wrong.
        reason: String,
    },
    /// It was closed on purpose.
    Closed,
}

impl LedgerStatus {
    /// Whether records are accepted at this moment.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Whether nothing is accepted at this moment, and the ledger tries by itself to change that.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Stalled { .. } | Self::Recovering { .. })
    }
}

/// Proof for a caller that a record is durable and under a signed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The record's number.
    pub seq: Seq,
    /// When it was numbered.
    pub time: jiff::Timestamp,
    /// Its leaf hash.
    pub digest: Digest,
}

/// What was found when a ledger was opened, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// There was no ledger; it was made.
    pub created: bool,
    /// How many records there were before this start, not counting what opening itself recorded.
    pub records: u64,
    /// Records from this one on were read and checked; of those before it only how their files end. Give it to
    /// [`reread`].
    pub checked_from: Seq,
    /// How many records of the journal were read for this.
    pub read: u64,
    /// An unfinished group at the end of the journal, which had never been acknowledged.
    pub torn: Option<TornTail>,
    /// What became of the query store.
    pub store: StoreState,
}

/// The unfinished end of a journal, set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Where its bytes are now.
    pub file: PathBuf,
    /// How many there are.
    pub bytes: u64,
}

/// What opening did to the query store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It had everything.
    Current,
    /// It was behind, as after a crash, and got what it lacked.
    CaughtUp {
        /// How many records it lacked.
        records: u64,
    },
    /// It was missing, unreadable or not of this ledger, and was made anew.
    Rebuilt {
        /// How many records it was given.
        records: u64,
        /// Why.
        reason: String,
        /// Where the old one is now, if there was one.
        set_aside: Option<PathBuf>,
    },
}

/// A handle to an open ledger. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    /// Who waits while the signer is away; nobody, if an append fails at once.
    queue: Option<stall::Queue>,
}

struct Shared {
    sender: Messages,
    room: Arc<Semaphore>,
    status: watch::Receiver<LedgerStatus>,
    reader: Reader,
    node: String,
    clock: owner::Clock,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The ledger's own threads hold the same way to the owner, so it would not notice by itself.
        self.sender.tell(Message::Abandoned);
    }
}

/// The queue is bounded by memory, counted in pieces of this many bytes.
const PERMIT_BYTES: usize = 1024;

/// A record that is on its way.
pub struct Begun {
    ledger: Ledger,
    answer: oneshot::Receiver<Result<Receipt, AppendError>>,
}

impl Begun {
    /// Returns once it is durable and under a signed head.
    pub async fn durable(self) -> Result<Receipt, AppendError> {
        let Self { ledger, answer } = self;
        answer.await.unwrap_or_else(|_| Err(ledger.gone()))
    }
}

impl Ledger {
    /// Opens the ledger in `options.directory`, or makes one. Blocks while it reads the journal.
    pub fn open(
        options: LedgerOptions,
        signer: Box<dyn HeadSigner>,
        vault: Arc<dyn Vault>,
    ) -> Result<(Self, Opened), LedgerError> {
        opening::open(options, signer, vault, opening::Surroundings::real())
    }

    /// Opens the ledger on files that are written by `disk`: for tests of what happens when a disk fails.
    pub fn open_on(
        options: LedgerOptions,
        signer: Box<dyn HeadSigner>,
        vault: Arc<dyn Vault>,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Opened), LedgerError> {
        opening::open(options, signer, vault, opening::Surroundings { disk, ..opening::Surroundings::real() })
    }

    /// Says what [`Ledger::append`] does through this handle, and clones of it, while the key provider is away.
    #[must_use]
    pub fn on_stall(self, policy: OnStall) -> Self {
        Self { queue: stall::Queue::new(policy), ..self }
    }

    /// Records `draft`, and returns once it is durable and under a signed head.
    ///
    /// If the future is dropped the record may still be written.
    pub async fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
        match &self.queue {
            None => self.append_once(draft).await,
            Some(queue) => queue.append(self, draft).await,
        }
    }

    async fn append_once(&self, draft: Draft) -> Result<Receipt, AppendError> {
        self.begin(draft).await?.durable().await
    }

    /// Hands `draft` over to be recorded behind all that were handed over before: whoever has several to be recorded in order, and
    /// waits for all of them at once, begins one after the other. Nothing is tried again, whatever the handle's [`OnStall`].
    pub async fn begin(&self, draft: Draft) -> Result<Begun, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.submit(draft, Some(reply), |status| !status.is_open()).await?;
        Ok(Begun { ledger: self.clone(), answer })
    }

    /// Hands `draft` over to be recorded in order, without waiting until it is durable.
    ///
    /// Waits while the queue is full. While the signer is down the draft is kept, up to the bound of the
    /// queue, and recorded when signing works again.
    pub async fn enqueue(&self, draft: Draft) -> Result<(), AppendError> {
        self.submit(draft, None, |status| !status.is_open()).await
    }

    /// The same, but waits for a full queue also while it cannot move, for as long as that may pass: for whoever bounds what
    /// waits, and would rather wait than lose it.
    pub async fn enqueue_patiently(&self, draft: Draft) -> Result<(), AppendError> {
        self.submit(draft, None, |status| !status.is_open() && !status.may_pass()).await
    }

    /// Follows whether records are accepted.
    pub fn status(&self) -> watch::Receiver<LedgerStatus> {
        self.shared.status.clone()
    }

    /// Reads what was acknowledged.
    pub fn reader(&self) -> Reader {
        self.shared.reader.clone()
    }

    /// Records what is in the queue, flushes the store, and lets go of the directory.
    pub async fn close(&self) -> Result<(), LedgerError> {
        if self.shared.closing.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.sender.send(Message::Close(reply)).is_ok();
        let result = if sent { answer.await } else { Ok(Ok(())) };
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The thread answers as its very last act, so this does not wait.
        let panicked = thread.is_some_and(|thread| thread.join().is_err());
        match result {
            Ok(result) if !panicked => result,
            _ => Err(LedgerError::Failed { reason: "the ledger's thread ended unexpectedly".to_owned() }),
        }
    }

    /// Nobody waits for room while the ledger's status is `hopeless`.
    async fn submit(
        &self,
        draft: Draft,
        reply: Option<Reply>,
        hopeless: fn(&LedgerStatus) -> bool,
    ) -> Result<(), AppendError> {
        let mut seed = [0_u8; 32];
        if !draft.personal.is_empty() {
            getrandom::fill(&mut seed)
                .map_err(|error| AppendError::Randomness { reason: error.to_string() })?;
        }
        let prepared = Prepared::new(draft, &self.shared.node, seed)?;
        self.prepare_keys(&prepared).await;
        let weight = u32::try_from(prepared.weight() / PERMIT_BYTES + 1).unwrap_or(u32::MAX);
        let room = self.shared.room.clone();
        let permit = match room.clone().try_acquire_many_owned(weight) {
            Ok(permit) => permit,
            Err(_) => self.wait_for_room(room, weight, hopeless).await?,
        };
        let pending = Pending { prepared, reply, permit: Some(permit) };
        self.shared.sender.send(Message::Record(pending)).map_err(|_| self.gone())
    }

    /// Has the data keys at hand that sealing will need, so that a person seen for the first time costs the
    /// ledger's thread nothing. What fails here is tried again there, and stalls the ledger if it must.
    async fn prepare_keys(&self, prepared: &Prepared) {
        let Some(sidecar) = prepared.sidecar() else { return };
        let vault = &self.shared.reader.shared.vault;
        let missing: Vec<_> =
            sidecar.owners((self.shared.clock)()).filter(|owner| !vault.is_ready(owner)).collect();
        if missing.is_empty() {
            return;
        }
        let vault = Arc::clone(vault);
        let work = move || missing.iter().try_for_each(|owner| vault.prepare(owner));
        let prepared = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(work).await.unwrap_or(Ok(())),
            Err(_) => work(),
        };
        if let Err(error) = prepared {
            tracing::debug!(%error, "a data key is not at hand");
        }
    }

    /// Waits for the queue, but not while that is `hopeless`.
    async fn wait_for_room(
        &self,
        room: Arc<Semaphore>,
        weight: u32,
        hopeless: fn(&LedgerStatus) -> bool,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, AppendError> {
        let mut status = self.shared.status.clone();
        tokio::select! {
            permit = room.acquire_many_owned(weight) => permit.map_err(|_| self.gone()),
            stopped = status.wait_for(hopeless) => Err(match stopped.as_deref() {
                Ok(LedgerStatus::Stalled { reason }) =>
                    AppendError::SignerUnavailable { reason: reason.clone() },
                Ok(LedgerStatus::Recovering { reason }) => AppendError::Recovering { reason: reason.clone() },
                Ok(LedgerStatus::Failed { reason }) => AppendError::Failed { reason: reason.clone() },
                _ => AppendError::Closed,
            }),
        }
    }

    /// Why the owner no longer answers.
    fn gone(&self) -> AppendError {
        match &*self.shared.status.borrow() {
            LedgerStatus::Failed { reason } => AppendError::Failed { reason: reason.clone() },
            _ => AppendError::Closed,
        }
    }
}
