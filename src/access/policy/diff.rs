//! Who gains or loses what between two policies.
//!
//! Two tables of rows say little to whoever must agree to a change. Here both policies answer the same questions:
//! everybody whom either names, every action, and objects that stand for all that its patterns can tell apart. What
//! comes out differently is told. Conditions are compared by what rows say and what the file says they mean; grants,
//! locks and sharing are not policy and don't enter.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::rows::{Effect, Rule};
use super::{Policy, PolicyDigest, Ruling, WorkflowName};
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::{Action, Object, Part};

/// Most questions that are put to both policies.
pub const MAX_QUESTIONS: usize = 2_000_000;
/// Most changes that are kept; the rest is counted.
pub const MAX_CHANGES: usize = 10_000;

/// Which way a leave changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Not possible before.
    Gains,
    /// Not possible any more.
    Loses,
    /// Possible under other demands.
    Changes,
}

/// One leave that changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// Whose.
    pub who: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// To do what.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// Which way.
    pub way: Way,
    /// What the old policy says.
    pub before: String,
    /// What the new policy says.
    pub after: String,
}

/// How two policies differ.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The old policy.
    pub old: PolicyDigest,
    /// The new policy.
    pub new: PolicyDigest,
    /// Leaves that changed, at most [`MAX_CHANGES`].
    pub changes: Vec<Change>,
    /// How many people gain something, lose something, or have it under other demands.
    pub gains: usize,
    /// See `gains`.
    pub loses: usize,
    /// See `gains`.
    pub others: usize,
    /// Workflows and conditions that mean something else now, or came or went.
    pub meanings: Vec<String>,
    /// How many questions were put to both.
    pub questions: usize,
    /// Whether these were all.
    #[serde(skip)]
    pub is_complete: bool,
    /// What this can't tell.
    pub limits: Vec<String>,
}

impl Difference {
    /// One line for a record: counts, and no names.
    pub fn summary(&self) -> String {
        format!(
            "{} gained, {} lost, {} under other demands, {} meanings changed",
            self.gains,
            self.loses,
            self.others,
            self.meanings.len()
        )
    }
}

/// What a policy says to one question, whatever the moment: two that say the same are equal.
struct Leave {
    possible: bool,
    text: String,
    /// Workflows that must be satisfied, at best.
    demands: BTreeSet<WorkflowName>,
    /// A row allows it at once and always.
    always: bool,
    /// Rows under conditions that deny it.
    takes: BTreeSet<String>,
    /// Rows under conditions that allow it, where no row always does.
    gives: BTreeSet<String>,
    /// Rows under conditions that allow it, and demand something.
    asks: BTreeSet<String>,
}

/// Which way one leave went, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Easing {
    Tighter,
    Looser,
    Unclear,
}

/// What became wider from one policy to another.
#[derive(Debug, Default)]
pub(super) struct Eased {
    /// Who may do more, or under fewer demands.
    pub(super) people: BTreeSet<(Tenant, Subject)>,
    /// What they may: action, object, and what policy said and says.
    pub(super) leaves: BTreeSet<String>,
    /// Of some leave it can't be told.
    pub(super) is_unclear: bool,
}

impl Leave {
    fn of(policy: &Policy, who: &Subject, tenant: &Tenant, object: &Object, action: Action) -> Self {
        let mut leave = Self {
            possible: false,
            text: "denied".to_owned(),
            demands: BTreeSet::new(),
            always: false,
            takes: BTreeSet::new(),
            gives: BTreeSet::new(),
            asks: BTreeSet::new(),
        };
        let Ok(matched) = policy.matched(who, &[], tenant, object, action) else {
            "denied: casbin failed".clone_into(&mut leave.text);
            return leave;
        };
        match policy.rule(who, tenant, object, action) {
            Ruling::Deny { .. } => return leave,
            Ruling::Allow { workflows, .. } => leave.demands = workflows,
        }
        leave.possible = true;
        leave.text = if leave.demands.is_empty() {
            "allowed".to_owned()
        } else {
            let names: Vec<&str> = leave.demands.iter().map(WorkflowName::as_str).collect();
            format!("needs {}", names.join("+"))
        };
        let always = |rule: &Rule| rule.conditions.is_empty() && rule.approval.is_none();
        leave.always = matched.rules.iter().any(|rule| rule.effect == Effect::Allow && always(rule));
        for rule in matched.rules.iter().filter(|rule| !rule.conditions.is_empty()) {
            let mut names: Vec<String> = rule.conditions.iter().map(ToString::to_string).collect();
            names.sort_unstable();
            let demand = rule.approval.as_ref().map_or(String::new(), |name| format!(" {name}"));
            let row = format!("{}{demand} under {}", rule.effect.as_str(), names.join("+"));
            match (rule.effect, &rule.approval) {
                (Effect::Deny, _) => leave.takes.insert(row),
                (Effect::Allow, Some(_)) => leave.asks.insert(row),
                // Beside a rule that always allows, only demands and denials matter.
                (Effect::Allow, None) => !leave.always && leave.gives.insert(row),
            };
        }
        let conditional: BTreeSet<&str> =
            leave.takes.iter().chain(&leave.gives).chain(&leave.asks).map(String::as_str).collect();
        if !conditional.is_empty() {
            leave.text += &format!(" ({})", conditional.into_iter().collect::<Vec<_>>().join("; "));
        }
        leave
    }

    /// Which way it went from `before` to this, where they differ.
    fn easing(&self, before: &Self) -> Easing {
        if !self.possible {
            return Easing::Tighter;
        }
        let gives_more = match (before.always, self.always) {
            (_, true) => !before.always,
            (true, false) => false,
            (false, false) => !self.gives.is_subset(&before.gives),
        };
        let asks_less = self.demands.is_subset(&before.demands) && self.demands != before.demands;
        if !before.possible || gives_more || asks_less || !before.takes.is_subset(&self.takes) {
            Easing::Looser
        } else if !before.demands.is_subset(&self.demands) || self.asks != before.asks {
            // Other demands; or one under a condition, which both gives and demands.
            Easing::Unclear
        } else {
            Easing::Tighter
        }
    }
}

/// Puts the same questions to both.
pub fn diff(old: &Policy, new: &Policy) -> Difference {
    diff_within(old, new, MAX_QUESTIONS).0
}

/// Puts at most so many questions to both, and says what became wider.
pub(super) fn diff_within(old: &Policy, new: &Policy, most: usize) -> (Difference, Eased) {
    let mut limits = vec![
        "people whom no row names are asked about as one, `user:somebody-else`".to_owned(),
        "roles that tokens bring, grants, locks and sharing don't enter".to_owned(),
        "tunnels stand for all that fit the same patterns".to_owned(),
    ];
    let (mut changes, mut questions, mut beyond, mut is_complete) = (Vec::new(), 0, 0, true);
    let (mut gains, mut loses, mut others) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut eased = Eased::default();
    let tenants: BTreeSet<&Tenant> = old.tenants().into_iter().chain(new.tenants()).collect();
    'all: for tenant in tenants {
        let people = people(old, new, tenant);
        let objects = objects(old, new, tenant);
        for who in &people {
            for object in &objects {
                for action in Action::ALL {
                    if questions == most {
                        limits.push(format!("only the first {most} questions were put"));
                        is_complete = false;
                        break 'all;
                    }
                    questions += 1;
                    let before = Leave::of(old, who, tenant, object, action);
                    let after = Leave::of(new, who, tenant, object, action);
                    if before.text == after.text {
                        continue;
                    }
                    match after.easing(&before) {
                        Easing::Tighter => {}
                        Easing::Unclear => eased.is_unclear = true,
                        Easing::Looser => {
                            eased.people.insert((tenant.clone(), who.clone()));
                            let (before, after) = (&before.text, &after.text);
                            eased.leaves.insert(format!("{action} {object}: {before} -> {after}"));
                        }
                    }
                    let (way, whom) = match (before.possible, after.possible) {
                        (false, true) => (Way::Gains, &mut gains),
                        (true, false) => (Way::Loses, &mut loses),
                        _ => (Way::Changes, &mut others),
                    };
                    whom.insert((tenant.clone(), who.clone()));
                    if changes.len() == MAX_CHANGES {
                        beyond += 1;
                        continue;
                    }
                    let (who, tenant, object) = (who.clone(), tenant.clone(), object.clone());
                    let (before, after) = (before.text, after.text);
                    changes.push(Change { who, tenant, action, object, way, before, after });
                }
            }
        }
    }
    if beyond > 0 {
        limits.push(format!("{beyond} more changes aren't listed"));
    }
    let difference = Difference {
        old: old.digest(),
        new: new.digest(),
        changes,
        gains: gains.len(),
        loses: loses.len(),
        others: others.len(),
        meanings: meanings(old, new),
        questions,
        is_complete,
        limits,
    };
    (difference, eased)
}

fn people(old: &Policy, new: &Policy, tenant: &Tenant) -> BTreeSet<Subject> {
    let mut people: BTreeSet<Subject> = [old, new]
        .into_iter()
        .flat_map(|policy| policy.people_of(tenant).map(|(person, _)| person.clone()))
        .collect();
    for policy in [old, new] {
        people.extend(policy.rules().filter(|rule| rule.tenant == *tenant).filter_map(
            |rule| match &rule.who {
                crate::access::Principal::Person(person) => Some(person.clone()),
                crate::access::Principal::Role(_) => None,
            },
        ));
    }
    people.insert(Subject::anonymous());
    people.extend("user:somebody-else".parse::<Subject>());
    people
}

/// Names that fit each pattern, and each that fits two together: what no pattern tells apart is asked about once.
fn objects(old: &Policy, new: &Policy, tenant: &Tenant) -> BTreeSet<Object> {
    let patterns: BTreeSet<&str> = [old, new]
        .into_iter()
        .flat_map(Policy::rules)
        .filter(|rule| rule.tenant == *tenant)
        .map(|rule| rule.objects.as_str())
        .collect();
    let halves: Vec<(&str, &str)> = patterns.iter().filter_map(|pattern| pattern.split_once('*')).collect();
    let mut objects: BTreeSet<Object> = Part::ALL.into_iter().map(Object::gateway).collect();
    objects.extend(patterns.iter().filter_map(|pattern| pattern.parse::<Object>().ok()));
    objects.extend("tunnel:something-else".parse::<Object>());
    for (before, after) in &halves {
        // The shortest that fits: some patterns only tell it from longer ones.
        objects.extend(format!("{before}{after}").parse::<Object>());
    }
    for (before, _) in &halves {
        for (_, after) in &halves {
            let fits = ["q7z", "", "0"]
                .into_iter()
                .find_map(|middle| format!("{before}{middle}{after}").parse().ok());
            objects.extend(fits);
        }
    }
    objects
}

fn meanings(old: &Policy, new: &Policy) -> Vec<String> {
    fn compare<K: Ord + std::fmt::Display, V: PartialEq>(
        what: &str,
        old: &BTreeMap<K, V>,
        new: &BTreeMap<K, V>,
        into: &mut Vec<String>,
    ) {
        for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            match (old.get(name), new.get(name)) {
                (Some(_), None) => into.push(format!("{what} {name} is gone")),
                (None, Some(_)) => into.push(format!("{what} {name} is new")),
                (Some(old), Some(new)) if old != new => {
                    into.push(format!("{what} {name} means something else"));
                }
                _ => {}
            }
        }
    }
    let mut told = Vec::new();
    let workflows = |policy: &Policy| -> BTreeMap<_, _> {
        policy.workflows().map(|workflow| (workflow.name.clone(), workflow.clone())).collect()
    };
    compare("workflow", &workflows(old), &workflows(new), &mut told);
    if old.reporting() != new.reporting() {
        told.push("who reports to whom means something else".to_owned());
    }
    let conditions = |policy: &Policy| -> BTreeMap<_, _> {
        policy.conditions().map(|condition| (condition.name.clone(), condition.meaning())).collect()
    };
    compare("condition", &conditions(old), &conditions(new), &mut told);
    told
}

/// Roles that came or went with a person, for the reader: `user:alice: +role:admin`.
pub fn memberships(old: &Policy, new: &Policy) -> Vec<String> {
    let all = |policy: &Policy| -> BTreeSet<(Tenant, Subject, Role)> {
        policy
            .tenants()
            .into_iter()
            .flat_map(|tenant| {
                policy.people_of(tenant).flat_map(move |(person, roles)| {
                    roles.iter().map(move |role| (tenant.clone(), person.clone(), role.clone()))
                })
            })
            .collect()
    };
    let (old, new) = (all(old), all(new));
    let line = |sign: char, (tenant, person, role): &(Tenant, Subject, Role)| {
        format!("{sign} {person} {role} in {tenant}")
    };
    let gone = old.difference(&new).map(|entry| line('-', entry));
    gone.chain(new.difference(&old).map(|entry| line('+', entry))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "p, role:a, main, tunnel:demo-*, connect, allow, -\np, role:a, main, tunnel:*-x, connect, deny, -\ng, user:alice, role:a, main\ng, user:bob, role:a, main\n";

    async fn told(new: &str) -> (Vec<String>, Difference) {
        let difference = diff(&Policy::build_one(OLD).await, &Policy::build_one(new).await);
        let lines = difference.changes.iter();
        let line = |c: &Change| {
            format!("{:?} {} {} {}: {} -> {}", c.way, c.who, c.action, c.object, c.before, c.after)
        };
        (lines.map(line).collect(), difference)
    }

    #[tokio::test]
    async fn the_same_policy_differs_in_nothing() {
        let (lines, difference) = told(&format!("# words\n{OLD}")).await;
        assert_eq!(lines, Vec::<String>::new());
        assert!(difference.questions > 100 && difference.meanings.is_empty());
        assert_ne!(difference.old, difference.new);
    }

    #[tokio::test]
    async fn who_gains_and_who_loses_is_told() {
        let (lines, difference) =
            told(&OLD.replace("g, user:bob, role:a, main", "g, user:carl, role:a, main")).await;
        assert!(lines.iter().any(|l| l.starts_with("Loses user:bob connect tunnel:demo-")), "{lines:#?}");
        assert!(lines.iter().any(|l| l.starts_with("Gains user:carl connect tunnel:demo-")), "{lines:#?}");
        assert!(lines.iter().all(|l| !l.contains("user:alice")), "{lines:#?}");
        assert_eq!((difference.gains, difference.loses, difference.others), (1, 1, 0));
    }

    #[tokio::test]
    async fn a_name_that_only_two_patterns_together_tell_apart_is_asked_about() {
        // Without the deny, what fits both patterns is gained, and nothing else is.
        let (lines, _) = told(&OLD.replace("tunnel:*-x, connect, deny", "tunnel:*-x, read, deny")).await;
        assert!(!lines.is_empty());
        assert!(
            lines.iter().all(|line| line.starts_with("Gains") && line.contains("-x: denied")),
            "{lines:#?}"
        );
    }
}
