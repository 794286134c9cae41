//! What a decision says, and what a refused attempt says: records that change nothing in access.

use sallyport_audit::{Draft, Kind, Outcome};

use super::writing::{about, by, claimed_roles, texts};
use crate::access::fact::{Attempt, RefusedAttempt};
use crate::access::judge::{ConditionRef, Explanation, Outcome as Way, RuleRef};

impl Explanation {
    /// A draft that says what was decided and why: for `access.decided`, `session.opened`, `session.refused` and the
    /// like. The caller adds the session, the source and what else it knows.
    pub fn draft(&self, kind: Kind) -> Draft {
        let outcome = if self.outcome == Way::Allowed { Outcome::Success } else { Outcome::Denied };
        let rules: Vec<String> = self.rules.iter().map(RuleRef::for_record).collect();
        let mut draft = Draft::new(kind, outcome)
            .subject(self.subject.as_str())
            .action(self.action.as_str())
            .object(self.object.as_str())
            .policy(self.policy.to_string())
            .detail("tenant", self.tenant.as_str())
            .detail("decision", self.code)
            .detail("rules", rules)
            // A sentence for people, which may name the visitor: personal.
            .reason(self.why.as_str());
        if !self.conditions.is_empty() {
            let conditions: Vec<String> = self.conditions.iter().map(ConditionRef::for_record).collect();
            draft = draft.detail("conditions", conditions);
        }
        if !self.workflows.is_empty() {
            draft = draft.detail("workflows", texts(&self.workflows));
        }
        draft = claimed_roles(draft, &self.claimed);
        if !self.shares.is_empty() {
            draft = draft.detail("shares", texts(&self.shares));
        }
        if let Some(grant) = self.grant {
            draft = draft.grant(grant.to_string());
        }
        draft
    }
}

pub(super) fn refused(attempt: &RefusedAttempt) -> Draft {
    let kind = match attempt.attempt {
        Attempt::IssueToken | Attempt::SignIn => Kind::TokenIssued,
        Attempt::RevokeToken => Kind::TokenRevoked,
        Attempt::EnrollDevice => Kind::DeviceEnrolled,
        Attempt::RevokeDevice => Kind::DeviceRevoked,
        Attempt::EnrollPasskey => Kind::PasskeyEnrolled,
        Attempt::RevokePasskey => Kind::PasskeyRevoked,
        Attempt::RevokeCertificate => Kind::CertificateRevoked,
        Attempt::Request => Kind::AccessRequested,
        Attempt::Approve => Kind::AccessApproved,
        Attempt::Reject => Kind::AccessRejected,
        Attempt::Withdraw => Kind::AccessWithdrawn,
        Attempt::Begin => Kind::GrantBegun,
        Attempt::StartReview => Kind::ReviewStarted,
        Attempt::DecideReview => Kind::ReviewDecided,
        Attempt::CloseReview => Kind::ReviewClosed,
        Attempt::Share => Kind::ShareOffered,
        Attempt::AcceptShare => Kind::ShareAccepted,
        Attempt::EndShare => Kind::ShareEnded,
        Attempt::Describe => Kind::TunnelDescribed,
        Attempt::DeleteTunnel => Kind::TunnelDeleted,
        Attempt::BreakGlass => Kind::GlassBroken,
        Attempt::ReviewGlass => Kind::GlassReviewed,
        Attempt::Revoke => Kind::GrantRevoked,
        Attempt::Lock => Kind::AccessLocked,
        Attempt::Unlock => Kind::AccessUnlocked,
        Attempt::ReloadPolicy => Kind::PolicyRefused,
        Attempt::ProposePolicy => Kind::PolicyProposed,
        Attempt::ApprovePolicy => Kind::PolicyApproved,
        Attempt::Erase => Kind::PersonalErased,
        Attempt::ReplaceTokenKey => Kind::KeyRotated,
        Attempt::IssuerKeys => Kind::IssuerKeys,
    };
    let mut draft =
        by(Draft::new(kind, Outcome::Denied), &attempt.by).detail("refusal", attempt.code.as_str());
    if let Some(tenant) = &attempt.tenant {
        draft = draft.detail("tenant", tenant.as_str());
    }
    if let Some(request) = attempt.request {
        draft = about(draft, request);
    }
    if let Some(grant) = attempt.grant {
        draft = draft.grant(grant.to_string());
    }
    if let Some(object) = &attempt.object {
        draft = draft.object(object.as_str());
    }
    draft
}
