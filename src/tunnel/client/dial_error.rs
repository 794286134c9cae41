//! Why there is no way to a gateway, and what to do about it.

use std::io;
use std::path::PathBuf;

use tokio_tungstenite::tungstenite;

use super::known_gateways::KnownGatewaysError;
use crate::tunnel::handshake::{HandshakeError, RefusalCode};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The roots cannot be read.
    #[error("cannot read certificate authorities from {path}: {reason}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The client's own certificate cannot be used.
    #[error("the client certificate cannot be used: {path}: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Nothing answers at the address.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// `host:port`.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// TLS failed; most often the certificate.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The gateway, or somebody else at its address, said no before there was a WebSocket.
    #[error("{address} answered {status}: {message}")]
    Status {
        /// `host:port`.
        address: String,
        /// The HTTP status.
        status: u16,
        /// What failed, as the gateway says it; or the beginning of an answer that is no gateway's.
        message: String,
        /// What to do next, as the gateway says it; empty if this was no gateway.
        hint: String,
    },
    /// The WebSocket did not come up.
    #[error("the WebSocket to {address} failed: {source}")]
    WebSocket {
        /// `host:port`.
        address: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// The proxy on the way did not pass us on.
    #[error("the proxy {proxy} does not lead to {address}: {reason}")]
    Proxy {
        /// `host:port` of the gateway.
        address: String,
        /// The proxy, without credentials.
        proxy: String,
        /// Why not.
        reason: String,
    },
    /// QUIC did not come up.
    #[error("QUIC with {address} failed: {reason}")]
    Quic {
        /// `host:port`.
        address: String,
        /// Why.
        reason: String,
    },
    /// What is at the address takes none of what is to be spoken.
    #[error("{address} does not take a tunnel straight on TLS")]
    NotTaken {
        /// `host:port`.
        address: String,
    },
    /// A step took too long.
    #[error("{address} did not finish {step} within {seconds} s")]
    Timeout {
        /// `host:port`.
        address: String,
        /// Which step.
        step: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The handshake inside failed, or the gateway refused.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The gateway is not the one that this client knows.
    #[error(transparent)]
    Identity(#[from] KnownGatewaysError),
}

impl DialError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Roots { .. } => "give a PEM file with at least one certificate".to_owned(),
            Self::Certificate { .. } => {
                "give a PEM file with the chain and one with its private key: --cert-file and --cert-key-file".to_owned()
            }
            Self::Connect { .. } => "check the gateway's address, that it runs, and the network".to_owned(),
            Self::Tls { .. } => {
                "for a gateway with a private root, give its certificate with `--ca-file FILE`; else check the name in the address"
                    .to_owned()
            }
            Self::Status { hint, .. } if !hint.is_empty() => hint.clone(),
            Self::Status { status: 401 | 403, .. } => "check the token, and ask for access".to_owned(),
            Self::Status { status: 404, .. } => "check the gateway's address and the tunnel's name".to_owned(),
            Self::Quic { .. } | Self::Timeout { step: "QUIC", .. } => {
                "check that UDP passes to the gateway's port and that its operator turned QUIC on (`gateway.quic`); or let `--transport` name tls or websocket too".to_owned()
            }
            Self::Status { .. } | Self::WebSocket { .. } | Self::Timeout { .. } => {
                "check that the address is a Sallyport gateway, and that proxies on the way pass WebSocket".to_owned()
            }
            Self::Proxy { .. } => {
                "check the proxy's address and credentials (`--proxy`, `--proxy-credentials-file`, HTTPS_PROXY, ALL_PROXY), and that it allows CONNECT to the gateway's port; NO_PROXY names hosts that need none".to_owned()
            }
            Self::NotTaken { .. } => "let `--transport` name websocket too: something on the way ends TLS".to_owned(),
            Self::Handshake(HandshakeError::Refused(refusal)) if !refusal.hint.is_empty() => refusal.hint.clone(),
            Self::Handshake(error) => error.hint().to_owned(),
            Self::Identity(error) => error.hint(),
        }
    }

    /// Whether trying again, with nothing changed by a person, cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Identity(_)
            | Self::Roots { .. }
            | Self::Certificate { .. }
            | Self::Handshake(HandshakeError::Certificate(_)) => true,
            Self::Handshake(HandshakeError::Refused(refusal)) => !refusal.code.may_pass_later(),
            // Anybody on the way can forge a refusal in clear: it must not stop a publisher for good.
            _ => false,
        }
    }

    /// Whether another transport may do better: what was on the way failed, or what came of it is not what the gateway says. What the
    /// gateway, or this client, decided is the same over all of them; and once a credential was shown, the gateway may be at work on it.
    pub(super) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Handshake(HandshakeError::Timeout { message, .. }) => *message == "GatewayHello",
            Self::Handshake(error) => {
                matches!(error, HandshakeError::Socket(_) | HandshakeError::Malformed { .. })
            }
            Self::Identity(_) | Self::Roots { .. } | Self::Certificate { .. } => false,
            _ => true,
        }
    }

    /// Whether the gateway said nothing at all, to whom nothing was shown yet.
    pub(super) fn is_before_the_credential(&self) -> bool {
        matches!(self, Self::Handshake(HandshakeError::Timeout { message, .. }) if *message == "GatewayHello")
    }

    /// The refusal's code, if the gateway refused under seal.
    pub fn refusal(&self) -> Option<RefusalCode> {
        match self {
            Self::Handshake(HandshakeError::Refused(refusal)) => Some(refusal.code),
            _ => None,
        }
    }
}
