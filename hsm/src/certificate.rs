//! What a certificate says about whom it is for. Reads alone: whether anybody should believe it is found out by TLS before.

use aws_lc_rs::digest;
use jiff::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::error::KeyError;

/// Most names that are looked at: a certificate with more is refused, and not read in part.
const MOST_NAMES: usize = 256;

/// The parts of a certificate that name somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// SHA-256 of its DER.
    pub sha256: [u8; 32],
    /// URIs among the alternative names.
    pub uris: Vec<String>,
    /// Mail addresses among the alternative names.
    pub emails: Vec<String>,
    /// DNS names among the alternative names, in lower case.
    pub dns: Vec<String>,
    /// The subject's common names.
    pub common_names: Vec<String>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when, the second itself included.
    pub not_after: Timestamp,
}

/// Reads a certificate's DER.
///
/// # Errors
///
/// [`KeyError::Certificate`]: bytes that are no certificate, or one with more names than anybody needs.
pub fn names(der: &[u8]) -> Result<Names, KeyError> {
    let refused = |reason: &str| KeyError::Certificate { reason: reason.to_owned() };
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| refused(&format!("it cannot be read: {error}")))?;
    if !rest.is_empty() {
        return Err(refused("bytes follow the certificate"));
    }
    let (mut uris, mut emails, mut dns) = (Vec::new(), Vec::new(), Vec::new());
    let alternatives = certificate
        .subject_alternative_name()
        .map_err(|_| refused("its alternative names cannot be read"))?;
    let alternatives = alternatives.iter().flat_map(|extension| extension.value.general_names.iter());
    for (index, name) in alternatives.enumerate() {
        if index >= MOST_NAMES {
            return Err(refused("it has too many names"));
        }
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(mail) => emails.push((*mail).to_owned()),
            GeneralName::DNSName(host) => dns.push(host.to_ascii_lowercase()),
            _ => {}
        }
    }
    let common_names = certificate.subject().iter_common_name().take(MOST_NAMES);
    let common_names = common_names.filter_map(|name| name.as_str().ok().map(str::to_owned)).collect();
    let time = |seconds| Timestamp::from_second(seconds).map_err(|_| refused("a time is out of range"));
    let validity = certificate.validity();
    let sha256 = digest::digest(&digest::SHA256, der).as_ref().try_into();
    Ok(Names {
        sha256: sha256.map_err(|_| refused("it has no digest"))?,
        uris,
        emails,
        dns,
        common_names,
        not_before: time(validity.not_before.timestamp())?,
        not_after: time(validity.not_after.timestamp())?,
    })
}
