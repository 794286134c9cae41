//! One connection of a publisher: the client's side of the handshake, then HTTP/2 served on it until it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial_error::DialError;
use super::known_gateways::{KnownGateways, KnownGatewaysError, Trust};
use super::origin::Origin;
use super::socket::GatewaySocket;
use crate::clock;
use crate::tunnel::accept::in_time;
use crate::tunnel::handshake::kem::DecapsulationKey;
use crate::tunnel::handshake::{
    Accepted, AwaitingAnswer, ClientHandshake, Enrolled, Exporter, Fingerprint, HandshakeError,
    IdentityCertificate, Mode, RootKey, Secret, Session, SessionId, SessionLimits, Suite, Ticket, Welcome,
    Wishes,
};
use crate::tunnel::heads;
use crate::tunnel::link::FarewellCode;
use crate::tunnel::name::Offer;
use crate::tunnel::quiet::{LOOKS, NO_LIMIT, quiet_for};
use crate::tunnel::transport::{MessageSocket, MessageStream, receive, send};
use crate::tunnel::window::stream_window;

/// Windows on the publisher's side: what visitors may have under way towards the app, near by ([`crate::tunnel::window`]).
const STREAM_WINDOW: u32 = 2 << 20;
/// As large as the gateway's own: 128 uploads that an app does not take stop no other one, and of those most are cut.
const CONNECTION_WINDOW: u32 = 256 << 20;
const FRAME_SIZE: u32 = 64 << 10;
/// Bytes of one answer that wait here for whoever does not read it: with what is read ahead of the app, all that such a one costs.
const SEND_AHEAD: usize = 128 << 10;
/// Requests that were given up before they were looked at, at most: some megabytes.
const GIVEN_UP: usize = 1 << 16;
/// How long open streams may go on when this publisher stops.
const DRAIN: Duration = Duration::from_secs(10);
/// How long they may go on on a connection that is left. As long as a visitor may need; not for ever, as no wait is.
const FINISHING: Duration = Duration::from_hours(1);
/// The gateway names the heartbeat; a broken one must not make us flood it or sleep for ever.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_hours(1));

/// What a client shows and demands in the handshake.
pub(super) struct Terms {
    pub(super) secret: Secret,
    pub(super) offers: Vec<Offer>,
    pub(super) client_version: String,
    pub(super) suites: Vec<Suite>,
    pub(super) roots: Vec<RootKey>,
    pub(super) pin: Option<Fingerprint>,
    pub(super) known: KnownGateways,
    pub(super) patience: Duration,
}

/// A connection whose gateway said yes.
pub(super) struct Established<M> {
    pub(super) stream: MessageStream<M>,
    pub(super) accepted: Accepted,
    pub(super) certificate: IdentityCertificate,
    pub(super) trust: Trust,
    pub(super) suite: Suite,
    pub(super) mode: Mode,
    pub(super) id: SessionId,
    /// How much one stream may have under way towards the app.
    pub(super) window: u32,
    /// What carries the messages.
    pub(super) transport: &'static str,
    /// Whether the gateway knew this client again.
    pub(super) resumed: bool,
    /// What to come back with.
    pub(super) kept: Kept,
}

/// What a client keeps of a connection for the next one.
#[derive(Default)]
pub(super) struct Kept {
    /// By which the gateway knows this publisher.
    pub(super) publisher: Vec<u8>,
    /// Works once, with the gateway whose certificate stands beside it.
    pub(super) ticket: Option<(Ticket, IdentityCertificate)>,
}

impl Kept {
    /// What is shown of it at an attempt. A ticket works once: whatever comes of that, it is gone; the name stays.
    pub(super) fn for_an_attempt(&mut self) -> Self {
        Self { publisher: self.publisher.clone(), ticket: self.ticket.take() }
    }
}

/// Runs the handshake as a publisher.
pub(super) async fn establish(
    mut socket: GatewaySocket,
    exporter: Option<Exporter>,
    (endpoint, terms): (&str, &Terms),
    (offers, kept): (&[Offer], Kept),
) -> Result<Established<GatewaySocket>, DialError> {
    let transport = socket.transport().word();
    let Kept { publisher, ticket } = kept;
    let asked = ask(&mut socket, exporter, (endpoint, terms), (offers, publisher), ticket).await?;
    let resumed = matches!(asked.outcome, Outcome::Resumed(..));
    let (accepted, session) = match asked.outcome {
        Outcome::Resumed(accepted, session) => (accepted, session),
        Outcome::Asked(awaiting, answer) => awaiting.receive_answer(&answer)?,
    };
    let Asked { certificate, trust, round_trip, .. } = asked;
    let window = stream_window(STREAM_WINDOW, Some(round_trip));
    let ticket = accepted.ticket.map(|id| (session.ticket(id), certificate.clone()));
    let kept = Kept { publisher: accepted.resume.clone(), ticket };
    let (suite, mode, id) = (session.suite, session.mode, session.id);
    let stream = MessageStream::after_handshake(socket, session)?;
    Ok(Established {
        stream,
        accepted,
        certificate,
        trust,
        suite,
        mode,
        id,
        window,
        transport,
        resumed,
        kept,
    })
}

/// Runs the handshake of an enrollment.
pub(super) async fn enroll<M: MessageSocket>(
    mut socket: M,
    exporter: Option<Exporter>,
    (endpoint, terms): (&str, &Terms),
) -> Result<Enrolled, DialError> {
    match ask(&mut socket, exporter, (endpoint, terms), (&terms.offers, Vec::new()), None).await?.outcome {
        Outcome::Asked(awaiting, answer) => Ok(awaiting.receive_enrolled(&answer)?),
        Outcome::Resumed(..) => Err(HandshakeError::Unopenable { message: "ResumedHello" }.into()),
    }
}

/// What it has answered: with its identity, and then to the credential; or at once, knowing the client again.
enum Outcome {
    Asked(AwaitingAnswer, Bytes),
    Resumed(Accepted, Session),
}

/// A gateway that has answered.
struct Asked {
    outcome: Outcome,
    certificate: IdentityCertificate,
    trust: Trust,
    /// Of a message to the gateway and back, and what it took to answer.
    round_trip: Duration,
}

/// Runs the handshake up to the gateway's answer. The client's secret is used only towards a gateway whose identity has
/// been checked.
async fn ask<M: MessageSocket>(
    socket: &mut M,
    exporter: Option<Exporter>,
    (endpoint, terms): (&str, &Terms),
    (offers, publisher): (&[Offer], Vec<u8>),
    ticket: Option<(Ticket, IdentityCertificate)>,
) -> Result<Asked, DialError> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| HandshakeError::Library("making a nonce"))?;
    let key = DecapsulationKey::generate().map_err(HandshakeError::from)?;
    // A gateway that is not trusted any more is not gone back to.
    let known = match ticket {
        Some((ticket, certificate)) => match check_identity(&certificate, endpoint, terms).await {
            Ok(trust) => Some((ticket, certificate, trust)),
            Err(_) => None,
        },
        None => None,
    };
    let (ticket, earlier) =
        known.map_or((None, None), |(ticket, certificate, trust)| (Some(ticket), Some((certificate, trust))));
    let (handshake, hello) = ClientHandshake::resume(key, nonce, exporter, &terms.suites, ticket)?;
    let sent = clock::monotonic();
    let answer = in_time(terms.patience, "GatewayHello", async {
        send(socket, hello).await?;
        Ok(receive(socket).await?)
    })
    .await?;
    let first = clock::monotonic().saturating_duration_since(sent);
    let presented = match (handshake.receive(&answer)?, earlier) {
        (Welcome::Presented(presented), _) => presented,
        (Welcome::Resumed(accepted, session), Some((certificate, trust))) => {
            let outcome = Outcome::Resumed(accepted, session);
            return Ok(Asked { outcome, certificate, trust, round_trip: first });
        }
        (Welcome::Resumed(..), None) => {
            return Err(HandshakeError::Unopenable { message: "ResumedHello" }.into());
        }
    };
    let certificate = presented.certificate().clone();
    let trust = check_identity(&certificate, endpoint, terms).await?;
    let wishes =
        Wishes { offers: offers.to_vec(), client_version: terms.client_version.clone(), resume: publisher };
    let (awaiting, message) = presented.credential(&terms.secret, &wishes)?;
    let sent = clock::monotonic();
    let answer = in_time(terms.patience, "Answer", async {
        send(socket, message).await?;
        Ok(receive(socket).await?)
    })
    .await?;
    // Whichever took the gateway less to think over.
    let round_trip = clock::monotonic().saturating_duration_since(sent).min(first);
    Ok(Asked { outcome: Outcome::Asked(awaiting, answer), certificate, trust, round_trip })
}

/// By a pin and by the organisation's roots, both if there are both; by the keys of the first meeting if there is neither.
async fn check_identity(
    certificate: &IdentityCertificate,
    endpoint: &str,
    terms: &Terms,
) -> Result<Trust, DialError> {
    if let Some(pinned) = terms.pin {
        let shown = certificate.fingerprint();
        if shown != pinned {
            return Err(KnownGatewaysError::NotPinned { endpoint: endpoint.to_owned(), pinned, shown }.into());
        }
    }
    if let Some((last, before)) = terms.roots.split_last() {
        // What the last one says is told, if none of them has certified it.
        if before.iter().all(|root| certificate.verify(root, now()).is_err()) {
            certificate.verify(last, now()).map_err(HandshakeError::from)?;
        }
        return Ok(Trust::Root);
    }
    if terms.pin.is_some() {
        certificate.check_validity(now()).map_err(HandshakeError::from)?;
        return Ok(Trust::Pinned);
    }
    let (known, endpoint, certificate) = (terms.known.clone(), endpoint.to_owned(), certificate.clone());
    let checked = tokio::task::spawn_blocking(move || known.check(&endpoint, &certificate)).await;
    Ok(checked.map_err(|_| HandshakeError::Library("checking the gateway's identity"))??)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell: the pure check takes the time as an argument"
)]
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

/// Why a connection that was up is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// This publisher was told to stop.
    Stopped,
    /// It is better served elsewhere.
    Left,
    /// The gateway said goodbye.
    Farewell(FarewellCode),
    /// The gateway did not answer a heartbeat.
    HeartbeatLost,
    /// The connection ended, with the reason as far as it is known.
    Lost(String),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Left => f.write_str("the first gateway takes the publisher again"),
            Self::Farewell(FarewellCode::Draining) => f.write_str("the gateway is going away for a while"),
            Self::Farewell(FarewellCode::Revoked) => {
                f.write_str("the gateway has revoked the leave to publish")
            }
            Self::Farewell(FarewellCode::Replaced) => {
                f.write_str("another publisher with this token took over")
            }
            Self::HeartbeatLost => f.write_str("the gateway did not answer the heartbeat"),
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
        }
    }
}

/// How a connection may come to its end from this side.
pub(super) struct Ends<'a> {
    /// The publisher is told to stop.
    pub(super) stop: &'a CancellationToken,
    /// It goes elsewhere. Cancelled with `stop`, too.
    pub(super) leave: &'a CancellationToken,
    /// Connections that are left: what is under way on them ends in tasks of their own.
    pub(super) leaving: &'a TaskTracker,
}

/// Serves the gateway's streams until the connection ends or is left. One that is left, as the publisher goes elsewhere or the
/// gateway is about to go away, goes on behind this until what is under way on it has ended.
pub(super) async fn serve<M: MessageSocket>(
    stream: MessageStream<M>,
    (limits, window): (SessionLimits, u32),
    origin: Arc<Origin>,
    Ends { stop, leave, leaving }: Ends<'_>,
) -> Ending {
    let (farewell, mut told) = watch::channel(None);
    let farewell = Arc::new(farewell);
    let mut draining = told.clone();
    // Not `leave`: that is cancelled also when another connection was the last, and this one lost before.
    let left = CancellationToken::new();
    let (datagrams, leaves, uploads) = (stream.datagrams(), left.clone(), origin.further_uploads());
    let streams = origin.streams();
    let service = service_fn(move |request| {
        let (origin, farewell) = (Arc::clone(&origin), Arc::clone(&farewell));
        let (datagrams, leaves, uploads) = (datagrams.clone(), leaves.clone(), uploads.clone());
        let streams = streams.clone();
        async move {
            let answer =
                origin.serve(request, (&farewell, leaves), (datagrams.as_ref(), &uploads, &streams)).await;
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let (least, most) = HEARTBEAT;
    let (interval, timeout) =
        (limits.heartbeat_interval.clamp(least, most), limits.heartbeat_timeout.clamp(least, most));
    let traffic = stream.traffic();
    let received = move || traffic.received.load(Ordering::Relaxed);
    let mut silent = Box::pin(quiet_for(received, interval + timeout, LOOKS));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(heads::REQUEST)
        .max_send_buf_size(SEND_AHEAD)
        .max_concurrent_streams(limits.max_streams)
        // Visitors give up, and the gateway tells so; with h2's own bound of 20 at once they would cost everybody the tunnel.
        .max_pending_accept_reset_streams(GIVEN_UP)
        // And so does what was still on its way for them when they did.
        .max_local_error_reset_streams(None)
        .keep_alive_interval(interval)
        .keep_alive_timeout(NO_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = Box::pin(connection);
    let goes_away = async { draining.wait_for(|code| *code == Some(FarewellCode::Draining)).await.is_ok() };
    let (outcome, why) = tokio::select! {
        biased;
        () = stop.cancelled() => {
            left.cancel();
            connection.as_mut().graceful_shutdown();
            let _drained = tokio::time::timeout(DRAIN, &mut connection).await;
            return Ending::Stopped;
        }
        outcome = &mut connection => (Some(outcome), Ending::Left),
        () = &mut silent => return Ending::HeartbeatLost,
        // The gateway ends it, when all is over or its patience is.
        true = goes_away => (None, Ending::Farewell(FarewellCode::Draining)),
        () = leave.cancelled() => (None, Ending::Left),
    };
    let Some(outcome) = outcome else {
        let (stop, asked) = (stop.clone(), why == Ending::Left);
        left.cancel();
        leaving.spawn(async move {
            if asked {
                // The gateway sends nothing new over it from here on, and what is under way goes on to its end.
                connection.as_mut().graceful_shutdown();
            }
            let goes_on = tokio::select! {
                _ended = &mut connection => false,
                () = silent => false,
                () = stop.cancelled() => true,
                () = tokio::time::sleep(FINISHING) => true,
            };
            if goes_on {
                connection.as_mut().graceful_shutdown();
                let _drained = tokio::time::timeout(DRAIN, &mut connection).await;
            }
        });
        return why;
    };
    if let Some(code) = *told.borrow_and_update() {
        return Ending::Farewell(code);
    }
    match outcome {
        Ok(()) => Ending::Lost("the gateway closed it".to_owned()),
        Err(error) if error.is_timeout() => Ending::HeartbeatLost,
        Err(error) => Ending::Lost(crate::tunnel::link::chain(&error)),
    }
}
