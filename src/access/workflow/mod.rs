//! Approval workflows: what must be agreed, and by whom, before a rule's *needs approval* is satisfied.
//!
//! `approvals.toml` names workflows. A workflow is a list of steps which must **all** hold; a step asks for `n`
//! distinct people of one role. The requester never counts, and one person counts once in a whole workflow even with
//! two roles. Two workflows that hold at the same time (two rules match) are all their steps together: approvals are
//! added, never chosen between; of their other terms the stricter one counts ([`Terms`]).
//!
//! Beside the steps a workflow says how long its grants may last and from when their time runs, how long a request may
//! wait for its answer, whom it may be put before when nobody answers, how many refusals end it, who is too near to
//! the requester to decide, and who may break the glass.

mod file;
mod lines;
mod quorum;
mod reporting;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::names::{NameError, Role, is_label};

pub(super) use file::{Approvals, parse};
pub use quorum::{Approver, missing};
pub use reporting::{Nearness, Reporting};

/// Most steps in one workflow.
pub const MAX_STEPS: usize = 8;
/// Most people in one step.
pub const MAX_PEOPLE: u32 = 8;
/// Longest grant that a workflow may allow, in minutes: 31 days.
pub const MAX_MINUTES: u32 = 31 * 24 * 60;
/// How long a request may wait for its answer if the workflow says nothing: 7 days.
pub const ANSWER_WITHIN: u32 = 7 * 24 * 60;
/// Within what time a grant must be used first if its clock starts then and the workflow says nothing: a day.
pub const USE_WITHIN: u32 = 24 * 60;

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
    /// Roles whose approval counts too, once the request was escalated to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Role>,
    /// How long after the request that happens, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_minutes: Option<u32>,
    /// Whether only an approval counts that the approver's own passkey has signed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
}

impl Step {
    /// Whether somebody with this role can take a place of the step.
    pub fn accepts(&self, role: &Role) -> bool {
        self.role == *role || self.also.contains(role)
    }

    /// Every role that can take a place of the step.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        std::iter::once(&self.role).chain(&self.also)
    }

    /// The step as it is for a request that was escalated to these roles.
    #[must_use]
    pub fn escalated_to(&self, roles: &BTreeSet<Role>) -> Self {
        let also = self.also.iter().filter(|role| roles.contains(role)).cloned().collect();
        Self { role: self.role.clone(), people: self.people, also, after_minutes: None, signed: self.signed }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.people, self.role)?;
        self.also.iter().try_for_each(|role| write!(f, " or {role}"))?;
        if self.signed { f.write_str(", signed") } else { Ok(()) }
    }
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
    /// When the grant is used first, which must be within [`Workflow::use_within_minutes`] of the approval.
    FirstUse,
}

/// Who may go in at once when nobody can be asked, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakGlass {
    /// Who has one of these roles may.
    pub roles: BTreeSet<Role>,
    /// Longest grant of this kind, in minutes.
    pub max_minutes: u32,
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
    /// Within how many minutes of the approval a grant whose clock starts at first use must be used.
    pub use_within_minutes: u32,
    /// Whether a grant is good for one session and no other.
    pub once: bool,
    /// How long a request may wait for its answer, in minutes; then it expires.
    pub answer_within_minutes: u32,
    /// How many different people's refusals end a request.
    pub denials: u32,
    /// Who is too near to the requester to decide.
    pub excludes: Nearness,
    /// Who may go in without an approval, loudly; `None`: nobody.
    pub break_glass: Option<BreakGlass>,
}

impl Workflow {
    /// Every role that the workflow speaks of.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        let glass = self.break_glass.iter().flat_map(|glass| &glass.roles);
        self.steps.iter().flat_map(Step::roles).chain(glass)
    }
}

/// What several workflows demand together: all steps, and of everything else the stricter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// All must hold.
    pub steps: Vec<Step>,
    /// Longest grant, in minutes.
    pub max_minutes: u32,
    /// The workflow that wants a ticket.
    pub ticket: Option<WorkflowName>,
    /// Within how many minutes of the approval the grant must be used first, if its time runs from then; `None`: its time
    /// runs from the approval, as soon as one of the workflows says so.
    pub use_within_minutes: Option<u32>,
    /// Whether a grant is good for one session and no other, as soon as one of the workflows says so.
    pub once: bool,
    /// How long a request may wait for its answer, in minutes.
    pub answer_within_minutes: u32,
    /// How many different people's refusals end a request.
    pub denials: u32,
    /// Who is too near to the requester to decide.
    pub excludes: Nearness,
    /// For each workflow who may break the glass; `None` if one of them lets nobody.
    pub break_glass: Option<Vec<BreakGlass>>,
}

impl Terms {
    /// The terms of these workflows together; `None` if there are none.
    pub fn of<'a>(workflows: impl IntoIterator<Item = &'a Workflow>) -> Option<Self> {
        workflows.into_iter().map(Self::from).reduce(Self::and)
    }

    fn and(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        Self {
            steps: self.steps,
            max_minutes: self.max_minutes.min(other.max_minutes),
            ticket: self.ticket.or(other.ticket),
            use_within_minutes: self.use_within_minutes.zip(other.use_within_minutes).map(|(a, b)| a.min(b)),
            once: self.once || other.once,
            answer_within_minutes: self.answer_within_minutes.min(other.answer_within_minutes),
            denials: self.denials.min(other.denials),
            excludes: self.excludes.and(other.excludes),
            break_glass: self.break_glass.zip(other.break_glass).map(|(mut own, others)| {
                own.extend(others);
                own
            }),
        }
    }
}

impl From<&Workflow> for Terms {
    fn from(workflow: &Workflow) -> Self {
        let first_use = workflow.clock == ClockStart::FirstUse;
        Self {
            steps: workflow.steps.clone(),
            max_minutes: workflow.max_minutes,
            ticket: (workflow.ticket == TicketRule::Required).then(|| workflow.name.clone()),
            use_within_minutes: first_use.then_some(workflow.use_within_minutes),
            once: workflow.once,
            answer_within_minutes: workflow.answer_within_minutes,
            denials: workflow.denials,
            excludes: workflow.excludes,
            break_glass: workflow.break_glass.clone().map(|glass| vec![glass]),
        }
    }
}
