//! QUIC by the test's own hand: what a client of somebody else's could do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::world::World;

/// How a client introduces itself.
pub(crate) struct Hello {
    alpn: &'static [u8],
    groups: Option<Vec<&'static dyn SupportedKxGroup>>,
}

impl Hello {
    /// With this protocol.
    pub(crate) fn speaking(alpn: &'static [u8]) -> Self {
        Self { alpn, groups: None }
    }

    /// With these key exchanges alone.
    pub(crate) fn only(self, group: &'static dyn SupportedKxGroup) -> Self {
        Self { groups: Some(vec![group]), ..self }
    }

    /// What quinn is to be given.
    pub(crate) fn config(&self, world: &World) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(world.root()).unwrap() {
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
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
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
