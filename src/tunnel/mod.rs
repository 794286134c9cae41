//! The wire between a publisher and the gateway.
//!
//! A publisher sits behind NAT, so it dials out and then *serves*: on its connection it is the HTTP/2 server and
//! the gateway is the client. Between the dial and the first request runs a hybrid post-quantum handshake, because
//! the TLS connection may end at somebody else's ingress, which must neither read nor imitate.
//!
//! Promised: whoever passes [`handshake`] knows the other end; in mode `sealed` nobody between the two ends reads or
//! alters a byte unseen; a publisher that is gone or stalls is noticed within the heartbeat; memory per connection is
//! bounded by [`Limits`].
//!
//! Not trusted: every byte from the peer, and every relay on the way. Trusted: the gateway's identity keys, the
//! organisation's root (if the publisher has it) and the file of known gateways.
//!
//! Whether a publisher *may* publish is not decided here: [`accept`] hands its credential and its wishes to the
//! caller as a [`Registration`], which the caller accepts or refuses.
//!
//! Start with [`handshake`] (pure) and `docs/handshake.md`; then [`accept`], [`Link`] and [`client::Publisher`].

mod accept;
mod arriving;
mod bare;
mod breakable;
pub mod client;
pub mod datagram;
mod flow;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gather;
pub mod handshake;
mod heads;
mod health;
mod lag;
mod lane;
mod link;
mod name;
mod prompt;
mod protocol;
mod quic;
mod quiet;
mod resumable;
mod room;
mod sending;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod tickets;
pub mod transport;
mod window;
mod wire;

pub use accept::{Acceptance, Limits, Registration, accept, turn_away};
pub use bare::{ALPN, BareSocket};
pub use breakable::Breakable;
pub use flow::{DatagramPath, FlowDrain, FlowSource};
pub use gather::Heard;
pub use handshake::{
    AcceptedTunnel, Blame, CertificateBody, CertificateError, DeviceKey, DevicePublic, Enrolled, Fingerprint,
    GatewayIdentity, HandshakeError, IdentityCertificate, IdentityKeys, IdentitySignatures,
    MAX_SUCCESSION_BYTES, Possession, Proof, Refusal, RefusalCode, RootKey, Secret, Signing, SigningFailed,
    Succession, SuccessionBody, Successions, Suite, ToSign, channel_binding,
};
pub use heads::MOST_OF_A_VISITOR;
pub(crate) use heads::fits as head_fits;
pub use health::{AppReport, AppReports};
pub(crate) use lag::{Taker, Takers, Taking};
pub use link::{Answer, CloseReason, Counters, Farewell, FarewellCode, Joined, Link, LinkError, MAX_LANES};
pub use name::{MAX_NAME, NameError, Offer, TunnelId, TunnelKind, TunnelName};
pub use prompt::prompt;
pub(crate) use protocol::strip_hop_by_hop;
pub use protocol::{AppConnection, Ends, OriginFault, origin_fault};
pub use quic::{
    NoInitialCipher, QuicSecret, QuicStream, SECRET_LEN as QUIC_SECRET_LEN, quic_channel_binding,
};
pub(crate) use quic::{
    initial_suite, listening_endpoint as quic_endpoint, socket as quic_socket, transport as quic_transport,
    widen,
};
pub(crate) use quiet::{NO_LIMIT, quiet_for};
pub use resumable::{ByteStream, Lasting, Way};
pub(crate) use stream::Stalled;
pub use stream::TunnelStream;
pub use tickets::{TICKET_LIFE, Tickets};
pub use transport::websocket_limits;
