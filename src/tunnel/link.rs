//! The gateway's end of a tunnel connection: an HTTP/2 client to the publisher.
//!
//! One task drives the connection and owns its end: whatever happens, [`Link::closed`] tells once why. Requests travel
//! as themselves, byte streams as [`super::stream`] says. A publisher that is gone or stalls is found out by HTTP/2 pings
//! ([`Limits::heartbeat_interval`], [`Limits::heartbeat_timeout`]).
//!
//! Memory: a stream that nobody reads holds at most [`Limits::stream_window`] bytes, a whole link at most
//! [`Limits::connection_window`] bytes, in either direction at the receiving end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::accept::Limits;
use super::handshake::{HandshakeError, Mode, SessionId, Suite};
use super::protocol::{
    BYTES, CONTROL, Ends, FAREWELL, FAREWELL_CODE, OriginFault, STREAM, TUNNEL, origin_fault,
    strip_hop_by_hop, strip_internal,
};
use super::stream::{TunnelStream, outgoing};
use super::transport::{MessageSocket, MessageStream, Traffic};
use super::{TunnelName, handshake::Session};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
type Sender = http2::SendRequest<RequestBody>;

/// How long the gateway waits for the publisher to hear its goodbye.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    Stream(#[source] hyper::Error),
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

/// What an open link has and a closing one gives to its task.
struct Open {
    sender: Sender,
    close: oneshot::Sender<(Farewell, Sender)>,
}

struct Inner {
    /// `None` once the link closes.
    open: Mutex<Option<Open>>,
    closing: OnceLock<FarewellCode>,
    closed: watch::Receiver<Option<CloseReason>>,
    traffic: Arc<Traffic>,
    requests: AtomicU64,
    streams: AtomicU64,
    id: SessionId,
    suite: Suite,
    mode: Mode,
}

/// A handle on a publisher's connection. Cheap to clone; the connection lives until [`Link::close`], or until it breaks,
/// or until the last handle is dropped.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

impl Link {
    pub(crate) async fn start<M: MessageSocket>(
        socket: M,
        session: Session,
        limits: &Limits,
    ) -> Result<Self, HandshakeError> {
        let (id, suite, mode) = (session.id, session.suite, session.mode);
        let (knife, ended) = (CancellationToken::new(), CancellationToken::new());
        let stream = MessageStream::after_handshake(socket, session)?.watched(knife.clone(), ended.clone());
        let traffic = stream.traffic();
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
        let (announce, closed) = watch::channel(None);
        tokio::spawn(async move {
            announce.send_replace(Some(drive(connection, closing, &knife, &ended).await));
        });
        Ok(Self(Arc::new(Inner {
            open: Mutex::new(Some(Open { sender, close })),
            closing: OnceLock::new(),
            closed,
            traffic,
            requests: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            id,
            suite,
            mode,
        })))
    }

    /// Sends a request to the tunnel's app and returns its response; both bodies are streamed.
    ///
    /// The visitor's host stays the request's authority. Hop-by-hop headers and those of ours are removed. A response
    /// that the publisher made itself is told by [`origin_fault`].
    pub async fn request<B>(
        &self,
        tunnel: &TunnelName,
        request: Request<B>,
    ) -> Result<Response<Incoming>, LinkError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(LinkError::BadRequest("CONNECT is for byte streams".to_owned()));
        }
        parts.uri = absolute(&parts.uri, &parts.headers, tunnel)
            .map_err(|error| LinkError::BadRequest(error.to_string()))?;
        parts.version = http::Version::HTTP_2;
        parts.headers.remove(header::HOST);
        strip_hop_by_hop(&mut parts.headers);
        strip_internal(&mut parts.headers);
        parts.headers.insert(TUNNEL, name_value(tunnel)?);
        let body = body.map_err(Into::into).boxed_unsync();
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut response = self.send(Request::from_parts(parts, body)).await?;
        strip_hop_by_hop(response.headers_mut());
        Ok(response)
    }

    /// Opens a byte stream to the tunnel's app: for TCP, and for what upgrades out of HTTP. Returns when the publisher
    /// has connected to the app.
    pub async fn connect(&self, tunnel: &TunnelName) -> Result<TunnelStream, LinkError> {
        self.connect_for(tunnel, None).await
    }

    /// The same for a visitor whose address the app may want to know.
    pub async fn connect_for(
        &self,
        tunnel: &TunnelName,
        ends: Option<Ends>,
    ) -> Result<TunnelStream, LinkError> {
        let (outgoing, body) = outgoing();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{tunnel}/"))
            .header(TUNNEL, name_value(tunnel)?)
            .header(STREAM, BYTES)
            .body(body)
            .map_err(|error| LinkError::BadRequest(error.to_string()))?;
        if let Some(ends) = ends {
            ends.write(request.headers_mut());
        }
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let response = self.send(request).await?;
        if let Some(fault) = origin_fault(&response) {
            return Err(LinkError::Origin { fault });
        }
        if response.status() != StatusCode::OK {
            return Err(LinkError::UnexpectedStatus(response.status()));
        }
        Ok(TunnelStream::join(response.into_body(), outgoing))
    }

    async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, LinkError> {
        let mut sender = self.sender().ok_or_else(|| LinkError::Closed(self.reason_so_far()))?;
        sender.send_request(request).await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: hyper::Error) -> LinkError {
        // hyper tells "closed before it was sent" apart; the link's own reason says more.
        if error.is_closed() || error.is_canceled() {
            LinkError::Closed(self.reason_so_far())
        } else {
            LinkError::Stream(error)
        }
    }

    fn sender(&self) -> Option<Sender> {
        self.open().as_ref().map(|open| open.sender.clone())
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing panics while it is held; a poisoned lock would still hold a good value.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason_so_far(&self) -> CloseReason {
        let closed = self.0.closed.borrow().clone();
        closed
            .or_else(|| self.0.closing.get().copied().map(CloseReason::Closed))
            .unwrap_or_else(|| CloseReason::Broken("it just broke".to_owned()))
    }

    /// Waits until the link is closed and tells why.
    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.0.closed.clone();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(CloseReason::PublisherLeft),
            // The driving task ended without a word: it was aborted with its runtime.
            Err(_) => CloseReason::Broken("the gateway stopped".to_owned()),
        }
    }

    /// Whether the link still takes requests.
    pub fn is_open(&self) -> bool {
        self.sender().is_some_and(|sender| !sender.is_closed())
    }

    /// Ends the link: tells the publisher why, takes no more requests, lets open streams go on for the farewell's grace
    /// and then cuts them. Returns at once; [`Link::closed`] tells when it is done. A second call changes nothing.
    pub fn close(&self, farewell: Farewell) {
        let Some(Open { sender, close }) = self.open().take() else { return };
        let _first = self.0.closing.set(farewell.code);
        // If nobody receives it, the connection has ended already.
        let _gone = close.send((farewell, sender));
    }

    /// What passed so far.
    pub fn counters(&self) -> Counters {
        Counters {
            bytes_sent: self.0.traffic.sent.load(Ordering::Relaxed),
            bytes_received: self.0.traffic.received.load(Ordering::Relaxed),
            requests: self.0.requests.load(Ordering::Relaxed),
            streams: self.0.streams.load(Ordering::Relaxed),
        }
    }

    /// The handshake's session id, the same in the publisher's log.
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
        .body(Empty::new().map_err(Into::into).boxed_unsync())
        .ok()
}

fn reason(outcome: Result<(), hyper::Error>) -> CloseReason {
    match outcome {
        Ok(()) => CloseReason::PublisherLeft,
        Err(error) if error.is_timeout() => CloseReason::HeartbeatLost,
        Err(error) => CloseReason::Broken(chain(&error)),
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

fn name_value(tunnel: &TunnelName) -> Result<HeaderValue, LinkError> {
    HeaderValue::from_str(tunnel.as_str()).map_err(|error| LinkError::BadRequest(error.to_string()))
}

/// HTTP/2 wants scheme and authority; HTTP/1.1 has the authority in `Host`.
fn absolute(uri: &Uri, headers: &http::HeaderMap, tunnel: &TunnelName) -> Result<Uri, http::Error> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or(tunnel.as_str());
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Uri::builder().scheme("http").authority(authority).path_and_query(path).build()
}
