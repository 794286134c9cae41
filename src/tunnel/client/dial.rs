//! From an address to an authenticated stream: TCP, TLS 1.3, WebSocket, handshake, identity check.
//!
//! The server certificate is always verified, against the given roots or the system's. On top of that the gateway's own
//! identity is checked inside the handshake, before the token leaves this machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use super::CONNECT_PATH;
use super::address::GatewayAddress;
use super::dial_error::DialError;
use super::proxy::Proxies;
use super::quic::{BRIEF, dial_quic};
use super::socket::{GatewaySocket, Transport};
use crate::tunnel::transport::websocket_config;
use crate::tunnel::{ALPN, BareSocket};

/// A WebSocket over TLS over TCP.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens the way of a publisher by `transport`, while `others` are left to try.
pub(super) async fn dial_by(
    transport: Transport,
    others: &[Transport],
    address: &GatewayAddress,
    (tls, proxies): (&Arc<rustls::ClientConfig>, &Proxies),
    patience: Duration,
) -> Result<GatewaySocket, DialError> {
    match transport {
        Transport::Quic => {
            let patience = if others.is_empty() { patience } else { patience.min(BRIEF) };
            let socket = dial_quic(address, (tls, proxies), patience).await;
            socket.map(|socket| GatewaySocket::Quic(Box::new(socket)))
        }
        Transport::Tls => {
            dial_tls(address, (tls, proxies), others.contains(&Transport::WebSocket), patience).await
        }
        Transport::WebSocket => dial_websocket(address, (tls, proxies), patience).await,
    }
}

/// Straight on TLS. Where that is not taken, the same connection may go on as a WebSocket, if `else_websocket`.
async fn dial_tls(
    address: &GatewayAddress,
    (tls, proxies): (&Arc<rustls::ClientConfig>, &Proxies),
    else_websocket: bool,
    patience: Duration,
) -> Result<GatewaySocket, DialError> {
    let mut offering = rustls::ClientConfig::clone(tls);
    offering.alpn_protocols.insert(0, ALPN.to_vec());
    match connect_tls(address, (Arc::new(offering), proxies), patience).await {
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(ALPN) => {
            Ok(GatewaySocket::Bare(Box::new(BareSocket::new(stream))))
        }
        Ok(stream) if else_websocket => open_websocket(address, stream, patience).await,
        Ok(_) => Err(DialError::NotTaken { address: address.to_string() }),
        Err(DialError::Tls { source, .. }) if else_websocket && refuses_what_it_does_not_know(&source) => {
            dial_websocket(address, (tls, proxies), patience).await
        }
        Err(error) => Err(error),
    }
}

async fn dial_websocket(
    address: &GatewayAddress,
    (tls, proxies): (&Arc<rustls::ClientConfig>, &Proxies),
    patience: Duration,
) -> Result<GatewaySocket, DialError> {
    let stream = connect_tls(address, (Arc::clone(tls), proxies), patience).await?;
    open_websocket(address, stream, patience).await
}

/// Whether a WebSocket passes between here and the gateway: it is opened where publishers come, and closed again. Nothing is said
/// in it, which the gateway records as a handshake that it did not get.
pub async fn reach_by_websocket(
    address: &GatewayAddress,
    way: (&Arc<rustls::ClientConfig>, &Proxies),
    patience: Duration,
) -> Result<(), DialError> {
    drop(dial_websocket(address, way, patience).await?);
    Ok(())
}

/// Whether something on the way may have ended TLS because of a protocol that it does not know.
fn refuses_what_it_does_not_know(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => {
            matches!(alert, AlertDescription::NoApplicationProtocol | AlertDescription::HandshakeFailure)
        }
        Some(_) => false,
        None => matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof),
    }
}

async fn open_websocket(
    address: &GatewayAddress,
    stream: TlsStream<TcpStream>,
    patience: Duration,
) -> Result<GatewaySocket, DialError> {
    let opening = Box::pin(upgrade(address, stream, CONNECT_PATH, None));
    let socket = step(address, "the WebSocket", patience, opening).await??;
    Ok(GatewaySocket::WebSocket(Box::new(socket)))
}

/// Opens `wss://address{path}`; `bearer` goes into the Authorization header. Each step takes at most `patience`.
pub(super) async fn dial(
    address: &GatewayAddress,
    tls: (Arc<rustls::ClientConfig>, &Proxies),
    path: &str,
    bearer: Option<&str>,
    patience: Duration,
) -> Result<Socket, DialError> {
    let tls = connect_tls(address, tls, patience).await?;
    // Boxed: the WebSocket library keeps its whole handshake in the future.
    step(address, "the WebSocket", patience, Box::pin(upgrade(address, tls, path, bearer))).await?
}

async fn connect_tls(
    address: &GatewayAddress,
    (tls, proxies): (Arc<rustls::ClientConfig>, &Proxies),
    patience: Duration,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|error| DialError::Tls { address: address.to_string(), source: io::Error::other(error) })?;
    let tcp = proxies.connect(address, patience).await?;
    step(address, "TLS", patience, TlsConnector::from(tls).connect(name, tcp))
        .await?
        .map_err(|source| DialError::Tls { address: address.to_string(), source })
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    address: &GatewayAddress,
    stream: S,
    path: &str,
    bearer: Option<&str>,
) -> Result<WebSocketStream<S>, DialError> {
    let failed = |error| websocket_error(address, error);
    let mut request = format!("wss://{address}{path}").into_client_request().map_err(failed)?;
    if let Some(token) = bearer {
        let mut value = http::HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|error| failed(tungstenite::Error::HttpFormat(error.into())))?;
        value.set_sensitive(true);
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
    }
    let (socket, _response) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(websocket_config()))
            .await
            .map_err(failed)?;
    Ok(socket)
}

/// What a gateway answers instead of a WebSocket (RFC 9457, with our `hint`).
#[derive(serde::Deserialize, Default)]
struct Problem {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hint: String,
}

/// A peer's words as a terminal may show them.
fn printable(text: &str, most: usize) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(most).collect()
}

fn websocket_error(address: &GatewayAddress, error: tungstenite::Error) -> DialError {
    let address = address.to_string();
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
            let message = if problem.detail.is_empty() {
                printable(&String::from_utf8_lossy(body), 512)
            } else {
                printable(&problem.detail, 2048)
            };
            let hint = printable(&problem.hint, 2048);
            DialError::Status { address, status: response.status().as_u16(), message, hint }
        }
        source => DialError::WebSocket { address, source: Box::new(source) },
    }
}

async fn step<T>(
    address: &GatewayAddress,
    step: &'static str,
    patience: Duration,
    work: impl Future<Output = T>,
) -> Result<T, DialError> {
    tokio::time::timeout(patience, work).await.map_err(|_| DialError::Timeout {
        address: address.to_string(),
        step,
        seconds: patience.as_secs(),
    })
}
