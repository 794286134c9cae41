//! A policy that waits for a second person.

use jiff::Timestamp;
use serde::Serialize;

use super::State;
use crate::access::fact::{Fact, Stamp};
use crate::access::names::{Subject, Tenant};
use crate::access::policy::PolicyDigest;
use crate::access::reason::Reason;

/// A policy that was proposed and isn't approved yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// The files that are meant.
    pub digest: PolicyDigest,
    /// Who proposed it: anybody else may approve it.
    pub by: Subject,
    /// In which tenant they act.
    pub tenant: Tenant,
    /// When.
    pub at: Timestamp,
    /// Number of rules.
    pub rules: u64,
    /// How it differs from the policy that was in force, in counts.
    pub summary: String,
    /// Why.
    #[serde(skip)]
    pub reason: Reason,
}

impl State {
    pub(super) fn proposed(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::PolicyProposed { digest, rules, summary, tenant, by, reason, in_force: _ } = fact else {
            return;
        };
        self.proposal = Some(Proposal {
            digest: *digest,
            by: by.clone(),
            tenant: tenant.clone(),
            at: stamp.time,
            rules: *rules,
            summary: summary.clone(),
            reason: reason.clone(),
        });
    }

    /// An approval of something else than what is proposed, or by its own proposer, approves nothing.
    pub(super) fn policy_approved(&mut self, digest: PolicyDigest, by: &Subject) {
        if self.proposal.as_ref().is_some_and(|proposal| proposal.digest == digest && proposal.by != *by) {
            self.proposal = None;
            self.approved_policy = Some(digest);
        }
    }

    /// What is in force needs no approval any more; one for something else isn't good for later either.
    pub(super) fn policy_loaded(&mut self, digest: PolicyDigest) {
        self.policy = Some(digest);
        self.approved_policy = None;
        if self.proposal.as_ref().is_some_and(|proposal| proposal.digest == digest) {
            self.proposal = None;
        }
    }

    /// The policy that waits for a second person.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// Whether a change to this policy has been agreed, or is none: what is in force, or what was approved last.
    pub fn may_load(&self, digest: PolicyDigest) -> bool {
        self.policy.is_none_or(|in_force| in_force == digest) || self.approved_policy == Some(digest)
    }

    pub(super) fn forget_in_proposal(&mut self, person: &Subject, nobody: &Subject) {
        if let Some(proposal) = self.proposal.as_mut().filter(|proposal| proposal.by == *person) {
            proposal.by.clone_from(nobody);
            proposal.reason = Reason::erased();
        }
    }
}
