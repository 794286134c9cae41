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
//! [`SinkOptions`] says how long a receiver may hold a record before dying without it being sent again. Other receivers
//! answer: [`Assurance`] is what their answer is worth.
//!
//! Start with [`Sink`]; [`mod@format`] shows what is sent, `link` how receivers answer, `window` when a write to one that
//! does not counts as received.

mod account;
mod answered;
pub mod cursor;
mod delivery;
mod ending;
pub mod format;
mod ledger;
mod link;
mod notice;
pub mod options;
mod parcel;
mod receipt;
mod stream;
pub mod target;
mod transport;
mod unacknowledged;
mod window;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::{self, JoinHandle},
    time::Instant,
};

pub use crate::filter::Filter;
use crate::{kind::Kind, ledger::Entry};

pub use self::{
    cursor::{CursorError, CursorStore, FileCursor},
    format::Shape,
    link::{LinkError, RequestSigner},
    notice::Notice,
    options::{
        Address, ClientIdentity, Facility, PersonalView, SinkName, SinkOptions, TlsOptions, Transport,
    },
    target::{Assurance, FileTarget, HttpTarget, HttpUrl, Protocol, Target},
    transport::TransportError,
    window::Position,
};

use self::{
    delivery::{Delivery, Fault},
    ending::Ending,
    format::Format,
    parcel::Packer,
};

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
    /// Of up to `limit` records from number `from` on those of these kinds, ascending, and the number to go on at: `from` itself if there
    /// are no more. Each record is looked at; those of other kinds need not be opened. May block.
    fn of_kinds(
        &self,
        kinds: &BTreeSet<Kind>,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<Entry>, u64), FeedError> {
        let mut entries = self.range(from, limit)?;
        let next = entries.last().map_or(from, |entry| entry.record.seq.get() + 1);
        entries.retain(|entry| kinds.contains(&entry.record.kind));
        Ok((entries, next))
    }
    /// Of records from number `from` on and before `to` those of these kinds that are not older than `since`, ascending, about
    /// `limit` at a time, and the number to go on at. May block, and may ask an index: what no proof rests on.
    fn kinds_since(
        &self,
        kinds: &BTreeSet<Kind>,
        (from, to): (u64, u64),
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Entry>, u64), FeedError> {
        let left = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut entries = self.range(from, limit.min(left))?;
        let next = entries.last().map_or(to, |entry| entry.record.seq.get() + 1);
        entries.retain(|entry| {
            kinds.contains(&entry.record.kind) && entry.record.time >= since && entry.record.seq.get() < to
        });
        Ok((entries, next))
    }
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
    /// `tls`, `tcp`, `udp`, `file`, `splunk-hec`, `elastic-bulk`, `otlp-http` or `webhook`.
    pub transport: &'static str,
    /// What a record looks like there.
    pub format: &'static str,
    /// Which records go.
    pub filter: String,
    /// What is known of a record that counts as delivered.
    pub assurance: Assurance,
    /// Its task runs. One that ended by itself delivers nothing any more, until the gateway is restarted.
    pub running: bool,
    /// A connection stands, or the last request was answered.
    pub connected: bool,
    /// Number of the record to be sent next: all before it were sent.
    pub next: u64,
    /// The receiver took all records before this one.
    pub received: u64,
    /// Records below this number count as delivered, as `assurance` says; a restart begins here.
    pub settled: u64,
    /// The sink's own number of the record to be sent next.
    pub sequence: u64,
    /// Durable records that do not count as delivered yet, as `assurance` says.
    pub lag: u64,
    /// Octets of a record as sent, on the average of those read last: times `lag`, it estimates the octets to come.
    pub octets_each: u64,
    /// When the oldest record was recorded that does not count as delivered.
    pub waiting_since: Option<jiff::Timestamp>,
    /// It has been waiting for longer than it may.
    pub late: bool,
    /// Records set aside since the start; each is a record `sink.quarantined`.
    pub quarantined: u64,
    /// Since when nothing more came to count as delivered, although a record waited.
    pub failing_since: Option<jiff::Timestamp>,
    /// What went wrong last; kept after recovery.
    pub last_error: Option<String>,
}

impl SinkStatus {
    /// Of a sink that begins here, on a ledger that holds so many records.
    fn new(options: &SinkOptions, from: Position, held: u64) -> Self {
        Self {
            name: options.name.to_string(),
            address: options.target.to_string(),
            transport: options.target.kind(),
            format: options.shape.as_str(),
            filter: options.filter.as_str().to_owned(),
            assurance: options.target.assurance(),
            running: true,
            connected: false,
            next: from.next,
            received: from.next,
            settled: from.next,
            sequence: from.sequence,
            lag: held - from.next,
            octets_each: 0,
            waiting_since: None,
            late: false,
            quarantined: 0,
            failing_since: None,
            last_error: None,
        }
    }
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
    /// A credential, a file or an address named in the settings cannot be used.
    #[error("sink {name} is wrongly configured")]
    Link {
        /// The sink.
        name: SinkName,
        /// The cause.
        source: LinkError,
    },
    /// Its format is not one that the receiver takes.
    #[error("sink {name} cannot send format {format} to {transport}")]
    Shape {
        /// The sink.
        name: SinkName,
        /// The format.
        format: &'static str,
        /// The transport.
        transport: &'static str,
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
            Self::Link { source, .. } => source.hint(),
            Self::Shape { .. } => "choose a format of JSON (json, ecs, ocsf) for Elastic",
        }
    }
}

/// A running sink. Dropping it ends the delivery without waiting.
#[derive(Debug)]
pub struct Sink {
    status: watch::Receiver<SinkStatus>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl Sink {
    /// Reads the cursor (none: from the first record), checks the files, and starts to deliver.
    ///
    /// An unreachable receiver is no error: it shows in the status, as `sink.failed`, and is tried again.
    pub async fn start(
        options: SinkOptions,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
    ) -> Result<Self, SinkError> {
        let cursor = FileCursor::new(&options.cursor_directory, options.name.clone(), &feed.origin())
            .over(feed.epochs());
        Self::start_with(options, Arc::new(cursor), feed, notice).await
    }

    /// The same with another place for the cursor.
    pub async fn start_with(
        options: SinkOptions,
        cursor: Arc<dyn CursorStore>,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
    ) -> Result<Self, SinkError> {
        let name = options.name.clone();
        if matches!(&options.target, Target::Http(HttpTarget { protocol: Protocol::ElasticBulk { .. }, .. }))
            && !options.shape.is_json()
        {
            let (format, transport) = (options.shape.as_str(), options.target.kind());
            return Err(SinkError::Shape { name, format, transport });
        }
        match delivery::check(&options) {
            Ok(()) => {}
            Err(Fault::Transport(source) | Fault::Link(LinkError::Transport(source))) => {
                return Err(SinkError::Transport { name, source });
            }
            Err(Fault::Link(source)) => return Err(SinkError::Link { name, source }),
            Err(Fault::Feed(error)) => {
                let source = CursorError::Io {
                    doing: "compared with the ledger",
                    path: options.cursor_directory.clone(),
                    source: std::io::Error::other(error),
                };
                return Err(SinkError::Cursor { name, source });
            }
        }
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
            shape: options.shape,
        };
        let packer = Packer {
            format,
            filter: options.filter.clone(),
            syslog: matches!(options.target, Target::Syslog { .. }),
            max_message: options.max_message(),
        };
        let begins = SinkStatus::new(&options, from, held);
        let (status_sender, status) = watch::channel(begins);
        let (stop, stopped) = watch::channel(None);
        let ending = Ending { status: status_sender.clone(), notice: Arc::clone(&notice) };
        let delivery = Delivery::new(options, packer, feed, notice, cursor, status_sender, from);
        let running = task::spawn(delivery.run(stopped));
        Ok(Self { status, stop, task: task::spawn(ending.told(running)) })
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
