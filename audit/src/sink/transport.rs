//! The connection to a receiver: TCP or TLS, with bounds on every wait.
//!
//! Promised: a connection over TLS exists only after the receiver showed a certificate for the expected name from one
//! of the given roots; bytes that the receiver's kernel does not acknowledge within the write timeout break the
//! connection (`TCP_USER_TIMEOUT`), so that a healthy connection is evidence about what was written before; a receiver
//! that closes is noticed although syslog never answers.
//!
//! Not trusted: the receiver. Whatever it sends is read and thrown away.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem, pem::PemObject as _},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    options::{Address, TlsOptions},
    unacknowledged::Unacknowledged,
};

/// The way to a receiver.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) address: Address,
    /// In the clear without it.
    pub(super) tls: Option<TlsOptions>,
    pub(super) connect_timeout: Duration,
    pub(super) write_timeout: Duration,
}

/// Both directions of a connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Why a receiver could not be reached, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file named in the TLS settings cannot be used.
    #[error("{what} {} cannot be used", path.display())]
    Pem {
        /// Which setting named it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// The roots file holds no certificate.
    #[error("roots file {} holds no certificate", path.display())]
    NoRoots {
        /// The file.
        path: PathBuf,
    },
    /// The name to expect is neither a DNS name nor an address.
    #[error("{name:?} is not a name that a certificate can bear")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        source: InvalidDnsNameError,
    },
    /// The TLS settings do not fit together (for example a key that is not the certificate's).
    #[error("the TLS settings do not fit together")]
    Settings {
        /// The cause.
        source: rustls::Error,
    },
    /// Name lookup or TCP connect failed.
    #[error("no connection to {address}")]
    Connect {
        /// The receiver.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {address} failed")]
    Handshake {
        /// The receiver.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// Lookup, connect and handshake together took too long.
    #[error("{address} did not answer within {waited:?}")]
    Timeout {
        /// The receiver.
        address: Address,
        /// How long was waited.
        waited: Duration,
    },
    /// The receiver took nothing for too long.
    #[error("the receiver took no bytes for {waited:?}")]
    Stalled {
        /// How long was waited.
        waited: Duration,
    },
    /// The receiver closed the connection.
    #[error("the receiver closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken {
        /// The cause.
        source: io::Error,
    },
}

impl TransportError {
    /// What the operator can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Pem { .. } | Self::NoRoots { .. } => "name a readable PEM file of the right kind",
            Self::Name { .. } => "set `server_name` to the name in the receiver's certificate",
            Self::Settings { .. } => "check that the client key belongs to the client certificate",
            Self::Connect { .. } | Self::Timeout { .. } => {
                "check that the receiver runs and that a firewall lets the gateway reach it; records wait in the ledger"
            }
            Self::Handshake { .. } => {
                "check `root_file`, `server_name` and whether the receiver speaks TLS 1.3; records wait in the ledger"
            }
            Self::Stalled { .. } | Self::Closed | Self::Broken { .. } => {
                "see the receiver's own log (a TLS receiver closes when it wants another client certificate); \
                 records wait in the ledger and are sent again"
            }
        }
    }
}

/// The message with its causes, for one line in a record or a log.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // io errors often print the same cause twice.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Reads the files that the route names, so that a wrong one shows at start and not only when connecting.
pub(super) fn check(route: &Route) -> Result<(), TransportError> {
    route.tls.as_ref().map_or(Ok(()), |tls| prepare(tls, &route.address).map(drop))
}

/// A connection that stands.
pub(super) struct Connected {
    pub(super) wire: Box<dyn Wire>,
    pub(super) unacknowledged: Unacknowledged,
}

/// Connects within the timeout.
pub(super) async fn connect(route: &Route) -> Result<Connected, TransportError> {
    let waited = route.connect_timeout;
    timeout(waited, open(route))
        .await
        .unwrap_or_else(|_| Err(TransportError::Timeout { address: route.address.clone(), waited }))
}

async fn open(route: &Route) -> Result<Connected, TransportError> {
    let address = &route.address;
    let refused = |source| TransportError::Connect { address: address.clone(), source };
    let stream = TcpStream::connect((address.host(), address.port())).await.map_err(refused)?;
    tune(&stream, route.write_timeout).map_err(refused)?;
    let unacknowledged = Unacknowledged::of(&stream, route.write_timeout).map_err(refused)?;
    let Some(tls) = &route.tls else {
        return Ok(Connected { wire: Box::new(stream), unacknowledged });
    };
    let (connector, name) = prepare(tls, address)?;
    let failed = |source| TransportError::Handshake { address: address.clone(), source };
    let wire = Box::new(connector.connect(name, stream).await.map_err(failed)?);
    Ok(Connected { wire, unacknowledged })
}

fn tune(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // An idle connection whose receiver vanished must show before the next record is written to it.
    // The kernel counts keepalive in whole seconds, from one.
    let second = Duration::from_secs(1);
    let keepalive =
        TcpKeepalive::new().with_time(patience.max(second)).with_interval((patience / 3).max(second));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(patience))?;
    Ok(())
}

fn prepare(
    tls: &TlsOptions,
    address: &Address,
) -> Result<(TlsConnector, ServerName<'static>), TransportError> {
    let name = tls.server_name.as_deref().unwrap_or(address.host());
    let server = ServerName::try_from(name.to_owned())
        .map_err(|source| TransportError::Name { name: name.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("root_file", &tls.roots)? {
        roots.add(certificate).map_err(|source| TransportError::Settings { source })?;
    }
    if roots.is_empty() {
        return Err(TransportError::NoRoots { path: tls.roots.clone() });
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TransportError::Settings { source })?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates("client_certificate_file", &client.certificate)?;
            let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|source| TransportError::Pem {
                what: "client_key_file",
                path: client.key.clone(),
                source,
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|source| TransportError::Settings { source })?
        }
    };
    Ok((TlsConnector::from(Arc::new(config)), server))
}

fn certificates(what: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let unusable = |source| TransportError::Pem { what, path: path.clone(), source };
    CertificateDer::pem_file_iter(path).map_err(unusable)?.collect::<Result<_, _>>().map_err(unusable)
}

/// Returns when the receiver has closed or the connection broke; reads and drops whatever it says until then.
pub(super) async fn gone(mut from: impl AsyncRead + Unpin) -> TransportError {
    let mut scrap = [0_u8; 512];
    loop {
        match from.read(&mut scrap).await {
            Ok(0) => return TransportError::Closed,
            Ok(_) => {}
            // TLS ended without its own farewell: the process on the other side died.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return TransportError::Closed,
            Err(source) => return TransportError::Broken { source },
        }
    }
}
