//! TLS for the listener: 1.3 alone, X25519MLKEM768 first, the private key in the provider.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use sallyport_hsm::authority::{self, Validity};
use sallyport_hsm::{KeyError, Keys};
use tracing::warn;

use crate::clock;
use crate::edge::NameCertificates;

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

/// The certificates that the listener may show.
///
/// One is for the domain and all names one label below it. Below a domain of a single label (`localhost`) most clients
/// accept no wildcard, so there each tunnel gets a certificate of its own, issued by the private root when it is registered.
pub(super) struct Certificates {
    keys: Keys,
    root: Option<String>,
    wildcard: Arc<CertifiedKey>,
    named: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// More names than this get none of their own; the bound is on memory and on work for the token.
const MOST_NAMED: usize = 4096;

impl Certificates {
    /// Reads the chain, whose key must be the provider's. `root_file` is the private root that may issue more.
    pub(super) fn open(
        keys: &Keys,
        chain_file: &Path,
        root_file: &Path,
        domain: &str,
    ) -> Result<Arc<Self>, TlsError> {
        let unreadable = |why: String| TlsError::Certificate { path: chain_file.to_owned(), why };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain_file)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(error.to_string()))?;
        if chain.is_empty() {
            return Err(unreadable("there is no certificate in it".to_owned()));
        }
        let wildcard = certified(keys, chain, chain_file)?;
        let root = if domain.contains('.') { None } else { std::fs::read_to_string(root_file).ok() };
        Ok(Arc::new(Self { keys: keys.clone(), root, wildcard, named: RwLock::default() }))
    }

    /// The listener's TLS settings.
    pub(super) fn server(self: &Arc<Self>) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn issue(&self, host: &str) -> Result<(), TlsError> {
        let known = |named: &HashMap<String, Arc<CertifiedKey>>| {
            named.contains_key(host) || named.len() >= MOST_NAMED
        };
        let Some(root) = &self.root else { return Ok(()) };
        if known(&self.named.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let leaf =
            authority::issue_server_leaf(&self.keys, root, &[host.to_owned()], Validity::leaf(clock::now()))?;
        let chain = CertificateDer::from_pem_slice(leaf.as_bytes())
            .map_err(|error| TlsError::Certificate { path: host.into(), why: error.to_string() })?;
        let certified = certified(&self.keys, vec![chain], Path::new(host))?;
        self.named.write().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), certified);
        Ok(())
    }
}

impl NameCertificates for Certificates {
    fn ensure(self: Arc<Self>, host: String) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let issued =
                tokio::task::spawn_blocking(move || self.issue(&host).map_err(|error| (host, error))).await;
            if let Ok(Err((host, error))) = issued {
                warn!(%host, %error, "no certificate could be issued for this name; visitors may get a warning");
            }
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let own = hello.server_name().and_then(|name| named.get(&name.to_ascii_lowercase()));
        Some(Arc::clone(own.unwrap_or(&self.wildcard)))
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

fn certified(
    keys: &Keys,
    chain: Vec<CertificateDer<'static>>,
    path: &Path,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let certified = CertifiedKey::new(chain, keys.tls_signing_key()?);
    certified.keys_match().map_err(|_| TlsError::OtherKey { path: path.to_owned() })?;
    Ok(Arc::new(certified))
}
