//! The certificate that a TLS client showed, and which person it names.
//!
//! Trusted: TLS, which has found the chain good before anything here reads it. A certificate that names nobody is no error: it
//! opens the connection where one is required, and the person shows a token.

use rustls::pki_types::CertificateDer;
use sallyport_hsm::certificate::Names;

use crate::access::{Certificate, CertificateId, Subject};

/// Where a certificate names the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The only alternative name `sallyport:user:NAME`.
    Uri,
    /// The only mail address among the alternative names; `user:` and the address, in lower case.
    Email,
    /// The only common name; `user:` and the name, in lower case.
    CommonName,
}

impl NamedBy {
    /// The person, unless there is none, or more than one.
    pub fn person(self, names: &Names) -> Option<Subject> {
        let text = match self {
            Self::Uri => {
                let ours = names.uris.iter().filter_map(|uri| uri.strip_prefix("sallyport:"));
                only(ours)?.to_owned()
            }
            Self::Email => format!("user:{}", only(names.emails.iter())?.to_lowercase()),
            Self::CommonName => format!("user:{}", only(names.common_names.iter())?.to_lowercase()),
        };
        text.parse().ok()
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// What a client showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The certificate.
    pub id: CertificateId,
    /// The same, with the person whom it names.
    pub person: Option<Certificate>,
}

impl Presented {
    /// What a certificate with these names shows.
    pub fn read(names: &Names, named_by: NamedBy) -> Self {
        let id = CertificateId::from_sha256(names.sha256);
        let (not_before, not_after) = (names.not_before, names.not_after);
        let person = named_by.person(names).map(|subject| Certificate { id, subject, not_before, not_after });
        Self { id, person }
    }
}

/// What knows clients by their certificates.
pub trait ClientCertificates: Send + Sync {
    /// What the leaf of `chain` shows. `resumed`: TLS took the chain over from an earlier connection and has not looked at it
    /// again, so this does.
    ///
    /// # Errors
    ///
    /// The chain is not good (any more).
    fn know(&self, chain: &[CertificateDer<'static>], resumed: bool) -> Result<Presented, rustls::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(uris: &[&str], emails: &[&str], common_names: &[&str]) -> Names {
        let owned = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
        Names {
            sha256: [1; 32],
            uris: owned(uris),
            emails: owned(emails),
            dns: Vec::new(),
            common_names: owned(common_names),
            not_before: jiff::Timestamp::UNIX_EPOCH,
            not_after: jiff::Timestamp::MAX,
        }
    }

    fn named(by: NamedBy, names: &Names) -> Option<String> {
        by.person(names).map(|subject| subject.to_string())
    }

    #[test]
    fn a_certificate_names_a_person_in_the_configured_place_and_in_no_other() {
        let all = names(&["sallyport:user:alice", "spiffe://x/y"], &["Bob@Example.com"], &["carol"]);
        assert_eq!(named(NamedBy::Uri, &all).as_deref(), Some("user:alice"));
        assert_eq!(named(NamedBy::Email, &all).as_deref(), Some("user:bob@example.com"));
        assert_eq!(named(NamedBy::CommonName, &all).as_deref(), Some("user:carol"));
        assert_eq!(named(NamedBy::Uri, &names(&["spiffe://x/y"], &["a@b.c"], &["carol"])), None);
    }

    #[test]
    fn a_certificate_with_two_names_or_a_name_that_is_none_is_nobodys() {
        let two = names(&["sallyport:user:alice", "sallyport:user:bob"], &["a@b.c", "d@e.f"], &["x", "y"]);
        for by in [NamedBy::Uri, NamedBy::Email, NamedBy::CommonName] {
            assert_eq!(named(by, &two), None, "{by:?}");
        }
        for wrong in [
            "sallyport:role:admin",
            "sallyport:alice",
            "sallyport:user:a b",
            "sallyport:user:*",
            "sallyport:",
        ] {
            assert_eq!(named(NamedBy::Uri, &names(&[wrong], &[], &[])), None, "{wrong}");
        }
        assert_eq!(named(NamedBy::CommonName, &names(&[], &[], &["Alice Smith"])), None);
    }
}
