//! The policy of a running gateway: who may do what and why, what waits for a second person, what a change would do.

use jiff::Timestamp;
use sallyport_audit::Reader;

use super::decide::Command;
use super::error::AccessError;
use super::handle::{Access, still_those};
use super::identity::Identity;
use super::judge::{Context, Explanation, Judgement, judge};
use super::ledger::replay;
use super::names::{Role, Subject, Tenant};
use super::object::{Action, Object};
use super::policy::diff::{Difference, diff};
use super::policy::{Policy, PolicyDigest};
use super::reason::Reason;
use super::replay::Report;
use super::state::Proposal;
use crate::access::DeviceId;

/// A policy that waits, and how the files that lie in the folder now compare.
#[derive(Debug)]
pub struct Pending {
    /// What waits.
    pub proposal: Proposal,
    /// How it differs from the policy in force; `None` when the folder doesn't hold what was proposed any more.
    pub difference: Option<Difference>,
}

impl Access {
    /// What would be decided about a person under these circumstances: grants and locks count, tokens don't.
    pub fn explain_for(
        &self,
        (who, claimed): (Subject, Vec<Role>),
        tenant: Tenant,
        device: Option<DeviceId>,
        (object, action): (&Object, Action),
        context: &Context,
    ) -> Explanation {
        let nobody = Identity { subject: who, roles: claimed.into(), ..Identity::anonymous(tenant) };
        let who = nobody.met(context).on_device(device);
        self.look(|standing| {
            let judged = judge(&standing.state, &standing.policy, &who, object, action, context.now);
            Some(match judged {
                Judgement::Allowed { explanation, .. }
                | Judgement::NeedsApproval { explanation }
                | Judgement::Denied { explanation } => explanation,
            })
        })
        .unwrap_or_else(|| self.explain(&who, object, action, context))
    }

    /// Proposes the files that lie in the policy folder.
    ///
    /// # Errors
    ///
    /// They have faults (recorded, as with a reload), or are those in force; the caller may not; the ledger.
    pub async fn propose_policy(&self, by: &Identity, reason: Reason) -> Result<Difference, AccessError> {
        self.propose(by, None, reason).await
    }

    /// The same for somebody who has looked at the files: refused if they are others by now.
    ///
    /// # Errors
    ///
    /// Those of [`Self::propose_policy`]; the files are others.
    pub async fn propose_policy_looked_at(
        &self,
        by: &Identity,
        looked_at: PolicyDigest,
        reason: Reason,
    ) -> Result<Difference, AccessError> {
        self.propose(by, Some(looked_at), reason).await
    }

    async fn propose(
        &self,
        by: &Identity,
        looked_at: Option<PolicyDigest>,
        reason: Reason,
    ) -> Result<Difference, AccessError> {
        // Leave first: whoever has none learns nothing of the files.
        self.run(by, Command::ReloadPolicy).await?;
        let candidate = match self.load_candidate().await {
            Ok(candidate) => candidate,
            Err(faults) => return self.install(by, Err(faults)).await.and(Err(AccessError::Stopped)),
        };
        let (digest, rules) = (candidate.digest(), candidate.rule_count() as u64);
        still_those(looked_at, digest)?;
        let difference = self.compare(candidate).await?;
        let summary = difference.summary();
        self.run(by, Command::ProposePolicy { digest, rules, summary, reason }).await?;
        Ok(difference)
    }

    /// Approves the policy that was proposed, and puts it in force.
    ///
    /// # Errors
    ///
    /// Nothing of that digest waits, or it is the caller's own; the files have changed since (the approval stands, the
    /// policy in force stays too); the ledger.
    pub async fn approve_policy(
        &self,
        by: &Identity,
        digest: PolicyDigest,
        reason: Option<Reason>,
    ) -> Result<PolicyDigest, AccessError> {
        self.run(by, Command::ApprovePolicy { digest, reason }).await?;
        self.reload_policy(by).await
    }

    /// What waits for a second person.
    ///
    /// # Errors
    ///
    /// The comparison was broken off.
    pub async fn pending_policy(&self) -> Result<Option<Pending>, AccessError> {
        let Some(proposal) = self.look(|standing| standing.state.proposal().cloned()) else {
            return Ok(None);
        };
        let difference = match self.load_candidate().await {
            Ok(candidate) if candidate.digest() == proposal.digest => Some(self.compare(candidate).await?),
            _ => None,
        };
        Ok(Some(Pending { proposal, difference }))
    }

    /// How the files that lie in the policy folder differ from the policy in force.
    ///
    /// # Errors
    ///
    /// The files have faults; the comparison was broken off.
    pub async fn compare_candidate(&self) -> Result<Difference, AccessError> {
        let candidate = self.load_candidate().await.map_err(AccessError::Policy)?;
        self.compare(candidate).await
    }

    /// Decides again what the ledger holds, under the files that lie in the policy folder.
    ///
    /// # Errors
    ///
    /// The files have faults; a record of access can't be read.
    pub async fn replay_candidate(
        &self,
        reader: Reader,
        since: Option<Timestamp>,
    ) -> Result<Report, AccessError> {
        let candidate = self.load_candidate().await.map_err(AccessError::Policy)?;
        let replayed = tokio::task::spawn_blocking(move || replay(&reader, &candidate, since)).await;
        replayed.map_err(|_| AccessError::Stopped)?.map_err(AccessError::Replay)
    }

    /// How a policy differs from the one in force. On a thread of its own: it may put millions of questions.
    async fn compare(&self, candidate: Policy) -> Result<Difference, AccessError> {
        let in_force = self.policy();
        tokio::task::spawn_blocking(move || diff(&in_force, &candidate))
            .await
            .map_err(|_| AccessError::Stopped)
    }
}
