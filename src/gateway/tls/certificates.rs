//! Which certificate a visitor is shown.
//!
//! The main one is for the domain and all names one label below it; the operator may name others for names of their own. Below a domain
//! of a single label (`localhost`) most clients accept no wildcard, so there each tunnel gets a certificate of its own, issued by
//! the private root when it is registered. A name that nobody knows gets the main one: refusing is the client's to do.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SigningKey};
use sallyport_hsm::authority::{self, Validity};
use sallyport_hsm::{KeyHandle, Keys, Role, RootBundle, certificate};
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
    /// Which root issues; empty where there is none.
    root: RwLock<String>,
    /// Whether each name gets a certificate of its own.
    each: bool,
    leaf: Duration,
    main: RwLock<Main>,
    /// Held while a certificate is issued, or the key is replaced that they are for.
    issuing: Mutex<()>,
    /// Configured ones that are for the provider's key and that nobody here can issue anew.
    bound: bool,
    /// By name, `*.` before it where it stands for one label.
    configured: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    issued: RwLock<HashMap<String, Shown>>,
}

/// The certificate for most names, and the keys that it and all that are issued are for.
struct Main {
    pair: KeyPair,
    shown: Shown,
}

/// The key of role `tls`, and that of `tls-pq` where certificates for it are wanted.
#[derive(Clone)]
pub(in crate::gateway) struct KeyPair {
    pub(in crate::gateway) key: KeyHandle,
    pub(in crate::gateway) ml_dsa: Option<KeyHandle>,
}

/// What is shown for a name: the second to clients that know ML-DSA.
#[derive(Clone)]
struct Shown {
    certified: Arc<CertifiedKey>,
    ml_dsa: Option<Arc<CertifiedKey>>,
}

impl Shown {
    fn to(&self, offered: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let ml_dsa = self.ml_dsa.as_ref().filter(|_| offered.contains(&SignatureScheme::ML_DSA_65));
        Arc::clone(ml_dsa.unwrap_or(&self.certified))
    }

    fn all(self) -> impl Iterator<Item = Arc<CertifiedKey>> {
        [self.certified].into_iter().chain(self.ml_dsa)
    }
}

impl Certificates {
    /// Reads the chains, and finds for each the key that it is for.
    pub(in crate::gateway) fn open(keys: &Keys, settings: &Tls, domain: &str) -> Result<Arc<Self>, TlsError> {
        let file = &settings.certificate_file;
        let key = keys.present(Role::Tls)?;
        let ml_dsa = settings.with_ml_dsa.then(|| keys.present(Role::TlsPq)).transpose()?;
        let pair = KeyPair { key, ml_dsa };
        let root = std::fs::read_to_string(&settings.root_file).unwrap_or_default();
        let issuer = Issuer { keys, root: &root, lasts: settings.leaf };
        let main = Main { shown: issuer.beside(file, &pair)?, pair };
        let configured = configured(keys, settings)?;
        let root = RwLock::new(root);
        Ok(Arc::new(Self {
            keys: keys.clone(),
            root,
            each: !domain.contains('.'),
            leaf: settings.leaf,
            main: RwLock::new(main),
            issuing: Mutex::default(),
            bound: settings.certificates.iter().any(|one| one.key_file.is_none()),
            configured: RwLock::new(configured),
            issued: RwLock::default(),
        }))
    }

    /// Shows the chain in `chain_file`, which is for the key of the pair, from the next handshake on; every certificate that
    /// was issued here is issued anew for these keys. Gives what handshakes that have begun may still hold. Blocks.
    ///
    /// # Errors
    ///
    /// If one of them cannot be had: then all stay as they were.
    pub(in crate::gateway) fn show(
        &self,
        chain_file: &Path,
        pair: KeyPair,
    ) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let another = self.key_pair().key.public() != pair.key.public();
        if self.bound && another {
            return Err(TlsError::OtherKey {
                path: chain_file.to_owned(),
                key: "the new key: a [[tls.certificate]] without a key_file is for the one before".to_owned(),
            });
        }
        let root = self.root();
        let issuer = Issuer { keys: &self.keys, root: &root, lasts: self.leaf };
        let shown = issuer.beside(chain_file, &pair)?;
        let hosts: Vec<String> =
            self.issued.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let mut own = HashMap::new();
        for host in hosts {
            let shown = issuer.issue(std::slice::from_ref(&host), &pair)?;
            own.insert(host, shown);
        }
        let main = std::mem::replace(
            &mut *self.main.write().unwrap_or_else(PoisonError::into_inner),
            Main { pair, shown },
        );
        let old = std::mem::replace(&mut *self.issued.write().unwrap_or_else(PoisonError::into_inner), own);
        Ok(old.into_values().chain([main.shown]).flat_map(Shown::all).collect())
    }

    /// Reads the files again, for certificates that somebody else renews, and shows what they hold from the next handshake on.
    /// Connections that are open notice nothing. Blocks.
    ///
    /// # Errors
    ///
    /// If one of them is of no use, or its time is over: then all stay as they were.
    pub(super) fn reload(&self, settings: &Tls) -> Result<(), TlsError> {
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, pair) = (&settings.certificate_file, self.key_pair());
        in_its_time(chain(file)?, file)?;
        let root = self.root();
        let shown = Issuer { keys: &self.keys, root: &root, lasts: self.leaf }.beside(file, &pair)?;
        let configured = configured(&self.keys, settings)?;
        for one in &settings.certificates {
            in_its_time(chain(&one.certificate_file)?, &one.certificate_file)?;
        }
        *self.main.write().unwrap_or_else(PoisonError::into_inner) = Main { pair, shown };
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = configured;
        Ok(())
    }

    /// The file with the root holds others than before. Certificates for single names are of the new one from
    /// [`Self::show`] on. Blocks.
    pub(in crate::gateway) fn root_changed(&self, file: &Path) {
        *self.root.write().unwrap_or_else(PoisonError::into_inner) =
            std::fs::read_to_string(file).unwrap_or_default();
    }

    fn root(&self) -> String {
        self.root.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys that certificates are for.
    pub(in crate::gateway) fn key_pair(&self) -> KeyPair {
        self.main.read().unwrap_or_else(PoisonError::into_inner).pair.clone()
    }

    fn issue(&self, host: &str) -> Result<(), TlsError> {
        let known = {
            let issued = self.issued.read().unwrap_or_else(PoisonError::into_inner);
            issued.contains_key(host) || issued.len() >= MOST_NAMED || self.configured_for(host).is_some()
        };
        if known || !self.each || self.root().is_empty() {
            return Ok(());
        }
        let _turn = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        let (root, host) = (self.root(), host.to_owned());
        let issuer = Issuer { keys: &self.keys, root: &root, lasts: self.leaf };
        let shown = issuer.issue(std::slice::from_ref(&host), &self.key_pair())?;
        self.issued.write().unwrap_or_else(PoisonError::into_inner).insert(host, shown);
        Ok(())
    }

    fn configured_for(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let configured = self.configured.read().unwrap_or_else(PoisonError::into_inner);
        let wildcard = || configured.get(&format!("*.{}", name.split_once('.')?.1));
        configured.get(name).or_else(wildcard).map(Arc::clone)
    }

    fn for_name(&self, name: Option<&str>, offered: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let name = name.map(str::to_ascii_lowercase);
        if let Some(name) = &name {
            if let Some(configured) = self.configured_for(name) {
                return configured;
            }
            if let Some(issued) = self.issued.read().unwrap_or_else(PoisonError::into_inner).get(name) {
                return issued.to(offered);
            }
        }
        self.main.read().unwrap_or_else(PoisonError::into_inner).shown.to(offered)
    }
}

/// The private root, as it issues certificates that stand in no file.
struct Issuer<'a> {
    keys: &'a Keys,
    root: &'a str,
    lasts: Duration,
}

impl Issuer<'_> {
    /// The chain of a file; and, for an ML-DSA key, a certificate for the same names, if the root issued that chain too.
    fn beside(&self, file: &Path, pair: &KeyPair) -> Result<Shown, TlsError> {
        let certified = certified(chain(file)?, of_handle(&pair.key), file)?;
        let Some(key) = &pair.ml_dsa else { return Ok(Shown { certified, ml_dsa: None }) };
        let unreadable =
            |error: std::io::Error| TlsError::Certificate { path: file.to_owned(), why: error.to_string() };
        let leaf = std::fs::read_to_string(file).map_err(unreadable)?;
        if !RootBundle::issued(self.root, &leaf) {
            return Err(TlsError::NoMlDsa { path: file.to_owned() });
        }
        let ml_dsa = Some(self.certify(&authority::names_of(&leaf)?, key)?);
        Ok(Shown { certified, ml_dsa })
    }

    fn issue(&self, names: &[String], pair: &KeyPair) -> Result<Shown, TlsError> {
        let ml_dsa = pair.ml_dsa.as_ref().map(|key| self.certify(names, key)).transpose()?;
        Ok(Shown { certified: self.certify(names, &pair.key)?, ml_dsa })
    }

    fn certify(&self, names: &[String], key: &KeyHandle) -> Result<Arc<CertifiedKey>, TlsError> {
        let path = || PathBuf::from(names.first().map(String::as_str).unwrap_or_default());
        let validity = Validity { now: clock::now(), lasts: self.lasts };
        let leaf = authority::issue_server_leaf_for(self.keys, self.root, names, validity, key.public())?;
        let chain = CertificateDer::from_pem_slice(leaf.as_bytes())
            .map_err(|error| TlsError::Certificate { path: path(), why: error.to_string() })?;
        certified(vec![chain], of_handle(key), &path())
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
        Some(self.for_name(hello.server_name(), hello.signature_schemes()))
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
    (key.for_tls(), format!("the key with role `{}` in the key provider", key.info().role))
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

/// The configured certificates by their names.
fn configured(keys: &Keys, settings: &Tls) -> Result<HashMap<String, Arc<CertifiedKey>>, TlsError> {
    let mut configured = HashMap::new();
    for one in &settings.certificates {
        let (names, key) = load(keys, one)?;
        configured.extend(names.into_iter().map(|name| (name, Arc::clone(&key))));
    }
    Ok(configured)
}

/// The chain, if its leaf is valid now. Not asked at a start: a gateway that can't be reached at all helps nobody.
fn in_its_time(
    chain: Vec<CertificateDer<'static>>,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: String| TlsError::Certificate { path: path.to_owned(), why };
    let leaf = chain.first().ok_or_else(|| wrong("there is no certificate in it".to_owned()))?;
    let certificate::Names { not_before, not_after, .. } = certificate::names(leaf)?;
    if (not_before..=not_after).contains(&clock::now()) {
        return Ok(chain);
    }
    Err(wrong(format!("it is valid from {not_before} to {not_after}, and not now")))
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
