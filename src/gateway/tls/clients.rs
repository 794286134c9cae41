//! Whether a client's certificate is good, by the authorities that the operator named and their revocation lists.
//!
//! The lists are read again when their file changes. What a new list revokes is revoked in access too, by a record, so
//! that sessions which stand on it end at once; a list that cannot be read leaves the one before it in force, until its own
//! time is over. Certificates that TLS took over from an earlier connection are checked again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use sallyport_hsm::certificate;
use tracing::{info, warn};

use super::{TlsError, chain};
use crate::access::CertificateId;
use crate::edge::{ClientCertificates, NamedBy, Presented};
use crate::gateway::config::Clients;

/// Chains remembered for the day that a list revokes them; beyond that the oldest knowledge is cleared.
const MOST_SEEN: usize = 16_384;
/// A revocation list of a large authority has some megabytes.
const LARGEST_LIST: u64 = 64 << 20;

type Chain = Vec<CertificateDer<'static>>;

/// What checks clients' certificates.
pub(in crate::gateway) struct ClientAuthority {
    checked: Arc<Checked>,
    named_by: NamedBy,
    roots_file: PathBuf,
    roots: RwLock<Arc<RootCertStore>>,
    required: bool,
    crl_file: Option<PathBuf>,
    /// What the lists were made of, to see whether the file has changed.
    read: Mutex<Vec<u8>>,
    seen: Mutex<HashMap<CertificateId, Chain>>,
}

/// The verifier in force; TLS holds this one, and it is exchanged within.
struct Checked {
    inner: RwLock<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    required: bool,
}

impl ClientAuthority {
    /// Reads authorities and lists.
    pub(in crate::gateway) fn open(settings: &Clients) -> Result<Arc<Self>, TlsError> {
        let file = &settings.roots_file;
        let roots = read_roots(file)?;
        let read = settings.crl_file.as_deref().map(read_lists).transpose()?.unwrap_or_default();
        let lists = settings.crl_file.as_deref().map(|file| parse_lists(file, &read)).transpose()?;
        let inner = verifier(&roots, settings.required, lists)
            .map_err(|why| TlsError::Clients { path: file.clone(), why })?;
        let checked =
            Checked { inner: RwLock::new(inner), hints: roots.subjects(), required: settings.required };
        Ok(Arc::new(Self {
            checked: Arc::new(checked),
            named_by: settings.named_by,
            roots_file: file.clone(),
            roots: RwLock::new(roots),
            required: settings.required,
            crl_file: settings.crl_file.clone(),
            read: Mutex::new(read),
            seen: Mutex::default(),
        }))
    }

    /// For TLS.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.checked) as Arc<dyn ClientCertVerifier>
    }

    fn current_roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the authorities again, and gives what makes theirs the certificates that count from the next handshake on.
    /// Nothing has changed until it is called. Blocks.
    ///
    /// # Errors
    ///
    /// If the file is of no use.
    pub(in crate::gateway) fn read_roots_again(&self) -> Result<impl FnOnce() + '_, TlsError> {
        let fresh = read_roots(&self.roots_file)?;
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let lists = self.crl_file.as_deref().map(|file| parse_lists(file, &read)).transpose()?;
        let inner = verifier(&fresh, self.required, lists)
            .map_err(|why| TlsError::Clients { path: self.roots_file.clone(), why })?;
        Ok(move || {
            let _still_those_lists = read;
            *self.roots.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            *self.checked.inner.write().unwrap_or_else(PoisonError::into_inner) = inner;
        })
    }

    /// Reads the lists again if their file has changed, and tells which of the certificates that were shown are not good any
    /// more. Blocks.
    pub(in crate::gateway) fn reload(&self) -> Vec<CertificateId> {
        let Some(file) = &self.crl_file else { return Vec::new() };
        let fresh = match read_lists(file) {
            Ok(fresh) => fresh,
            Err(error) => {
                warn!(%error, "the revocation lists cannot be read; those read before stay in force");
                return Vec::new();
            }
        };
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if *read == fresh {
                return Vec::new();
            }
            let made = parse_lists(file, &fresh)
                .map_err(|error| error.to_string())
                .and_then(|lists| verifier(&self.current_roots(), self.required, Some(lists)));
            // Remembered whether it is any use or not: one warning for each state of the file.
            *read = fresh;
            match made {
                Ok(inner) => *self.checked.inner.write().unwrap_or_else(PoisonError::into_inner) = inner,
                Err(why) => {
                    warn!(why, "the revocation lists cannot be used; those read before stay in force");
                    return Vec::new();
                }
            }
        }
        info!(file = %file.display(), "revocation lists of clients' certificates were read");
        let seen: Vec<(CertificateId, Chain)> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.iter().map(|(id, chain)| (*id, chain.clone())).collect()
        };
        let revoked = |chain: &Chain| {
            let checked = self.check(chain);
            matches!(checked, Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked)))
        };
        seen.into_iter().filter(|(_, chain)| revoked(chain)).map(|(id, _)| id).collect()
    }

    fn check(&self, chain: &[CertificateDer<'static>]) -> Result<(), rustls::Error> {
        let (leaf, rest) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.checked.current().verify_client_cert(leaf, rest, UnixTime::now()).map(drop)
    }
}

impl ClientCertificates for ClientAuthority {
    fn know(&self, chain: &[CertificateDer<'static>], resumed: bool) -> Result<Presented, rustls::Error> {
        if resumed {
            self.check(chain)?;
        }
        let leaf = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let names = certificate::names(leaf).map_err(|error| rustls::Error::General(error.to_string()))?;
        let presented = Presented::read(&names, self.named_by);
        if self.crl_file.is_some() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= MOST_SEEN {
                seen.retain(|_, chain| self.check(chain).is_ok());
            }
            seen.entry(presented.id).or_insert_with(|| chain.to_vec());
        }
        Ok(presented)
    }
}

impl Checked {
    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checked")
    }
}

impl ClientCertVerifier for Checked {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

/// Checks the whole chain against the lists, if there are any: one that is missing or past its time lets nobody in.
fn verifier(
    roots: &Arc<RootCertStore>,
    required: bool,
    lists: Option<Vec<CertificateRevocationListDer<'static>>>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider);
    if let Some(lists) = lists {
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if !required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| error.to_string())
}

fn read_roots(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let unusable = |why: String| TlsError::Clients { path: file.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for root in chain(file).map_err(|error| unusable(error.to_string()))? {
        roots.add(root).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn read_lists(file: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let unusable = |why: String| TlsError::Clients { path: file.to_owned(), why };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| unusable(error.to_string()))?;
    opened.take(LARGEST_LIST + 1).read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_LIST {
        return Err(unusable("it is larger than 64 MiB".to_owned()));
    }
    Ok(bytes)
}

fn parse_lists(file: &Path, bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let unusable = |why: String| TlsError::Clients { path: file.to_owned(), why };
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if lists.is_empty() { Err(unusable("there is no revocation list in it".to_owned())) } else { Ok(lists) }
}
