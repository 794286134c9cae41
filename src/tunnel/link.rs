//! The gateway's end of a tunnel: the connections of one publisher, and the requests that are spread over them.
//!
//! Most publishers have one. One that has several is one publisher all the same: what it published stays while any of them is
//! up, and ends on all of them at once. Each is a [`Lane`]; [`Link::closed`] tells once why the last of them is gone. Requests
//! travel as themselves, byte streams as [`super::stream`] says; who has how many is counted ([`super::room`]).
//!
//! Memory: a stream that nobody reads holds at most a window of bytes ([`super::window`]), a whole lane at most
//! [`super::Limits::connection_window`] bytes, in either direction at the receiving end.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use tokio::sync::watch;

use super::accept::Limits;
use super::flow::{DatagramPath, FlowDrain, FlowSource, flow};
use super::gather::{Answers, Heard, gathered};
use super::handshake::{HandshakeError, Mode, SessionId, Suite};
use super::health::AppReports;
use super::lane::{BoxError, Ended, Lane, RequestBody, Sender};
use super::protocol::{
    AppConnection, BYTES, CONTROL, Ends, FLOW, HEALTH, OriginFault, STREAM, TRACE, TUNNEL, origin_fault,
    strip_hop_by_hop, strip_internal,
};
use super::room::{Place, Placed, Shares, Whose};
use super::stream::{Outgoing, TunnelStream, outgoing};
use super::transport::{MessageSocket, Traffic};
use super::{TunnelName, handshake::Session};

/// The body of an answer.
pub type Answer = Heard<Arriving>;

/// What comes on a stream, with its place.
type Arriving = Placed<Incoming>;

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

struct Inner {
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Counts up with each request; the lanes take turns.
    turn: AtomicUsize,
    closing: OnceLock<FarewellCode>,
    closed: watch::Sender<Option<CloseReason>>,
    /// Who has how many streams.
    shares: Shares,
    /// What passed on lanes that are gone.
    past: Traffic,
    requests: AtomicU64,
    streams: AtomicU64,
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
    /// None of the gateway's own.
    place: Option<Place>,
}

impl Turn {
    fn new(lane: &Lane, sender: Sender, place: Option<Place>) -> Self {
        Self { sender, datagrams: lane.datagrams.clone(), place }
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
        let lane = Lane::start(socket, session, limits).await?;
        let link = Self(Arc::new(Inner {
            lanes: Mutex::default(),
            turn: AtomicUsize::new(0),
            closing: OnceLock::new(),
            closed: watch::channel(None).0,
            shares: Shares::default(),
            past: Traffic::default(),
            requests: AtomicU64::new(0),
            streams: AtomicU64::new(0),
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
        let lane = Lane::start(socket, session, limits).await?;
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

    /// Sends a request of `person` to the tunnel's app and returns its response; both bodies are streamed. The person's name is
    /// only for telling them apart.
    ///
    /// The visitor's host stays the request's authority. Hop-by-hop headers and those of ours are removed. A response
    /// that the publisher made itself is told by [`origin_fault`].
    pub async fn request_of<B>(
        &self,
        person: &str,
        tunnel: &TunnelName,
        request: Request<B>,
    ) -> Result<Response<Answer>, LinkError>
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
        let answers = Answers::default();
        let body = Placed::new(gathered(Box::pin(body.map_err(Into::into)), answers.clone()));
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut response = self.send(Whose::Of(person), Request::from_parts(parts, body)).await?;
        strip_hop_by_hop(response.headers_mut());
        if let Some(by) = AppConnection::take(response.headers_mut()) {
            response.extensions_mut().insert(by);
        }
        Ok(response.map(|body| Heard::new(body, answers)))
    }

    /// Opens a byte stream of `person` to the tunnel's app: for TCP, and for what upgrades out of HTTP. Returns when the publisher
    /// has connected to the app. `ends` is for an app that wants to know the visitor's address; `trace` names the span that the
    /// publisher's follows on (`traceparent`).
    pub async fn connect_of(
        &self,
        person: &str,
        tunnel: &TunnelName,
        ends: Option<Ends>,
        trace: Option<HeaderValue>,
    ) -> Result<TunnelStream, LinkError> {
        let (outgoing, body) = outgoing();
        let mut request = stream_request(tunnel, trace, body)?;
        if let Some(ends) = ends {
            ends.write(request.headers_mut());
        }
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let response = opened(self.send(Whose::Of(person), request).await?)?;
        Ok(joined(response, outgoing))
    }

    /// Opens a flow of datagrams of `person` to the tunnel's app, `trace` as in [`Link::connect_of`]. Returns when the publisher has a socket
    /// for it.
    pub async fn connect_flow(
        &self,
        person: &str,
        tunnel: &TunnelName,
        trace: Option<HeaderValue>,
    ) -> Result<(FlowSource, FlowDrain), LinkError> {
        let (outgoing, body) = outgoing();
        let mut request = stream_request(tunnel, trace, body)?;
        let Turn { mut sender, datagrams, place: held } = self.turn(Whose::Of(person))?;
        let place = datagrams.map(|path| path.begin());
        if let Some((place, _)) = &place {
            request.headers_mut().insert(FLOW, HeaderValue::from(place.number()));
        }
        request.body_mut().put(held.clone());
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let response = sender.send_request(request).await.map_err(|error| self.failure(error))?;
        let response = opened(response.map(|body| Placed::at(body, held)))?;
        Ok(flow(joined(response, outgoing), place))
    }

    /// Asks the publisher to tell how its apps are, as long as it does. `None`: it tells nothing.
    pub async fn health(&self) -> Result<Option<AppReports>, LinkError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("http://sallyport/health")
            .header(CONTROL, HEALTH)
            .body(Placed::new(Empty::new().map_err(Into::into).boxed_unsync()))
            .map_err(|error| LinkError::BadRequest(error.to_string()))?;
        let response = self.send(Whose::Own, request).await?;
        let tells = response.status() == StatusCode::OK && origin_fault(&response).is_none();
        Ok(tells.then(|| AppReports::new(response.into_body().into_parts().0)))
    }

    /// Sends on the lane whose turn it is. One that breaks before the request was on its way gives it back, for the next.
    async fn send(
        &self,
        whose: Whose<'_>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Arriving>, LinkError> {
        loop {
            let Turn { mut sender, place, .. } = self.turn(whose)?;
            request.body_mut().put(place.clone());
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Placed::at(body, place))),
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) if self.is_open() => request = again,
                    _ => return Err(self.failure(unsent.into_error())),
                },
            }
        }
    }

    fn failure(&self, error: hyper::Error) -> LinkError {
        // hyper tells "closed before it was sent" apart; the link's own reason says more.
        if error.is_closed() || error.is_canceled() {
            LinkError::Closed(self.reason_so_far())
        } else {
            LinkError::Stream(error)
        }
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

fn stream_request(
    tunnel: &TunnelName,
    trace: Option<HeaderValue>,
    body: UnsyncBoxBody<Bytes, BoxError>,
) -> Result<Request<RequestBody>, LinkError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{tunnel}/"))
        .header(TUNNEL, name_value(tunnel)?)
        .header(STREAM, BYTES)
        .body(Placed::new(body))
        .map_err(|error| LinkError::BadRequest(error.to_string()))?;
    if let Some(trace) = trace {
        request.headers_mut().insert(TRACE, trace);
    }
    Ok(request)
}

fn joined(response: Response<Arriving>, outgoing: Outgoing) -> TunnelStream {
    let (body, place) = response.into_body().into_parts();
    TunnelStream::join(body, outgoing).at(place)
}

/// The publisher's answer to it, if it is yes.
fn opened(response: Response<Arriving>) -> Result<Response<Arriving>, LinkError> {
    if let Some(fault) = origin_fault(&response) {
        return Err(LinkError::Origin { fault });
    }
    if response.status() != StatusCode::OK {
        return Err(LinkError::UnexpectedStatus(response.status()));
    }
    Ok(response)
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
