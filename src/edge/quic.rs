//! Accepts QUIC, for publishers and for HTTP/3: the same certificates, seats, bounds and records as on TCP, on a UDP port of the same number.
//!
//! Promised: every connection has the hybrid key exchange and AES-256, for nothing else is offered here (who can't is served on
//! TCP, and the facts that decisions rest on are certain although the library doesn't tell them); before an address has shown
//! that it can hear us it gets at most three times the bytes that it sent, and while many handshakes are under way it is asked to
//! show that first (a Retry packet, RFC 9000 section 8.1), which keeps no state here; no 0-RTT; no migration
//! ([`crate::tunnel::QuicStream`] says why).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{ConnectionError, Incoming, ServerConfig};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::listener::{ListenError, not_agreed, refused};
use super::seats::Seat;
use super::{Connection, Edge, http3, publisher, tls_refusals};
use crate::access::TlsFacts;
use crate::tunnel::{
    ALPN, BareSocket, QuicSecret, QuicStream, initial_suite, quic_channel_binding, quic_endpoint,
    quic_socket, quic_transport, widen,
};

/// Handshakes under way before addresses must show that they hear us. Each costs a signature of the token.
const UNPROVEN: usize = 32;
/// First packets that may wait for us.
const WAITING: usize = 256;
/// What may be kept of packets that follow a first one that still waits, for each and for all.
const KEPT: (u64, u64) = (64 << 10, 4 << 20);
/// Streams that a peer may have open.
const STREAMS: u32 = 128;

/// Says goodbye in QUIC's own words: the application wants no more (a code of ours, 0).
const DONE: quinn::VarInt = quinn::VarInt::from_u32(0);

/// A bound UDP port.
pub struct QuicListener {
    endpoint: quinn::Endpoint,
}

impl QuicListener {
    /// Binds `address`. `tls` is to offer the hybrid key exchange and AES-256 alone: [`facts`] says so of every connection.
    ///
    /// Whoever has `secret` in a later process can tell clients of this one that their connections are no more.
    pub fn bind(
        address: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
        secret: &QuicSecret,
    ) -> Result<Self, ListenError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Failed { address, source },
        };
        let unfit = |error: &dyn std::error::Error| failed(std::io::Error::other(error.to_string()));
        let suite = initial_suite().map_err(|error| unfit(&error))?;
        let tls = QuicServerConfig::with_initial(tls, suite).map_err(|error| unfit(&error))?;
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        let (each, all) = KEPT;
        config
            .migration(false)
            .max_incoming(WAITING)
            .incoming_buffer_size(each)
            .incoming_buffer_size_total(all)
            .transport_config(Arc::new(quic_transport(STREAMS)));
        let socket = quic_socket(address).map_err(failed)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::Endpoint::new(quic_endpoint(secret), Some(config), socket, runtime);
        Ok(Self { endpoint: endpoint.map_err(failed)? })
    }

    /// Accepts until `stop`; returns when every visitor's connection is done. Publishers outlive it: their links are told goodbye.
    pub async fn serve(self, edge: Edge, console: Router, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let unproven = Arc::new(Semaphore::new(UNPROVEN));
        loop {
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let peer = incoming.remote_address();
            let place = Arc::clone(&unproven).try_acquire_owned().ok();
            if place.is_none() && !incoming.remote_address_validated() {
                // One that may not be asked again is one whose proof was wrong.
                if let Err(again) = incoming.retry() {
                    again.into_incoming().ignore();
                }
                continue;
            }
            match edge.seats.take(peer.ip()) {
                Ok(seat) => {
                    let arrival = Arrival { incoming, peer, seat, place };
                    tasks.spawn(serve(edge.clone(), console.clone(), arrival, stop.clone()));
                }
                Err(full) => {
                    incoming.refuse();
                    if full.first {
                        tasks.spawn(refused(edge.clone(), peer));
                    }
                }
            }
        }
        self.endpoint.set_server_config(None);
        tasks.close();
        tasks.wait().await;
    }
}

struct Arrival {
    incoming: Incoming,
    peer: SocketAddr,
    seat: Seat,
    /// Among the handshakes under way.
    place: Option<OwnedSemaphorePermit>,
}

async fn serve(edge: Edge, console: Router, arrival: Arrival, stop: CancellationToken) {
    let Arrival { incoming, peer, seat, place } = arrival;
    let shaking = async { incoming.accept()?.await };
    let quic = match tokio::time::timeout(edge.bounds.tls_handshake, shaking).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            debug!(%peer, %error, "QUIC handshake failed");
            return not_agreed(&edge, peer, reason(&error)).await;
        }
        Err(_) => return debug!(%peer, "QUIC handshake took too long"),
    };
    drop(place);
    let chain = quic.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = match (&edge.clients, chain) {
        // Asked as of a resumed connection, for it may be one: the library does not tell.
        (Some(clients), Some(chain)) => match clients.know(&chain, true) {
            Ok(presented) => Some(presented),
            Err(error) => {
                debug!(%peer, %error, "a client certificate is not good");
                quic.close(DONE, b"the client certificate is not good");
                return not_agreed(&edge, peer, tls_refusals::word(&error)).await;
            }
        },
        _ => None,
    };
    let exporter = quic_channel_binding(&quic);
    let connection = Connection::new(peer, exporter, Some(facts()), certificate, Some(seat));
    let agreed = quic.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let protocol = agreed.and_then(|data| data.protocol).unwrap_or_default();
    if protocol == ALPN {
        widen(&quic);
        let first = tokio::time::timeout(edge.bounds.tls_handshake, quic.accept_bi()).await;
        let Ok(Ok(stream)) = first else { return debug!(%peer, "no stream came in time") };
        return publisher::serve_bare(
            edge,
            connection,
            BareSocket::on_quic(QuicStream::new(quic, stream)),
            "quic",
        )
        .await;
    }
    http3::serve(edge, connection, console, quic, stop).await;
}

/// What every connection here was agreed on: the listener's TLS offers nothing else.
fn facts() -> TlsFacts {
    TlsFacts { version: "1.3", group: "X25519MLKEM768", hybrid: true, suite: "TLS13_AES_256_GCM_SHA384" }
}

/// Why a handshake failed, as the word of a record; `None` for what is noise. QUIC tells TLS's alert (RFC 9001 section 4.8).
fn reason(error: &ConnectionError) -> Option<&'static str> {
    let ConnectionError::TransportError(error) = error else { return None };
    let alert = u64::from(error.code).checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())?;
    Some(match rustls::AlertDescription::from(alert) {
        // No key exchange or no suite in common: one of each is offered.
        rustls::AlertDescription::HandshakeFailure => "tls-incompatible",
        rustls::AlertDescription::ProtocolVersion => "tls-version",
        rustls::AlertDescription::CertificateRequired => "client-certificate-missing",
        rustls::AlertDescription::CertificateRevoked => "client-certificate-revoked",
        rustls::AlertDescription::CertificateExpired => "client-certificate-expired",
        rustls::AlertDescription::UnknownCA => "client-certificate-unknown-issuer",
        rustls::AlertDescription::BadCertificate | rustls::AlertDescription::CertificateUnknown => {
            "client-certificate-invalid"
        }
        _ => return None,
    })
}
