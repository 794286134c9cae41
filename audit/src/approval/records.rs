//! A signed approval, found again in a ledger's records: what was asked, by which key, and whether the two fit.

use std::collections::BTreeMap;

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
    /// The same person had approved the same request before: one person counts once, and an authenticator that doesn't count gives
    /// no other sign that an answer is shown a second time.
    #[error("the same approver had signed an approval of the same request in record {at}")]
    Twice {
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
            Self::Unreadable(_) | Self::Revoked { .. } | Self::Twice { .. } | Self::NotSigned(_) => {
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
    /// Whether it was given for one session and no other.
    pub once: bool,
    /// For which site the key was made.
    pub rp_id: String,
    /// For which page.
    pub origin: String,
    /// The authenticator's count.
    pub counter: u32,
    /// Records between enrolment and approval that weren't there to be looked at: one of them may have revoked the passkey.
    pub unseen: u64,
}

struct Enrolled {
    at: Seq,
    record: Record,
    /// The highest count before the approval.
    counter: u32,
    revoked: Option<Seq>,
    /// Records behind it, and before the approval, that were looked at.
    seen: u64,
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
    /// Whose each passkey is.
    approvers: BTreeMap<String, String>,
    /// Signed approvals of the same request, by their passkeys.
    before: Vec<(Seq, String)>,
}

impl ApprovalRecords {
    /// For this approval.
    pub fn new(Wanted(approval): Wanted) -> Self {
        Self { approval, request: None, passkey: None, approvers: BTreeMap::new(), before: Vec::new() }
    }

    /// Looks at the next record; those from the approval on are passed over.
    pub fn see(&mut self, record: &Record, bytes: &[u8]) {
        if record.seq >= self.approval.seq {
            return;
        }
        if let Some(known) = &mut self.passkey {
            known.seen += 1;
        }
        if record.result != Outcome::Success {
            return;
        }
        self.see_others(record);
        let passkey = text(record, "passkey");
        let same_key = passkey.is_some() && passkey == text(&self.approval, "passkey");
        match (record.kind, &mut self.passkey) {
            (Kind::AccessRequested, _)
                if record.correlation.is_some() && record.correlation == self.approval.correlation =>
            {
                self.request.get_or_insert((record.seq, Digest::leaf(bytes)));
            }
            (Kind::PasskeyEnrolled, known @ None) if same_key => {
                let counter = record.details.get("counter").and_then(Value::as_u64);
                let counter = counter.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
                let record = record.clone();
                *known = Some(Enrolled { at: record.seq, record, counter, revoked: None, seen: 0 });
            }
            (Kind::AccessApproved, Some(known)) if same_key => {
                let counter = decoded(record, "authenticator_data").and_then(|data| counter_of(&data));
                known.counter = known.counter.max(counter.unwrap_or_default());
            }
            (Kind::PasskeyRevoked, Some(known)) if same_key => {
                known.revoked.get_or_insert(record.seq);
            }
            // Records were lost that may have revoked it.
            (Kind::LedgerResumed, Some(known)) if text(record, "tokens") == Some("ended") => {
                known.revoked.get_or_insert(record.seq);
            }
            _ => {}
        }
    }

    /// Who else has signed, and whose passkeys there are.
    fn see_others(&mut self, record: &Record) {
        let Some(passkey) = text(record, "passkey") else { return };
        match record.kind {
            Kind::PasskeyEnrolled => {
                if let Some(approver) = text(record, "approver") {
                    self.approvers.entry(passkey.to_owned()).or_insert_with(|| approver.to_owned());
                }
            }
            Kind::AccessApproved
                if record.correlation.is_some() && record.correlation == self.approval.correlation =>
            {
                self.before.push((record.seq, passkey.to_owned()));
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
        let whose = self.approvers.get(passkey);
        let again = |key: &String| key == passkey || (whose.is_some() && self.approvers.get(key) == whose);
        if let Some((at, _)) = self.before.iter().find(|(_, key)| again(key)) {
            return Err(RecordFault::Twice { at: *at });
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
        let once = match approval.details.get("once") {
            None => false,
            Some(once) => once.as_bool().ok_or(RecordFault::Unreadable("once"))?,
        };
        let request = request_digest;
        let agreed = Agreed { request, approver: &approver, minutes, conditions: &conditions, once };
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
            once,
            rp_id: rp_id.to_owned(),
            origin: origin.to_owned(),
            counter,
            unseen: approval
                .seq
                .get()
                .saturating_sub(enrolled.at.get())
                .saturating_sub(1)
                .saturating_sub(enrolled.seen),
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

#[cfg(test)]
mod tests;
