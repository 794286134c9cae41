//! casbin's seat: one enforcer for each tenant, asked about a few rows at a time, and the guard around it.
//!
//! casbin looks at every row it holds, about a microsecond each, so it is shown only the rows that can match. The guard
//! adds what the bare library lacks: its own object match, an effector that always applies deny-override and tells
//! **which** rows matched, errors and panics that are denials, and the rule that casbin is never asked without rows
//! (it evaluates an empty policy once, with empty texts).

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use casbin::rhai::Dynamic;
use casbin::{
    CoreApi, DefaultModel, EffectKind, Effector, EffectorStream, Enforcer, NullAdapter, function_map,
};

use super::rows::{Effect, Rule};
use crate::access::object::{Action, matches};

thread_local! {
    /// Rows that matched in the decision that this thread is making. `enforce` is synchronous: one thread, one decision.
    static MATCHED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Why no answer could be had; always a denial.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// It gave an error.
    #[error("casbin couldn't decide: {0}")]
    Casbin(String),
    /// It panicked.
    #[error("casbin panicked while deciding")]
    Panicked,
    /// Two ways to the same answer came to different ones.
    #[error("casbin's answer and the rows that matched disagree")]
    Disagreement,
}

/// What casbin said of the rows that it was shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// An allow matched and no deny did.
    pub(super) allowed: bool,
    /// Places, among those shown, of the rows that matched.
    pub(super) matched: Vec<usize>,
}

/// The enforcer of one tenant.
pub(super) struct Court {
    enforcer: Mutex<Enforcer>,
}

impl Court {
    /// An enforcer with the tenant's role links (who, role, tenant), and without rows.
    pub(super) async fn build(
        model: &DefaultModel,
        links: impl IntoIterator<Item = (&str, &str, &str)>,
    ) -> Result<Self, String> {
        let mut enforcer =
            Enforcer::new_raw(model.clone(), NullAdapter).await.map_err(|error| error.to_string())?;
        enforcer.add_function("objectMatch", function_map::OperatorFunction::Arg2(object_match));
        enforcer.set_effector(Box::new(DenyOverride));
        {
            let manager = enforcer.get_role_manager();
            let mut manager = manager.write();
            for (member, role, tenant) in links {
                manager.add_link(member, role, Some(tenant));
            }
        }
        Ok(Self { enforcer: Mutex::new(enforcer) })
    }

    /// casbin's answer over these rows, or why there is none. Never panics.
    pub(super) fn ask(&self, question: Question<'_>, rows: &[Arc<Rule>]) -> Result<Verdict, EnforceError> {
        // What a decision that panicked left behind is taken away before the next.
        let mut enforcer = self.enforcer.lock().unwrap_or_else(PoisonError::into_inner);
        load(&mut enforcer, rows)?;
        decide(&enforcer, question, rows)
    }

    /// Keeps these rows for [`Self::ask_loaded`].
    pub(super) fn load(&self, rows: &[Arc<Rule>]) -> Result<(), EnforceError> {
        load(&mut self.enforcer.lock().unwrap_or_else(PoisonError::into_inner), rows)
    }

    /// As [`Self::ask`], over rows that were loaded before: the same must be given.
    pub(super) fn ask_loaded(
        &self,
        question: Question<'_>,
        rows: &[Arc<Rule>],
    ) -> Result<Verdict, EnforceError> {
        decide(&self.enforcer.lock().unwrap_or_else(PoisonError::into_inner), question, rows)
    }
}

/// Who, in which tenant, which object, which action.
pub(super) type Question<'a> = (&'a str, &'a str, &'a str, Action);

fn load(enforcer: &mut Enforcer, rows: &[Arc<Rule>]) -> Result<(), EnforceError> {
    let model = enforcer.get_mut_model();
    model.clear_policy();
    for rule in rows {
        if !model.add_policy("p", "p", row(rule)) {
            return Err(EnforceError::Casbin(format!("{}: it already holds this row", rule.place)));
        }
    }
    Ok(())
}

fn decide(
    enforcer: &Enforcer,
    (who, tenant, object, action): Question<'_>,
    rows: &[Arc<Rule>],
) -> Result<Verdict, EnforceError> {
    if rows.is_empty() {
        return Ok(Verdict { allowed: false, matched: Vec::new() });
    }
    MATCHED.with_borrow_mut(Vec::clear);
    let question = vec![who, tenant, object, action.as_str()];
    let answer = catch_unwind(AssertUnwindSafe(|| enforcer.enforce(question)));
    let matched = MATCHED.take();
    let allowed = match answer {
        Ok(Ok(allowed)) => allowed,
        Ok(Err(error)) => return Err(EnforceError::Casbin(error.to_string())),
        Err(_panic) => return Err(EnforceError::Panicked),
    };
    let denied = matched.iter().any(|at| rows.get(*at).is_some_and(|rule| rule.effect == Effect::Deny));
    if allowed != (!matched.is_empty() && !denied) {
        return Err(EnforceError::Disagreement);
    }
    Ok(Verdict { allowed, matched })
}

/// A row as casbin holds it: what a rule asks for besides (conditions) isn't casbin's business. Rows that differ in
/// their conditions alone are told apart by their place.
fn row(rule: &Rule) -> Vec<String> {
    let approval = rule.approval.as_ref().map_or("-", |name| name.as_str());
    vec![
        rule.who.as_str().to_owned(),
        rule.tenant.as_str().to_owned(),
        rule.objects.as_str().to_owned(),
        rule.action.as_str().to_owned(),
        rule.effect.as_str().to_owned(),
        format!("{approval} {}", rule.place),
    ]
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
