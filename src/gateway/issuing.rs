//! Issues certificates of the private root for people, from the gateway's own host.
//!
//! The ledger is not asked: a running gateway holds it. What such a certificate was used for is recorded when it is used, and
//! any admin can revoke it by its fingerprint. Whoever may use the provider's `certificate-authority` key can name anybody.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sallyport_hsm::authority::{self, Validity};
use sallyport_hsm::{Keys, certificate};

use super::config::Config;
use super::setup::SetupError;
use crate::access::{CertificateId, Subject};
use crate::{clock, secret_file};

/// A person's new certificate.
#[derive(Debug)]
pub struct Issued {
    /// Its id, by which it is revoked.
    pub id: CertificateId,
    /// Where it is.
    pub certificate_file: PathBuf,
    /// Where its private key is.
    pub key_file: PathBuf,
}

/// Issues a certificate for `person` into `directory`. Blocks.
///
/// # Errors
///
/// No person, no root, a provider that cannot sign, files that are there already.
pub fn issue_client(
    config: &Config,
    keys: &Keys,
    person: &str,
    days: u32,
    directory: &Path,
) -> Result<Issued, SetupError> {
    let wrong = |why: String| SetupError::Person { name: person.to_owned(), why };
    let subject: Subject =
        person.parse().map_err(|error: crate::access::names::NameError| wrong(error.to_string()))?;
    if subject.is_anonymous() {
        return Err(wrong("the anonymous visitor has no certificate".to_owned()));
    }
    let name: String = subject
        .as_str()
        .trim_start_matches("user:")
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "-_.@".contains(letter) { letter } else { '_' })
        .collect();
    let (certificate_file, key_file) =
        (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    for path in [&certificate_file, &key_file] {
        if path.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(SetupError::File { path: path.clone(), source });
        }
    }
    let root_file = &config.tls.root_file;
    let root = std::fs::read_to_string(root_file)
        .map_err(|source| SetupError::File { path: root_file.clone(), source })?;
    let validity = Validity { now: clock::now(), lasts: Duration::from_secs(u64::from(days) * 86_400) };
    let leaf = authority::issue_client_leaf(keys, &root, &format!("sallyport:{subject}"), validity)?;
    let der = CertificateDer::from_pem_slice(leaf.certificate.as_bytes())
        .map_err(|error| wrong(error.to_string()))?;
    let id = CertificateId::from_sha256(certificate::names(&der)?.sha256);
    let write = |path: &Path, text: &str| {
        secret_file::write(path, text.as_bytes())
            .map_err(|source| SetupError::File { path: path.to_owned(), source })
    };
    write(&key_file, &leaf.key)?;
    write(&certificate_file, &leaf.certificate)?;
    Ok(Issued { id, certificate_file, key_file })
}
