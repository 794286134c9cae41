//! One of the connections of a publisher: an HTTP/2 client over it, driven by a task of its own that owns its end.
//!
//! Whatever happens, [`Lane::ended`] tells once why. A publisher that is gone or stalls is found out by HTTP/2 pings
//! ([`Limits::heartbeat_interval`], [`Limits::heartbeat_timeout`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::accept::Limits;
use super::flow::DatagramPath;
use super::handshake::{HandshakeError, Session};
use super::link::{CloseReason, Farewell, FarewellCode, chain};
use super::protocol::{CONTROL, FAREWELL, FAREWELL_CODE};
use super::room::{Placed, Room};
use super::transport::{MessageSocket, MessageStream, Traffic};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type RequestBody = Placed<UnsyncBoxBody<Bytes, BoxError>>;
pub(super) type Sender = http2::SendRequest<RequestBody>;

/// How long the gateway waits for the publisher to hear its goodbye.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// What an open lane has and a closing one gives to its task.
struct Open {
    sender: Sender,
    close: oneshot::Sender<(Farewell, Sender)>,
}

/// See the module. The connection lives until it is closed, breaks, or this is dropped.
pub(super) struct Lane {
    /// `None` once it closes.
    open: Mutex<Option<Open>>,
    ended: watch::Receiver<Option<CloseReason>>,
    pub(super) traffic: Arc<Traffic>,
    /// What carries datagrams beside it.
    pub(super) datagrams: Option<DatagramPath>,
    /// Its streams that visitors may have.
    pub(super) room: Room,
}

impl Lane {
    pub(super) async fn start<M: MessageSocket>(
        socket: M,
        session: Session,
        limits: &Limits,
    ) -> Result<Self, HandshakeError> {
        let (knife, ended) = (CancellationToken::new(), CancellationToken::new());
        let stream = MessageStream::after_handshake(socket, session)?.watched(knife.clone(), ended.clone());
        let (traffic, datagrams) = (stream.traffic(), stream.datagrams());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .max_frame_size(limits.frame_size)
            .max_header_list_size(limits.header_bytes)
            .initial_max_send_streams(limits.max_streams as usize)
            // The publisher never opens streams: HTTP/2 push is off in hyper.
            .keep_alive_interval(limits.heartbeat_interval)
            .keep_alive_timeout(limits.heartbeat_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(HandshakeError::Mux)?;
        let (close, closing) = oneshot::channel();
        let (announce, told) = watch::channel(None);
        tokio::spawn(async move {
            announce.send_replace(Some(drive(connection, closing, &knife, &ended).await));
        });
        let (open, room) = (Mutex::new(Some(Open { sender, close })), Room::of(limits.max_streams));
        Ok(Self { open, ended: told, traffic, datagrams, room })
    }

    /// Whether it takes requests.
    pub(super) fn is_open(&self) -> bool {
        self.open().as_ref().is_some_and(|open| !open.sender.is_closed())
    }

    /// What sends requests, while it takes some.
    pub(super) fn sender(&self) -> Option<Sender> {
        self.open().as_ref().map(|open| open.sender.clone()).filter(|sender| !sender.is_closed())
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

/// Drives the connection to its end, which may be [`Link::close`]; tells why it ended.
async fn drive<C: Future<Output = Result<(), hyper::Error>>>(
    connection: C,
    closing: oneshot::Receiver<(Farewell, Sender)>,
    knife: &CancellationToken,
    ended: &CancellationToken,
) -> CloseReason {
    let mut connection = Box::pin(connection);
    let (farewell, mut sender) = tokio::select! {
        biased;
        Ok(close) = closing => close,
        outcome = &mut connection => return reason(outcome),
    };
    let goodbye = async {
        if let Some(goodbye) = goodbye(farewell.code) {
            // Told if the publisher still listens; closed either way.
            let _heard = tokio::time::timeout(FAREWELL_TIMEOUT, sender.send_request(goodbye)).await;
        }
    };
    tokio::select! {
        _broke = &mut connection => {}
        () = goodbye => {}
    }
    drop(sender);
    // Without a sender this future ends at once; the connection itself lives on in hyper's task for its open streams,
    // and after them, if this future were kept.
    let drained = async move {
        let _outcome = connection.as_mut().await;
        drop(connection);
        ended.cancelled().await;
    };
    if tokio::time::timeout(farewell.grace, drained).await.is_err() {
        knife.cancel();
        let _cut = tokio::time::timeout(FAREWELL_TIMEOUT, ended.cancelled()).await;
    }
    CloseReason::Closed(farewell.code)
}

fn goodbye(code: FarewellCode) -> Option<Request<RequestBody>> {
    Request::builder()
        .method(Method::POST)
        .uri("http://sallyport/farewell")
        .header(CONTROL, FAREWELL)
        .header(FAREWELL_CODE, code.word())
        .body(Placed::new(Empty::new().map_err(Into::into).boxed_unsync()))
        .ok()
}

fn reason(outcome: Result<(), hyper::Error>) -> CloseReason {
    match outcome {
        Ok(()) => CloseReason::PublisherLeft,
        Err(error) if error.is_timeout() => CloseReason::HeartbeatLost,
        Err(error) => CloseReason::Broken(chain(&error)),
    }
}
