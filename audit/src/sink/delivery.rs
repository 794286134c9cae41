//! The task that carries records to one receiver: in order, at least once, without a buffer of its own.
//!
//! The ledger is the buffer. The task reads on from a position, writes, and moves the durable cursor only over what
//! has settled (see [`super::window`]). Whatever goes wrong ends the connection; the next one starts again at the
//! cursor. Nothing here can hold up the ledger: it is only read, and a record about the sink waits a few seconds at most.

use std::{pin::pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::watch,
    task,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    kind::Kind,
    record::{Draft, Outcome},
};

use super::{
    Feed, FeedError, Notice, SinkStatus,
    cursor::CursorStore,
    format::{self, Format},
    notice::{Announcer, about_a_sink},
    options::SyslogOptions,
    transport::{self, TransportError, Wire},
    window::{Position, Window},
};

/// Records read and formatted at a time. Bounds memory: at most this many times the size bound of a message.
const BATCH: usize = 128;
/// Octets handed to the connection under one write timeout.
const STROKE: usize = 64 * 1024;
/// How often the cursor is put on disk while records flow; what comes after it is sent again after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How long the ledger may take over a record about the sink.
const NOTICE_PATIENCE: Duration = Duration::from_secs(5);
/// How long an orderly close waits for the receiver's own close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Asks the task to stop: deliver what is there, until the deadline.
pub(super) type Stop = watch::Receiver<Option<Instant>>;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the ledger could not be read")]
    Feed(#[from] FeedError),
}

/// Everything one sink's task owns.
pub(super) struct Delivery {
    pub(super) options: Arc<SyslogOptions>,
    pub(super) format: Arc<Format>,
    pub(super) feed: Arc<dyn Feed>,
    pub(super) notice: Arc<dyn Notice>,
    pub(super) cursor: Arc<dyn CursorStore>,
    pub(super) status: watch::Sender<SinkStatus>,
    pub(super) window: Window,
    pub(super) saved: Position,
    announcer: Announcer,
    save_due: Instant,
    /// Records below this number that were too large have been reported.
    reported: u64,
}

/// Formatted records, ready to be written.
struct Batch {
    bytes: Vec<u8>,
    upto: Position,
    oversize: Vec<(u64, usize)>,
}

impl Delivery {
    pub(super) fn new(
        options: SyslogOptions,
        format: Format,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
        cursor: Arc<dyn CursorStore>,
        status: watch::Sender<SinkStatus>,
        from: Position,
    ) -> Self {
        Self {
            options: Arc::new(options),
            format: Arc::new(format),
            feed,
            notice,
            cursor,
            status,
            window: Window::new(from),
            saved: from,
            announcer: Announcer::new(),
            save_due: Instant::now(),
            reported: 0,
        }
    }

    /// Runs until asked to stop.
    pub(super) async fn run(mut self, stop: Stop) {
        let expired = expired(stop.clone());
        tokio::select! {
            () = self.connect_and_deliver(stop) => {}
            () = expired => {}
        }
        self.save().await;
        self.status.send_modify(|status| status.connected = false);
    }

    async fn connect_and_deliver(&mut self, mut stop: Stop) {
        let mut pauses = self.pauses();
        loop {
            let attempt = tokio::select! {
                biased;
                () = asked(&mut stop) => return,
                attempt = transport::connect(&self.options) => attempt,
            };
            let connected_at = Instant::now();
            let fault = match attempt {
                Ok(wire) => match self.deliver(wire, &mut stop).await {
                    Ok(()) => return,
                    Err(fault) => fault,
                },
                Err(error) => Fault::Transport(error),
            };
            if connected_at.elapsed() >= self.options.settle() {
                pauses = self.pauses();
            }
            self.lost(&fault).await;
            let pause = pauses.next().unwrap_or(self.options.retry_most);
            tokio::select! {
                () = asked(&mut stop) => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Writes until the connection is lost (an error) or all is written after the request to stop.
    async fn deliver(&mut self, wire: Box<dyn Wire>, stop: &mut Stop) -> Result<(), Fault> {
        let (from, mut to) = tokio::io::split(wire);
        let mut gone = pin!(transport::gone(from));
        let mut heads = self.feed.heads();
        let mut more_may_come = true;
        let mut position = self.window.rewind();
        let mut tick = interval(
            (self.options.settle() / 8).clamp(Duration::from_millis(20), Duration::from_millis(250)),
        );
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.announcer.connected(Instant::now().into_std());
        loop {
            let head = *heads.borrow_and_update();
            self.show(position, head);
            if position.next < head {
                let batch = self.batch(position).await?;
                tokio::select! {
                    biased;
                    lost = &mut gone => return Err(lost.into()),
                    written = write(&mut to, &batch.bytes, self.options.write_timeout) => written?,
                }
                position = batch.upto;
                self.window.sent(position, Instant::now().into_std());
                self.report_oversize(&batch.oversize).await;
            } else if stopping(stop) {
                // The rest of the window is sent again by the next start: a close says nothing about the
                // receiver's memory.
                let _ = timeout(CLOSE_PATIENCE, async { (to.shutdown().await, gone.await) }).await;
                return Ok(());
            } else {
                tokio::select! {
                    biased;
                    lost = &mut gone => return Err(lost.into()),
                    () = asked(stop) => {}
                    changed = heads.changed(), if more_may_come => more_may_come = changed.is_ok(),
                    _ = tick.tick() => {}
                }
            }
            // Only a connection that is seen to be whole lets anything settle.
            tokio::select! {
                biased;
                lost = &mut gone => return Err(lost.into()),
                () = std::future::ready(()) => {}
            }
            self.connection_holds(position).await;
        }
    }

    async fn connection_holds(&mut self, position: Position) {
        let now = Instant::now();
        if self.announcer.holds(now.into_std()) {
            tracing::info!(sink = %self.options.name, address = %self.options.address, "sink connected");
            self.tell(self.about(Kind::SinkConnected, Outcome::Success, position)).await;
        }
        self.window.settle(now.into_std(), self.options.settle());
        if self.window.settled() != self.saved && now >= self.save_due {
            self.save().await;
        }
    }

    async fn lost(&mut self, fault: &Fault) {
        let reason = transport::in_full(fault);
        let position = self.window.rewind();
        self.status.send_modify(|status| {
            status.connected = false;
            status.next = position.next;
            status.last_error = Some(reason.clone());
        });
        self.show_lag();
        if self.announcer.failed() {
            let hint = match fault {
                Fault::Transport(error) => error.hint(),
                Fault::Feed(_) => "see the ledger's own status",
            };
            tracing::warn!(sink = %self.options.name, reason, hint, "sink failed; records wait in the ledger");
            let draft = self.about(Kind::SinkFailed, Outcome::Failure, position).detail("reason", reason);
            self.tell(draft).await;
        }
    }

    /// Reads and formats on a thread that may block.
    async fn batch(&self, from: Position) -> Result<Batch, Fault> {
        let (feed, format, most) =
            (Arc::clone(&self.feed), Arc::clone(&self.format), self.options.max_message);
        let read = task::spawn_blocking(move || batch(feed.as_ref(), &format, most, from)).await;
        Ok(read.map_err(|panic| FeedError::new(panic.to_string()))??)
    }

    async fn report_oversize(&mut self, oversize: &[(u64, usize)]) {
        for &(seq, octets) in oversize {
            if seq < self.reported {
                continue;
            }
            self.reported = seq + 1;
            tracing::warn!(sink = %self.options.name, seq, octets, "record too large for the sink; a pointer was sent");
            let draft = Draft::new(Kind::SinkQuarantined, Outcome::Failure)
                .object(format!("sink:{}", self.options.name))
                .detail("record", seq)
                .detail("octets", octets)
                .detail("max_octets", self.options.max_message)
                .detail("reason", "larger than the sink's bound; a pointer was sent in its place");
            self.tell(draft).await;
        }
    }

    fn about(&self, kind: Kind, result: Outcome, position: Position) -> Draft {
        Draft::new(kind, result)
            .object(format!("sink:{}", self.options.name))
            .detail("address", self.options.address.to_string())
            .detail("transport", self.options.transport.as_str())
            .detail("format", "rfc5424")
            .detail("personal", self.options.personal.as_str())
            .detail("next", position.next)
            .detail("sequence", position.sequence)
    }

    async fn tell(&self, draft: Draft) {
        if timeout(NOTICE_PATIENCE, self.notice.record(draft)).await.is_err() {
            tracing::warn!(sink = %self.options.name, "the ledger took no record about the sink; going on without it");
        }
    }

    async fn save(&mut self) {
        let position = self.window.settled();
        if position == self.saved {
            return;
        }
        self.save_due = Instant::now() + SAVE_EVERY;
        let cursor = Arc::clone(&self.cursor);
        match task::spawn_blocking(move || cursor.save(position)).await {
            Ok(Ok(())) => self.saved = position,
            // Not fatal: a cursor that stays behind only means that more is sent again.
            Ok(Err(error)) => {
                let reason = transport::in_full(&error);
                tracing::warn!(sink = %self.options.name, reason, hint = error.hint(), "sink cursor not saved");
                self.status.send_modify(|status| status.last_error = Some(reason));
            }
            Err(panic) => tracing::error!(sink = %self.options.name, %panic, "saving the sink cursor failed"),
        }
    }

    fn show(&self, position: Position, head: u64) {
        let settled = self.window.settled().next;
        self.status.send_if_modified(|status| {
            let before = (status.connected, status.next, status.settled, status.lag);
            status.connected = true;
            (status.next, status.settled, status.lag) =
                (position.next, settled, head.saturating_sub(position.next));
            before != (status.connected, status.next, status.settled, status.lag)
        });
    }

    fn show_lag(&self) {
        let head = *self.feed.heads().borrow();
        self.status.send_modify(|status| status.lag = head.saturating_sub(status.next));
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.options.retry_least)
            .with_max_delay(self.options.retry_most)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

/// Pure but for the feed: the next records as framed messages.
fn batch(feed: &dyn Feed, format: &Format, most: usize, from: Position) -> Result<Batch, FeedError> {
    let mut batch = Batch { bytes: Vec::new(), upto: from, oversize: Vec::new() };
    for entry in feed.range(from.next, BATCH)? {
        let Position { next, sequence } = batch.upto;
        // Sent under a wrong number, or with a hole before it, a record would be evidence against the ledger.
        let found = entry.record.seq.get();
        if found != next && !(next < found && found <= feed.pruned()) {
            return Err(FeedError::new(format!(
                "record {next} was asked for, {} was given",
                entry.record.seq
            )));
        }
        let message = format.message(&entry, sequence);
        if message.len() > most {
            if !about_a_sink(entry.record.kind) {
                batch.oversize.push((found, message.len()));
            }
            format::frame(&mut batch.bytes, &format.pointer(&entry, sequence, message.len()));
        } else {
            format::frame(&mut batch.bytes, &message);
        }
        batch.upto = Position { next: found + 1, sequence: sequence + 1 };
    }
    if batch.upto == from {
        return Err(FeedError::new(format!("record {} is announced but cannot be read", from.next)));
    }
    Ok(batch)
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    patience: Duration,
) -> Result<(), TransportError> {
    let within = |done: Result<std::io::Result<()>, _>| match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(TransportError::Broken { source }),
        Err(_elapsed) => Err(TransportError::Stalled { waited: patience }),
    };
    for stroke in bytes.chunks(STROKE) {
        within(timeout(patience, to.write_all(stroke)).await)?;
    }
    // TLS keeps bytes of its own until told otherwise.
    within(timeout(patience, to.flush()).await)
}

fn stopping(stop: &Stop) -> bool {
    stop.borrow().is_some() || stop.has_changed().is_err()
}

/// Returns once a stop is asked for; also when nobody is left who could ask.
async fn asked(stop: &mut Stop) {
    let _ = stop.wait_for(Option::is_some).await;
}

/// Returns when the time for an orderly stop is over.
async fn expired(mut stop: Stop) {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}
