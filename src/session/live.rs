//! One open session: who and what it is, its counters, and its switch. Whoever moves its bytes holds a [`super::handle`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sallyport_audit::{AppendError, Ledger};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;
use uuid::Uuid;

use super::backlog::Backlog;
use super::handle::Session;
use super::readers::Readers;
use crate::tunnel::TunnelName;

/// Names one session; shown as `sess-…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    pub(super) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Parses the form that `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text.strip_prefix("sess-")?).ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sess-{}", self.0.simple())
    }
}

/// What the visitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Requests that the gateway parses.
    Http,
    /// Bytes.
    Tcp,
    /// TLS that somebody else ends.
    Tls,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
        }
    }
}

/// Why a session ended; the word stands in its closing record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The visitor closed.
    VisitorClosed,
    /// The publisher's side closed or was lost.
    PublisherClosed,
    /// The visitor's bytes began with a PROXY header, and nobody takes its word for where it comes from.
    HeaderUntrusted,
    /// No byte moved for the idle bound.
    Idle,
    /// An admin closed it.
    Killed,
    /// The tunnel was taken away from its publisher: deleted, or the publisher may not publish it any more.
    TunnelEnded,
    /// Its permit died: revoked, expired, locked, token ended, policy changed.
    PermitDied,
    /// The visitor did not read, as too many others.
    Stalled,
    /// The app did not take what the visitor sent, as too many others' of its publisher.
    AppStalled,
    /// It found no stream on the publisher's connections.
    TunnelFull,
    /// The key provider is down, and the operator chose that nothing goes on then.
    KeysDown,
    /// The gateway stopped.
    Stopping,
}

impl Ending {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VisitorClosed => "visitor-closed",
            Self::PublisherClosed => "publisher-closed",
            Self::HeaderUntrusted => "proxy-header-untrusted",
            Self::Idle => "idle",
            Self::Killed => "killed",
            Self::TunnelEnded => "tunnel-ended",
            Self::PermitDied => "permit-died",
            Self::Stalled => "visitor-stalled",
            Self::AppStalled => "app-stalled",
            Self::TunnelFull => "tunnel-full",
            Self::KeysDown => "keys-down",
            Self::Stopping => "gateway-stopping",
        }
    }
}

/// What the table of live sessions shows of one.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LiveSession {
    /// `sess-…`
    pub id: String,
    /// `user:…`
    pub subject: String,
    /// Name of the tunnel.
    pub tunnel: String,
    /// `http`, `tcp` or `udp`.
    pub protocol: &'static str,
    /// `grant-…`, where a grant was needed.
    pub grant: Option<String>,
    /// Address of the visitor.
    pub source: String,
    /// When the opening record was made.
    pub opened: Timestamp,
    /// Bytes from the visitor to the publisher.
    pub bytes_up: u64,
    /// Bytes from the publisher to the visitor.
    pub bytes_down: u64,
    /// HTTP requests so far.
    pub requests: u64,
}

pub(super) struct Live {
    pub(super) id: SessionId,
    pub(super) subject: String,
    pub(super) tunnel: TunnelName,
    /// The registration that it is on now.
    pub(super) tunnel_id: Mutex<Arc<str>>,
    /// Its streams that outlive a connection,
    pub(super) lasting: AtomicUsize,
    /// and how often they did.
    pub(super) resumed: AtomicU64,
    pub(super) protocol: Protocol,
    pub(super) grant: Option<String>,
    pub(super) source: SocketAddr,
    pub(super) opened: Timestamp,
    pub(super) started: Instant,
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    pub(super) requests: AtomicU64,
    /// Requests whose answer has not begun.
    pub(super) unanswered: AtomicU64,
    pub(super) datagrams_up: AtomicU64,
    pub(super) datagrams_down: AtomicU64,
    /// Milliseconds after `started` at which a byte moved last.
    pub(super) moved: AtomicU64,
    /// Cancelled when bytes must stop.
    pub(super) cut: CancellationToken,
    /// Cancelled when the last handle is gone.
    pub(super) released: CancellationToken,
    pub(super) released_at: OnceLock<Instant>,
    pub(super) reason: OnceLock<Ending>,
    /// Who ended it from outside of its permit: when that was decided, and why.
    pub(super) decided: OnceLock<(Instant, &'static str)>,
    /// Records of the session's requests that are still to be written; the closing record comes after them.
    pub(super) records: TaskTracker,
    pub(super) backlog: Backlog,
    pub(super) readers: Readers,
    pub(super) recorded: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) ledger: Ledger,
    /// Set by an admin's kill.
    pub(super) killed: CancellationToken,
    pub(super) kill: OnceLock<(Instant, String, String)>,
}

pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) tunnel: TunnelName,
    pub(super) tunnel_id: String,
    pub(super) protocol: Protocol,
    pub(super) grant: Option<String>,
    pub(super) source: SocketAddr,
    pub(super) opened: Timestamp,
}

impl Live {
    pub(super) fn new(
        id: SessionId,
        facts: Facts,
        ledger: Ledger,
        (backlog, readers): (Backlog, Readers),
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            subject: facts.subject,
            tunnel: facts.tunnel,
            tunnel_id: Mutex::new(facts.tunnel_id.into()),
            lasting: AtomicUsize::new(0),
            resumed: AtomicU64::new(0),
            protocol: facts.protocol,
            grant: facts.grant,
            source: facts.source,
            opened: facts.opened,
            started: Instant::now(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            datagrams_up: AtomicU64::new(0),
            datagrams_down: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            cut: CancellationToken::new(),
            released: CancellationToken::new(),
            released_at: OnceLock::new(),
            reason: OnceLock::new(),
            decided: OnceLock::new(),
            records: TaskTracker::new(),
            backlog,
            readers,
            recorded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            ledger,
            killed: CancellationToken::new(),
            kill: OnceLock::new(),
        })
    }

    /// The one handle; to be called once, for the session counts as released when its clones are gone.
    pub(super) fn handle(self: &Arc<Self>) -> Session {
        Session::of(Arc::clone(self))
    }

    /// The registration that it is on.
    pub(super) fn tunnel_id(&self) -> Arc<str> {
        // Replaced as a whole.
        Arc::clone(&self.tunnel_id.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_of(&self, tunnel_id: &str) -> bool {
        *self.tunnel_id() == *tunnel_id
    }

    /// Its publisher came back, with this registration: it is on that, if it has a stream that outlives a connection.
    pub(super) fn follow(&self, tunnel_id: &str) {
        if self.lasting.load(Ordering::Acquire) == 0 {
            return;
        }
        *self.tunnel_id.lock().unwrap_or_else(PoisonError::into_inner) = tunnel_id.into();
    }

    pub(super) fn note_ending(&self, reason: Ending) {
        // The first word counts: later ones are echoes of it.
        let _ = self.reason.set(reason);
    }

    /// Ends it on a decision that was made then, for this cause.
    pub(super) fn cut_for(&self, ending: Ending, decided: (Instant, &'static str)) {
        let _ = self.decided.set(decided);
        self.note_ending(ending);
        self.cut.cancel();
    }

    pub(super) fn decided(&self) -> Option<(Instant, &'static str)> {
        self.decided.get().copied()
    }

    pub(super) async fn released(&self) {
        self.released.cancelled().await;
    }

    /// Waits for the records of the session's requests.
    pub(super) async fn records_written(&self) {
        self.records.close();
        self.records.wait().await;
    }

    /// Requests whose record the ledger has taken, and those whose record it could not take.
    pub(super) fn records(&self) -> (u64, u64) {
        (self.recorded.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    pub(super) fn count_record<T>(&self, written: &Result<T, AppendError>) {
        match written {
            Ok(_) => {
                self.recorded.fetch_add(1, Ordering::Relaxed);
            }
            Err(problem) => self.lost_record(problem),
        }
    }

    pub(super) fn lost_record(&self, problem: impl fmt::Display) {
        error!(session = %self.id, error = %problem, "a request could not be recorded");
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn last_byte(&self) -> Option<Instant> {
        self.released_at.get().copied()
    }

    pub(super) fn reason(&self) -> Ending {
        self.reason.get().copied().unwrap_or(Ending::VisitorClosed)
    }

    /// How long no byte has moved, and nobody has waited for an answer: how long that may take is bounded by itself.
    pub(super) fn quiet(&self) -> Duration {
        if self.unanswered.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.started.elapsed().saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }

    /// Returns when no byte has moved for so long.
    pub(super) async fn quiet_for(&self, bound: Duration) {
        loop {
            match bound.checked_sub(self.quiet()) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (
            self.up.load(Ordering::Relaxed),
            self.down.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
        )
    }

    pub(super) fn datagrams(&self) -> (u64, u64) {
        (self.datagrams_up.load(Ordering::Relaxed), self.datagrams_down.load(Ordering::Relaxed))
    }

    pub(super) fn view(&self) -> LiveSession {
        let (bytes_up, bytes_down, requests) = self.counts();
        LiveSession {
            id: self.id.to_string(),
            subject: self.subject.clone(),
            tunnel: self.tunnel.to_string(),
            protocol: self.protocol.as_str(),
            grant: self.grant.clone(),
            source: self.source.to_string(),
            opened: self.opened,
            bytes_up,
            bytes_down,
            requests,
        }
    }

    pub(super) fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(elapsed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_not_idle_while_a_request_waits_for_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let (live, _signer) = crate::session::bed::open(folder.path(), "203.0.113.7:1");
        let session = live.handle();
        let (first, second) = (session.count_request(), session.count_request());
        drop(first);
        let moment = Duration::from_millis(3);
        tokio::time::sleep(moment).await;
        assert_eq!(live.quiet(), Duration::ZERO, "one is still unanswered");
        drop(second);
        session.quiet_for(moment).await;
        assert!(live.quiet() >= moment);
        assert_eq!(live.counts().2, 2);
    }
}
