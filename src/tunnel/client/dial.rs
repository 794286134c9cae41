//! From an address to an authenticated stream: TCP, TLS 1.3, WebSocket, handshake, identity check.
//!
//! The server certificate is always verified, against the given roots or the system's. On top of that the gateway's own
//! identity is checked inside the handshake, before the token leaves this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use super::CONNECT_PATH;
use super::known_gateways::KnownGatewaysError;
use super::proxy::Proxies;
use super::quic::{BRIEF, dial_quic};
use super::socket::{GatewaySocket, Transport};
use crate::tunnel::handshake::{HandshakeError, RefusalCode};
use crate::tunnel::transport::websocket_config;
use crate::tunnel::{ALPN, BareSocket};

/// Where distributions keep the certificates of public authorities, the commonest first.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where the gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayAddress {
    host: String,
    port: u16,
}

impl GatewayAddress {
    /// Reads `host`, `host:port`, `https://host[:port]` or `wss://host[:port]`; the port is 443 unless given.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("wss://")).unwrap_or(text);
        let authority: http::uri::Authority = rest.strip_suffix('/').unwrap_or(rest).parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // What follows the host must be a port: `http` would silently pass over one that is no number.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => 443,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        ServerName::try_from(host.clone()).ok()?;
        Some(Self { host, port })
    }

    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which authorities may vouch for the gateway's TLS certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsRoots {
    /// Those that the operating system trusts.
    #[default]
    System,
    /// Those in this PEM file and no others.
    File(PathBuf),
}

/// The certificate with which a client proves itself in TLS, and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain (PEM), leaf first.
    pub chain: PathBuf,
    /// The key (PEM).
    pub key: PathBuf,
}

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

    /// The refusal's code, if the gateway refused under seal.
    pub fn refusal(&self) -> Option<RefusalCode> {
        match self {
            Self::Handshake(HandshakeError::Refused(refusal)) => Some(refusal.code),
            _ => None,
        }
    }
}

/// TLS 1.3 with X25519MLKEM768 first, for clients that speak HTTP/1.1 and then WebSocket.
pub fn tls_config(roots: &TlsRoots) -> Result<Arc<rustls::ClientConfig>, DialError> {
    tls_config_showing(roots, None)
}

/// The same, with a certificate that is shown to a gateway which asks for one.
pub fn tls_config_showing(
    roots: &TlsRoots,
    certificate: Option<&CertificateFiles>,
) -> Result<Arc<rustls::ClientConfig>, DialError> {
    config(roots, certificate, &[&rustls::version::TLS13]).map(Arc::new)
}

/// TLS 1.3 or 1.2, for apps behind a publisher: what they speak is not the gateway's to say.
pub fn app_tls_config(roots: &TlsRoots) -> Result<Arc<rustls::ClientConfig>, DialError> {
    config(roots, None, rustls::ALL_VERSIONS).map(Arc::new)
}

fn config(
    roots: &TlsRoots,
    certificate: Option<&CertificateFiles>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<rustls::ClientConfig, DialError> {
    let path = path_of(roots)?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in root_certificates(roots)? {
        store.add(certificate).map_err(|error| roots_error(&path, error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| roots_error(&path, error))?
        .with_root_certificates(store);
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(own) => {
            let failed =
                |path: &Path, reason: String| DialError::Certificate { path: path.to_owned(), reason };
            let chain = CertificateDer::pem_file_iter(&own.chain)
                .and_then(Iterator::collect)
                .map_err(|error| failed(&own.chain, error.to_string()))?;
            let key = PrivateKeyDer::from_pem_file(&own.key)
                .map_err(|error| failed(&own.key, error.to_string()))?;
            config.with_client_auth_cert(chain, key).map_err(|error| failed(&own.chain, error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates that another's must lead to; at least one.
///
/// # Errors
///
/// No file, or one that holds none or a faulty one.
pub fn root_certificates(roots: &TlsRoots) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let path = path_of(roots)?;
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| roots_error(&path, error))?;
    let mut taken = Vec::new();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| roots_error(&path, error))?;
        // A system's bundle may hold certificates that webpki does not take; one file of one's own must be right.
        match (rustls::RootCertStore::empty().add(certificate.clone()), roots) {
            (Ok(()), _) => taken.push(certificate),
            (Err(error), TlsRoots::File(_)) => return Err(roots_error(&path, error)),
            (Err(_), TlsRoots::System) => {}
        }
    }
    if taken.is_empty() {
        return Err(roots_error(&path, "it holds no certificate"));
    }
    Ok(taken)
}

fn path_of(roots: &TlsRoots) -> Result<PathBuf, DialError> {
    match roots {
        TlsRoots::File(path) => Ok(path.clone()),
        TlsRoots::System => SYSTEM_ROOTS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| roots_error(Path::new("/etc/ssl"), "no certificate authorities are installed")),
    }
}

fn roots_error(path: &Path, reason: impl std::fmt::Display) -> DialError {
    DialError::Roots { path: path.to_owned(), reason: reason.to_string() }
}

/// A WebSocket over TLS over TCP.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A transport that was tried and did not come up, while another is left.
pub(super) struct Fallback {
    pub(super) from: Transport,
    pub(super) reason: DialError,
}

/// Opens the way of a publisher by the first of `order` that comes up. Each that does not is told to `fallen`.
pub(super) async fn dial_gateway(
    address: &GatewayAddress,
    (tls, proxies): (&Arc<rustls::ClientConfig>, &Proxies),
    order: &[Transport],
    patience: Duration,
    mut fallen: impl FnMut(Fallback),
) -> Result<GatewaySocket, DialError> {
    let mut rest = order;
    loop {
        let (first, later) = rest.split_first().unwrap_or((&Transport::WebSocket, &[]));
        let opened = match first {
            Transport::Quic => {
                let patience = if later.is_empty() { patience } else { patience.min(BRIEF) };
                let socket = dial_quic(address, (tls, proxies), patience).await;
                socket.map(|socket| GatewaySocket::Quic(Box::new(socket)))
            }
            Transport::Tls => {
                dial_tls(address, (tls, proxies), later.contains(&Transport::WebSocket), patience).await
            }
            Transport::WebSocket => dial_websocket(address, (tls, proxies), patience).await,
        };
        match opened {
            Err(reason) if !later.is_empty() => fallen(Fallback { from: *first, reason }),
            outcome => return outcome,
        }
        rest = later;
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
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| DialError::Tls { address: address.to_string(), source: io::Error::other(error) })?;
    let tcp = step(address, "connecting", patience, proxies.connect(address)).await??;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_the_forms_that_people_type() {
        let read = |text| GatewayAddress::parse(text).map(|address| address.to_string());
        assert_eq!(read("localhost:8443").as_deref(), Some("localhost:8443"));
        assert_eq!(read("https://gate.example").as_deref(), Some("gate.example:443"));
        assert_eq!(read("wss://gate.example:1/").as_deref(), Some("gate.example:1"));
        assert_eq!(read("[::1]:8443").as_deref(), Some("[::1]:8443"));
        for bad in ["", "gate:port", "gate:99999", "user@gate", "https://gate/path", "a b", "http://gate"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
