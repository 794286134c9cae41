//! Client certificates: people whom a certificate authority names, and whose TLS connection proves that they hold its key.
//!
//! What is trusted: the authorities that the operator named may name anybody of this gateway's tenant. TLS has checked
//! chain, times, use, revocation lists and possession before a [`Certificate`] is made. What is checked here is
//! what only the ledger knows: whether an admin has revoked it, and whether records of that may have been lost.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::decide::Command;
use super::error::AccessError;
use super::handle::Access;
use super::identity::{Caller, Identity, Proof};
use super::judge::{Judgement, judge};
use super::names::{NameError, Subject, Tenant};
use super::object::{Action, Object, Part};
use super::reason::Reason;
use super::token::AuthError;

/// Names a certificate, `crt-` and 64 hexadecimal digits: the SHA-256 of its DER, which other programs show as its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId([u8; 32]);

impl CertificateId {
    /// The id of a certificate with this SHA-256.
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FromStr for CertificateId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(text, "a certificate's id", "it is `crt-` and 64 hexadecimal digits");
        let digits = text.strip_prefix("crt-").ok_or_else(bad)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad())?;
        // One spelling: capitals decode too.
        let id = Self(bytes);
        if id.to_string() == text { Ok(id) } else { Err(bad()) }
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crt-{}", hex::encode(self.0))
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for CertificateId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A certificate with which TLS has authenticated the other end, and whom it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// Whom it names.
    pub subject: Subject,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when, the moment itself included.
    pub not_after: Timestamp,
}

impl Access {
    /// Who a certificate speaks for.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]; so with [`Self::authenticate`].
    pub fn authenticate_certificate(
        &self,
        certificate: &Certificate,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        let distrusted = self.look(|standing| standing.state.distrusted_until());
        if distrusted.is_some_and(|since| certificate.not_before <= since) {
            return Err(AuthError::CertificateTooOld);
        }
        if certificate.subject.is_anonymous() {
            return Err(AuthError::Malformed("a certificate can't be for user:anonymous"));
        }
        let proof = Proof::Certificate(certificate.id);
        let (subject, tenant) = (certificate.subject.clone(), tenant.clone());
        self.standing(Identity::proved(subject, tenant, proof, certificate.not_after), now)
    }

    /// Revokes a certificate, whether it was ever seen here or not; what stands on it ends at once.
    ///
    /// # Errors
    ///
    /// As with [`Self::revoke_token`].
    pub async fn revoke_certificate(
        &self,
        by: impl Into<Caller>,
        certificate: CertificateId,
        tenant: Tenant,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::RevokeCertificate { certificate, tenant, reason }).await.map(drop)
    }

    /// Certificates that were revoked here, in the order of their ids: for an admin of tokens those of their own tenant.
    pub fn revoked_certificates(&self, by: impl Into<Caller>) -> Vec<(CertificateId, Timestamp)> {
        let (by, now) = (by.into(), self.now());
        self.look(|standing| {
            let may = by.person().is_none_or(|who| {
                let object = Object::gateway(Part::Tokens);
                let judged = judge(&standing.state, &standing.policy, who, &object, Action::Admin, now);
                matches!(judged, Judgement::Allowed { .. })
            });
            if !may {
                return Vec::new();
            }
            let theirs = |tenant: &Tenant| by.person().is_none_or(|who| who.tenant() == tenant);
            let revoked = standing.state.revoked_certificates().filter(|(tenant, ..)| theirs(tenant));
            let mut revoked: Vec<_> = revoked.map(|(_, id, at)| (id, at)).collect();
            revoked.sort_unstable();
            revoked
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_id_is_read_back_as_it_was_shown_and_in_one_spelling_only() {
        let id = CertificateId::from_sha256([0xab; 32]);
        let shown = id.to_string();
        assert_eq!(shown.parse::<CertificateId>().unwrap(), id);
        for wrong in [shown.to_uppercase(), shown.replace("crt-", "dev-"), shown[..60].to_owned()] {
            assert!(wrong.parse::<CertificateId>().is_err(), "{wrong}");
        }
    }
}
