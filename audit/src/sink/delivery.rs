//! The task that carries records to one receiver: in order, at least once, without a buffer of its own.
//!
//! The ledger is the buffer. The task reads on from a position, sends, and moves the durable cursor only over what
//! counts as delivered. Whatever goes wrong ends the attempt; the next one starts again at the cursor. Nothing here can hold
//! up the ledger: it is only read, and a record about the sink waits a few seconds at most.
//!
//! How it is sent is in `stream` (syslog over TCP and TLS, where nothing is answered) and in `answered` (all else).

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task,
    time::{Instant, sleep, sleep_until},
};

use crate::{kind::Kind, record::Outcome};

use super::{
    Feed, FeedError, Notice, SinkStatus,
    cursor::CursorStore,
    link::{self, Link, LinkError},
    notice::Announcer,
    options::{SinkOptions, Transport},
    parcel::{self, Packer, Parcel},
    receipt::Receipts,
    target::Target,
    transport::{self, Route, TransportError},
    window::{Position, Window},
};

/// How often the cursor is put on disk while records flow; what comes after it is sent again after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Asks the task to stop: deliver what is there, until the deadline.
pub(super) type Stop = watch::Receiver<Option<Instant>>;

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the ledger could not be read")]
    Feed(#[from] FeedError),
}

impl Fault {
    fn hint(&self) -> &'static str {
        match self {
            Self::Transport(error) => error.hint(),
            Self::Link(error) => error.hint(),
            Self::Feed(_) => "see the ledger's own status",
        }
    }

    /// How long the receiver wants to be left alone.
    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Link(LinkError::Busy { pause, .. }) => *pause,
            _ => None,
        }
    }
}

/// Everything one sink's task owns.
pub(super) struct Delivery {
    pub(super) options: Arc<SinkOptions>,
    pub(super) packer: Arc<Packer>,
    pub(super) feed: Arc<dyn Feed>,
    pub(super) notice: Arc<dyn Notice>,
    pub(super) cursor: Arc<dyn CursorStore>,
    pub(super) status: watch::Sender<SinkStatus>,
    pub(super) window: Window,
    pub(super) saved: Position,
    pub(super) announcer: Announcer,
    pub(super) receipts: Receipts,
    save_due: Instant,
    /// Records below this number that were set aside have been reported, those below that one counted.
    pub(super) reported: u64,
    pub(super) counted: u64,
    /// The record that waits longest, and since when it is in the ledger.
    pub(super) oldest: Option<(u64, Timestamp)>,
    pub(super) age_due: Instant,
    pub(super) late: bool,
    /// Records that the receiver refused one after the other, also over several attempts.
    pub(super) refused_in_a_row: usize,
    /// Where the parcel that was sent last begins, and how many records were read for it.
    pub(super) last_sent: Option<(Position, usize)>,
    /// Where delivery stood when an attempt failed last.
    failed_at: Position,
    /// Where it stood when this sink was started: from there on its filter holds.
    pub(super) started_at: Position,
}

impl Delivery {
    pub(super) fn new(
        options: SinkOptions,
        packer: Packer,
        feed: Arc<dyn Feed>,
        notice: Arc<dyn Notice>,
        cursor: Arc<dyn CursorStore>,
        status: watch::Sender<SinkStatus>,
        from: Position,
    ) -> Self {
        Self {
            receipts: Receipts::new(from, options.receipts, Instant::now()),
            options: Arc::new(options),
            packer: Arc::new(packer),
            feed,
            notice,
            cursor,
            status,
            window: Window::new(from),
            saved: from,
            announcer: Announcer::new(),
            save_due: Instant::now(),
            reported: 0,
            counted: 0,
            oldest: None,
            age_due: Instant::now(),
            late: false,
            refused_in_a_row: 0,
            last_sent: None,
            failed_at: from,
            started_at: from,
        }
    }

    /// Runs until asked to stop.
    pub(super) async fn run(mut self, stop: Stop) {
        let expired = expired(stop.clone());
        tokio::select! {
            () = self.attempt_again_and_again(stop) => {}
            () = expired => {}
        }
        self.save().await;
        self.status.send_modify(|status| status.connected = false);
    }

    async fn attempt_again_and_again(&mut self, mut stop: Stop) {
        let mut pauses = self.pauses();
        loop {
            let began = Instant::now();
            let settled = self.window.settled();
            let fault = match self.attempt(&mut stop).await {
                Ok(()) => return,
                Err(fault) => fault,
            };
            if began.elapsed() >= self.options.settle() || self.window.settled() != settled {
                pauses = self.pauses();
            }
            self.lost(&fault).await;
            let pause = pauses.next().unwrap_or(self.options.retry_most);
            let pause = pause_before(pause, self.options.retry_most, fault.pause());
            tokio::select! {
                () = asked(&mut stop) => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Delivers until something goes wrong (an error) or all is delivered after the request to stop.
    async fn attempt(&mut self, stop: &mut Stop) -> Result<(), Fault> {
        if let Some(route) = stream_route(&self.options) {
            let connected = tokio::select! {
                biased;
                () = asked(stop) => return Ok(()),
                connected = transport::connect(&route) => connected?,
            };
            return self.deliver_stream(connected, stop).await;
        }
        let origin = self.packer.format.origin.clone();
        let link = tokio::select! {
            biased;
            () = asked(stop) => return Ok(()),
            link = Link::open(&self.options, &origin) => link?,
        };
        self.deliver_answered(link, stop).await
    }

    /// Seen to be whole: announces it when it has been so for long enough, lets things settle, keeps the cursor.
    pub(super) async fn holds(&mut self, position: Position) {
        let now = Instant::now();
        if self.announcer.holds(now.into_std()) {
            tracing::info!(sink = %self.options.name, target = %self.options.target, "sink connected");
            self.tell(self.about(Kind::SinkConnected, Outcome::Success, position)).await;
        }
        let settled = self.window.settled();
        // An answer is no delivery: a receiver that takes all and keeps nothing fails on. Where nothing is left, nothing can
        // show but that the connection holds.
        if settled > self.failed_at || settled.next >= *self.feed.heads().borrow() {
            self.status.send_if_modified(|status| status.failing_since.take().is_some());
        }
        if settled != self.saved && now >= self.save_due {
            self.save().await;
        }
        if now >= self.age_due {
            self.watch_age().await;
        }
        self.give_receipt(now).await;
    }

    async fn lost(&mut self, fault: &Fault) {
        let reason = transport::in_full(fault);
        let position = self.window.rewind();
        self.failed_at = position;
        self.status.send_modify(|status| {
            status.connected = false;
            (status.next, status.received, status.settled) = (position.next, position.next, position.next);
            status.last_error = Some(reason.clone());
            status.failing_since.get_or_insert_with(wall_clock);
        });
        self.show_lag();
        if self.announcer.failed() {
            let hint = fault.hint();
            tracing::warn!(sink = %self.options.name, reason, hint, "sink failed; records wait in the ledger");
            let draft = self.about(Kind::SinkFailed, Outcome::Failure, position).detail("reason", reason);
            self.tell(draft).await;
        }
        self.watch_age().await;
    }

    /// Reads and formats on a thread that may block.
    pub(super) async fn parcel(
        &self,
        from: Position,
        records: usize,
        octets: usize,
    ) -> Result<Parcel, Fault> {
        let (feed, packer) = (Arc::clone(&self.feed), Arc::clone(&self.packer));
        let read = task::spawn_blocking(move || parcel::read(feed.as_ref(), &packer, from, records, octets));
        Ok(read.await.map_err(|panic| FeedError::new(panic.to_string()))??)
    }

    pub(super) async fn save(&mut self) {
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

    /// All before `sent` was sent, and all before `received` was taken.
    pub(super) fn show(&self, sent: Position, received: Position, head: u64) {
        let settled = self.window.settled().next;
        self.status.send_if_modified(|status| {
            let before = (status.connected, status.next, status.received, status.settled, status.lag);
            status.connected = true;
            (status.next, status.received, status.settled, status.sequence) =
                (sent.next, received.next, settled, sent.sequence);
            status.lag = head.saturating_sub(settled);
            before != (status.connected, status.next, status.received, status.settled, status.lag)
        });
    }

    /// What was read tells how large records are.
    pub(super) fn weigh(&self, parcel: &Parcel) {
        if let Some(octets) = (parcel.octets as u64).checked_div(parcel.items.len() as u64) {
            self.status.send_if_modified(|status| {
                status.octets_each = octets;
                false
            });
        }
    }

    fn show_lag(&self) {
        let head = *self.feed.heads().borrow();
        self.status.send_modify(|status| status.lag = head.saturating_sub(status.settled));
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

/// How long to leave the receiver alone: as long as we would by ourselves, jitter included at most `most`, and as long as it
/// asks for, which its link bounds.
fn pause_before(own: Duration, most: Duration, asked: Option<Duration>) -> Duration {
    own.min(most).max(asked.unwrap_or_default())
}

/// The way to a receiver that never answers; none for the others.
fn stream_route(options: &SinkOptions) -> Option<Route> {
    let Target::Syslog { address, transport } = &options.target else { return None };
    let tls = match transport {
        Transport::Udp => return None,
        Transport::Tcp => None,
        Transport::Tls(tls) => Some(tls.clone()),
    };
    Some(Route {
        address: address.clone(),
        tls,
        connect_timeout: options.connect_timeout,
        write_timeout: options.write_timeout,
    })
}

/// Looks at the files that the options name.
pub(super) fn check(options: &SinkOptions) -> Result<(), Fault> {
    match stream_route(options) {
        Some(route) => Ok(transport::check(&route)?),
        None => Ok(link::check(options)?),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell of the sink: how long records wait is told in wall time"
)]
pub(super) fn wall_clock() -> Timestamp {
    Timestamp::now()
}

pub(super) fn stopping(stop: &Stop) -> bool {
    stop.borrow().is_some() || stop.has_changed().is_err()
}

/// Returns once a stop is asked for; also when nobody is left who could ask.
pub(super) async fn asked(stop: &mut Stop) {
    let _ = stop.wait_for(Option::is_some).await;
}

/// Returns when the time for an orderly stop is over.
async fn expired(mut stop: Stop) {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_pause_is_bounded_whatever_the_jitter_adds_and_the_receivers_is_heeded_beyond_it() {
        let secs = Duration::from_secs;
        for (own, asked, pause) in [
            (secs(4), None, secs(4)),
            (secs(31), None, secs(30)),
            (secs(31), Some(secs(0)), secs(30)),
            (secs(31), Some(secs(5)), secs(30)),
            (secs(4), Some(secs(20)), secs(20)),
            (secs(31), Some(secs(600)), secs(600)),
        ] {
            assert_eq!(pause_before(own, secs(30), asked), pause, "{own:?} {asked:?}");
        }
    }
}
