//! Which certificate a visitor is shown.
//!
//! The main one is for the domain and all names one label below it; the operator may name others for names of their own. Below a domain
//! of a single label (`localhost`) most clients accept no wildcard, so there each tunnel gets a certificate of its own, issued by
//! the private root when it is registered. A name that nobody knows gets the main one: refusing is the client's to do.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SigningKey};
use sallyport_hsm::authority::{self, Validity};
use sallyport_hsm::{Keys, certificate};
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
    main: RwLock<Arc<CertifiedKey>>,
    /// By name, `*.` before it where it stands for one label.
    configured: HashMap<String, Arc<CertifiedKey>>,
    issued: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads the chains, and finds for each the key that it is for.
    pub(in crate::gateway) fn open(keys: &Keys, settings: &Tls, domain: &str) -> Result<Arc<Self>, TlsError> {
        let file = &settings.certificate_file;
        let main = certified(chain(file)?, of_provider(keys)?, file)?;
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
            configured,
            issued: RwLock::default(),
        }))
    }

    /// Shows another main certificate from the next handshake on; those issued for single names are issued anew when
    /// they are wanted.
    pub(in crate::gateway) fn replace_main(&self, file: &Path) -> Result<(), TlsError> {
        let main = certified(chain(file)?, of_provider(&self.keys)?, file)?;
        *self.main.write().unwrap_or_else(PoisonError::into_inner) = main;
        Ok(())
    }

    /// Issues those for single names anew.
    pub(super) fn reissue(&self) -> Result<(), TlsError> {
        let names: Vec<String> =
            self.issued.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        names.iter().try_for_each(|host| self.issue_anew(host))
    }

    fn issue(&self, host: &str) -> Result<(), TlsError> {
        let known = {
            let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
            issued.contains_key(host) || issued.len() >= MOST_NAMED || self.configured_for(host).is_some()
        };
        if known { Ok(()) } else { self.issue_anew(host) }
    }

    fn issue_anew(&self, host: &str) -> Result<(), TlsError> {
        let Some(root) = &self.root else { return Ok(()) };
        let validity = Validity { now: clock::now(), lasts: self.leaf };
        let leaf = authority::issue_server_leaf(&self.keys, root, &[host.to_owned()], validity)?;
        let chain = CertificateDer::from_pem_slice(leaf.as_bytes())
            .map_err(|error| TlsError::Certificate { path: host.into(), why: error.to_string() })?;
        let certified = certified(vec![chain], of_provider(&self.keys)?, Path::new(host))?;
        self.issued.write().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), certified);
        Ok(())
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
        Arc::clone(&self.main.read().unwrap_or_else(PoisonError::into_inner))
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

fn of_provider(keys: &Keys) -> Result<Key, TlsError> {
    Ok((keys.tls_signing_key()?, "the key with role `tls` in the key provider".to_owned()))
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
        None => of_provider(keys)?,
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
