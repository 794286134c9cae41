//! Passkeys of approvers: keys in an authenticator of their own (WebAuthn), by which they sign what they approve.
//!
//! What is kept is public: the key, its credential id, and for which site and page it was made. Whether a signature counts is
//! decided in `sallyport_audit::approval`, by the same lines that `auditctl check-approval` runs years later.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sallyport_audit::approval::{self, ApprovalKey, ApproverId};

use super::identity::Identity;
use super::ids::PasskeyId;
use super::names::{Subject, Tenant};

/// Longest credential id, in bytes (WebAuthn section 4).
pub const MOST_CREDENTIAL: usize = 1_023;

/// For which site and page a passkey was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The relying party's id: the gateway's domain.
    pub rp_id: String,
    /// The page's origin.
    pub origin: String,
}

/// A passkey that was enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Its id here.
    pub id: PasskeyId,
    /// Whose approvals it signs.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// What their authenticators and the records of it call them: the same for all passkeys of one person.
    pub approver: ApproverId,
    /// Its id to the authenticator.
    pub credential: Arc<[u8]>,
    /// What checks its signatures.
    pub key: ApprovalKey,
    /// For which site it was made.
    pub site: Site,
    /// The highest count that it has shown; 0 for one that doesn't count.
    pub counter: u32,
    /// When it was enrolled.
    pub enrolled: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Passkey {
    /// Whether it stands, and is this person's.
    pub fn is_of(&self, who: &Identity) -> bool {
        self.revoked.is_none() && self.subject == who.subject && self.tenant == who.tenant
    }
}

/// What an authenticator answered when it made a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPasskey {
    /// Whose it is, in the authenticator's words.
    pub approver: ApproverId,
    /// Its id to the authenticator.
    pub credential: Arc<[u8]>,
    /// What checks its signatures.
    pub key: ApprovalKey,
    /// For which site it was made.
    pub site: Site,
    /// Where it begins to count.
    pub counter: u32,
}

/// An approver's signature, as it came from their authenticator; kept in the record of the approval, for whoever checks it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// By which passkey.
    pub passkey: PasskeyId,
    /// `clientDataJSON`
    pub client_data: Arc<[u8]>,
    /// `authenticatorData`
    pub authenticator_data: Arc<[u8]>,
    /// `signature`
    pub signature: Arc<[u8]>,
}

impl Signed {
    pub(super) fn assertion(&self) -> approval::Assertion<'_> {
        approval::Assertion {
            client_data: &self.client_data,
            authenticator_data: &self.authenticator_data,
            signature: &self.signature,
        }
    }
}

/// Bytes as base64url, in records and answers.
pub fn to_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`to_text`] wrote, if it is no longer than `most` bytes.
pub fn from_text(text: &str, most: usize) -> Option<Arc<[u8]>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() <= most).then(|| bytes.into())
}
