//! Bare casbin over all rows at once: no index, nothing remembered, no shards. Slow, and the measure of the rest.
//!
//! Tests and `policy test` ask it beside the real way, and the benchmark measures it: the two must find the same rows.
//! Its answers let nobody in.

use std::sync::Arc;

use super::EnforceError;
use super::court::Court;
use super::faults::PolicyFaults;
use super::load::Sources;
use super::rows::Rule;
use super::{Matched, Policy};
use crate::access::names::{Subject, Tenant};
use crate::access::object::{Action, Object};

/// All rules of a policy in one casbin enforcer.
pub struct Oracle {
    court: Court,
    rules: Vec<Arc<Rule>>,
}

impl Oracle {
    /// From the texts of a policy that is good.
    ///
    /// # Errors
    ///
    /// As [`Policy::build`].
    pub async fn build(sources: &Sources) -> Result<Self, PolicyFaults> {
        let (court, rules) = sources.all_in_one().await?;
        Ok(Self { court, rules })
    }

    /// The rules that match.
    ///
    /// # Errors
    ///
    /// casbin failed.
    pub fn ask(
        &self,
        who: &Subject,
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> Result<Matched, EnforceError> {
        let question = (who.as_str(), tenant.as_str(), object.as_str(), action);
        let verdict = self.court.ask_loaded(question, &self.rules)?;
        let rules = verdict.matched.iter().filter_map(|at| self.rules.get(*at).cloned()).collect();
        Ok(Matched { rules, allowed: verdict.allowed })
    }

    /// Whether the policy finds the same rules as casbin does by itself.
    pub fn agrees(
        &self,
        policy: &Policy,
        who: &Subject,
        tenant: &Tenant,
        object: &Object,
        action: Action,
    ) -> bool {
        match (self.ask(who, tenant, object, action), policy.matched(who, &[], tenant, object, action)) {
            (Ok(bare), Ok(ours)) => bare == *ours,
            _ => false,
        }
    }
}
