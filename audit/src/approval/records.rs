//! A signed approval, found again in a ledger's records: what was asked, by which key, and whether the two fit.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{
    Agreed, ApprovalKey, ApproverId, Assertion, Expected, NotSigned, check, check_counter, counter_of,
};
use crate::digest::Digest;
use crate::kind::Kind;
use crate::record::{Outcome, Record, Seq};

/// Why records don't show a signed approval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Something before it isn't there.
    #[error("{0} is not in the ledger before it")]
    Missing(&'static str),
    /// It isn't there, or something else.
    #[error("it is not there, or no approval")]
    NoApproval,
    /// An approval without a signature.
    #[error("the approval is not signed")]
    Unsigned,
    /// A record says something that can't be read.
    #[error("its {0} can't be read")]
    Unreadable(&'static str),
    /// The key had been revoked.
    #[error("the passkey had been revoked in record {at}")]
    Revoked {
        /// Where.
        at: Seq,
    },
    /// It doesn't fit.
    #[error("the signature doesn't fit: {0}")]
    NotSigned(#[from] NotSigned),
}

impl RecordFault {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "the record may have been pruned: give a copy of the ledger, or its archive",
            Self::NoApproval => "`auditctl log --kind access.approved` lists approvals",
            Self::Unsigned => {
                "policy didn't ask for a signature then: its digest stands in the record of the grant"
            }
            Self::Unreadable(_) | Self::Revoked { .. } | Self::NotSigned(_) => {
                "check the ledger with `auditctl verify`; if it verifies, the gateway recorded an approval that nobody signed"
            }
        }
    }
}

/// In which records it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The approval.
    pub approval: Seq,
    /// What was asked.
    pub request: Seq,
    /// The passkey's enrolment.
    pub enrolment: Seq,
}

/// An approval whose signature fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedApproval {
    /// Where.
    pub records: Found,
    /// Leaf hash of the request's record.
    pub request_digest: Digest,
    /// The passkey's id.
    pub passkey: String,
    /// Its key.
    pub key: ApprovalKey,
    /// Whose passkey it is.
    pub approver: ApproverId,
    /// The time that was given, if it isn't what was asked.
    pub minutes: Option<u64>,
    /// The conditions under which it was given.
    pub conditions: Vec<String>,
    /// For which site the key was made.
    pub rp_id: String,
    /// For which page.
    pub origin: String,
    /// The authenticator's count.
    pub counter: u32,
}

struct Enrolled {
    at: Seq,
    record: Record,
    /// The highest count before the approval.
    counter: u32,
    revoked: Option<Seq>,
}

/// An approval, and what to look for among the records before it.
pub struct Wanted(Record);

impl Wanted {
    /// If this is the record of an approval that is signed.
    ///
    /// # Errors
    ///
    /// If it isn't.
    pub fn new(record: Record) -> Result<Self, RecordFault> {
        if record.kind != Kind::AccessApproved || record.result != Outcome::Success {
            return Err(RecordFault::NoApproval);
        }
        text(&record, "passkey").ok_or(RecordFault::Unsigned)?;
        Ok(Self(record))
    }
}

/// Gathers what is needed while the records before an approval go by, in order.
pub struct ApprovalRecords {
    approval: Record,
    /// The record of the request.
    request: Option<(Seq, Digest)>,
    passkey: Option<Enrolled>,
}

impl ApprovalRecords {
    /// For this approval.
    pub fn new(Wanted(approval): Wanted) -> Self {
        Self { approval, request: None, passkey: None }
    }

    /// Looks at the next record; those from the approval on are passed over.
    pub fn see(&mut self, record: &Record, bytes: &[u8]) {
        if record.result != Outcome::Success || record.seq >= self.approval.seq {
            return;
        }
        let same_key =
            text(record, "passkey").is_some_and(|key| Some(key) == text(&self.approval, "passkey"));
        match (record.kind, &mut self.passkey) {
            (Kind::AccessRequested, _) => {
                if record.correlation.is_some() && record.correlation == self.approval.correlation {
                    self.request.get_or_insert((record.seq, Digest::leaf(bytes)));
                }
            }
            (Kind::PasskeyEnrolled, known @ None) if same_key => {
                let counter = record.details.get("counter").and_then(Value::as_u64);
                let counter = counter.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
                *known = Some(Enrolled { at: record.seq, record: record.clone(), counter, revoked: None });
            }
            (Kind::AccessApproved, Some(known)) if same_key => {
                let counter = decoded(record, "authenticator_data").and_then(|data| counter_of(&data));
                known.counter = known.counter.max(counter.unwrap_or_default());
            }
            (Kind::PasskeyRevoked, Some(known)) if same_key => {
                known.revoked.get_or_insert(record.seq);
            }
            _ => {}
        }
    }

    /// Whether what was gathered is a signed approval.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self) -> Result<SignedApproval, RecordFault> {
        let approval = &self.approval;
        let passkey = text(approval, "passkey").ok_or(RecordFault::Unsigned)?;
        let (asked, request_digest) = self.request.ok_or(RecordFault::Missing("the request"))?;
        let enrolled = self.passkey.as_ref().ok_or(RecordFault::Missing("the passkey's enrolment"))?;
        if let Some(at) = enrolled.revoked {
            return Err(RecordFault::Revoked { at });
        }
        let of_key = |name: &'static str| text(&enrolled.record, name).ok_or(RecordFault::Unreadable(name));
        let key =
            ApprovalKey::parse(of_key("algorithm")?, of_key("key")?).ok_or(RecordFault::Unreadable("key"))?;
        let (rp_id, origin) = (of_key("rp_id")?, of_key("origin")?);
        let approver = ApproverId::parse(of_key("approver")?).ok_or(RecordFault::Unreadable("approver"))?;
        let bytes = |name: &'static str| decoded(approval, name).ok_or(RecordFault::Unreadable(name));
        let client_data = bytes("client_data")?;
        let authenticator_data = bytes("authenticator_data")?;
        let signature = bytes("signature")?;
        let minutes = approval
            .details
            .get("minutes")
            .map(|minutes| minutes.as_u64().ok_or(RecordFault::Unreadable("minutes")));
        let conditions = match approval.details.get("conditions") {
            None => Vec::new(),
            Some(list) => list
                .as_array()
                .and_then(|list| list.iter().map(one_line).collect::<Option<Vec<_>>>())
                .ok_or(RecordFault::Unreadable("conditions"))?,
        };
        let minutes = minutes.transpose()?;
        let agreed =
            Agreed { request: request_digest, approver: &approver, minutes, conditions: &conditions };
        let challenge = agreed.challenge();
        let expected = Expected { ceremony: "webauthn.get", challenge: &challenge, origin, rp_id };
        let assertion = Assertion {
            client_data: &client_data,
            authenticator_data: &authenticator_data,
            signature: &signature,
        };
        let counter = check(&key, &expected, &assertion)?;
        check_counter(enrolled.counter, counter)?;
        Ok(SignedApproval {
            records: Found { approval: approval.seq, request: asked, enrolment: enrolled.at },
            request_digest,
            passkey: passkey.to_owned(),
            key,
            approver,
            minutes,
            conditions,
            rp_id: rp_id.to_owned(),
            origin: origin.to_owned(),
            counter,
        })
    }
}

/// Each stands in a line of its own in what is signed: one with a line break could pass for two.
fn one_line(condition: &Value) -> Option<String> {
    condition.as_str().filter(|text| !text.contains('\n')).map(str::to_owned)
}

fn text<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    record.details.get(name).and_then(Value::as_str)
}

fn decoded(record: &Record, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(record, name)?).ok()
}
