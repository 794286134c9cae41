//! A visitor's byte stream to a tunnel, for `sallyport connect`.
//!
//! The gateway decides at the WebSocket's HTTP request whether the visitor may pass, so this needs no handshake of its
//! own: the visitor trusts the gateway's TLS certificate, as a browser does. A refusal is an HTTP status with a text.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::address::GatewayAddress;
use super::dial::{Socket, dial};
use super::dial_error::DialError;
use super::tls::{CertificateFiles, TlsRoots, tls_config_showing};
use super::{Proxies, VISIT_PATH};
use crate::tunnel::TunnelName;
use crate::tunnel::transport::MessageStream;

/// A byte stream through the gateway; shutting down the write side leaves the read side open.
pub type VisitStream = MessageStream<Socket>;

/// What a visitor needs to know.
pub struct VisitorOptions {
    /// Where the gateway is.
    pub gateway: GatewayAddress,
    /// Who may vouch for its TLS certificate.
    pub roots: TlsRoots,
    /// The visitor's token; needed where no certificate says who it is.
    pub token: Option<SecretString>,
    /// What to show in TLS.
    pub certificate: Option<CertificateFiles>,
    /// Proxies on the way.
    pub proxies: Proxies,
    /// Time for each step; 15 s suits.
    pub patience: Duration,
}

/// Opens a byte stream to the tunnel `name`.
///
/// A visitor without leave gets [`DialError::Status`] with 403 and the gateway's explanation.
pub async fn visit(options: &VisitorOptions, name: &TunnelName) -> Result<VisitStream, DialError> {
    enter(options, &format!("{VISIT_PATH}/{name}")).await
}

/// Opens a flow of the UDP tunnel `name`: its datagrams travel on the stream ([`crate::tunnel::datagram::Framed`]).
pub async fn visit_datagrams(options: &VisitorOptions, name: &TunnelName) -> Result<VisitStream, DialError> {
    enter(options, &format!("{VISIT_PATH}/{name}/udp")).await
}

async fn enter(options: &VisitorOptions, path: &str) -> Result<VisitStream, DialError> {
    let tls = tls_config_showing(&options.roots, options.certificate.as_ref())?;
    let token = options.token.as_ref().map(ExposeSecret::expose_secret);
    let socket = dial(&options.gateway, (tls, &options.proxies), path, token, options.patience).await?;
    Ok(MessageStream::plain(socket))
}
