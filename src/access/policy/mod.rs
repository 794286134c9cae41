//! The policy: casbin behind a guard.
//!
//! casbin is the policy language because security people know it. By itself it gives dangerous answers on bad input
//! (an empty policy may allow, a mistyped `deny` disappears, a request can make it panic), so it never sees input that
//! wasn't checked first. A [`Policy`] is an immutable value: it is read, checked and self-tested as a whole, and only
//! then swapped for the one in force. A directory with one fault changes nothing.
//!
//! An index finds the rows that can match a question, casbin decides over those, and its answer, which doesn't change
//! while the policy is in force, is remembered. Conditions (time, source, device, transport) are looked at afresh for
//! every decision.
//!
//! Promised: deny by default; one matching deny outweighs every allow; if several matching rules name workflows, all
//! of them must be satisfied (demands add up, no rule is a way around another's); an error or a panic is a denial;
//! every ruling names its rules by file and line, and the policy by its digest.
//!
//! Trusted: whoever can write the policy directory. Start with [`Policy::rule_at`].

pub mod conditions;
mod court;
pub mod diff;
pub mod drift;
pub mod faults;
mod index;
pub mod lint;
pub mod load;
mod memo;
mod model;
pub mod oracle;
mod roles;
pub mod rows;
mod ruling;
mod shard;
pub mod trial;
pub(crate) mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::names::{NameError, Principal, Role, Subject, Tenant};
use super::object::{Action, Object};
use super::workflow::{Approver, Reporting, Terms, Workflow, WorkflowName, missing};
use conditions::{Circumstances, Condition, ConditionName};
use court::Court;
pub use court::EnforceError;
use faults::PolicyFaults;
use memo::Memo;
use roles::RoleGraph;
use rows::{Effect, Rule};
pub use ruling::{Ruling, Unmet};
use shard::Shard;

/// SHA-256 over the model, the workflows and all policy files; shown as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyDigest([u8; 32]);

impl fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PolicyDigest {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::new(text, "a policy's digest", "it is `sha256:` and 64 hexadecimal digits");
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad())?;
        Ok(Self(bytes))
    }
}

impl Serialize for PolicyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The rules that match a question, whatever the circumstances: casbin's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// Every rule that matches, in the order of the files.
    pub rules: Vec<Arc<Rule>>,
    /// Whether an allow matches and no deny does, conditions aside.
    pub allowed: bool,
}

impl Matched {
    /// Counts what was found for another name of the same person's.
    fn add(&mut self, more: &Self) {
        for rule in &more.rules {
            if !self.rules.iter().any(|known| Arc::ptr_eq(known, rule)) {
                self.rules.push(rule.clone());
            }
        }
        let denied = self.rules.iter().any(|rule| rule.effect == Effect::Deny);
        self.allowed = !self.rules.is_empty() && !denied;
    }
}

/// A checked policy; see the module's text for what it promises.
pub struct Policy {
    digest: PolicyDigest,
    shards: HashMap<(Tenant, Action), Shard>,
    courts: HashMap<Tenant, Court>,
    roles: BTreeMap<Tenant, RoleGraph>,
    workflows: BTreeMap<WorkflowName, Workflow>,
    reporting: Reporting,
    conditions: BTreeMap<ConditionName, Arc<Condition>>,
    memo: Memo,
    rules: usize,
}

impl Policy {
    /// The digest of the files that this policy was read from.
    pub fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// Number of rules.
    pub fn rule_count(&self) -> usize {
        self.rules
    }

    /// All rules, in no order across tenants and actions.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.shards.values().flat_map(|shard| shard.rules().iter())
    }

    /// What policy says when `who` wants `action` on `object` in `tenant` under these circumstances. Pure but for what
    /// it remembers of casbin; never panics. `claimed` are roles beside those that policy gives, for which an outside
    /// issuer vouches: each counts as a membership of the person's would.
    pub fn rule_at(
        &self,
        who: &Subject,
        claimed: &[Role],
        tenant: &Tenant,
        object: &Object,
        action: Action,
        at: &Circumstances,
    ) -> Ruling {
        match self.matched(who, claimed, tenant, object, action) {
            Ok(matched) => {
                self.weigh(&matched, Some(at), || format!("no rule allows {who} to {action} {object}"))
            }
            Err(error) => Ruling::deny(error.to_string()),
        }
    }

    /// What policy says at best: as if every condition that helps held, and none that hurts. Good for what must not
    /// depend on the moment, such as what a request will need; never for letting somebody in.
    pub fn rule(&self, who: &Subject, tenant: &Tenant, object: &Object, action: Action) -> Ruling {
        self.rule_with(who, &[], tenant, object, action)
    }

    /// The same for somebody who has roles beside those that policy gives.
    pub fn rule_with(
        &self,
        who: &Subject,
        claimed: &[Role],
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> Ruling {
        match self.matched(who, claimed, tenant, object, action) {
            Ok(matched) => {
                self.weigh(&matched, None, || format!("no rule allows {who} to {action} {object}"))
            }
            Err(error) => Ruling::deny(error.to_string()),
        }
    }

    /// The rules that match, as casbin says.
    pub(in crate::access) fn matched(
        &self,
        who: &Subject,
        claimed: &[Role],
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> Result<Arc<Matched>, EnforceError> {
        let own = self.remembered(Principal::Person(who.clone()), tenant, object, action)?;
        if claimed.is_empty() {
            return Ok(own);
        }
        let mut all = (*own).clone();
        for role in claimed {
            all.add(&*self.remembered(Principal::Role(role.clone()), tenant, object, action)?);
        }
        Ok(Arc::new(all))
    }

    /// The rules that match for a person, or for a role alone: asked once for each question while this policy is in force.
    fn remembered(
        &self,
        who: Principal,
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> Result<Arc<Matched>, EnforceError> {
        let question = (who, tenant.clone(), object.clone(), action);
        if let Some(known) = self.memo.get(&question) {
            return Ok(known);
        }
        let matched = Arc::new(self.ask(&question.0, tenant, object, action)?);
        // What no row can match costs casbin nothing, and isn't worth a place.
        if !matched.rules.is_empty() {
            self.memo.keep(question, &matched);
        }
        Ok(matched)
    }

    /// The same, without what is remembered: the index chooses the rows that can match, casbin decides over them.
    pub fn ask(
        &self,
        who: &Principal,
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> Result<Matched, EnforceError> {
        let Some(shard) = self.shards.get(&(tenant.clone(), action)) else { return Ok(Matched::default()) };
        let held = self.roles.get(tenant).and_then(|graph| graph.of_principal(who)).into_iter().flatten();
        let principals = std::iter::once(who.as_str()).chain(held.map(Role::as_str));
        let rules = shard.candidates(principals, object);
        if rules.is_empty() {
            return Ok(Matched::default());
        }
        let court = self.courts.get(tenant).ok_or(EnforceError::Disagreement)?;
        let verdict = court.ask((who.as_str(), tenant.as_str(), object.as_str(), action), &rules)?;
        // The index claims that each of these matches. casbin must say the same, or nobody is let in.
        if verdict.matched.len() != rules.len() {
            return Err(EnforceError::Disagreement);
        }
        Ok(Matched { rules, allowed: verdict.allowed })
    }

    /// Whether policy allows it without an approval, at best: see [`Self::rule`].
    pub fn allows(&self, who: &Subject, tenant: &Tenant, object: &Object, action: Action) -> bool {
        self.allows_with(who, &[], tenant, object, action)
    }

    /// The same for somebody who has roles beside those that policy gives.
    pub fn allows_with(
        &self,
        who: &Subject,
        claimed: &[Role],
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> bool {
        let ruling = self.rule_with(who, claimed, tenant, object, action);
        matches!(ruling, Ruling::Allow { workflows, .. } if workflows.is_empty())
    }

    /// Every role that a person has in a tenant.
    pub fn roles_of(&self, who: &Subject, tenant: &Tenant) -> BTreeSet<Role> {
        self.roles.get(tenant).and_then(|graph| graph.of(who)).cloned().unwrap_or_default()
    }

    /// The same, with roles that an outside issuer vouches for, and those that these bring.
    pub fn roles_with(&self, who: &Subject, claimed: &[Role], tenant: &Tenant) -> BTreeSet<Role> {
        let mut roles = self.roles_of(who, tenant);
        for role in claimed {
            roles.extend(
                self.roles
                    .get(tenant)
                    .and_then(|graph| graph.of_principal(&Principal::Role(role.clone())))
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            roles.insert(role.clone());
        }
        roles
    }

    /// Everyone who has a role in a tenant.
    pub fn members_of(&self, role: &Role, tenant: &Tenant) -> Vec<Subject> {
        self.roles.get(tenant).map(|graph| graph.members(role).cloned().collect()).unwrap_or_default()
    }

    /// Every role of every person of a tenant, however they have it.
    pub fn memberships(&self, tenant: &Tenant) -> Vec<(Subject, Role)> {
        let people = self.people_of(tenant);
        people.flat_map(|(person, roles)| roles.iter().map(|role| (person.clone(), role.clone()))).collect()
    }

    /// Every tenant of which a rule speaks.
    pub fn tenants(&self) -> BTreeSet<&Tenant> {
        self.shards.keys().map(|(tenant, _)| tenant).collect()
    }

    /// Everybody in a tenant who is named as having a role, with all of their roles.
    pub fn people_of(&self, tenant: &Tenant) -> impl Iterator<Item = (&Subject, &BTreeSet<Role>)> {
        self.roles.get(tenant).into_iter().flat_map(RoleGraph::people)
    }

    /// A condition by its name.
    pub fn condition(&self, name: &ConditionName) -> Option<&Condition> {
        self.conditions.get(name).map(Arc::as_ref)
    }

    /// All conditions.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.values().map(Arc::as_ref)
    }

    /// All workflows.
    pub fn workflows(&self) -> impl Iterator<Item = &Workflow> {
        self.workflows.values()
    }

    /// A workflow by its name.
    pub fn workflow(&self, name: &WorkflowName) -> Option<&Workflow> {
        self.workflows.get(name)
    }

    /// What several workflows demand together; `None` if there are none, or one of them doesn't exist any more.
    pub fn terms_of<'a>(&self, names: impl IntoIterator<Item = &'a WorkflowName>) -> Option<Terms> {
        let workflows: Option<Vec<&Workflow>> = names.into_iter().map(|name| self.workflow(name)).collect();
        Terms::of(workflows?)
    }

    /// Who reports to whom.
    pub fn reporting(&self) -> &Reporting {
        &self.reporting
    }

    /// Finds workflows that nobody could ever satisfy in the tenants where rules name them.
    fn check_satisfiable(&self, rules: &[Arc<Rule>], faults: &mut PolicyFaults) {
        let mut seen = BTreeSet::new();
        for rule in rules {
            let Some(workflow) = rule.approval.as_ref().and_then(|name| self.workflow(name)) else {
                continue;
            };
            if !seen.insert((workflow.name.clone(), rule.tenant.clone())) {
                continue;
            }
            let people: Vec<Approver> = self
                .roles
                .get(&rule.tenant)
                .map(|graph| {
                    graph.people().map(|(_, roles)| Approver { roles: roles.clone(), signed: true }).collect()
                })
                .unwrap_or_default();
            for step in missing(&workflow.steps, &people) {
                faults.add(
                    rule.place.clone(),
                    format!(
                        "workflow {} can never be satisfied in {}: {} more of {} would be needed",
                        workflow.name, rule.tenant, step.people, step.role
                    ),
                );
            }
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("digest", &self.digest)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
