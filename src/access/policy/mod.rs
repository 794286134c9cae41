//! The policy: casbin behind a guard.
//!
//! casbin is the policy language because security people know it. By itself it gives dangerous answers on bad input
//! (an empty policy may allow, a mistyped `deny` disappears, a request can make it panic), so it never sees input that
//! wasn't checked first. A [`Policy`] is an immutable value: it is read, checked and self-tested as a whole, and only
//! then swapped for the one in force. A directory with one fault changes nothing.
//!
//! Promised: deny by default; one matching deny outweighs every allow; if several matching rules name workflows, all
//! of them must be satisfied (demands add up, no rule is a way around another's); an error or a panic is a denial;
//! every ruling names its rules by file and line, and the policy by its digest.
//!
//! Trusted: whoever can write the policy directory. Start with [`Policy::rule`].

pub mod faults;
pub mod load;
mod model;
mod roles;
pub mod rows;
mod shard;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::names::{NameError, Role, Subject, Tenant};
use super::object::{Action, Object};
use super::workflow::{Reporting, Terms, Workflow, WorkflowName, missing};
use faults::PolicyFaults;
use roles::RoleGraph;
use rows::{Effect, Rule};
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

/// What policy says to one question. Approvals, locks and tokens are not its business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Allowed, once every workflow named is satisfied; none named means at once.
    Allow {
        /// The allow rules that matched, at least one.
        rules: Vec<Arc<Rule>>,
        /// All must be satisfied.
        workflows: BTreeSet<WorkflowName>,
    },
    /// Not allowed.
    Deny {
        /// The deny rule, or `None` when no rule allows.
        rule: Option<Arc<Rule>>,
        /// Why, in a sentence.
        why: String,
    },
}

/// A checked policy; see the module's text for what it promises.
pub struct Policy {
    digest: PolicyDigest,
    shards: HashMap<(Tenant, Action), Shard>,
    roles: BTreeMap<Tenant, RoleGraph>,
    workflows: BTreeMap<WorkflowName, Workflow>,
    reporting: Reporting,
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

    /// What policy says when `who` wants `action` on `object` in `tenant`. Pure; never panics.
    pub fn rule(&self, who: &Subject, tenant: &Tenant, object: &Object, action: Action) -> Ruling {
        self.rule_with(who, &[], tenant, object, action)
    }

    /// The same for somebody who has roles beside those that policy gives: an outside issuer vouches for these. Each counts as
    /// a membership of the person's would.
    pub fn rule_with(
        &self,
        who: &Subject,
        claimed: &[Role],
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> Ruling {
        let Some(shard) = self.shards.get(&(tenant.clone(), action)) else {
            return Ruling::Deny {
                rule: None,
                why: format!("no rule of {tenant} allows anyone to {action}"),
            };
        };
        let mut found = match shard.decide(who.as_str(), tenant.as_str(), object, action) {
            Ok(found) => found,
            Err(error) => return Ruling::Deny { rule: None, why: error.to_string() },
        };
        for role in claimed {
            match shard.decide(role.as_str(), tenant.as_str(), object, action) {
                Ok(more) => found.add(more),
                Err(error) => return Ruling::Deny { rule: None, why: error.to_string() },
            }
        }
        if let Some(deny) = found.rules.iter().find(|rule| rule.effect == Effect::Deny) {
            return Ruling::Deny { rule: Some(deny.clone()), why: "a deny rule matches".to_owned() };
        }
        if !found.allowed {
            return Ruling::Deny { rule: None, why: format!("no rule allows {who} to {action} {object}") };
        }
        let workflows = found.rules.iter().filter_map(|rule| rule.approval.clone()).collect();
        Ruling::Allow { rules: found.rules, workflows }
    }

    /// Whether policy allows it without an approval.
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
                self.roles.get(tenant).and_then(|graph| graph.of_role(role)).into_iter().flatten().cloned(),
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
        let people = self.roles.get(tenant).into_iter().flat_map(RoleGraph::people);
        people.flat_map(|(person, roles)| roles.iter().map(|role| (person.clone(), role.clone()))).collect()
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
            let people: Vec<BTreeSet<Role>> = self
                .roles
                .get(&rule.tenant)
                .map(|graph| graph.people().map(|(_, roles)| roles.clone()).collect())
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
