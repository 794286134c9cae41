//! The way to a gateway by QUIC.
//!
//! Where UDP is dropped nothing answers at all, so that a time limit alone tells: [`BRIEF`] while something else is left to try.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection};
use tokio::time::{Instant, timeout_at};

use super::address::GatewayAddress;
use super::dial_error::DialError;
use super::proxy::Proxies;
use super::reach::in_turn;
use crate::tunnel::quic::{KEEP_ALIVE, TUNNEL_WINDOW, dialing_endpoint};
use crate::tunnel::{ALPN, BareSocket, QuicStream, initial_suite, quic_transport, widen};

/// How long QUIC is waited for while there is another transport to fall back to.
pub(super) const BRIEF: Duration = Duration::from_secs(3);

/// Opens the one stream on which the handshake is spoken.
pub(super) async fn dial_quic(
    address: &GatewayAddress,
    (tls, proxies): (&rustls::ClientConfig, &Proxies),
    patience: Duration,
) -> Result<BareSocket<QuicStream>, DialError> {
    let connection = connect(address, (tls, proxies), patience).await?;
    widen(&connection);
    // The gateway allowed it in its handshake: there is nothing to wait for.
    let stream = connection.open_bi().await.map_err(|error| failed(address, &error))?;
    Ok(BareSocket::on_quic(QuicStream::new(connection, stream)))
}

/// Whether QUIC passes between here and the gateway: a handshake, and nothing behind it. Tells which address answered.
pub async fn reach_by_quic(
    address: &GatewayAddress,
    way: (&rustls::ClientConfig, &Proxies),
    patience: Duration,
) -> Result<SocketAddr, DialError> {
    Ok(connect(address, way, patience).await?.remote_address())
}

async fn connect(
    address: &GatewayAddress,
    (tls, proxies): (&rustls::ClientConfig, &Proxies),
    patience: Duration,
) -> Result<Connection, DialError> {
    if let Some(proxy) = proxies.shown(address) {
        // Around it would be a way that whoever set it up did not want.
        let reason = format!("the way leads through the proxy {proxy}, which passes TCP alone");
        return Err(DialError::Quic { address: address.to_string(), reason });
    }
    let unreachable = |source| DialError::Connect { address: address.to_string(), source };
    let late =
        || DialError::Timeout { address: address.to_string(), step: "QUIC", seconds: patience.as_secs() };
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let suite = initial_suite().map_err(|error| failed(address, &error))?;
    let tls =
        QuicClientConfig::with_initial(Arc::new(tls), suite).map_err(|error| failed(address, &error))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    // The gateway opens no streams by itself.
    let mut transport = quic_transport(0);
    // Of the one stream there is.
    transport.stream_receive_window(TUNNEL_WINDOW);
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    let deadline = Instant::now() + patience;
    let found = tokio::net::lookup_host((address.host(), address.port()));
    let peers = timeout_at(deadline, found).await.map_err(|_| late())?.map_err(unreachable)?.collect();
    let dial = async |peer| {
        let endpoint = dialing_endpoint(peer).map_err(unreachable)?;
        let connecting = endpoint.connect_with(config.clone(), peer, address.host());
        connecting.map_err(|error| failed(address, &error))?.await.map_err(|error| failed(address, &error))
    };
    in_turn(peers, deadline, dial).await.unwrap_or_else(|| Err(late()))
}

fn failed(address: &GatewayAddress, error: &dyn std::error::Error) -> DialError {
    DialError::Quic { address: address.to_string(), reason: error.to_string() }
}
