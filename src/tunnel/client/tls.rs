//! TLS as clients speak it: who may vouch for the other end, and what they show of themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::dial_error::DialError;

/// Where distributions keep the certificates of public authorities, the commonest first.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Which authorities may vouch for the gateway's TLS certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsRoots {
    /// Those that the operating system trusts.
    #[default]
    System,
    /// Those in this PEM file and no others.
    File(PathBuf),
}

/// The certificate with which a client proves itself in TLS, and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain (PEM), leaf first.
    pub chain: PathBuf,
    /// The key (PEM).
    pub key: PathBuf,
}

/// TLS 1.3 with X25519MLKEM768 first, for clients that speak HTTP/1.1 and then WebSocket.
pub fn tls_config(roots: &TlsRoots) -> Result<Arc<rustls::ClientConfig>, DialError> {
    tls_config_showing(roots, None)
}

/// The same, with a certificate that is shown to a gateway which asks for one.
pub fn tls_config_showing(
    roots: &TlsRoots,
    certificate: Option<&CertificateFiles>,
) -> Result<Arc<rustls::ClientConfig>, DialError> {
    config(roots, certificate, &[&rustls::version::TLS13]).map(Arc::new)
}

/// TLS 1.3 or 1.2, for apps behind a publisher: what they speak is not the gateway's to say.
pub fn app_tls_config(roots: &TlsRoots) -> Result<Arc<rustls::ClientConfig>, DialError> {
    config(roots, None, rustls::ALL_VERSIONS).map(Arc::new)
}

fn config(
    roots: &TlsRoots,
    certificate: Option<&CertificateFiles>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<rustls::ClientConfig, DialError> {
    let path = path_of(roots)?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in root_certificates(roots)? {
        store.add(certificate).map_err(|error| roots_error(&path, error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| roots_error(&path, error))?
        .with_root_certificates(store);
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(own) => {
            let failed =
                |path: &Path, reason: String| DialError::Certificate { path: path.to_owned(), reason };
            let chain = CertificateDer::pem_file_iter(&own.chain)
                .and_then(Iterator::collect)
                .map_err(|error| failed(&own.chain, error.to_string()))?;
            let key = PrivateKeyDer::from_pem_file(&own.key)
                .map_err(|error| failed(&own.key, error.to_string()))?;
            config.with_client_auth_cert(chain, key).map_err(|error| failed(&own.chain, error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates that another's must lead to; at least one.
///
/// # Errors
///
/// No file, or one that holds none or a faulty one.
pub fn root_certificates(roots: &TlsRoots) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let path = path_of(roots)?;
    let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| roots_error(&path, error))?;
    let mut taken = Vec::new();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| roots_error(&path, error))?;
        // A system's bundle may hold certificates that webpki does not take; one file of one's own must be right.
        match (rustls::RootCertStore::empty().add(certificate.clone()), roots) {
            (Ok(()), _) => taken.push(certificate),
            (Err(error), TlsRoots::File(_)) => return Err(roots_error(&path, error)),
            (Err(_), TlsRoots::System) => {}
        }
    }
    if taken.is_empty() {
        return Err(roots_error(&path, "it holds no certificate"));
    }
    Ok(taken)
}

fn path_of(roots: &TlsRoots) -> Result<PathBuf, DialError> {
    match roots {
        TlsRoots::File(path) => Ok(path.clone()),
        TlsRoots::System => SYSTEM_ROOTS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| roots_error(Path::new("/etc/ssl"), "no certificate authorities are installed")),
    }
}

fn roots_error(path: &Path, reason: impl std::fmt::Display) -> DialError {
    DialError::Roots { path: path.to_owned(), reason: reason.to_string() }
}
