//! TLS for the listener: 1.3 alone, X25519MLKEM768 first, the private key in the provider.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use sallyport_hsm::authority::{self, Validity};
use sallyport_hsm::{KeyError, KeyHandle, Keys, Role};
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
    main: RwLock<Main>,
    /// Held while a certificate is issued, or the key is replaced that they are for.
    issuing: Mutex<()>,
    named: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// The certificate for most names, and the key that it and all others are for.
struct Main {
    key: KeyHandle,
    certified: Arc<CertifiedKey>,
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
        let key = keys.present(Role::Tls)?;
        let main = Main { certified: certified(&key, read_chain(chain_file)?, chain_file)?, key };
        let root = if domain.contains('.') { None } else { std::fs::read_to_string(root_file).ok() };
        Ok(Arc::new(Self {
            keys: keys.clone(),
            root,
            main: RwLock::new(main),
            issuing: Mutex::default(),
            named: RwLock::default(),
        }))
    }

    /// Shows the chain in `chain_file`, which is for `key`, from the next handshake on; every other certificate is
    /// issued anew for that key. Gives what handshakes that have begun may still hold. Blocks.
    ///
    /// # Errors
    ///
    /// If one of them cannot be had: then all stay as they were.
    pub(super) fn show(&self, chain_file: &Path, key: KeyHandle) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let main = certified(&key, read_chain(chain_file)?, chain_file)?;
        let hosts: Vec<String> =
            self.named.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let mut own = HashMap::new();
        for host in hosts {
            let certified = self.certify(&host, &key)?;
            own.insert(host, certified);
        }
        let main = std::mem::replace(
            &mut *self.main.write().unwrap_or_else(PoisonError::into_inner),
            Main { key, certified: main },
        );
        let old = std::mem::replace(&mut *self.named.write().unwrap_or_else(PoisonError::into_inner), own);
        Ok(old.into_values().chain([main.certified]).collect())
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
        if self.root.is_none() || known(&self.named.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.main.read().unwrap_or_else(PoisonError::into_inner).key.clone();
        let certified = self.certify(host, &key)?;
        self.named.write().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), certified);
        Ok(())
    }

    fn certify(&self, host: &str, key: &KeyHandle) -> Result<Arc<CertifiedKey>, TlsError> {
        let (root, names) = (self.root.as_deref().unwrap_or_default(), [host.to_owned()]);
        let validity = Validity::leaf(clock::now());
        let leaf = authority::issue_server_leaf_for(&self.keys, root, &names, validity, key.public())?;
        let chain = CertificateDer::from_pem_slice(leaf.as_bytes())
            .map_err(|error| TlsError::Certificate { path: host.into(), why: error.to_string() })?;
        certified(key, vec![chain], Path::new(host))
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
        let main = || Arc::clone(&self.main.read().unwrap_or_else(PoisonError::into_inner).certified);
        Some(own.map_or_else(main, Arc::clone))
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |why: String| TlsError::Certificate { path: path.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(error.to_string()))?;
    if chain.is_empty() { Err(unreadable("there is no certificate in it".to_owned())) } else { Ok(chain) }
}

fn certified(
    key: &KeyHandle,
    chain: Vec<CertificateDer<'static>>,
    path: &Path,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let certified = CertifiedKey::new(chain, key.for_tls());
    certified.keys_match().map_err(|_| TlsError::OtherKey { path: path.to_owned() })?;
    Ok(Arc::new(certified))
}
