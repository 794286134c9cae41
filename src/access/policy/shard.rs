//! One small casbin enforcer per tenant and action, and the guard around it.
//!
//! casbin scans every row on every decision, so rows are spread over enforcers that each hold what one tenant and
//! one action need. The guard adds what the bare library lacks: its own object match, an effector that always
//! applies deny-override and tells **which** rows matched, errors and panics that are denials, and the rule that an
//! enforcer without rows doesn't exist (casbin evaluates an empty policy once, with empty texts).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use casbin::rhai::Dynamic;
use casbin::{
    CoreApi, DefaultModel, EffectKind, Effector, EffectorStream, Enforcer, NullAdapter, function_map,
};

use super::rows::{Effect, Rule};
use crate::access::object::{Action, Object, matches};

thread_local! {
    /// Rows that matched in the decision that this thread is making. `enforce` is synchronous: one thread, one decision.
    static MATCHED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// What casbin found for one question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// casbin's answer: an allow matched and no deny did.
    pub(super) allowed: bool,
    /// Every row that matched, in the order of the files.
    pub(super) rules: Vec<Arc<Rule>>,
}

impl Found {
    /// Counts what was found for another name of the same person's.
    pub(super) fn add(&mut self, more: Self) {
        self.allowed |= more.allowed;
        for rule in more.rules {
            if !self.rules.iter().any(|known| Arc::ptr_eq(known, &rule)) {
                self.rules.push(rule);
            }
        }
    }
}

/// Why no answer could be had; always a denial.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnforceError {
    #[error("casbin couldn't decide: {0}")]
    Casbin(String),
    #[error("casbin panicked while deciding")]
    Panicked,
    #[error("casbin's answer and the rows that matched disagree")]
    Disagreement,
}

/// The enforcer of one tenant and one action.
pub(super) struct Shard {
    enforcer: Enforcer,
    rules: Vec<Arc<Rule>>,
}

impl Shard {
    /// An enforcer over these rules, which must all be of one tenant and action; the role links come with [`Self::share_roles`].
    pub(super) async fn build(model: &DefaultModel, rules: Vec<Arc<Rule>>) -> Result<Self, String> {
        if rules.is_empty() {
            return Err("an enforcer without rows would decide on empty texts".to_owned());
        }
        let mut enforcer =
            Enforcer::new_raw(model.clone(), NullAdapter).await.map_err(|error| error.to_string())?;
        enforcer.add_function("objectMatch", function_map::OperatorFunction::Arg2(object_match));
        enforcer.set_effector(Box::new(DenyOverride));
        for rule in &rules {
            if !enforcer.get_mut_model().add_policy("p", "p", row(rule)) {
                return Err(format!("{}: casbin already holds this row", rule.place));
            }
        }
        Ok(Self { enforcer, rules })
    }

    /// Loads the tenant's role links into this enforcer's own role manager.
    pub(super) fn link_roles(&mut self, links: &[(String, String, String)]) {
        let manager = self.enforcer.get_role_manager();
        let mut manager = manager.write();
        for (member, role, tenant) in links {
            manager.add_link(member, role, Some(tenant));
        }
    }

    /// Uses the role links that `other` has loaded: one graph per tenant, whatever the number of shards.
    pub(super) fn share_roles(&mut self, other: &Self) -> Result<(), String> {
        // Otherwise casbin would rebuild the shared graph from this model's `g` rows, of which there are none.
        self.enforcer.enable_auto_build_role_links(false);
        self.enforcer.set_role_manager(other.enforcer.get_role_manager()).map_err(|error| error.to_string())
    }

    /// casbin's answer, or why there is none. Never panics.
    pub(super) fn decide(
        &self,
        who: &str,
        tenant: &str,
        object: &Object,
        action: Action,
    ) -> Result<Found, EnforceError> {
        let question = vec![who, tenant, object.as_str(), action.as_str()];
        MATCHED.with_borrow_mut(Vec::clear);
        let answer = catch_unwind(AssertUnwindSafe(|| self.enforcer.enforce(question)));
        let matched = MATCHED.take();
        let allowed = match answer {
            Ok(Ok(allowed)) => allowed,
            Ok(Err(error)) => return Err(EnforceError::Casbin(error.to_string())),
            Err(_panic) => return Err(EnforceError::Panicked),
        };
        let rules: Vec<Arc<Rule>> = matched.into_iter().filter_map(|i| self.rules.get(i).cloned()).collect();
        let denied = rules.iter().any(|rule| rule.effect == Effect::Deny);
        if allowed != (!rules.is_empty() && !denied) {
            return Err(EnforceError::Disagreement);
        }
        Ok(Found { allowed, rules })
    }

    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

fn row(rule: &Rule) -> Vec<String> {
    let approval = rule.approval.as_ref().map_or("-", |name| name.as_str());
    [
        rule.who.as_str(),
        rule.tenant.as_str(),
        rule.objects.as_str(),
        rule.action.as_str(),
        rule.effect.as_str(),
        approval,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn object_match(object: Dynamic, pattern: Dynamic) -> Dynamic {
    let text = |value: Dynamic| value.into_immutable_string();
    match (text(object), text(pattern)) {
        (Ok(object), Ok(pattern)) => matches(&object, &pattern).into(),
        _ => false.into(),
    }
}

/// Deny-override that reads every row, so that an explanation can name all rules that matched.
struct DenyOverride;

impl Effector for DenyOverride {
    fn new_stream(&self, _expression: &str, _rows: usize) -> Box<dyn EffectorStream> {
        Box::new(Tally { at: 0, allowed: false, denied: false })
    }
}

struct Tally {
    at: usize,
    allowed: bool,
    denied: bool,
}

impl EffectorStream for Tally {
    fn next(&self) -> bool {
        self.allowed && !self.denied
    }

    fn push_effect(&mut self, effect: EffectKind) -> bool {
        match effect {
            EffectKind::Allow => self.allowed = true,
            EffectKind::Deny => self.denied = true,
            EffectKind::Indeterminate => {}
        }
        if effect != EffectKind::Indeterminate {
            MATCHED.with_borrow_mut(|matched| matched.push(self.at));
        }
        self.at += 1;
        false
    }
}
