//! The tunnel's messages on QUIC: one stream of a QUIC connection in place of a TCP connection.
//!
//! For networks that lose packets or take long to open a connection: TLS 1.3 is inside QUIC's own first round trip, and its
//! exporter binds the tunnel's handshake to it as on TCP. Where UDP does not pass, the client falls back to TCP by itself.
//!
//! Promised: nothing is read or written before the handshake is over (no 0-RTT, which could be played again); a peer that is
//! gone is noticed after [`IDLE`]; what a peer may have under way is bounded by the windows here.
//! Not done: connection migration. A decision was made for the address that a connection came from, and records name it;
//! a publisher whose address changes dials again, with its ticket, in two round trips.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::{Connection, EndpointConfig, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::quic::Suite;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::handshake::{CHANNEL_BINDING, Exporter};
use super::link::chain;

/// A connection on which nothing arrives for so long is gone; as long as a heartbeat and its answer by default.
const IDLE: VarInt = VarInt::from_u32(45_000);
/// How often the publisher makes itself heard: routers forget a UDP peer after 30 s.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What one stream may have under way: three quarters of a visitor's connection, so that none takes all of it. A tunnel is one
/// stream, with many visitors' in it, and is known for one only when its windows stand: 480 Mbit/s at 100 ms.
const STREAM_WINDOW: VarInt = VarInt::from_u32(6 << 20);
/// What all streams of a visitor's connection may have under way.
const CONNECTION_WINDOW: VarInt = VarInt::from_u32(8 << 20);
/// The same of a publisher's, whose streams are many visitors'.
pub(crate) const TUNNEL_WINDOW: VarInt = VarInt::from_u32(64 << 20);
/// Bytes of datagrams that may wait, in each direction; the oldest give way.
const DATAGRAMS: usize = 256 << 10;
/// Control streams of HTTP/3: its own, two of QPACK, and room for those that a peer makes up (RFC 9114 section 7.2.8).
const ONE_WAY_STREAMS: VarInt = VarInt::from_u32(8);
/// What the system keeps for us of packets that came in a burst: its own default loses some of every large transfer.
const SOCKET_BUFFER: usize = 4 << 20;

/// Why QUIC cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("this build has no cipher for QUIC's first packets")]
pub struct NoInitialCipher;

/// Bounds and times of a connection; `streams` is how many the peer may have open towards us.
pub(crate) fn transport(streams: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IdleTimeout::from(IDLE)))
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(ONE_WAY_STREAMS)
        .stream_receive_window(STREAM_WINDOW)
        .receive_window(CONNECTION_WINDOW)
        .send_window(CONNECTION_WINDOW.into_inner())
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS);
    config
}

/// Gives a connection that turned out to be a publisher's the room that it needs.
pub(crate) fn widen(connection: &Connection) {
    connection.set_receive_window(TUNNEL_WINDOW);
    connection.set_send_window(TUNNEL_WINDOW.into_inner());
}

/// The cipher of the first packets, which hides nothing from anybody (RFC 9001 section 5.2).
pub(crate) fn initial_suite() -> Result<Suite, NoInitialCipher> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().and_then(rustls::Tls13CipherSuite::quic_suite).ok_or(NoInitialCipher)
}

/// A UDP socket with room for bursts.
pub(crate) fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Only a speed-up: the system may give less.
    let _less = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _less = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Bytes of a [`QuicSecret`]: a key for reset tokens, and one by which ids of connections are known again.
pub const SECRET_LEN: usize = 64 + 8;

/// What a gateway's QUIC endpoint has in common with the one of its life before.
pub type QuicSecret = Zeroizing<[u8; SECRET_LEN]>;

/// An endpoint that can tell clients of an earlier one with the same secret that their connections are no more (RFC 9000
/// section 10.3).
pub(crate) fn listening_endpoint(secret: &QuicSecret) -> EndpointConfig {
    let (tokens, ids) = secret.split_at(64);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, tokens)));
    let ids = u64::from_be_bytes(ids.try_into().unwrap_or_default());
    // What has no id of ours is no client's, and gets no answer.
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

/// An endpoint that only dials, fit for peers of the family of `towards`.
pub(crate) fn dialing_endpoint(towards: SocketAddr) -> io::Result<quinn::Endpoint> {
    let any = match towards {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(EndpointConfig::default(), None, socket(any)?, runtime)
}

/// What names this very connection (RFC 9266): QUIC's TLS is always 1.3.
pub fn quic_channel_binding(connection: &Connection) -> Option<Exporter> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, CHANNEL_BINDING, &[]).ok()?;
    Some(exporter)
}

type Acknowledged = Pin<Box<dyn Future<Output = Result<Option<VarInt>, quinn::StoppedError>> + Send>>;

/// Both directions of one stream. It keeps its connection, which ends with the last of its streams.
pub struct QuicStream {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    /// Set once our direction has ended in order.
    acknowledged: Option<Acknowledged>,
}

impl QuicStream {
    /// A stream of `connection`.
    pub fn new(connection: Connection, (send, recv): (SendStream, RecvStream)) -> Self {
        Self { connection, send, recv, acknowledged: None }
    }

    /// What it is a stream of.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// What went wrong, with its causes: HTTP/2's library keeps the words of an error, and not where it came from.
fn told(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), chain(error))
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf).map_err(|error| told(&error))
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf).map_err(|error| told(&error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let acknowledged = match &mut this.acknowledged {
            Some(acknowledged) => acknowledged,
            None => {
                // A direction that the peer has stopped needs no end.
                let _stopped = this.send.finish();
                this.acknowledged.insert(Box::pin(this.send.stopped()))
            }
        };
        // The connection goes with its last stream, and what was not acknowledged by then would go with it.
        let _gone = ready!(acknowledged.as_mut().poll(cx));
        Poll::Ready(Ok(()))
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        if self.acknowledged.is_none() {
            // Else the library would end it in order, and what is cut would look complete.
            let _ended = self.send.reset(VarInt::from_u32(0));
        }
    }
}
