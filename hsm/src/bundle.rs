//! The organisation's roots as they are handed out: the one that issues, and beside it one that is to follow or that goes.
//!
//! A root is replaced in three steps, so that nobody who trusts it is cut off: the next one is handed out beside it, then
//! it issues, and then the one before is taken away. In each step the file has the root that issues first.

use crate::authority::RootCertificate;
use crate::error::KeyError;

/// Roots in one file; two are needed.
const MOST: usize = 8;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Roots in their order, at least one.
#[derive(Clone, Debug)]
pub struct RootBundle(Vec<(RootCertificate, String)>);

impl RootBundle {
    /// Reads a PEM file in which each certificate is a root of ours.
    ///
    /// # Errors
    ///
    /// None is in it, or more than 8, or one that [`RootCertificate::from_pem`] refuses.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let refused = |reason: &str| KeyError::Certificate { reason: reason.to_owned() };
        let parts = certificates(pem);
        if parts.is_empty() {
            return Err(refused("there is no certificate in it"));
        }
        if parts.len() > MOST {
            return Err(refused("there are more certificates in it than roots of one organisation"));
        }
        let read = |part: String| Ok((RootCertificate::from_pem(&part)?, part));
        parts.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The roots with which a PEM file begins that may hold others too.
    pub fn leading(pem: &str) -> Vec<RootCertificate> {
        certificates(pem).iter().take(MOST).map_while(|part| RootCertificate::from_pem(part).ok()).collect()
    }

    /// The root that issues. There is always one; that it is an `Option` spares us a panic that nobody can reach.
    pub fn issuing(&self) -> Option<&RootCertificate> {
        self.roots().next()
    }

    /// Those beside it.
    pub fn others(&self) -> impl Iterator<Item = &RootCertificate> {
        self.roots().skip(1)
    }

    fn roots(&self) -> impl Iterator<Item = &RootCertificate> {
        self.0.iter().map(|(root, _)| root)
    }

    /// Each with its PEM.
    pub fn iter(&self) -> impl Iterator<Item = (&RootCertificate, &str)> {
        self.0.iter().map(|(root, pem)| (root, pem.as_str()))
    }

    /// Whether one of the roots with which a PEM file begins signed the first certificate of another. Says nothing of names
    /// and times; what cannot be read was not signed.
    pub fn issued(roots_pem: &str, certificate_pem: &str) -> bool {
        Self::leading(roots_pem).iter().any(|root| root.issued(certificate_pem).unwrap_or(false))
    }
}

/// Each certificate's own text. What stands between them is for people.
fn certificates(pem: &str) -> Vec<String> {
    let bodies = pem.split(BEGIN).skip(1).filter_map(|part| part.split_once(END));
    bodies.map(|(body, _)| format!("{BEGIN}{body}{END}\n")).collect()
}
