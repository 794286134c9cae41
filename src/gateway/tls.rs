//! TLS for the listener: 1.3 alone, X25519MLKEM768 first, the private key in the provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use sallyport_hsm::{KeyError, Keys};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain cannot be read.
    #[error("the certificate chain {path} cannot be read: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The chain's leaf is not for the provider's TLS key.
    #[error("the certificate in {path} is not for the key with role `tls` in the key provider")]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// The provider.
    #[error("the TLS key cannot be used")]
    Key(#[from] KeyError),
    /// rustls refused the settings.
    #[error("TLS cannot be set up")]
    Settings(#[from] rustls::Error),
}

/// One certificate for every name; several certificates by SNI come with custom domains.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The listener's TLS settings.
pub(super) fn server(keys: &Keys, chain_file: &Path) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let unreadable = |why: String| TlsError::Certificate { path: chain_file.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(error.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable("there is no certificate in it".to_owned()));
    }
    let certified = CertifiedKey::new(chain, keys.tls_signing_key()?);
    certified.keys_match().map_err(|_| TlsError::OtherKey { path: chain_file.to_owned() })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(One(Arc::new(certified))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
