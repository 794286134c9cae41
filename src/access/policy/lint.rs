//! What is wrong with a policy that could be used all the same: rules that never decide, and rules that give away much.
//!
//! The loader refuses what can't be right. Here a good policy is read as its author would: a rule that another one
//! makes useless, a role that nobody has, a workflow or condition that nothing names, an approval that nobody could
//! give, a wildcard that hands out the gateway itself. Each finding has its line. Errors are what hardly anybody means;
//! the rest are warnings.
//!
//! Not found: a rule that several others make useless only together; people and groups that come with a token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Policy;
use super::conditions::{Circumstances, Truth, header_line};
use super::faults::{Place, PolicyFaults};
use super::load::{APPROVALS_FILE, Sources};
use super::rows::{Effect, Rule};
use crate::access::names::{Principal, Role};
use crate::access::object::Action;
use crate::access::workflow::{Approver, missing};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Hardly anybody means this.
    Error,
    /// Somebody should look.
    Warning,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// How bad.
    pub severity: Severity,
    /// One word for programs.
    pub code: &'static str,
    /// What, in a sentence.
    pub what: String,
}

/// Loads the policy and reads it through: its faults, or what else is found. `now` tells windows that are over.
pub async fn check(sources: &Sources, now: Timestamp) -> (Option<Policy>, Vec<Finding>) {
    match Policy::build(sources).await {
        Ok(policy) => {
            let findings = read_through(&policy, sources, now);
            (Some(policy), findings)
        }
        Err(faults) => (None, refused(&faults)),
    }
}

fn refused(faults: &PolicyFaults) -> Vec<Finding> {
    let finding = |fault: &super::faults::Fault| Finding {
        place: fault.place.clone(),
        severity: Severity::Error,
        code: "fault",
        what: fault.what.clone(),
    };
    let mut findings: Vec<Finding> = faults.faults().iter().map(finding).collect();
    let beyond = faults.count() - findings.len();
    if beyond > 0 {
        findings.push(Finding {
            place: Place { file: "policy".into(), line: 0 },
            severity: Severity::Error,
            code: "fault",
            what: format!("and {beyond} more"),
        });
    }
    findings
}

fn read_through(policy: &Policy, sources: &Sources, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let mut rules: Vec<&Arc<Rule>> = policy.rules().collect();
    rules.sort_unstable_by(|a, b| a.place.cmp(&b.place));
    roles_that_nobody_has(policy, &rules, &mut findings);
    for rule in &rules {
        gives_away(rule, &mut findings);
        covered(policy, rule, &mut findings);
        approvable(policy, rule, &mut findings);
    }
    let named: BTreeSet<_> = rules.iter().filter_map(|rule| rule.approval.as_ref()).collect();
    for workflow in policy.workflows().filter(|workflow| !named.contains(&workflow.name)) {
        let text = sources.get(APPROVALS_FILE).unwrap_or_default();
        let line = header_line(text, "workflow", workflow.name.as_str());
        let place = Place { file: APPROVALS_FILE.into(), line };
        findings.warn(place, "unused-workflow", format!("no rule names workflow {}", workflow.name));
    }
    let named: BTreeSet<_> =
        rules.iter().flat_map(|rule| rule.conditions.iter().map(|wanted| &wanted.name)).collect();
    for condition in policy.conditions() {
        let place = condition.place.clone();
        if !named.contains(&condition.name) {
            let what = format!("no rule names condition {}", condition.name);
            findings.warn(place, "unused-condition", what);
        } else if matches!(condition.holds(&Circumstances::at(now)), Truth::Fails(_))
            && condition.is_over(now)
        {
            let what = format!("condition {} is over and never holds again", condition.name);
            findings.warn(place, "condition-over", what);
        }
    }
    findings.0.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn warn(&mut self, place: Place, code: &'static str, what: String) {
        self.0.push(Finding { place, severity: Severity::Warning, code, what });
    }
}

/// A rule for a role that nobody has speaks for nobody; one finding for each role, at the first such rule.
fn roles_that_nobody_has(policy: &Policy, rules: &[&Arc<Rule>], findings: &mut Findings) {
    let mut idle: BTreeMap<_, (Place, usize)> = BTreeMap::new();
    for rule in rules {
        if let Principal::Role(role) = &rule.who
            && policy.members_of(role, &rule.tenant).is_empty()
        {
            let (_, count) = idle.entry((&rule.tenant, role)).or_insert_with(|| (rule.place.clone(), 0));
            *count += 1;
        }
    }
    for ((tenant, role), (place, count)) in idle {
        let rules = if count == 1 { "this rule speaks".to_owned() } else { format!("{count} rules speak") };
        findings.warn(
            place,
            "unknown-role",
            format!(
                "nobody in {tenant} has {role}: {rules} for nobody, unless tokens or shares bring the role"
            ),
        );
    }
}

fn gives_away(rule: &Rule, findings: &mut Findings) {
    if rule.effect == Effect::Deny {
        return;
    }
    let powerful = matches!(
        rule.action,
        Action::Admin | Action::Erase | Action::Approve | Action::Publish | Action::Share | Action::Delete
    );
    let everybody = matches!(&rule.who, Principal::Person(person) if person.is_anonymous());
    if everybody && powerful {
        findings.0.push(Finding {
            place: rule.place.clone(),
            severity: Severity::Error,
            code: "anonymous-power",
            what: format!("a visitor without a token may {} {}", rule.action, rule.objects.as_str()),
        });
    } else if matches!(rule.action, Action::Admin | Action::Erase) && rule.objects.as_str().contains('*') {
        let what = format!(
            "the wildcard {} lets {} {} every part of the gateway, its policy and tokens too: name the parts",
            rule.objects.as_str(),
            rule.who,
            rule.action
        );
        findings.warn(rule.place.clone(), "wildcard-admin", what);
    }
}

/// Whether some object of a rule has people enough who may approve there, in the roles that its workflow's steps ask for.
fn approvable(policy: &Policy, rule: &Rule, findings: &mut Findings) {
    let Some(workflow) = rule.approval.as_ref().and_then(|name| policy.workflow(name)) else { return };
    let approvals = policy.shards.get(&(rule.tenant.clone(), Action::Approve));
    let named =
        approvals.into_iter().flat_map(|shard| shard.rules()).filter_map(|other| other.objects.example());
    let mut objects: Vec<_> = rule.objects.example().into_iter().chain(named).collect();
    objects.retain(|object| rule.objects.matches(object));
    let can_be_approved = objects.iter().any(|object| {
        let people = policy.people_of(&rule.tenant);
        let approve = people.filter(|(who, _)| policy.allows(who, &rule.tenant, object, Action::Approve));
        let approvers: Vec<_> =
            approve.map(|(_, roles)| Approver { roles: roles.clone(), signed: true }).collect();
        missing(&workflow.steps, &approvers).is_empty()
    });
    if !can_be_approved {
        findings.0.push(Finding {
            place: rule.place.clone(),
            severity: Severity::Error,
            code: "nobody-approves",
            what: format!(
                "workflow {} can't be completed here: too few people of the roles that it asks for may approve {}",
                workflow.name,
                rule.objects.as_str()
            ),
        });
    }
}

/// Whether another rule decides wherever this one could.
fn covered(policy: &Policy, rule: &Arc<Rule>, findings: &mut Findings) {
    for wider in policy.rules_over(rule) {
        let always = wider.conditions.is_empty() || wider.conditions == rule.conditions;
        let place = rule.place.clone();
        match (rule.effect, wider.effect) {
            (Effect::Allow, Effect::Deny) if always => {
                let what = format!("{} denies all that it allows", wider.place);
                findings.warn(place, "shadowed-by-deny", what);
                return;
            }
            (Effect::Deny, Effect::Deny) if always => {
                findings.warn(place, "shadowed", format!("{} denies all of it already", wider.place));
                return;
            }
            (Effect::Allow, Effect::Allow)
                if rule.approval.is_none() && wider.approval.is_none() && always =>
            {
                let what = if wider.conditions == rule.conditions {
                    format!("{} allows all of it already", wider.place)
                } else {
                    format!("{} allows all of it whatever its conditions say", wider.place)
                };
                findings.warn(place, "shadowed", what);
                return;
            }
            (Effect::Allow, Effect::Allow)
                if rule.approval.is_some()
                    && !rule.conditions.is_empty()
                    && wider.approval.is_none()
                    && wider.conditions.is_empty() =>
            {
                let what = format!(
                    "where {} doesn't hold, {} allows it without the approval",
                    rule.conditions_text(),
                    wider.place
                );
                findings.warn(place, "approval-avoidable", what);
                return;
            }
            (Effect::Allow, Effect::Allow)
                if wider.approval.is_some() && wider.approval == rule.approval && always =>
            {
                let what = format!("{} says the same of more already", wider.place);
                findings.warn(place, "shadowed", what);
                return;
            }
            _ => {}
        }
    }
}

impl Policy {
    /// Other rules of the same tenant and action that speak of everybody and everything that this one speaks of.
    fn rules_over(&self, rule: &Arc<Rule>) -> Vec<Arc<Rule>> {
        let Some(shard) = self.shards.get(&(rule.tenant.clone(), rule.action)) else { return Vec::new() };
        let Some(example) = rule.objects.example() else { return Vec::new() };
        let graph = self.roles.get(&rule.tenant);
        let roles = graph.and_then(|graph| graph.of_principal(&rule.who)).into_iter().flatten();
        let principals = std::iter::once(rule.who.as_str()).chain(roles.map(Role::as_str));
        let mut over = shard.candidates(principals, &example);
        over.retain(|other| {
            other.place != rule.place
                && other.objects.covers(&rule.objects)
                // Of two that say the same of the same, the first stands.
                && (other.who != rule.who || other.objects != rule.objects || other.place < rule.place)
        });
        over
    }
}

#[cfg(test)]
mod tests;
