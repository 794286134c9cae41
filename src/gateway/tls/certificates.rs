//! Which certificate a visitor is shown.
//!
//! The main one is for the domain and all names one label below it; the operator may name others for names of their own. Below a domain
//! of a single label (`localhost`) most clients accept no wildcard, so there each tunnel gets a certificate of its own, issued by
//! the private root when it is registered. A name that nobody knows gets the main one: refusing is the client's to do.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SigningKey};
use sallyport_hsm::authority::{self, Validity};
use sallyport_hsm::{KeyHandle, Keys, Role, certificate};
use tracing::warn;

use super::{TlsError, chain};
use crate::clock;
use crate::edge::NameCertificates;
use crate::gateway::config::{NamedCertificate, Tls};

/// More names than this get no certificate of their own; the bound is on memory and on work for the token.
const MOST_NAMED: usize = 4096;

/// The certificates that the listener may show.
pub(in crate::gateway) struct Certificates {
    keys: Keys,
    root: Option<String>,
    leaf: Duration,
    main: RwLock<Main>,
    /// Held while a certificate is issued, or the key is replaced that they are for.
    issuing: Mutex<()>,
    /// Configured ones that are for the provider's key and that nobody here can issue anew.
    bound: bool,
    /// By name, `*.` before it where it stands for one label.
    configured: HashMap<String, Arc<CertifiedKey>>,
    issued: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// The certificate for most names, and the key that it and all that are issued are for.
struct Main {
    key: KeyHandle,
    certified: Arc<CertifiedKey>,
}

impl Certificates {
    /// Reads the chains, and finds for each the key that it is for.
    pub(in crate::gateway) fn open(keys: &Keys, settings: &Tls, domain: &str) -> Result<Arc<Self>, TlsError> {
        let file = &settings.certificate_file;
        let key = keys.present(Role::Tls)?;
        let main = Main { certified: certified(chain(file)?, of_handle(&key), file)?, key };
        let mut configured = HashMap::new();
        for one in &settings.certificates {
            let (names, key) = load(keys, one)?;
            for name in names {
                configured.insert(name, Arc::clone(&key));
            }
        }
        let root =
            if domain.contains('.') { None } else { std::fs::read_to_string(&settings.root_file).ok() };
        Ok(Arc::new(Self {
            keys: keys.clone(),
            root,
            leaf: settings.leaf,
            main: RwLock::new(main),
            issuing: Mutex::default(),
            bound: settings.certificates.iter().any(|one| one.key_file.is_none()),
            configured,
            issued: RwLock::default(),
        }))
    }

    /// Shows the chain in `chain_file`, which is for `key`, from the next handshake on; every certificate that was issued
    /// for a single name is issued anew for that key. Gives what handshakes that have begun may still hold. Blocks.
    ///
    /// # Errors
    ///
    /// If one of them cannot be had: then all stay as they were.
    pub(in crate::gateway) fn show(
        &self,
        chain_file: &Path,
        key: KeyHandle,
    ) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let another = self.main.read().unwrap_or_else(PoisonError::into_inner).key.public() != key.public();
        if self.bound && another {
            return Err(TlsError::OtherKey {
                path: chain_file.to_owned(),
                key: "the new key: a [[tls.certificate]] without a key_file is for the one before".to_owned(),
            });
        }
        let main = certified(chain(chain_file)?, of_handle(&key), chain_file)?;
        let hosts: Vec<String> =
            self.issued.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let mut own = HashMap::new();
        for host in hosts {
            let certified = self.certify(&host, &key)?;
            own.insert(host, certified);
        }
        let main = std::mem::replace(
            &mut *self.main.write().unwrap_or_else(PoisonError::into_inner),
            Main { key, certified: main },
        );
        let old = std::mem::replace(&mut *self.issued.write().unwrap_or_else(PoisonError::into_inner), own);
        Ok(old.into_values().chain([main.certified]).collect())
    }

    /// The key that the main certificate is for.
    pub(super) fn key(&self) -> KeyHandle {
        self.main.read().unwrap_or_else(PoisonError::into_inner).key.clone()
    }

    fn issue(&self, host: &str) -> Result<(), TlsError> {
        let known = {
            let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
            issued.contains_key(host) || issued.len() >= MOST_NAMED || self.configured_for(host).is_some()
        };
        if known || self.root.is_none() {
            return Ok(());
        }
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let certified = self.certify(host, &self.key())?;
        self.issued.write().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), certified);
        Ok(())
    }

    fn certify(&self, host: &str, key: &KeyHandle) -> Result<Arc<CertifiedKey>, TlsError> {
        let (root, names) = (self.root.as_deref().unwrap_or_default(), [host.to_owned()]);
        let validity = Validity { now: clock::now(), lasts: self.leaf };
        let leaf = authority::issue_server_leaf_for(&self.keys, root, &names, validity, key.public())?;
        let chain = CertificateDer::from_pem_slice(leaf.as_bytes())
            .map_err(|error| TlsError::Certificate { path: host.into(), why: error.to_string() })?;
        certified(vec![chain], of_handle(key), Path::new(host))
    }

    fn configured_for(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let wildcard = || self.configured.get(&format!("*.{}", name.split_once('.')?.1));
        self.configured.get(name).or_else(wildcard)
    }

    fn for_name(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let name = name.map(str::to_ascii_lowercase);
        if let Some(name) = &name {
            if let Some(configured) = self.configured_for(name) {
                return Arc::clone(configured);
            }
            if let Some(issued) = self.issued.read().unwrap_or_else(PoisonError::into_inner).get(name) {
                return Arc::clone(issued);
            }
        }
        Arc::clone(&self.main.read().unwrap_or_else(PoisonError::into_inner).certified)
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
        Some(self.for_name(hello.server_name()))
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

/// A key, and what to call it in an error.
type Key = (Arc<dyn SigningKey>, String);

fn of_handle(key: &KeyHandle) -> Key {
    (key.for_tls(), "the key with role `tls` in the key provider".to_owned())
}

fn of_file(path: &Path) -> Result<Key, TlsError> {
    let unusable = |why: String| TlsError::KeyFile { path: path.to_owned(), why };
    let mode = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable(format!("others may read it (mode {:04o})", mode & 0o7777)));
    }
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(error.to_string()))?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| unusable(error.to_string()))?;
    Ok((key, format!("the key in {}", path.display())))
}

/// A configured certificate, and the names that it is for.
fn load(keys: &Keys, one: &NamedCertificate) -> Result<(Vec<String>, Arc<CertifiedKey>), TlsError> {
    let file = &one.certificate_file;
    let key = match &one.key_file {
        None => of_handle(&keys.present(Role::Tls)?),
        Some(path) => of_file(path)?,
    };
    let chain = chain(file)?;
    let names = if one.names.is_empty() {
        chain.first().map(|leaf| certificate::names(leaf)).transpose()?.map(|names| names.dns)
    } else {
        Some(one.names.clone())
    };
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| TlsError::Certificate {
        path: file.clone(),
        why: "it is for no host name, and none is configured".to_owned(),
    })?;
    Ok((names, certified(chain, key, file)?))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    (key, called): Key,
    path: &Path,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| TlsError::OtherKey { path: path.to_owned(), key: called })?;
    Ok(Arc::new(certified))
}
