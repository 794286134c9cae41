//! The gateway's door: from an accepted WebSocket to a [`Link`].
//!
//! [`accept`] runs the handshake up to the client's credential and stops there: the caller decides who that is and what
//! it may publish, records it, and then calls [`Registration::accept`] or [`Registration::refuse`].

use std::time::Duration;

use super::handshake::{
    Accepted, AcceptedTunnel, Answering, Credential, Enrolled, Exporter, GatewayHandshake, GatewayIdentity,
    HandshakeError, Hello, Known, Mode, Possession, Proof, Refusal, Session, SessionLimits, SigningFailed,
    Suite, Wishes,
};
use super::heads::ANSWER;
use super::link::{Joined, Link};
use super::name::Offer;
use super::tickets::Tickets;
use super::transport::{MessageSocket, close, receive, send};
use super::window::stream_window;
use crate::clock;

/// Bounds on a publisher's connection, with defaults that suit one gateway on a small machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for each message of the handshake; default 10 s.
    pub handshake_timeout: Duration,
    /// Cipher suites that are allowed; of those the client's first is taken.
    pub suites: Vec<Suite>,
    /// How often the gateway asks whether the publisher lives; default 30 s.
    pub heartbeat_interval: Duration,
    /// How long it waits for the answer; default 15 s, so a loss is seen within 45 s.
    pub heartbeat_timeout: Duration,
    /// Most streams at a time on one connection; default 1024.
    pub max_streams: u32,
    /// Bytes that one stream may have under way to a publisher near by; default 2 MiB. Up to twice as many on a longer way
    /// ([`super::window`]).
    pub stream_window: u32,
    /// Bytes that all streams of a connection together may have under way; default 256 MiB, so that 128 visitors who read nothing do
    /// not stop the others. Of those who go on reading nothing, most are cut.
    pub connection_window: u32,
    /// Largest HTTP/2 frame; default 64 KiB.
    pub frame_size: u32,
    /// Most bytes of headers of one response; default what a publisher reads of an app, and room ([`super::heads`]).
    pub header_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            suites: Suite::ALL.to_vec(),
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(15),
            max_streams: 1024,
            stream_window: 2 << 20,
            connection_window: 256 << 20,
            frame_size: 64 << 10,
            header_bytes: ANSWER,
        }
    }
}

/// Runs the gateway's side of the handshake on `socket` up to the client's credential.
///
/// `exporter` is [`super::channel_binding`] of this very TLS connection when the gateway itself ended it, else `None`.
/// On an error the peer has been told as much as is good for it, and the socket is closed.
pub async fn accept<M: MessageSocket>(
    mut socket: M,
    identity: &dyn GatewayIdentity,
    tickets: &Tickets,
    exporter: Option<Exporter>,
    limits: Limits,
) -> Result<Registration<M>, HandshakeError> {
    match credential(&mut socket, identity, tickets, exporter.as_ref(), &limits).await {
        Ok(Shown { credential, answering, round_trip }) => {
            Ok(Registration { socket, credential, answering, limits, round_trip, tickets: tickets.clone() })
        }
        Err(error) => {
            // In clear: without a credential that opens there is no key which both ends are known to have.
            let refusal = GatewayHandshake::refuse_in_clear(&error);
            let goodbye = async {
                if send(&mut socket, refusal).await.is_ok() {
                    close(&mut socket).await;
                }
            };
            // A peer that does not read must not hold us.
            let _heard = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
            Err(error)
        }
    }
}

/// Says why nobody is taken now, in clear, and closes.
pub async fn turn_away<M: MessageSocket>(mut socket: M, refusal: &Refusal, patience: Duration) {
    let goodbye = async {
        // Not before the client has spoken: what closes while it writes, it would take for a broken connection.
        if receive(&mut socket).await.is_ok() && send(&mut socket, refusal.encode_in_clear()).await.is_ok() {
            close(&mut socket).await;
        }
    };
    let _heard = tokio::time::timeout(patience, goodbye).await;
}

/// What a client has shown, and how long a message to it and back takes, if that is known.
struct Shown {
    credential: Credential,
    answering: Answering,
    round_trip: Option<Duration>,
}

async fn credential<M: MessageSocket>(
    socket: &mut M,
    identity: &dyn GatewayIdentity,
    tickets: &Tickets,
    exporter: Option<&Exporter>,
    limits: &Limits,
) -> Result<Shown, HandshakeError> {
    let patience = limits.handshake_timeout;
    let hello = in_time(patience, "ClientHello", async { Ok(receive(socket).await?) }).await?;
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| HandshakeError::Library("making a nonce"))?;
    let hello = Hello::read(&hello)?;
    let holds = |known: &Known| hello.fits(known, &limits.suites);
    if let Some(known) = hello.ticket().and_then(|id| tickets.redeem(id, clock::monotonic(), holds)) {
        let round_trip = known.round_trip;
        let (credential, answering) = hello.resume(known, exporter, nonce)?;
        return Ok(Shown { credential, answering, round_trip });
    }
    let handshake = hello.present(&limits.suites, exporter, nonce, identity.certificate())?;
    let signatures = tokio::time::timeout(patience, identity.sign(handshake.to_sign()))
        .await
        .unwrap_or_else(|late| Err(SigningFailed(late.into())))?;
    let (handshake, hello) = handshake.signed(&signatures);
    let sent = clock::monotonic();
    let message = in_time(patience, "Credential", async {
        send(socket, hello).await?;
        Ok(receive(socket).await?)
    })
    .await?;
    let round_trip = Some(clock::monotonic().saturating_duration_since(sent));
    let (credential, answering) = handshake.receive_credential(&message)?;
    Ok(Shown { credential, answering, round_trip })
}

pub(crate) async fn in_time<T>(
    patience: Duration,
    message: &'static str,
    work: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    tokio::time::timeout(patience, work)
        .await
        .unwrap_or(Err(HandshakeError::Timeout { message, seconds: patience.as_secs() }))
}

/// What the caller gives a publisher that it accepts.
#[derive(Debug, Clone, Default)]
pub struct Acceptance {
    /// The tunnels, in the order of the offers.
    pub tunnels: Vec<AcceptedTunnel>,
    /// Opaque bytes by which the publisher is known when it comes back; at most 1024.
    pub resume: Vec<u8>,
}

/// A publisher that has shown its credential and waits for an answer.
pub struct Registration<M = axum::extract::ws::WebSocket> {
    socket: M,
    credential: Credential,
    answering: Answering,
    limits: Limits,
    round_trip: Option<Duration>,
    tickets: Tickets,
}

/// A registration that is to be told yes.
struct Yes<M> {
    socket: M,
    message: Vec<u8>,
    session: Session,
    limits: Limits,
}

impl<M: MessageSocket> Registration<M> {
    /// What the client shows of itself. Must not be logged.
    pub fn proof(&self) -> &Proof {
        &self.credential.proof
    }

    /// Its signatures over this handshake, exactly if keys are to prove it. Those of [`Proof::Join`] are good; those of
    /// [`Proof::Device`] only the caller can compare with the device's keys.
    pub fn possession(&self) -> Option<&Possession> {
        self.answering.possession()
    }

    /// What it wants to publish. Not yet checked for doubles.
    pub fn offers(&self) -> &[Offer] {
        &self.credential.wishes.offers
    }

    /// The client's program and version, as it says.
    pub fn client_version(&self) -> &str {
        &self.credential.wishes.client_version
    }

    /// Whether the client came back by a ticket. Its proof was checked in the session before this one; whether it still
    /// stands is to be asked again.
    pub fn is_resumed(&self) -> bool {
        self.answering.is_resumed()
    }

    /// The name by which an earlier [`Acceptance`] knew the publisher; empty if none.
    pub fn resume(&self) -> &[u8] {
        &self.credential.wishes.resume
    }

    /// The suite in use.
    pub fn suite(&self) -> Suite {
        self.answering.suite()
    }

    /// Whether frames will be sealed, since something ends the TLS between the two ends.
    pub fn sealed(&self) -> bool {
        self.answering.mode() == Mode::Sealed
    }

    /// Whether it is a further connection of a publisher that is here, which wants nothing but to be that.
    pub fn is_joining(&self) -> bool {
        self.offers().is_empty() && !self.resume().is_empty()
    }

    /// Says yes and brings the link up.
    pub async fn accept(self, acceptance: Acceptance) -> Result<Link, HandshakeError> {
        let Yes { mut socket, message, session, limits } = self.yes(acceptance)?;
        // Boxed: the multiplexer's start-up would make a very large future of the caller's.
        let start = Box::pin(async {
            send(&mut socket, message).await?;
            Link::start(socket, session, &limits).await
        });
        in_time(limits.handshake_timeout, "sign of life", start).await
    }

    /// Says yes to a further connection and adds it to the publisher's link.
    pub async fn join(self, link: &Link) -> Result<Joined, HandshakeError> {
        let acceptance = Acceptance { tunnels: Vec::new(), resume: self.resume().to_vec() };
        let Yes { mut socket, message, session, limits } = self.yes(acceptance)?;
        let start = Box::pin(async {
            send(&mut socket, message).await?;
            link.join(socket, session, &limits).await
        });
        in_time(limits.handshake_timeout, "sign of life", start).await
    }

    fn yes(self, acceptance: Acceptance) -> Result<Yes<M>, HandshakeError> {
        let Self { socket, credential, answering, mut limits, round_trip, tickets } = self;
        limits.stream_window = stream_window(limits.stream_window, round_trip);
        let mut ticket = [0; 16];
        getrandom::fill(&mut ticket).map_err(|_| HandshakeError::Library("making a ticket"))?;
        let Credential { proof, wishes, .. } = credential;
        let wishes = Wishes { resume: acceptance.resume.clone(), ..wishes };
        let accepted = Accepted {
            ticket: Some(ticket),
            tunnels: acceptance.tunnels,
            resume: acceptance.resume,
            limits: SessionLimits {
                heartbeat_interval: limits.heartbeat_interval,
                heartbeat_timeout: limits.heartbeat_timeout,
                max_streams: limits.max_streams,
            },
        };
        let (session, message) = answering.accept(&accepted)?;
        let known = Known { suite: session.suite, proof, wishes, secret: session.resume.clone(), round_trip };
        tickets.keep(ticket, known, clock::monotonic());
        Ok(Yes { socket, message, session, limits })
    }

    /// Says that the device is enrolled, under seal, and closes.
    pub async fn enrolled(self, enrolled: &Enrolled) {
        let Self { socket, answering, limits, .. } = self;
        if let Ok(message) = answering.enrolled(enrolled) {
            last_word(socket, message, &limits).await;
        }
    }

    /// Says no, under seal, and closes.
    pub async fn refuse(self, refusal: Refusal) {
        let Self { socket, answering, limits, .. } = self;
        if let Ok(message) = answering.refuse(&refusal) {
            last_word(socket, message, &limits).await;
        }
    }
}

async fn last_word<M: MessageSocket>(mut socket: M, message: Vec<u8>, limits: &Limits) {
    let goodbye = async {
        if send(&mut socket, message).await.is_ok() {
            close(&mut socket).await;
        }
    };
    // A peer that does not read must not hold us.
    let _heard = tokio::time::timeout(limits.handshake_timeout, goodbye).await;
}
