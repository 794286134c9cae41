//! Opens sessions and owns them until they are closed in the ledger.
//!
//! One task stands behind each session. It holds the permit, cuts the bytes when the permit dies, and writes the closing
//! record, so that a session which was opened in the ledger is always closed there while the ledger takes records.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sallyport_audit::{AppendError, Ledger};
use sallyport_audit::{Draft, Kind, Outcome};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::backlog::Backlog;
use super::handle::Session;
use super::live::{Ending, Facts, Live, LiveSession, Protocol, SessionId};
use super::naming::{Named, Naming};
use super::readers::Readers;
use super::totals::{ByTunnel, Totals};
use super::user_seats::{UserSeat, UserSeats};
use crate::access::{Permit, TlsFacts, TunnelFacts};
use crate::tunnel::TunnelName;

/// After a cut: how long the byte-moving code may take to let go before the closing record says that it did not.
const RELEASE_BOUND: Duration = Duration::from_secs(10);

/// What is needed to open a session, besides the permit.
#[derive(Debug)]
pub struct Opening {
    /// The tunnel that the permit is for.
    pub tunnel: TunnelName,
    /// The registration of the tunnel, `tun-…`: tells whose link takes the bytes.
    pub tunnel_id: String,
    /// What the visitor speaks.
    pub protocol: Protocol,
    /// Where the visitor comes from.
    pub source: SocketAddr,
    /// The load balancer in front that said so.
    pub front: Option<IpAddr>,
    /// How the visitor's side is protected; `None` on a bare TCP port.
    pub tls: Option<TlsFacts>,
    /// How the publisher's side is.
    pub through: Option<TunnelFacts>,
    /// The visitor's user agent.
    pub agent: Option<String>,
    /// Correlation id of the request that opens it.
    pub correlation: String,
}

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The opening record could not be made durable.
    #[error("the session could not be recorded")]
    NotRecorded(#[source] AppendError),
    /// The permit died while the record was written.
    #[error("leave ended before the session began")]
    PermitDied,
    /// The person has as many as one may have.
    #[error("you have {most} open sessions, which is all that one may have")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Opens sessions; clones share one table.
#[derive(Clone)]
pub struct Broker {
    ledger: Ledger,
    idle: Duration,
    table: Arc<Mutex<HashMap<SessionId, Arc<Live>>>>,
    /// Of sessions that are over. Locked before the table, where both are.
    over: Arc<Mutex<ByTunnel>>,
    /// Who may still be named: by a session, from before its opening record until its closing one, or by what else holds it.
    named: Named,
    seats: UserSeats,
    backlog: Backlog,
    readers: Readers,
    tasks: TaskTracker,
    /// Cancelled when no new session may begin.
    closed: CancellationToken,
    /// Cancelled when those that are left must end.
    stopping: CancellationToken,
}

impl Broker {
    /// A broker that writes to `ledger` and closes sessions on which no byte moved for `idle`.
    pub fn new(ledger: Ledger, idle: Duration) -> Self {
        Self {
            backlog: Backlog::start(ledger.clone()),
            readers: Readers::start(),
            ledger,
            idle,
            table: Arc::default(),
            over: Arc::default(),
            named: Named::default(),
            seats: UserSeats::default(),
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// The same, with at most so many sessions of one person at a time.
    #[must_use]
    pub fn at_most(mut self, of_one: usize) -> Self {
        self.seats = UserSeats::new(of_one);
        self
    }

    /// Opens a session: returns only when its opening record is durable under a signed head.
    ///
    /// Goes on when the caller is gone, as a visitor that hangs up makes it: a session that was opened in the ledger is closed
    /// there too.
    pub async fn open(&self, permit: Permit, opening: Opening) -> Result<Session, OpenError> {
        // Taken before the look: whoever drains sees either this, or that nobody comes any more.
        let token = self.tasks.token();
        if self.closed.is_cancelled() {
            return Err(OpenError::Stopping);
        }
        let broker = self.clone();
        let opened = tokio::spawn(async move {
            let opened = broker.open_now(permit, opening).await;
            drop(token);
            opened
        });
        opened.await.unwrap_or(Err(OpenError::Stopping))
    }

    async fn open_now(self, permit: Permit, opening: Opening) -> Result<Session, OpenError> {
        let id = SessionId::new();
        let explanation = permit.explanation();
        let grant = permit.grant().map(|grant| grant.to_string());
        let mut draft = explanation
            .draft(Kind::SessionOpened)
            .session(id.to_string())
            .correlation(opening.correlation.as_str())
            .source(opening.source.to_string())
            .detail("protocol", opening.protocol.as_str())
            .detail("tunnel_id", opening.tunnel_id.as_str())
            .detail("credential", permit.identity().proof().to_string());
        draft = TlsFacts::note(opening.tls.as_ref(), draft);
        if let Some(tunnel) = opening.through {
            draft = tunnel.note(draft);
        }
        if let Some(front) = opening.front {
            draft = draft.detail("front", front.to_string());
        }
        if let Some(agent) = &opening.agent {
            draft = draft.agent(agent.as_str());
        }
        let subject = explanation.subject.to_string();
        let naming = self.naming(&subject);
        // One that died before can be of somebody whose name is erased by now: no record, then.
        if !permit.is_alive() {
            return Err(OpenError::PermitDied);
        }
        let seat = match self.seats.take(permit.identity()) {
            Ok(seat) => seat,
            Err(full) => {
                if full.first {
                    self.record_refusal(&permit, &opening).await;
                }
                return Err(OpenError::TooMany { most: full.most });
            }
        };
        let receipt = self.ledger.append(draft).await.map_err(OpenError::NotRecorded)?;

        let live = Live::new(
            id,
            Facts {
                subject,
                tunnel: opening.tunnel,
                tunnel_id: opening.tunnel_id,
                protocol: opening.protocol,
                grant,
                source: opening.source,
                opened: receipt.time,
            },
            self.ledger.clone(),
            (self.backlog.clone(), self.readers.clone()),
        );
        let session = live.handle();
        let dead_already = !permit.is_alive();
        self.table().insert(id, Arc::clone(&live));
        self.tasks.spawn(self.clone().supervise(live, permit, (naming, seat)));
        if dead_already {
            return Err(OpenError::PermitDied);
        }
        Ok(session)
    }

    /// Closes one session on an admin's word. `false` if there is none of that id. `reason` is what the admin wrote, and
    /// `correlation` leads to the record of who it was.
    pub fn kill(&self, id: SessionId, reason: &str, correlation: &str) -> bool {
        let Some(live) = self.table().get(&id).cloned() else { return false };
        // A second kill changes nothing: the first reason stands.
        let _ = live.kill.set((Instant::now(), reason.to_owned(), correlation.to_owned()));
        live.killed.cancel();
        true
    }

    /// Sessions that are open now, oldest first.
    pub fn live(&self) -> Vec<LiveSession> {
        let mut sessions: Vec<_> = self.table().values().map(|live| live.view()).collect();
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        sessions
    }

    /// What passed through each tunnel since the start; `None` is all that are beyond a bound.
    pub fn totals(&self) -> Vec<(Option<TunnelName>, Totals)> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = over.clone();
        for live in self.table().values() {
            let (up, down, _) = live.counts();
            sums.add(&live.tunnel, (up, down));
        }
        sums.all()
    }

    /// Records of requests that wait for the ledger.
    pub fn records_waiting(&self) -> usize {
        self.backlog.waiting()
    }

    /// To be held by what may still name this person in a record. Look whether they still stand after it was taken.
    pub fn naming(&self, subject: &str) -> Naming {
        self.named.hold(subject)
    }

    /// Waits until nobody of this name has an open session, a registration or a call, and every record that names them is on
    /// its way to the ledger, in front of whatever is appended next. `false` if some are still open after `patience`.
    pub async fn ended(&self, subject: &str, patience: Duration) -> bool {
        self.named.nobody_names(subject, patience).await
    }

    /// The publisher of one registration came back with another: sessions with streams that outlive a connection are on that one from
    /// here on, and end with it. What ends sessions of either finds them before or after, and not in between.
    pub fn tunnel_moved(&self, from: &str, to: &str) {
        for live in self.table().values().filter(|live| live.is_of(from)) {
            live.follow(to);
        }
    }

    /// Ends all sessions of one registration, because its publisher is gone: whoever has the name next, they are not its.
    pub fn tunnel_gone(&self, tunnel_id: &str) {
        for live in self.table().values().filter(|live| live.is_of(tunnel_id)) {
            live.note_ending(Ending::PublisherClosed);
            live.cut.cancel();
        }
    }

    /// Ends all sessions of one registration on a decision: its tunnel was deleted, or its publisher may not publish it any
    /// more. `cause` is a word.
    pub fn tunnel_ended(&self, tunnel_id: &str, decided_at: Instant, cause: &'static str) {
        for live in self.table().values().filter(|live| live.is_of(tunnel_id)) {
            live.cut_for(Ending::TunnelEnded, (decided_at, cause));
        }
    }

    /// Ends all sessions of a name on a decision, also those of a publisher that has left and brings them to their end. Tells how many.
    pub fn name_ended(&self, name: &TunnelName, decided_at: Instant, cause: &'static str) -> usize {
        let all = self.table();
        let of_it = all.values().filter(|live| live.tunnel == *name);
        of_it.map(|live| live.cut_for(Ending::TunnelEnded, (decided_at, cause))).count()
    }

    /// Ends all sessions, for a reason that the gateway itself has. New ones may begin.
    pub fn end_all(&self, ending: Ending) {
        for live in self.table().values() {
            live.note_ending(ending);
            live.cut.cancel();
        }
    }

    /// Stops: opens no more sessions, lets open ones finish for `grace`, cuts the rest, and returns when every closing record is written.
    pub async fn drain(&self, grace: Duration) {
        self.closed.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            info!(sessions = self.table().len(), "grace is over, cutting the sessions that are left");
        }
        self.stopping.cancel();
        self.tasks.wait().await;
    }

    async fn supervise(self, live: Arc<Live>, permit: Permit, _held: (Naming, UserSeat)) {
        let (ending, decided) = tokio::select! {
            // Of several that came at once, the one that says most: a lock can take the visitor's leave and the publisher's.
            biased;
            death = permit.died() => (Ending::PermitDied, Some((death.decided_at, death.cause.as_str()))),
            () = live.killed.cancelled() => {
                let at = live.kill.get().map_or_else(Instant::now, |(at, ..)| *at);
                (Ending::Killed, Some((at, "killed")))
            }
            () = live.cut.cancelled() => (live.reason(), live.decided()),
            () = live.released() => (live.reason(), live.decided()),
            () = live.quiet_for(self.idle) => (Ending::Idle, None),
            () = self.stopping.cancelled() => (Ending::Stopping, None),
        };
        live.note_ending(ending);
        live.cut.cancel();
        let let_go = tokio::time::timeout(RELEASE_BOUND, live.released()).await.is_ok();
        {
            let (up, down, _) = live.counts();
            let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
            self.table().remove(&live.id);
            over.add(&live.tunnel, (up, down));
        }
        if tokio::time::timeout(RELEASE_BOUND, live.records_written()).await.is_err() {
            error!(session = %live.id, "records of its requests are still waiting for the ledger");
        }
        self.record_close(&live, ending, decided, let_go).await;
    }

    /// The first session that a person can't have since there was room.
    async fn record_refusal(&self, permit: &Permit, opening: &Opening) {
        let asked = permit.explanation();
        let draft = Draft::new(Kind::SessionRefused, Outcome::Denied)
            .subject(asked.subject.as_str())
            .object(asked.object.as_str())
            .source(opening.source.to_string())
            .correlation(opening.correlation.as_str())
            .detail("reason", "too-many-sessions");
        if let Err(problem) = self.ledger.enqueue(draft).await {
            error!(error = %problem, "a session that was refused could not be recorded");
        }
    }

    async fn record_close(
        &self,
        live: &Live,
        ending: Ending,
        decided: Option<(Instant, &'static str)>,
        let_go: bool,
    ) {
        let (up, down, requests) = live.counts();
        let outcome = if let_go { Outcome::Success } else { Outcome::Failure };
        let mut draft = Draft::new(Kind::SessionClosed, outcome)
            .subject(live.subject.as_str())
            .object(format!("tunnel:{}", live.tunnel))
            .session(live.id.to_string())
            .detail("reason", ending.as_str())
            .detail("bytes_up", up)
            .detail("bytes_down", down)
            .detail("requests", requests)
            .detail("duration_ms", milliseconds(live.started.elapsed()));
        let resumed = live.resumed.load(Ordering::Relaxed);
        if resumed > 0 {
            draft = draft.detail("resumed", resumed).detail("tunnel_id", live.tunnel_id().to_string());
        }
        if live.protocol == Protocol::Http {
            let (recorded, lost) = live.records();
            draft = draft.detail("requests_recorded", recorded).detail("requests_lost", lost);
            // While the ledger can't move the session's end doesn't wait for its requests' records, which come behind it then.
            let waiting = requests.saturating_sub(recorded + lost);
            if waiting > 0 {
                draft = draft.detail("requests_waiting", waiting);
            }
        }
        if live.protocol == Protocol::Udp {
            let (up, down) = live.datagrams();
            draft = draft.detail("datagrams_up", up).detail("datagrams_down", down);
        }
        if let Some(grant) = &live.grant {
            draft = draft.grant(grant.as_str());
        }
        if let Some((_, reason, correlation)) = live.kill.get() {
            draft = draft.reason(reason.as_str()).correlation(correlation.as_str());
        }
        if let Some((at, cause)) = decided {
            let last_byte = live.last_byte().unwrap_or_else(Instant::now);
            let latency = last_byte.saturating_duration_since(at);
            draft = draft
                .detail("cause", cause)
                .detail("last_byte_after_us", u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
        // Enqueued, not appended: while the HSM is away the ledger keeps what is enqueued, and signs it when it can. Also beyond
        // its queue, for there are no more of these than were let in; but a gateway that stops does not wait for ever.
        let too_late = async {
            self.stopping.cancelled().await;
            tokio::time::sleep(RELEASE_BOUND).await;
        };
        let problem = tokio::select! {
            biased;
            recorded = self.ledger.enqueue_patiently(draft) => recorded.err(),
            () = too_late => Some(AppendError::Closed),
        };
        if let Some(problem) = problem {
            error!(session = %live.id, error = %problem, "the end of a session could not be recorded");
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        // The table is only inserted into and removed from: a panic elsewhere leaves it whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
