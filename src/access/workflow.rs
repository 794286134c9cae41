//! Approval workflows: what must be agreed, and by whom, before a rule's *needs approval* is satisfied.
//!
//! `approvals.toml` names workflows. A workflow is a list of steps which must **all** hold; a step asks for `n`
//! distinct people of one role. The requester never counts, and one person counts once in a whole workflow even with
//! two roles. Two workflows that hold at the same time (two rules match) are all their steps together: approvals are
//! added, never chosen between.
//!
//! Whether the approvals at hand are enough is a matching problem: each place of each step wants a person of its
//! own. [`missing`] solves it exactly, so the order in which people approve never matters.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::names::{NameError, Role, is_label};

/// Most steps in one workflow.
pub const MAX_STEPS: usize = 8;
/// Most people in one step.
pub const MAX_PEOPLE: u32 = 8;
/// Longest grant that a workflow may allow, in minutes: 31 days.
pub const MAX_MINUTES: u32 = 31 * 24 * 60;

/// The name of a workflow: 1 to 63 of a-z 0-9 -.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowName(Arc<str>);

impl WorkflowName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkflowName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(
                text,
                "a workflow's name",
                "it is 1 to 63 of a-z 0-9 - and begins and ends with a letter or a digit",
            ))
        }
    }
}

impl fmt::Display for WorkflowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for WorkflowName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// One step: so many distinct people of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Step {
    /// Whose approval counts.
    pub role: Role,
    /// How many different people, 1 to 8.
    pub people: u32,
}

/// Whether a request must name a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TicketRule {
    /// It may.
    Optional,
    /// It must.
    Required,
}

/// When a grant's time begins to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockStart {
    /// At the approval that completes the workflow; never at the request.
    Approval,
}

/// What must be agreed before access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workflow {
    /// Its name, by which rules call it.
    pub name: WorkflowName,
    /// One line for people who ask or decide.
    pub description: String,
    /// All must hold.
    pub steps: Vec<Step>,
    /// Longest grant, in minutes (1 to 44,640).
    pub max_minutes: u32,
    /// Whether a ticket must be named.
    pub ticket: TicketRule,
    /// When the grant's time begins.
    pub clock: ClockStart,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    workflow: BTreeMap<String, RawWorkflow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkflow {
    #[serde(default)]
    description: String,
    max_minutes: u32,
    #[serde(default = "optional")]
    ticket: TicketRule,
    #[serde(default = "approval")]
    clock: ClockStart,
    #[serde(default)]
    step: Vec<RawStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    role: String,
    people: u32,
}

fn optional() -> TicketRule {
    TicketRule::Optional
}

fn approval() -> ClockStart {
    ClockStart::Approval
}

/// Reads `approvals.toml`; hands every fault to `fault` with the key's path or the line.
pub(super) fn parse(text: &str, mut fault: impl FnMut(String)) -> BTreeMap<WorkflowName, Workflow> {
    let raw: RawFile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            fault(error.to_string().trim_end().to_owned());
            return BTreeMap::new();
        }
    };
    let mut workflows = BTreeMap::new();
    for (name, raw) in raw.workflow {
        let path = format!("workflow.{}", name.escape_debug());
        let parsed_name =
            name.parse::<WorkflowName>().map_err(|error| fault(format!("{path}: {error}"))).ok();
        if raw.step.is_empty() || raw.step.len() > MAX_STEPS {
            fault(format!("{path}: it has {} steps; 1 to {MAX_STEPS} are possible", raw.step.len()));
        }
        if !(1..=MAX_MINUTES).contains(&raw.max_minutes) {
            fault(format!("{path}.max_minutes: {} isn't 1 to {MAX_MINUTES}", raw.max_minutes));
        }
        if raw.description.chars().count() > 200 || raw.description.chars().any(char::is_control) {
            fault(format!("{path}.description: it must be one line of at most 200 characters"));
        }
        let mut steps = Vec::new();
        for (number, step) in (1..).zip(raw.step) {
            if !(1..=MAX_PEOPLE).contains(&step.people) {
                fault(format!("{path}.step {number}: people = {} isn't 1 to {MAX_PEOPLE}", step.people));
            }
            match step.role.parse() {
                Ok(role) => steps.push(Step { role, people: step.people.clamp(1, MAX_PEOPLE) }),
                Err(error) => fault(format!("{path}.step {number}: {error}")),
            }
        }
        let Some(name) = parsed_name else { continue };
        let RawWorkflow { description, max_minutes, ticket, clock, .. } = raw;
        workflows.insert(name.clone(), Workflow { name, description, steps, max_minutes, ticket, clock });
    }
    workflows
}

/// What is still missing: for each step, how many more people of its role, given who has approved.
///
/// `approvers` are distinct people, each with the roles that count now; the caller leaves the requester out. An empty
/// answer means that every place of every step has a person of its own.
pub fn missing(steps: &[Step], approvers: &[BTreeSet<Role>]) -> Vec<Step> {
    // Places in order of steps; bounded by workflows per request x MAX_STEPS x MAX_PEOPLE.
    let places: Vec<usize> =
        steps.iter().enumerate().flat_map(|(step, s)| (0..s.people).map(move |_| step)).collect();
    // Kuhn's augmenting paths: `holder[place]` is the approver who fills it.
    let mut holder: Vec<Option<usize>> = vec![None; places.len()];
    for approver in 0..approvers.len() {
        let mut tried = vec![false; places.len()];
        seat(approver, steps, approvers, &places, &mut holder, &mut tried);
    }
    let mut left = Vec::new();
    for (step, wanted) in steps.iter().enumerate() {
        let open = places.iter().zip(&holder).filter(|(of, by)| **of == step && by.is_none()).count();
        if open > 0 {
            let people = u32::try_from(open).unwrap_or(u32::MAX);
            left.push(Step { role: wanted.role.clone(), people });
        }
    }
    left
}

/// Finds a place for one approver, moving others if that helps. Recursion is as deep as there are places.
fn seat(
    approver: usize,
    steps: &[Step],
    approvers: &[BTreeSet<Role>],
    places: &[usize],
    holder: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (place, step) in places.iter().enumerate() {
        let Some(role) = steps.get(*step).map(|s| &s.role) else { continue };
        if !approvers.get(approver).is_some_and(|roles| roles.contains(role)) {
            continue;
        }
        match tried.get_mut(place) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let free = match holder.get(place).copied().flatten() {
            None => true,
            Some(other) => seat(other, steps, approvers, places, holder, tried),
        };
        if free {
            if let Some(held) = holder.get_mut(place) {
                *held = Some(approver);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn role(name: &str) -> Role {
        format!("role:{name}").parse().unwrap()
    }

    fn step(name: &str, people: u32) -> Step {
        Step { role: role(name), people }
    }

    fn person(roles: &[&str]) -> BTreeSet<Role> {
        roles.iter().map(|r| role(r)).collect()
    }

    #[test]
    fn every_step_must_hold_not_one_of_them() {
        let steps = [step("security", 1), step("owner", 1)];
        assert_eq!(missing(&steps, &[person(&["security"])]), [step("owner", 1)]);
        assert_eq!(missing(&steps, &[person(&["security"]), person(&["security"])]), [step("owner", 1)]);
        assert_eq!(missing(&steps, &[person(&["security"]), person(&["owner"])]), []);
    }

    #[test]
    fn one_person_with_two_roles_counts_once() {
        let steps = [step("security", 1), step("owner", 1)];
        assert_eq!(missing(&steps, &[person(&["security", "owner"])]).len(), 1);
        let two_of_one = [step("owner", 2)];
        assert_eq!(missing(&two_of_one, &[person(&["owner"])]), [step("owner", 1)]);
    }

    #[test]
    fn the_order_of_approvals_never_matters() {
        let steps = [step("a", 1), step("b", 1)];
        let (both, only_a) = (person(&["a", "b"]), person(&["a"]));
        assert_eq!(missing(&steps, &[both.clone(), only_a.clone()]), []);
        assert_eq!(missing(&steps, &[only_a, both]), []);
    }

    #[test]
    fn every_fault_of_a_workflow_file_is_told_with_its_path() {
        let mut faults = Vec::new();
        parse(
            "[workflow.A]\nmax_minutes = 0\n[[workflow.A.step]]\nrole = \"admin\"\npeople = 0\n[workflow.b]\nmax_minutes = 5\n",
            |fault| faults.push(fault),
        );
        for part in [
            "workflow.A: ",
            "workflow.A.max_minutes",
            "step 1: people",
            "step 1: \"admin\" is not a role",
            "workflow.b: it has 0 steps",
        ] {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
        }
    }

    #[test]
    fn an_unknown_key_in_a_workflow_file_is_refused() {
        let mut faults = Vec::new();
        parse("[workflow.a]\nmax_minutes = 5\nskip_if_urgent = true\n", |fault| faults.push(fault));
        assert!(faults[0].contains("skip_if_urgent"), "{faults:?}");
    }

    /// The same question by trying every assignment.
    fn enough_by_brute_force(places: &[Role], approvers: &[BTreeSet<Role>]) -> bool {
        let Some((first, rest)) = places.split_first() else { return true };
        (0..approvers.len()).any(|i| {
            let mut others = approvers.to_vec();
            let one = others.remove(i);
            one.contains(first) && enough_by_brute_force(rest, &others)
        })
    }

    proptest! {
        #[test]
        fn quorum_agrees_with_trying_every_assignment(
            wanted in proptest::collection::vec((0usize..3, 1u32..3), 1..4),
            people in proptest::collection::vec(proptest::collection::btree_set(0usize..3, 0..3), 0..5),
        ) {
            let names = ["a", "b", "c"];
            let steps: Vec<Step> = wanted.iter().map(|(r, n)| step(names[*r], *n)).collect();
            let approvers: Vec<BTreeSet<Role>> = people.iter().map(|p| p.iter().map(|r| role(names[*r])).collect()).collect();
            let places: Vec<Role> = steps.iter().flat_map(|s| (0..s.people).map(|_| s.role.clone())).collect();
            prop_assert_eq!(missing(&steps, &approvers).is_empty(), enough_by_brute_force(&places, &approvers));
        }
    }
}
