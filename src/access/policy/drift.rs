//! Which way a policy went from the one before it: what the record of a new policy says, for whoever looks at records alone.
//!
//! Why: to see that something is allowed now that was not, somebody would have to hold the files of yesterday. A count of rows
//! says nothing: a `deny` that becomes an `allow`, or an approval that falls, leaves it as it was.
//!
//! Promised: `same` and `tighter` are said only if nothing that was asked came out wider, and no row came or went that could widen what
//! others give, for roles too that only tokens bring. What can't be told is `unclear`. No person is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::diff::{Difference, Eased, diff_within};
use super::rows::{Effect, Rule};
use super::{Policy, PolicyDigest, WorkflowName};
use crate::access::names::{Principal, Role, Subject, Tenant};

/// Most questions that are put to both policies while somebody waits for the new one: far below a second.
const MAX_QUESTIONS: usize = 50_000;
/// Most leaves that are named in a record.
const MAX_LEAVES: usize = 20;

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// There was none before it.
    First,
    /// It says the same.
    Same,
    /// It differs, and nobody may do more.
    Tighter,
    /// Somebody may do more, or under fewer demands.
    Looser,
    /// It may allow more. What was before is not known any more, or not all was compared.
    Unclear,
}

impl Way {
    const ALL: [Self; 5] = [Self::First, Self::Same, Self::Tighter, Self::Looser, Self::Unclear];

    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Same => "same",
            Self::Tighter => "tighter",
            Self::Looser => "looser",
            Self::Unclear => "unclear",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|way| way.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is no way that a policy can go"))
    }
}

/// The way, and what became wider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The way.
    pub way: Way,
    /// How many people may do more, or under fewer demands.
    pub people: u64,
    /// What they may, at most 20: action, object, and what policy said and says.
    pub leaves: Vec<String>,
}

impl Drift {
    /// Of a policy that is taken into use when the one before is known by its digest alone.
    pub fn at_start(digest: PolicyDigest, previous: Option<PolicyDigest>) -> Self {
        match previous {
            None => Way::First.into(),
            Some(previous) if previous == digest => Way::Same.into(),
            Some(_) => Way::Unclear.into(),
        }
    }

    /// From one policy to another.
    pub fn between(old: &Policy, new: &Policy) -> Self {
        if old.digest() == new.digest() {
            return Way::Same.into();
        }
        let (difference, eased) = diff_within(old, new, MAX_QUESTIONS);
        let way = if eased.people.is_empty() { narrower(old, new, &difference, &eased) } else { Way::Looser };
        let leaves = eased.leaves.into_iter().take(MAX_LEAVES).collect();
        Self { way, people: eased.people.len() as u64, leaves }
    }
}

impl From<Way> for Drift {
    fn from(way: Way) -> Self {
        Self { way, people: 0, leaves: Vec::new() }
    }
}

/// Of two policies of which nothing that was asked came out wider.
fn narrower(old: &Policy, new: &Policy, difference: &Difference, eased: &Eased) -> Way {
    let is_told = difference.is_complete && difference.meanings.is_empty() && !eased.is_unclear;
    if !is_told || may_widen(old, new) {
        Way::Unclear
    } else if difference.changes.is_empty() {
        Way::Same
    } else {
        Way::Tighter
    }
}

/// Whether a row came or went that can widen what others give. Nobody whom the files name need have the role that it is about.
fn may_widen(old: &Policy, new: &Policy) -> bool {
    let rows = |policy: &Policy| -> BTreeSet<String> { policy.rules().map(|rule| row(rule)).collect() };
    let (before, after) = (rows(old), rows(new));
    let gives = |rule: &Rule| rule.effect == Effect::Allow;
    let takes = |rule: &Rule| rule.effect == Effect::Deny || rule.approval.is_some();
    new.rules().any(|rule| gives(rule) && !before.contains(&row(rule)))
        || old.rules().any(|rule| takes(rule) && !after.contains(&row(rule)))
        || inherited(old, new) != inherited(new, old)
}

/// A row as it counts, without where and how it is written.
fn row(rule: &Rule) -> String {
    let approval = rule.approval.as_ref().map_or("-", WorkflowName::as_str);
    format!(
        "{} {} {} {} {} {approval} {}",
        rule.who.as_str(),
        rule.tenant,
        rule.objects.as_str(),
        rule.action,
        rule.effect.as_str(),
        rule.conditions_text()
    )
}

/// What other roles each role brings, of all that either policy's rows are about.
fn inherited(of: &Policy, beside: &Policy) -> BTreeMap<(Tenant, Role), BTreeSet<Role>> {
    let Ok(nobody) = "user:somebody-else".parse::<Subject>() else { return BTreeMap::new() };
    let roles = of.rules().chain(beside.rules()).filter_map(|rule| match &rule.who {
        Principal::Role(role) => Some((rule.tenant.clone(), role.clone())),
        Principal::Person(_) => None,
    });
    roles
        .map(|(tenant, role)| {
            let brings = of.roles_with(&nobody, std::slice::from_ref(&role), &tenant);
            ((tenant, role), brings)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
        p, role:a, main, tunnel:demo, connect, allow, -\n\
        p, role:a, main, tunnel:prod, connect, allow, -\n\
        p, role:c, main, tunnel:prod, connect, deny, -\n\
        p, role:a, main, tunnel:held, connect, deny, -\n\
        g, user:alice, role:a, main\n";

    async fn drift(old: &str, new: &str) -> Drift {
        Drift::between(&Policy::build_one(old).await, &Policy::build_one(new).await)
    }

    #[tokio::test]
    async fn a_denial_that_becomes_a_leave_is_looser_although_there_are_as_many_rows() {
        let new = OLD.replace("tunnel:held, connect, deny", "tunnel:held, connect, allow");
        let drift = drift(OLD, &new).await;
        assert_eq!((drift.way, drift.people), (Way::Looser, 1));
        assert_eq!(drift.leaves, ["connect tunnel:held: denied -> allowed"]);
    }

    #[tokio::test]
    async fn what_nobody_gains_by_is_tighter_and_other_words_are_the_same() {
        let less = OLD.replace("p, role:a, main, tunnel:demo, connect, allow, -\n", "");
        assert_eq!(drift(OLD, &less).await, Way::Tighter.into());
        let denied = format!("{OLD}p, role:a, main, tunnel:demo, connect, deny, -\n");
        assert_eq!(drift(OLD, &denied).await, Way::Tighter.into());
        assert_eq!(drift(OLD, &format!("# words\n{OLD}")).await, Way::Same.into());
        assert_eq!(drift(OLD, OLD).await, Way::Same.into());
    }

    #[tokio::test]
    async fn a_denial_that_falls_for_a_role_that_only_tokens_bring_is_not_passed_over() {
        let new = OLD.replace("p, role:c, main, tunnel:prod, connect, deny, -\n", "");
        assert_eq!(drift(OLD, &new).await.way, Way::Unclear);
        let brought = format!("{OLD}g, role:c, role:a, main\n");
        assert_eq!(drift(OLD, &brought).await.way, Way::Unclear);
    }

    #[tokio::test]
    async fn somebody_new_is_looser_and_names_nobody() {
        let new = format!("{OLD}g, user:bob, role:a, main\n");
        let drift = drift(OLD, &new).await;
        assert_eq!((drift.way, drift.people), (Way::Looser, 1));
        assert!(drift.leaves.iter().all(|leave| !leave.contains("bob")), "{drift:?}");
    }

    #[tokio::test]
    async fn a_start_knows_of_the_policy_before_only_whether_it_is_the_same() {
        let (one, other) = (
            Policy::build_one(OLD).await.digest(),
            Policy::build_one(&OLD.replace("demo", "other")).await.digest(),
        );
        for (previous, way) in [(None, Way::First), (Some(one), Way::Same), (Some(other), Way::Unclear)] {
            assert_eq!(Drift::at_start(one, previous).way, way);
        }
    }

    #[test]
    fn each_way_has_its_word() {
        for way in Way::ALL {
            assert_eq!(way.as_str().parse(), Ok(way));
        }
        assert!("wider".parse::<Way>().is_err());
    }
}
