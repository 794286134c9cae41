//! TLS for the listener: 1.3 unless the operator says otherwise, X25519MLKEM768 first or alone, keys in the provider, and clients' own
//! certificates where they are asked for.
//!
//! Promised: a certificate is shown only with a key that fits it; what is configured is checked as a whole before the
//! gateway listens; a renewed certificate is shown from the next handshake on, and no open connection notices.
//! Trusted: the files named in `[tls]`. Whoever can write the file of clients' authorities can name anybody.

mod certificates;
mod clients;
mod reloading;
mod renewal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ResolvesServerCert;
use sallyport_audit::Draft;
use sallyport_hsm::KeyError;
use tracing::warn;

use super::config::{Config, Tls};
use crate::tunnel::ALPN;

pub(super) use certificates::{Certificates, KeyPair};
pub(super) use clients::ClientAuthority;
pub(super) use reloading::reload_when_told;
pub(super) use renewal::renew;

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
    /// The chain's leaf is not for its key.
    #[error("the certificate in {path} is not for {key}")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The key that it should be for.
        key: String,
    },
    /// A certificate with an ML-DSA key is wanted beside one that another authority issued.
    #[error(
        "tls.certificate_algorithm is ml-dsa-65, and the private root did not issue the certificate {path}"
    )]
    NoMlDsa {
        /// The file.
        path: PathBuf,
    },
    /// A file with a private key.
    #[error("the private key {path} cannot be used: {why}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What clients' certificates are checked with.
    #[error("clients' certificates cannot be checked with {path}: {why}")]
    Clients {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The provider.
    #[error("the TLS key cannot be used")]
    Key(#[from] KeyError),
    /// rustls refused the settings.
    #[error("TLS cannot be set up")]
    Settings(#[from] rustls::Error),
}

impl TlsError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Key(error) => error.hint(),
            Self::NoMlDsa { .. } => {
                "leave tls.certificate_algorithm at ecdsa-p256, or move the certificate away and run `sallyportd init`: the second one is for whoever believes the first"
            }
            Self::KeyFile { .. } => {
                "name a PEM file with one private key that nobody else may read (mode 0600)"
            }
            Self::Clients { .. } => {
                "name a PEM file: certificates of authorities in `tls.clients_file`, revocation lists in `tls.clients_crl_file`"
            }
            Self::Certificate { .. } | Self::OtherKey { .. } | Self::Settings(_) => {
                "run `sallyportd init` again: it makes a certificate for the provider's key; for a `[[tls.certificate]]` name the key that belongs to it"
            }
        }
    }
}

/// The listener's TLS settings.
pub(super) fn server(
    settings: &Tls,
    certificates: &Arc<Certificates>,
    clients: Option<&Arc<ClientAuthority>>,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if settings.only_post_quantum {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    }
    let versions: &[_] = if settings.with_1_2 {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    } else {
        &[&rustls::version::TLS13]
    };
    let builder =
        rustls::ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    // The first that the client offers too; browsers never offer the tunnel's own.
    // Who names older versions alone, as curl does if it is told to speak one, is answered in it.
    config.alpn_protocols = [ALPN, b"h2", b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).to_vec();
    // RFC 7627: without it, a TLS 1.2 session has no name of its own.
    config.require_ems = true;
    Ok(Arc::new(config))
}

/// The same for QUIC, which is TLS 1.3 by itself: with the hybrid key exchange and AES-256 alone, so that it is known of every
/// connection what it was agreed on. Whoever can't is served on TCP.
pub(super) fn for_quic(
    protocols: Vec<Vec<u8>>,
    certificates: &Arc<Certificates>,
    clients: Option<&Arc<ClientAuthority>>,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let versions = &[&rustls::version::TLS13];
    let builder =
        rustls::ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = protocols;
    Ok(Arc::new(config))
}

/// What of `[tls]` a reader of the ledger must know; also warned of, where somebody chose the weaker way.
pub(super) fn in_force(config: &Config, draft: Draft) -> Draft {
    let tls = &config.tls;
    if tls.with_1_2 {
        warn!("TLS 1.2 IS SPOKEN HERE, because tls.minimum = \"1.2\": no connection by it is post-quantum");
    }
    let in_files: Vec<String> = tls
        .certificates
        .iter()
        .filter_map(|one| Some(one.key_file.as_ref()?.display().to_string()))
        .collect();
    for file in &in_files {
        warn!(
            file,
            "A TLS KEY LIES IN A FILE and in this process's memory, not in the key provider: whoever reads either can pose as its names"
        );
    }
    let clients = match &tls.clients {
        None => "none",
        Some(clients) if clients.required => "require",
        Some(_) => "accept",
    };
    let draft = draft
        .detail("tls_minimum", if tls.with_1_2 { "1.2" } else { "1.3" })
        .detail("tls_post_quantum", if tls.only_post_quantum { "required" } else { "preferred" })
        .detail("tls_certificates", if tls.with_ml_dsa { "ecdsa-p256, ml-dsa-65" } else { "ecdsa-p256" })
        .detail("tls_clients", clients)
        .detail("quic", if config.gateway.quic { "on" } else { "off" })
        .detail("http3", if config.gateway.http3 { "on" } else { "off" });
    if in_files.is_empty() { draft } else { draft.detail("tls_key_files", in_files) }
}

/// The certificates of a PEM file, at least one.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |why: String| TlsError::Certificate { path: path.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(error.to_string()))?;
    if chain.is_empty() { Err(unreadable("there is no certificate in it".to_owned())) } else { Ok(chain) }
}
