//! From the rules that match to what policy says under the circumstances, and until when it says so.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::conditions::{Circumstances, Truth, Wanted};
use super::rows::{Effect, Rule};
use super::{Matched, Policy};
use crate::access::workflow::WorkflowName;

/// Changes of time that are looked at to find the end of a leave. A leave that outlasts them ends at the last one, and
/// is asked for again.
const LOOK_AHEAD: usize = 16;

/// What policy says to one question. Approvals, locks and tokens are not its business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Allowed, once every workflow named is satisfied; none named means at once.
    Allow {
        /// The allow rules that matched and whose conditions hold, at least one.
        rules: Vec<Arc<Rule>>,
        /// All must be satisfied.
        workflows: BTreeSet<WorkflowName>,
    },
    /// Not allowed.
    Deny {
        /// The deny rule, or `None` when no rule allows.
        rule: Option<Arc<Rule>>,
        /// Conditions that decided: those without which allow rules didn't speak, or that made the deny rule speak.
        unmet: Vec<Unmet>,
        /// Why, in a sentence.
        why: String,
    },
}

/// A condition that doesn't hold, or of which it can't be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The rule that names it.
    pub rule: Arc<Rule>,
    /// The condition as the rule names it.
    pub condition: Wanted,
    /// Whether it can't be told.
    pub unknown: bool,
    /// Why, in a sentence.
    pub why: String,
}

impl Ruling {
    pub(in crate::access) fn deny(why: String) -> Self {
        Self::Deny { rule: None, unmet: Vec::new(), why }
    }
}

/// Whether a rule speaks, and what keeps it from speaking.
enum Speaks {
    Yes,
    No(Unmet),
    Unknown(Unmet),
}

impl Policy {
    /// Weighs the rules that match. Without circumstances: as if everything that helps the one who asks held.
    pub(in crate::access) fn weigh(
        &self,
        matched: &Matched,
        at: Option<&Circumstances>,
        nobody: impl FnOnce() -> String,
    ) -> Ruling {
        let (mut rules, mut workflows, mut unmet) = (Vec::new(), BTreeSet::new(), Vec::new());
        for rule in &matched.rules {
            let speaks = match at {
                _ if rule.conditions.is_empty() => Speaks::Yes,
                Some(at) => self.speaks(rule, at),
                None if rule.effect == Effect::Allow => Speaks::Yes,
                None => continue,
            };
            match (rule.effect, speaks) {
                // What can't be told never helps: the deny rule speaks.
                (Effect::Deny, Speaks::Yes) => {
                    let why = if rule.conditions.is_empty() {
                        "a deny rule matches".to_owned()
                    } else {
                        format!("a deny rule matches under its condition {}", rule.conditions_text())
                    };
                    return Ruling::Deny { rule: Some(rule.clone()), unmet: Vec::new(), why };
                }
                (Effect::Deny, Speaks::Unknown(what)) => {
                    let why = format!(
                        "a deny rule matches unless {} says otherwise, and {}",
                        what.condition, what.why
                    );
                    return Ruling::Deny { rule: Some(rule.clone()), unmet: vec![what], why };
                }
                (Effect::Deny, Speaks::No(_)) => {}
                (Effect::Allow, Speaks::Yes) => {
                    workflows.extend(rule.approval.clone());
                    rules.push(rule.clone());
                }
                (Effect::Allow, Speaks::No(what)) => unmet.push(what),
                (Effect::Allow, Speaks::Unknown(what)) => {
                    // Its demand may be due: it is made.
                    workflows.extend(rule.approval.clone());
                    unmet.push(what);
                }
            }
        }
        if !rules.is_empty() {
            return Ruling::Allow { rules, workflows };
        }
        let why = match unmet.first() {
            None => nobody(),
            Some(first) => {
                let more = match unmet.len() {
                    1 => String::new(),
                    count => format!(" (and {} more rules whose conditions don't hold)", count - 1),
                };
                format!(
                    "{} would allow it under {}, and {}{more}",
                    first.rule.place, first.condition, first.why
                )
            }
        };
        Ruling::Deny { rule: None, unmet, why }
    }

    /// Whether the conditions of a rule hold; what certainly fails outweighs what can't be told.
    fn speaks(&self, rule: &Arc<Rule>, at: &Circumstances) -> Speaks {
        let mut unknown = None;
        for wanted in &rule.conditions {
            let truth = match self.conditions.get(&wanted.name) {
                Some(condition) => condition.holds(at),
                // The loader refuses such a rule.
                None => Truth::Unknown("there is no such condition".to_owned()),
            };
            let unmet = |unknown, why| Unmet { rule: rule.clone(), condition: wanted.clone(), unknown, why };
            match (truth, wanted.turned) {
                (Truth::Holds, false) | (Truth::Fails(_), true) => {}
                (Truth::Fails(why), false) => return Speaks::No(unmet(false, why)),
                (Truth::Holds, true) => return Speaks::No(unmet(false, "that holds".to_owned())),
                (Truth::Unknown(why), _) => unknown = unknown.or(Some(unmet(true, why))),
            }
        }
        unknown.map_or(Speaks::Yes, Speaks::Unknown)
    }

    /// Until when a leave stands that demands no more than `granted`, if time can end it; nothing else is foreseen.
    pub(in crate::access) fn until(
        &self,
        matched: &Matched,
        at: &Circumstances,
        granted: &BTreeSet<WorkflowName>,
    ) -> Option<Timestamp> {
        let timed = |rule: &&Arc<Rule>| {
            rule.conditions
                .iter()
                .any(|wanted| self.conditions.get(&wanted.name).is_some_and(|condition| condition.is_timed()))
        };
        if !matched.rules.iter().any(|rule| timed(&rule)) {
            return None;
        }
        // A rule that always allows needs no timed one beside it; only what could take or demand more matters then.
        let always =
            matched.rules.iter().any(|rule| rule.effect == Effect::Allow && rule.conditions.is_empty());
        let takes = |rule: &&Arc<Rule>| rule.effect == Effect::Deny || rule.approval.is_some();
        if always && !matched.rules.iter().filter(timed).any(|rule| takes(&rule)) {
            return None;
        }
        let names: BTreeSet<_> =
            matched.rules.iter().flat_map(|rule| rule.conditions.iter().map(|wanted| &wanted.name)).collect();
        let timed: Vec<_> =
            names.into_iter().filter_map(|name| self.conditions.get(name)).filter(|c| c.is_timed()).collect();
        let mut at = at.clone();
        for _ in 0..LOOK_AHEAD {
            at.now = timed.iter().filter_map(|condition| condition.next_change(at.now)).min()?;
            match self.weigh(matched, Some(&at), String::new) {
                Ruling::Allow { workflows, .. } if workflows.is_subset(granted) => {}
                _ => return Some(at.now),
            }
        }
        Some(at.now)
    }
}
