//! QUIC by the test's own hand: what a client of somebody else's could do.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::world::World;

/// How a client introduces itself.
pub(crate) struct Hello {
    alpn: &'static [u8],
    root: Option<String>,
    groups: Option<Vec<&'static dyn SupportedKxGroup>>,
}

impl Hello {
    /// With this protocol.
    pub(crate) fn speaking(alpn: &'static [u8]) -> Self {
        Self { alpn, root: None, groups: None }
    }

    /// With these key exchanges alone.
    pub(crate) fn only(self, group: &'static dyn SupportedKxGroup) -> Self {
        Self { groups: Some(vec![group]), ..self }
    }

    /// Trusting this certificate (PEM) alone, in place of the private root.
    pub(crate) fn trusting(self, pem: &str) -> Self {
        Self { root: Some(pem.to_owned()), ..self }
    }

    /// What quinn is to be given.
    pub(crate) fn config(&self, world: &World) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        let pem = self.root.clone().unwrap_or_else(|| std::fs::read_to_string(world.root()).unwrap());
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if let Some(groups) = &self.groups {
            provider.kx_groups.clone_from(groups);
        }
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![self.alpn.to_vec()];
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        // Who says nothing is still there: a test must not pass because its own client has given up.
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(std::time::Duration::from_secs(5)));
        config.transport_config(Arc::new(transport));
        config
    }

    /// A connection to the world's gateway under `host`.
    pub(crate) async fn connect(
        &self,
        world: &World,
        host: &str,
    ) -> Result<(Endpoint, Connection), ConnectionError> {
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, world.port()));
        let connection = endpoint.connect_with(self.config(world), gateway, host).unwrap().await?;
        Ok((endpoint, connection))
    }
}

/// A visitor by HTTP/3.
pub(crate) struct Http3 {
    send: h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>,
    /// What is below it, for those who want to break the rules.
    pub(crate) quic: Connection,
    driver: tokio::task::JoinHandle<()>,
    deaf: Arc<tokio::sync::Notify>,
    _endpoint: Endpoint,
}

/// One request under way.
pub(crate) type Exchange = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

impl Http3 {
    /// A connection to the world's gateway under `host`.
    pub(crate) async fn connect(world: &World, host: &str) -> Self {
        let (endpoint, quic) = Hello::speaking(b"h3").connect(world, host).await.unwrap();
        let (mut driver, send) = h3::client::new(h3_quinn::Connection::new(quic.clone())).await.unwrap();
        let deaf = Arc::new(tokio::sync::Notify::new());
        let turned = Arc::clone(&deaf);
        let driver = tokio::spawn(async move {
            tokio::select! {
                _ended = driver.wait_idle() => return,
                () = turned.notified() => {}
            }
            // Kept, for it would say goodbye when it is dropped.
            std::future::pending::<()>().await;
            drop(driver);
        });
        Self { send, quic, driver, deaf, _endpoint: endpoint }
    }

    /// From now on it doesn't hear what is said of the connection, such as a goodbye, and keeps it.
    pub(crate) fn turns_deaf(&self) {
        self.deaf.notify_one();
    }

    /// Sends a request's head; the rest is the caller's.
    pub(crate) async fn begin(&mut self, request: http::request::Builder) -> Exchange {
        self.try_to_begin(request).await.unwrap()
    }

    /// The same, where it may fail.
    pub(crate) async fn try_to_begin(
        &mut self,
        request: http::request::Builder,
    ) -> Result<Exchange, h3::error::StreamError> {
        self.send.send_request(request.body(()).unwrap()).await
    }

    /// Sends a request with `body` and reads the answer whole.
    pub(crate) async fn ask(&mut self, request: http::request::Builder, body: &[u8]) -> Http3Answer {
        let mut exchange = self.begin(request).await;
        for piece in body.chunks(64 << 10) {
            exchange.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        exchange.finish().await.unwrap();
        Http3Answer::read(&mut exchange).await
    }
}

impl Drop for Http3 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer that has come whole.
pub(crate) struct Http3Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Http3Answer {
    /// Reads it to its end.
    pub(crate) async fn read(exchange: &mut Exchange) -> Self {
        let (parts, ()) = exchange.recv_response().await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(piece) = exchange.recv_data().await.unwrap() {
            bytes::Buf::reader(piece).read_to_end(&mut body).unwrap();
        }
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
