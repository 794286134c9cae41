//! Sinks: the ledger's records carried to a SIEM, in order, at least once.
//!
//! Why: security teams watch their SIEM, not our ledger; and a copy that leaves the host is a witness against whoever
//! rewrites the host. The ledger itself is the buffer: a sink is a durable cursor over it, so there is no second queue
//! that could overflow, go stale or be corrupted.
//!
//! Promised: every record from the cursor on is written to the receiver, in ascending order on each connection; after a
//! restart of either side, all that was not known to have been received is sent again, with equal numbers (`seq`, and
//! `sinkseq`, which counts what this sink sends). A dead receiver never holds up the ledger.
//! Not promised: that the receiver kept what it took. Syslog has no acknowledgement; `settle` in
//! [`SyslogOptions`] says how long a receiver may hold a record before dying without it being sent again.
//!
//! Start with [`SyslogSink`]; [`mod@format`] shows what is sent, `window` when it counts as received.

pub mod cursor;
mod delivery;
pub mod format;
mod ledger;
mod notice;
pub mod options;
mod transport;
mod window;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{self, JoinHandle},
    time::Instant,
};

use crate::ledger::Entry;

pub use self::{
    cursor::{CursorError, CursorStore, FileCursor},
    notice::Notice,
    options::{
        Address, ClientIdentity, Facility, PersonalView, SinkName, SyslogOptions, TlsOptions, Transport,
    },
    transport::TransportError,
    window::Position,
};

use self::{delivery::Delivery, format::Format};

/// What a sink reads: records in order, and how many there are.
pub trait Feed: Send + Sync + 'static {
    /// The ledger's name on its checkpoints.
    fn origin(&self) -> String;
    /// The numbers of the ledger's epochs, each with its first record (see [`crate::epoch`]).
    fn epochs(&self) -> Vec<(u64, u64)> {
        vec![(1, 0)]
    }
    /// Records before this number may have been pruned, and are then missing. None, if nothing is said.
    fn pruned(&self) -> u64 {
        0
    }
    /// Up to `limit` records from number `from` on, ascending without gaps but for those that were pruned. May block.
    fn range(&self, from: u64, limit: usize) -> Result<Vec<Entry>, FeedError>;
    /// The number of durable records: record `n` may be read once this exceeds `n`.
    fn heads(&self) -> watch::Receiver<u64>;
}

/// The ledger could not give a record.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct FeedError {
    reason: String,
}

impl FeedError {
    /// With the cause in words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// How a sink is doing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SinkStatus {
    /// The sink's name.
    pub name: String,
    /// Where it sends to.
    pub address: String,
    /// `tcp` or `tls`.
    pub transport: &'static str,
    /// A connection stands.
    pub connected: bool,
    /// Number of the record to be sent next.
    pub next: u64,
    /// Records below this number are taken to be received; a restart begins here.
    pub settled: u64,
    /// Durable records not sent yet.
    pub lag: u64,
    /// What went wrong last; kept after recovery.
    pub last_error: Option<String>,
}

/// Why a sink did not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The cursor could not be read or kept.
    #[error("sink {name} has no usable cursor")]
    Cursor {
        /// The sink.
        name: SinkName,
        /// The cause.
        source: CursorError,
    },
    /// The cursor stands behind the end of the ledger: the ledger lost records that were sent.
    #[error("sink {name} has already sent {sent} records, but the ledger holds {held}")]
    Ahead {
        /// The sink.
        name: SinkName,
        /// By the cursor.
        sent: u64,
        /// By the ledger.
        held: u64,
    },
    /// A file named in the settings cannot be used.
    #[error("sink {name} is wrongly configured")]
    Transport {
        /// The sink.
        name: SinkName,
        /// The cause.
        source: TransportError,
    },
}

impl SinkError {
    /// What the operator can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Cursor { source, .. } => source.hint(),
            Self::Ahead { .. } => {
                "the ledger was set back (an old backup?): compare it with the SIEM's copy before going on; \
                 to send everything again, remove the cursor file"
            }
            Self::Transport { source, .. } => source.hint(),
        }
    }
}

/// A running sink. Dropping it ends the delivery without waiting.
#[derive(Debug)]
pub struct SyslogSink {
    status: watch::Receiver<SinkStatus>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl SyslogSink {
    /// Reads the cursor (none: from the first record), checks the files, and starts to deliver.
    ///
    /// An unreachable receiver is no error: it shows in the status, as `sink.failed`, and is tried again.
    pub async fn start(
        options: SyslogOptions,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
    ) -> Result<Self, SinkError> {
        let cursor = FileCursor::new(&options.cursor_directory, options.name.clone(), &feed.origin())
            .over(feed.epochs());
        Self::start_with(options, Arc::new(cursor), feed, notice).await
    }

    /// The same with another place for the cursor.
    pub async fn start_with(
        options: SyslogOptions,
        cursor: Arc<dyn CursorStore>,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
    ) -> Result<Self, SinkError> {
        let name = options.name.clone();
        transport::check(&options).map_err(|source| SinkError::Transport { name: name.clone(), source })?;
        let from = open_cursor(Arc::clone(&cursor))
            .await
            .map_err(|source| SinkError::Cursor { name: name.clone(), source })?;
        let held = *feed.heads().borrow();
        if from.next > held {
            return Err(SinkError::Ahead { name, sent: from.next, held });
        }
        let format = Format {
            origin: feed.origin(),
            sink: name,
            facility: options.facility,
            enterprise: options.enterprise,
            process: options.process,
            personal: options.personal,
        };
        let (status_sender, status) = watch::channel(SinkStatus {
            name: options.name.to_string(),
            address: options.address.to_string(),
            transport: options.transport.as_str(),
            connected: false,
            next: from.next,
            settled: from.next,
            lag: held - from.next,
            last_error: None,
        });
        let (stop, stopped) = watch::channel(None);
        let delivery = Delivery::new(options, format, feed, notice, cursor, status_sender, from);
        Ok(Self { status, stop, task: task::spawn(delivery.run(stopped)) })
    }

    /// How it is doing, now and from now on.
    pub fn status(&self) -> watch::Receiver<SinkStatus> {
        self.status.clone()
    }

    /// Sends what is there if a connection stands, for at most `grace`, and ends.
    ///
    /// Whatever was written in the last `settle` seconds will be sent again by the next start.
    pub async fn stop(self, grace: Duration) -> SinkStatus {
        self.stop.send_replace(Some(Instant::now() + grace));
        if let Err(panic) = self.task.await {
            tracing::error!(%panic, "the sink's task failed");
        }
        self.status.borrow().clone()
    }
}

/// Reads the position and writes it back, so that a place that cannot be written shows at start.
async fn open_cursor(cursor: Arc<dyn CursorStore>) -> Result<Position, CursorError> {
    let opened = task::spawn_blocking(move || {
        let position = cursor.load()?.unwrap_or(Position { next: 0, sequence: 1 });
        cursor.save(position)?;
        Ok(position)
    });
    opened.await.unwrap_or_else(|panic| {
        Err(CursorError::Io {
            doing: "opened",
            path: std::path::PathBuf::new(),
            source: std::io::Error::other(panic),
        })
    })
}
