//! The gateway's end of a tunnel: the connections of one publisher, and the requests that are spread over them.
//!
//! Most publishers have one. One that has several is one publisher all the same: what it published stays while any of them is
//! up, and ends on all of them at once. Each is a [`Lane`]; [`Link::closed`] tells once why the last of them is gone. What is asked over
//! them stands in `link/requests.rs`: requests travel as themselves, byte streams as [`super::stream`] says; who has how many is counted
//! ([`super::room`]).
//!
//! Memory: a stream that nobody reads holds at most a window of bytes ([`super::window`]), a whole lane at most
//! [`super::Limits::connection_window`] bytes, in either direction at the receiving end.

mod requests;
mod resuming;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::accept::Limits;
use super::arriving::Arriving;
use super::flow::DatagramPath;
use super::gather::Heard;
use super::handshake::{HandshakeError, Mode, Session, SessionId, Suite};
use super::lane::{Ended, Lane, Sender};
use super::protocol::OriginFault;
use super::resumable::Allowances;
use super::room::{Place, Placed, Shares, Whose};
use super::transport::{MessageSocket, Traffic};
use super::window::Windows;

/// The body of an answer.
pub type Answer = Heard<Placed<Arriving>>;

/// Connections that one publisher may have.
pub const MAX_LANES: usize = 8;

/// Why the gateway ends a link, for the publisher's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FarewellCode {
    /// The gateway stops or moves: come back.
    Draining,
    /// The publisher's leave is over (token revoked, user locked, policy changed): do not come back by yourself.
    Revoked,
    /// The same publisher connected again and this connection is the older one.
    Replaced,
}

impl FarewellCode {
    pub(crate) const ALL: [Self; 3] = [Self::Draining, Self::Revoked, Self::Replaced];

    /// The word in the header and in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }
}

/// The gateway's goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// For programs.
    pub code: FarewellCode,
    /// How long streams that are open may go on; zero cuts them at once.
    pub grace: Duration,
}

/// Why a link is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The publisher closed in order.
    PublisherLeft,
    /// The publisher did not answer a heartbeat in time.
    HeartbeatLost,
    /// The connection broke, or the publisher broke the protocol.
    Broken(String),
    /// The gateway closed it.
    Closed(FarewellCode),
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PublisherLeft => f.write_str("the publisher left"),
            Self::HeartbeatLost => f.write_str("the publisher did not answer the heartbeat"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Closed(code) => write!(f, "closed by the gateway: {}", code.word()),
        }
    }
}

/// Why a request or stream did not get through the link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The link is closed or closing.
    #[error("the tunnel is not connected: {0}")]
    Closed(CloseReason),
    /// Its connections carry all streams that they can, or whoever asks has their share of them.
    #[error("the tunnel carries as many streams as it can")]
    Full,
    /// The request cannot be sent over HTTP/2.
    #[error("the request cannot be sent through a tunnel: {0}")]
    BadRequest(String),
    /// The publisher refused the stream.
    #[error("the publisher did not open the stream: {fault}")]
    Origin {
        /// Why.
        fault: OriginFault,
    },
    /// The stream failed on the way.
    #[error("the tunnel failed: {0}")]
    Stream(#[source] h2::Error),
    /// The publisher answered CONNECT with something that is no answer to it.
    #[error("the publisher answered a stream with status {0}")]
    UnexpectedStatus(StatusCode),
}

/// What passed over a link so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes to the publisher, before sealing.
    pub bytes_sent: u64,
    /// Bytes from the publisher, after opening.
    pub bytes_received: u64,
    /// Requests begun.
    pub requests: u64,
    /// Byte streams begun.
    pub streams: u64,
}

struct Inner {
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Counts up with each request; the lanes take turns.
    turn: AtomicUsize,
    /// The gateway has said that it will close it.
    announced: AtomicBool,
    closing: OnceLock<FarewellCode>,
    closed: watch::Sender<Option<CloseReason>>,
    /// Who has how many streams.
    shares: Shares,
    /// Of its streams that outlive a lane.
    allowances: Allowances,
    /// How long it may take until the loss of a lane is seen.
    notices: Duration,
    /// What passed on lanes that are gone.
    past: Traffic,
    requests: AtomicU64,
    streams: AtomicU64,
    /// Of the lanes, each until nothing goes on over it.
    tasks: TaskTracker,
    id: SessionId,
    suite: Suite,
    mode: Mode,
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        // Nothing panics while it is held; a poisoned lock would still hold a good value.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane is gone; with the last of them the link is.
    fn lost(&self, ended: &Lane, reason: CloseReason) {
        let mut lanes = self.lanes();
        lanes.retain(|lane| !std::ptr::eq(lane.as_ref(), ended));
        self.past.add(&ended.traffic);
        if lanes.is_empty() {
            self.closed.send_replace(Some(reason));
        }
    }
}

/// A lane that takes a stream.
struct Turn {
    sender: Sender,
    datagrams: Option<DatagramPath>,
    windows: Arc<Windows>,
    /// None of the gateway's own.
    place: Option<Place>,
}

impl Turn {
    fn new(lane: &Lane, sender: Sender, place: Option<Place>) -> Self {
        Self { sender, datagrams: lane.datagrams.clone(), windows: Arc::clone(&lane.windows), place }
    }
}

/// A handle on a publisher's connections. Cheap to clone; they live until [`Link::close`], or until they break,
/// or until the last handle is dropped.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

/// A further connection of a publisher.
pub struct Joined {
    /// Not its own, lest it live longer than the link.
    lane: Weak<Lane>,
    ended: Ended,
}

impl Joined {
    /// Waits for its end and tells why.
    pub async fn ended(&self) -> CloseReason {
        self.ended.clone().wait().await
    }

    /// Ends it alone.
    pub fn close(&self, farewell: Farewell) {
        if let Some(lane) = self.lane.upgrade() {
            lane.close(farewell);
        }
    }
}

impl Link {
    pub(crate) async fn start<M: MessageSocket>(
        socket: M,
        session: Session,
        limits: &Limits,
    ) -> Result<Self, HandshakeError> {
        let (id, suite, mode) = (session.id, session.suite, session.mode);
        let tasks = TaskTracker::new();
        let lane = Lane::start(socket, session, limits, &tasks).await?;
        let link = Self(Arc::new(Inner {
            lanes: Mutex::default(),
            turn: AtomicUsize::new(0),
            announced: AtomicBool::new(false),
            closing: OnceLock::new(),
            closed: watch::channel(None).0,
            shares: Shares::default(),
            allowances: Allowances::default(),
            notices: limits.heartbeat_interval + limits.heartbeat_timeout,
            past: Traffic::default(),
            requests: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            tasks,
            id,
            suite,
            mode,
        }));
        // Nobody has the link yet, so it takes the lane.
        let _taken = link.add(lane);
        Ok(link)
    }

    /// Takes a further connection. `Err` if the link is closed by now, or has as many as it may have.
    pub(crate) async fn join<M: MessageSocket>(
        &self,
        socket: M,
        session: Session,
        limits: &Limits,
    ) -> Result<Joined, HandshakeError> {
        let lane = Lane::start(socket, session, limits, &self.0.tasks).await?;
        self.add(lane).ok_or(HandshakeError::NoRoom)
    }

    fn add(&self, lane: Lane) -> Option<Joined> {
        let (lane, ended) = {
            let mut lanes = self.0.lanes();
            if lanes.len() >= MAX_LANES || self.0.closing.get().is_some() || self.0.closed.borrow().is_some()
            {
                return None;
            }
            let lane = Arc::new(lane);
            lanes.push(Arc::clone(&lane));
            (Arc::downgrade(&lane), lane.ended())
        };
        // Neither keeps the link: whoever drops the last handle ends its lanes.
        let (link, watched, end) = (Arc::downgrade(&self.0), Weak::clone(&lane), ended.clone());
        tokio::spawn(async move {
            let reason = end.wait().await;
            if let (Some(link), Some(lane)) = (link.upgrade(), watched.upgrade()) {
                link.lost(&lane, reason);
            }
        });
        Some(Joined { lane, ended })
    }

    /// Whether one more connection would be taken.
    pub fn has_room(&self) -> bool {
        self.is_open() && self.0.lanes().len() < MAX_LANES
    }

    /// How many connections it has.
    pub fn lanes(&self) -> usize {
        self.0.lanes().len()
    }

    /// Streams that visitors have on its connections, and how many they may have.
    pub fn streams(&self) -> (usize, usize) {
        let lanes = self.0.lanes();
        let most: usize = lanes.iter().map(|lane| lane.room.most()).sum();
        let left: usize = lanes.iter().map(|lane| lane.room.left()).sum();
        (most - left, most)
    }

    /// How many bytes each stream of a connection may have under way now, at the least, and how long the last ping took to be
    /// answered, at the most.
    pub fn windows(&self) -> (u32, Option<Duration>) {
        let lanes = self.0.lanes();
        let window = lanes.iter().map(|lane| lane.windows.window()).min().unwrap_or_default();
        (window, lanes.iter().filter_map(|lane| lane.round_trip()).max())
    }

    /// The next lane in turn that takes requests, with a place on it.
    fn turn(&self, whose: Whose<'_>) -> Result<Turn, LinkError> {
        let lanes = self.0.lanes();
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed).checked_rem(lanes.len()).unwrap_or_default();
        let (before, from) = lanes.split_at_checked(turn).unwrap_or_default();
        let mut open = from.iter().chain(before).filter_map(|lane| Some((lane, lane.sender()?))).peekable();
        if open.peek().is_none() {
            return Err(LinkError::Closed(self.reason_so_far()));
        }
        let person = match whose {
            Whose::Of(person) => person,
            Whose::Own => {
                let own = open.next().map(|(lane, sender)| Turn::new(lane, sender, None));
                return own.ok_or(LinkError::Full);
            }
        };
        let left = lanes.iter().map(|lane| lane.room.left()).sum();
        let share = self.0.shares.take(person, left).ok_or(LinkError::Full)?;
        let found = open.find_map(|(lane, sender)| Some((lane, sender, lane.room.take()?)));
        let (lane, sender, permit) = found.ok_or(LinkError::Full)?;
        Ok(Turn::new(lane, sender, Some(Place::new(permit, share))))
    }

    fn reason_so_far(&self) -> CloseReason {
        let closed = self.0.closed.borrow().clone();
        closed
            .or_else(|| self.0.closing.get().copied().map(CloseReason::Closed))
            .unwrap_or_else(|| CloseReason::Broken("it just broke".to_owned()))
    }

    /// Waits until the link is closed and tells why.
    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.0.closed.subscribe();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(CloseReason::PublisherLeft),
            Err(_) => CloseReason::Broken("the gateway stopped".to_owned()),
        }
    }

    /// Waits until nothing goes on over it any more. A link that is closed takes no more requests, and may still bring to its end
    /// what it has of them.
    pub async fn gone(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Tells the publisher that the gateway is about to close it, and why; until then it goes on as before.
    pub fn announce(&self, code: FarewellCode) {
        self.0.announced.store(true, Ordering::Relaxed);
        for lane in self.0.lanes().iter() {
            lane.announce(code);
        }
    }

    /// Whether the link still takes requests.
    pub fn is_open(&self) -> bool {
        self.0.lanes().iter().any(|lane| lane.is_open())
    }

    /// Ends the link on all its connections: tells the publisher why, takes no more requests, lets open streams go on for the
    /// farewell's grace and then cuts them. Returns at once; [`Link::closed`] tells when it is done. A second call changes nothing.
    pub fn close(&self, farewell: Farewell) {
        let lanes = self.0.lanes();
        let _first = self.0.closing.set(farewell.code);
        for lane in lanes.iter() {
            lane.close(farewell);
        }
    }

    /// Whether one of the two ends it, and with it what goes on over it: the publisher in order, or the gateway for any reason but that
    /// its publisher came back.
    pub fn is_parting(&self) -> bool {
        let is_left = *self.0.closed.borrow() == Some(CloseReason::PublisherLeft);
        // One that was to be closed, and is lost before: its publisher comes back to another gateway.
        let is_left = is_left || (self.0.announced.load(Ordering::Relaxed) && !self.is_open());
        is_left || matches!(self.0.closing.get(), Some(FarewellCode::Draining | FarewellCode::Revoked))
    }

    /// What passed so far.
    pub fn counters(&self) -> Counters {
        let sum = Traffic::default();
        sum.add(&self.0.past);
        for lane in self.0.lanes().iter() {
            sum.add(&lane.traffic);
        }
        Counters {
            bytes_sent: sum.sent.load(Ordering::Relaxed),
            bytes_received: sum.received.load(Ordering::Relaxed),
            requests: self.0.requests.load(Ordering::Relaxed),
            streams: self.0.streams.load(Ordering::Relaxed),
        }
    }

    /// The session id of its first handshake, the same in the publisher's log.
    pub fn id(&self) -> SessionId {
        self.0.id
    }

    /// The suite of the handshake.
    pub fn suite(&self) -> Suite {
        self.0.suite
    }

    /// What protects the frames.
    pub fn mode(&self) -> Mode {
        self.0.mode
    }
}

/// An error with its causes in one line: hyper's own message says only "connection error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
