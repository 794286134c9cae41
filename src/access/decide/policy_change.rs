//! Changing the policy by two people: one proposes certain bytes, another approves exactly those.

use super::{Case, Refusal};
use crate::access::fact::Fact;
use crate::access::identity::{Caller, Identity};
use crate::access::object::Part;
use crate::access::policy::PolicyDigest;
use crate::access::reason::Reason;

impl Case<'_> {
    pub(super) fn propose_policy(
        &self,
        who: &Identity,
        (digest, rules, summary): (PolicyDigest, u64, &str),
        reason: &Reason,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(&Caller::from(who), Part::Policy, None)?;
        let in_force = self.policy.digest();
        if digest == in_force {
            return Err(Refusal::PolicyUnchanged { digest });
        }
        Ok(vec![Fact::PolicyProposed {
            digest,
            in_force,
            rules,
            summary: summary.to_owned(),
            tenant: who.tenant.clone(),
            by: who.subject.clone(),
            reason: reason.clone(),
        }])
    }

    pub(super) fn approve_policy(
        &self,
        who: &Identity,
        digest: PolicyDigest,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(&Caller::from(who), Part::Policy, None)?;
        let proposal = self.state.proposal().filter(|proposal| proposal.digest == digest);
        let proposal = proposal.ok_or(Refusal::NoSuchProposal { digest })?;
        if proposal.by == who.subject {
            return Err(Refusal::OwnProposal { digest });
        }
        Ok(vec![Fact::PolicyApproved {
            digest,
            tenant: who.tenant.clone(),
            proposer: proposal.by.clone(),
            by: who.subject.clone(),
            reason: reason.cloned(),
        }])
    }
}
