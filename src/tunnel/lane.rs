//! One of the connections of a publisher: an HTTP/2 client over it, driven by a task of its own that owns it.
//!
//! The library is used as it is, without another's client around it: a request then passes from whoever has it into the connection
//! without a task between, the windows of its streams can follow how many have something waiting ([`super::window`]), and a
//! connection that must go is gone when its task lets go of it.
//!
//! Whatever happens, [`Lane::ended`] tells once why. A publisher that is gone or stalls is found out by that nothing comes from it
//! any more ([`quiet_for`]), not even the answer to a ping.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use http::{Method, Request};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

use super::accept::Limits;
use super::flow::DatagramPath;
use super::handshake::{HandshakeError, Session};
use super::link::{CloseReason, Farewell, FarewellCode, chain};
use super::protocol::{CONTROL, FAREWELL, FAREWELL_CODE};
use super::quiet::{LOOKS, quiet_for};
use super::room::{Placed, Room};
use super::transport::{MessageSocket, MessageStream, Traffic};
use super::window::Windows;
use crate::clock;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type RequestBody = Placed<UnsyncBoxBody<Bytes, BoxError>>;
pub(super) type Sender = SendRequest<Bytes>;

/// How long the gateway waits for the publisher to hear its goodbye.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of one request that wait here for a publisher that does not take them.
const SEND_AHEAD: usize = 128 << 10;
/// Pieces of streams that were given up and forgotten which may come in a connection's life.
const FORGOTTEN: usize = 1 << 16;
/// Windows that were made smaller grow again after so long, not at once: who has something waiting comes and goes.
const GROWS_AFTER: Duration = Duration::from_secs(1);
/// How often the library is reminded of streams while windows are small.
const REMINDED: Duration = Duration::from_millis(50);

/// What an open lane has and a closing one gives to its task.
struct Open {
    sender: Sender,
    close: oneshot::Sender<(Farewell, Sender)>,
}

/// See the module. The connection lives until it is closed, breaks, or this is dropped and its streams are over.
pub(super) struct Lane {
    /// `None` once it closes.
    open: Mutex<Option<Open>>,
    ended: watch::Receiver<Option<CloseReason>>,
    pub(super) traffic: Arc<Traffic>,
    /// What carries datagrams beside it.
    pub(super) datagrams: Option<DatagramPath>,
    /// Its streams that visitors may have.
    pub(super) room: Room,
    pub(super) windows: Arc<Windows>,
    round_trip: Arc<RoundTrip>,
}

/// How long a ping took to be answered, in microseconds; 0 if none was yet.
#[derive(Default)]
struct RoundTrip(AtomicU64);

impl Lane {
    pub(super) async fn start<M: MessageSocket>(
        socket: M,
        session: Session,
        limits: &Limits,
        tasks: &TaskTracker,
    ) -> Result<Self, HandshakeError> {
        let stream = MessageStream::after_handshake(socket, session)?;
        let (traffic, datagrams) = (stream.traffic(), stream.datagrams());
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .max_frame_size(limits.frame_size)
            .max_header_list_size(limits.header_bytes)
            .initial_max_send_streams(limits.max_streams as usize)
            .max_send_buffer_size(SEND_AHEAD)
            // Visitors give up, and what was on its way to them comes all the same. The library forgets soon whom it was for, and ends
            // a connection on which that happens a thousand times in its life: one visitor would cost everybody the tunnel. Not without
            // end: a publisher that takes no answer could have them pile up here.
            .max_concurrent_reset_streams(limits.max_streams as usize)
            .max_local_error_reset_streams(Some(FORGOTTEN))
            // The publisher never opens streams.
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(HandshakeError::Mux)?;
        let windows = Windows::of(limits.stream_window);
        let (close, closing) = oneshot::channel();
        let (announce, ended) = watch::channel(None);
        let (heartbeat, bound) = (limits.heartbeat_interval, limits.heartbeat_timeout);
        let (open, room) =
            (Mutex::new(Some(Open { sender: sender.clone(), close })), Room::of(limits.max_streams));
        let (mut driven, round_trip) =
            (Driven::new(connection, sender, Arc::clone(&windows)), Arc::<RoundTrip>::default());
        let (pings, received) = (driven.connection.ping_pong(), Arc::clone(&traffic));
        let pinging = ping(pings, heartbeat, Arc::clone(&round_trip));
        tasks.spawn(async move {
            let silent = quiet_for(|| received.received.load(Ordering::Relaxed), heartbeat + bound, LOOKS);
            let over = async {
                tokio::select! {
                    () = silent => {}
                    never = pinging => match never {},
                }
            };
            tokio::select! {
                () = drive(driven, closing, &announce) => {}
                // Lets go of the connection, and whatever goes on over it breaks.
                () = over => announce_once(&announce, CloseReason::HeartbeatLost),
            }
        });
        Ok(Self { open, ended, traffic, datagrams, room, windows, round_trip })
    }

    /// Whether it takes requests.
    pub(super) fn is_open(&self) -> bool {
        self.sender().is_some()
    }

    /// What sends requests, while it takes some.
    pub(super) fn sender(&self) -> Option<Sender> {
        let mut sender = self.open().as_ref()?.sender.clone();
        takes_requests(&mut sender).then_some(sender)
    }

    /// How long the last ping took to be answered.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.0.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// Says goodbye, and stays.
    pub(super) fn announce(&self, code: FarewellCode) {
        if let Some(sender) = self.sender() {
            tokio::spawn(tokio::time::timeout(FAREWELL_TIMEOUT, say_goodbye(sender, code)));
        }
    }

    /// Ends it. A second call changes nothing.
    pub(super) fn close(&self, farewell: Farewell) {
        let Some(Open { sender, close }) = self.open().take() else { return };
        // If nobody receives it, the connection has ended already.
        let _gone = close.send((farewell, sender));
    }

    /// Tells of its end; does not keep it alive.
    pub(super) fn ended(&self) -> Ended {
        Ended(self.ended.clone())
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing panics while it is held; a poisoned lock would still hold a good value.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sender that has no request of its own waiting is ready at once, or never again.
fn takes_requests(sender: &mut Sender) -> bool {
    !matches!(sender.poll_ready(&mut Context::from_waker(std::task::Waker::noop())), Poll::Ready(Err(_)))
}

/// Tells of a lane's end.
#[derive(Clone)]
pub(super) struct Ended(watch::Receiver<Option<CloseReason>>);

impl Ended {
    /// Waits for it.
    pub(super) async fn wait(mut self) -> CloseReason {
        match self.0.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(CloseReason::PublisherLeft),
            // The driving task ended without a word: it was aborted with its runtime.
            Err(_) => CloseReason::Broken("the gateway stopped".to_owned()),
        }
    }
}

/// The connection, as its task has it.
struct Driven<M> {
    connection: Connection<MessageStream<M>, Bytes>,
    /// Tells when no more requests are taken; the connection ends only when nobody has one.
    sender: Option<Sender>,
    /// Not to be driven again.
    is_over: bool,
    windows: Arc<Windows>,
    /// Runs while windows are smaller than they may be.
    grows: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Runs while they are.
    reminds: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<M: MessageSocket> Driven<M> {
    fn new(connection: Connection<MessageStream<M>, Bytes>, sender: Sender, windows: Arc<Windows>) -> Self {
        Self { connection, sender: Some(sender), is_over: false, windows, grows: None, reminds: None }
    }

    /// Drives it until it has ended.
    async fn until_its_end(mut self) {
        self.sender = None;
        // How it ends concerns those who have streams on it, and they are told.
        let _end = std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    /// Drives it until it takes no more requests, and tells why.
    async fn takes_no_more(&mut self) -> CloseReason {
        std::future::poll_fn(|cx| {
            let ended = self.poll(cx);
            let refused = self.sender.as_mut().map(|sender| sender.poll_ready(cx));
            match (refused, ended) {
                (Some(Poll::Ready(Err(error))), _) if error.reason() == Some(h2::Reason::NO_ERROR) => {
                    Poll::Ready(CloseReason::PublisherLeft)
                }
                (_, Poll::Ready(Err(error))) | (Some(Poll::Ready(Err(error))), _) => {
                    Poll::Ready(CloseReason::Broken(chain(&error)))
                }
                (_, Poll::Ready(Ok(()))) => Poll::Ready(CloseReason::PublisherLeft),
                _ => Poll::Pending,
            }
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        self.remind(cx);
        loop {
            self.fit_windows(cx);
            let ended = Pin::new(&mut self.connection).poll(cx);
            self.is_over = ended.is_ready();
            // What came may have been leave to tell of other windows, which is to be sent.
            if self.is_over || !self.fit_windows(cx) {
                return ended;
            }
        }
    }

    /// While windows are small, now and then: the publisher may take its time to hear that they are.
    fn remind(&mut self, cx: &mut Context<'_>) {
        if !self.windows.are_small() {
            self.reminds = None;
            return;
        }
        let reminds = self.reminds.get_or_insert_with(|| Box::pin(tokio::time::sleep(REMINDED)));
        while reminds.as_mut().poll(cx).is_ready() {
            self.windows.remind();
            reminds.as_mut().reset(tokio::time::Instant::now() + REMINDED);
        }
    }

    /// Tells the publisher what its streams may have under way, when that is less than it was told, or has been more for a while.
    /// `false` if there is nothing to tell, or the last word is still to be acknowledged.
    fn fit_windows(&mut self, cx: &mut Context<'_>) -> bool {
        let (has, wanted) = (self.windows.window(), self.windows.wanted(cx.waker()));
        if wanted == has {
            self.grows = None;
            return false;
        }
        if wanted > has {
            let grows = self.grows.get_or_insert_with(|| Box::pin(tokio::time::sleep(GROWS_AFTER)));
            if grows.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
        self.grows = None;
        let is_told = self.connection.set_initial_window_size(wanted).is_ok();
        if is_told {
            self.windows.tell(wanted);
        }
        is_told
    }
}

/// Asks now and then whether the publisher is there, and how far; the answer is among what comes.
async fn ping(
    pings: Option<PingPong>,
    every: Duration,
    round_trip: Arc<RoundTrip>,
) -> std::convert::Infallible {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(every).await;
        let sent = clock::monotonic();
        if pings.ping(Ping::opaque()).await.is_err() {
            return std::future::pending().await;
        }
        let took = clock::monotonic().saturating_duration_since(sent);
        round_trip.0.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }
}

/// The first word counts.
fn announce_once(announce: &watch::Sender<Option<CloseReason>>, reason: CloseReason) {
    announce.send_if_modified(|said| {
        let first = said.is_none();
        said.get_or_insert(reason);
        first
    });
}

/// Drives the connection to its end, which may be [`Link::close`]. Why it takes no more requests is told when that is so; what it has
/// of them goes on to its end.
async fn drive<M: MessageSocket>(
    mut driven: Driven<M>,
    closing: oneshot::Receiver<(Farewell, Sender)>,
    announce: &watch::Sender<Option<CloseReason>>,
) {
    let (farewell, sender) = tokio::select! {
        biased;
        close = closing => match close {
            Ok(close) => close,
            // Nobody has the lane any more.
            Err(_) => return driven.until_its_end().await,
        },
        reason = driven.takes_no_more() => {
            // Of one that did not leave in order nothing is brought to its end: nobody looks after what would go on.
            let in_order = reason == CloseReason::PublisherLeft;
            announce_once(announce, reason);
            if in_order {
                driven.until_its_end().await;
            } else {
                // The publisher is told why, if this end had to end it.
                let _told = tokio::time::timeout(FAREWELL_TIMEOUT, driven.until_its_end()).await;
            }
            return;
        }
    };
    let heard = tokio::time::timeout(FAREWELL_TIMEOUT, say_goodbye(sender, farewell.code));
    tokio::select! {
        _broke = driven.takes_no_more() => {}
        // Told if the publisher still listens; closed either way.
        _heard = heard => {}
    }
    // What is over the time breaks with the connection, of which nothing is left then.
    let _cut = tokio::time::timeout(farewell.grace, driven.until_its_end()).await;
    announce_once(announce, CloseReason::Closed(farewell.code));
}

/// Returns when the publisher has heard it, or can't.
async fn say_goodbye(sender: Sender, code: FarewellCode) {
    let Some(goodbye) = goodbye(code) else { return };
    let Ok(mut sender) = sender.ready().await else { return };
    if let Ok((answer, _)) = sender.send_request(goodbye, true) {
        let _heard = answer.await;
    }
}

fn goodbye(code: FarewellCode) -> Option<Request<()>> {
    Request::builder()
        .method(Method::POST)
        .uri("http://sallyport/farewell")
        .header(CONTROL, FAREWELL)
        .header(FAREWELL_CODE, code.word())
        .body(())
        .ok()
}
