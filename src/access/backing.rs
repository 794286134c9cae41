//! What a share gives: what policy lets its role do on that tunnel, while whoever gave it holds `share` and the same thing.
//!
//! Asked only where policy's own rules say nothing: a share is no way around a deny rule, and none around an approval that
//! a rule demands of the person. Whoever gave it may hold by a share themselves; the chain is followed to its end, which has
//! to be somebody whom policy lets do it outright, or the operator. So a share dies with what it rests on.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use sallyport_audit::KeyId;

use super::ids::ShareId;
use super::judge::check_locks;
use super::names::{Role, Subject, Tenant};
use super::object::{Action, Object};
use super::policy::conditions::Circumstances;
use super::policy::rows::Rule;
use super::policy::{Matched, Policy, Ruling};
use super::state::State;
use super::workflow::WorkflowName;

/// Longest chain of shares that rest on each other; a ring is never longer than nothing.
const MAX_CHAIN: usize = 4;

/// A question about one tunnel, put for one person after the other.
pub(super) struct Asked<'a> {
    pub(super) state: &'a State,
    pub(super) policy: &'a Policy,
    pub(super) tenant: &'a Tenant,
    pub(super) object: &'a Object,
    pub(super) now: Timestamp,
}

/// What a share gives, and what it rests on.
#[derive(Debug, Default)]
pub(super) struct Backing {
    pub(super) rules: Vec<Arc<Rule>>,
    pub(super) workflows: BTreeSet<WorkflowName>,
    /// The person's own share first.
    pub(super) shares: Vec<ShareId>,
    /// When the first of them ends by itself.
    pub(super) ends: Option<Timestamp>,
}

impl Asked<'_> {
    /// What the person may do by a share under these circumstances, or at best; `None` if nothing.
    pub(super) fn backing(
        &self,
        person: &Subject,
        action: Action,
        at: Option<&Circumstances>,
    ) -> Option<Backing> {
        self.follow(person, action, at, MAX_CHAIN)
    }

    /// `at` is where the person was met. Whoever gave the share needn't be there: of them it counts what they may do at best.
    fn follow(
        &self,
        person: &Subject,
        action: Action,
        at: Option<&Circumstances>,
        left: usize,
    ) -> Option<Backing> {
        let left = left.checked_sub(1)?;
        let share = self.state.share_of(self.tenant, person, self.object)?;
        if !share.is_active(self.now) {
            return None;
        }
        let role = share.role.in_policy()?;
        let matched = role_matches(self.policy, &role, self.tenant, self.object, action)?;
        let Ruling::Allow { rules, workflows } = self.policy.weigh(&matched, at, String::new) else {
            return None;
        };
        let closes = at.and_then(|at| self.policy.until(&matched, at, &workflows));
        let ends = share.until.into_iter().chain(closes).min();
        let mut backing = Backing { rules, workflows, shares: vec![share.id], ends };
        if let Some(giver) = &share.by {
            for held in [Action::Share, action] {
                let below = self.holds(giver, held, left)?;
                backing.shares.extend(below.shares.into_iter().filter(|id| *id != share.id));
                backing.ends = backing.ends.into_iter().chain(below.ends).min();
            }
            backing.shares.dedup();
        }
        Some(backing)
    }

    /// What somebody's holding of this rests on; `None` if they don't hold it outright.
    fn holds(&self, person: &Subject, action: Action, left: usize) -> Option<Backing> {
        check_locks(self.state, self.policy, person, &[], self.tenant, self.now).ok()?;
        match self.policy.rule(person, self.tenant, self.object, action) {
            Ruling::Allow { workflows, .. } if workflows.is_empty() => Some(Backing::default()),
            Ruling::Deny { rule: None, .. } => {
                self.follow(person, action, None, left).filter(|backing| backing.workflows.is_empty())
            }
            _ => None,
        }
    }
}

/// What policy says at best to somebody who has this role and nothing else.
pub(super) fn role_rules(
    policy: &Policy,
    role: &Role,
    tenant: &Tenant,
    object: &Object,
    action: Action,
) -> Ruling {
    match role_matches(policy, role, tenant, object, action) {
        Some(matched) => {
            policy.weigh(&matched, None, || format!("no rule allows {role} to {action} {object}"))
        }
        None => Ruling::deny("casbin couldn't decide".to_owned()),
    }
}

fn role_matches(
    policy: &Policy,
    role: &Role,
    tenant: &Tenant,
    object: &Object,
    action: Action,
) -> Option<Arc<Matched>> {
    // No rule can name this person.
    let nobody = Subject::erased(KeyId::from_bytes([0; 16]));
    policy.matched(&nobody, std::slice::from_ref(role), tenant, object, action).ok()
}
