//! The ledger's decisions, decided again under another policy.
//!
//! Before a policy is in force: which of the decisions that were really made would have come out otherwise? Requests,
//! grants and locks are folded up to each record, so each decision finds the state that it found then. Under the policy
//! under which it was recorded nothing differs; that is tested, and makes a difference worth reading.
//!
//! Not decided again, and counted by reason: what a record doesn't tell (whether a token stood, which device proved it, and
//! in older records what TLS agreed) and people who were erased. Trusted: the ledger; `auditctl verify` says whether it deserves that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::fact::{Fact, Stamp};
use super::identity::Identity;
use super::ids::GrantId;
use super::judge::{Context, Explanation, Judgement, Outcome, RuleRef, judge_on};
use super::names::{Role, Subject, Tenant};
use super::object::{Action, Object};
use super::policy::conditions::{Condition, Transport};
use super::policy::{Policy, PolicyDigest};
use super::state::State;
use super::workflow::WorkflowName;

/// Most differences that are kept; the rest is counted.
pub const MAX_DIFFERENCES: usize = 10_000;

/// Time between a decision and its record that may lie on the two sides of an end.
const SLACK: SignedDuration = SignedDuration::from_secs(1);

/// A decision as it was recorded.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The record's number.
    pub seq: u64,
    /// The record's time.
    pub time: Timestamp,
    /// The record's kind.
    pub kind: &'static str,
    /// Who asked.
    pub subject: Subject,
    /// Roles that somebody outside vouched for.
    pub roles: Vec<Role>,
    /// In which tenant.
    pub tenant: Tenant,
    /// To do what.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// Where they came from, if the record tells.
    pub source: Option<IpAddr>,
    /// What TLS agreed on, if the record tells.
    pub transport: Option<Transport>,
    /// The word for why.
    pub code: String,
    /// Workflows that were demanded.
    pub workflows: Vec<WorkflowName>,
    /// The grant that it rested on.
    pub grant: Option<GrantId>,
    /// The policy under which it was decided.
    pub policy: PolicyDigest,
}

/// A decision that comes out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// The record's number.
    pub seq: u64,
    /// The record's time.
    pub time: String,
    /// The record's kind.
    pub kind: &'static str,
    /// Who asked.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// To do what.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// How it was decided then.
    pub then: String,
    /// How it would be decided now.
    pub now: String,
    /// Why now, in a sentence.
    pub why: String,
    /// The rules that decide now.
    pub rules: Vec<RuleRef>,
    /// The policy under which it was decided.
    pub under: PolicyDigest,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The policy that was tried.
    pub policy: PolicyDigest,
    /// Decisions that were decided again.
    pub decided: u64,
    /// Of those, how many come out the same.
    pub same: u64,
    /// Those that don't, at most [`MAX_DIFFERENCES`].
    pub differences: Vec<Differs>,
    /// How many don't.
    pub different: u64,
    /// Decisions that couldn't be decided again, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

/// A walk through the ledger.
#[derive(Debug)]
pub struct Replay<'a> {
    policy: &'a Policy,
    state: State,
    since: Option<Timestamp>,
    report: Report,
}

impl<'a> Replay<'a> {
    /// Decisions recorded before `since` are left out; what happened before it counts.
    pub fn new(policy: &'a Policy, since: Option<Timestamp>) -> Self {
        let report = Report {
            policy: policy.digest(),
            decided: 0,
            same: 0,
            differences: Vec::new(),
            different: 0,
            skipped: BTreeMap::new(),
        };
        Self { policy, state: State::default(), since, report }
    }

    /// Something happened.
    pub fn happened(&mut self, stamp: Stamp, fact: &Fact) {
        self.state.apply(stamp, fact);
    }

    /// Something was decided.
    pub fn decided(&mut self, decided: &Decided) {
        if self.since.is_some_and(|since| decided.time < since) {
            return;
        }
        let then = match decided.code.as_str() {
            "allow-rule" | "grant" => "allowed".to_owned(),
            "needs-approval" => needs(&decided.workflows),
            "deny-rule" | "no-rule" | "condition" | "locked" => "denied".to_owned(),
            // Tokens and devices decide before policy is asked.
            _ => return self.skip("not policy's decision"),
        };
        if decided.subject.is_erased() {
            return self.skip("the person was erased");
        }
        let explanation = self.judge(decided, decided.time);
        if self.untold(&explanation) {
            return self.skip("the record doesn't tell device or transport");
        }
        self.report.decided += 1;
        let now = answer(&explanation);
        // It was decided a little before it was recorded.
        if now == then
            || answer(&self.judge(decided, decided.time.saturating_sub(SLACK).unwrap_or(decided.time)))
                == then
        {
            self.report.same += 1;
            return;
        }
        self.report.different += 1;
        if self.report.differences.len() < MAX_DIFFERENCES {
            self.report.differences.push(Differs {
                seq: decided.seq,
                time: decided.time.to_string(),
                kind: decided.kind,
                subject: decided.subject.clone(),
                tenant: decided.tenant.clone(),
                action: decided.action,
                object: decided.object.clone(),
                then,
                now,
                why: explanation.why,
                rules: explanation.rules,
                under: decided.policy,
            });
        }
    }

    /// What came of it.
    pub fn finish(self) -> Report {
        self.report
    }

    /// A decision that can't be decided again.
    pub fn skip(&mut self, why: &'static str) {
        *self.report.skipped.entry(why).or_default() += 1;
    }

    fn judge(&self, decided: &Decided, now: Timestamp) -> Explanation {
        let who = Identity {
            subject: decided.subject.clone(),
            roles: decided.roles.clone().into(),
            ..Identity::anonymous(decided.tenant.clone())
        };
        let mut context = Context::at(now);
        context.source = decided.source.map(|source| (source, 0).into());
        context.transport.clone_from(&decided.transport);
        // A grant for one session was begun for this very decision.
        let who = who.met(&context);
        match judge_on(&self.state, self.policy, &who, &decided.object, decided.action, decided.grant, now) {
            Judgement::Allowed { explanation, .. }
            | Judgement::NeedsApproval { explanation }
            | Judgement::Denied { explanation } => explanation,
        }
    }

    /// Whether it hangs on what no record tells.
    fn untold(&self, explanation: &Explanation) -> bool {
        explanation.conditions.iter().any(|condition| {
            let name = condition.condition.trim_start_matches('!').parse().ok();
            condition.unknown
                || name.and_then(|name| self.policy.condition(&name)).is_some_and(Condition::asks_device)
        })
    }
}

fn needs(workflows: &[WorkflowName]) -> String {
    let mut names: Vec<&str> = workflows.iter().map(WorkflowName::as_str).collect();
    names.sort_unstable();
    format!("needs {}", names.join("+"))
}

fn answer(explanation: &Explanation) -> String {
    match explanation.outcome {
        Outcome::Allowed => "allowed".to_owned(),
        Outcome::NeedsApproval => needs(&explanation.workflows),
        Outcome::Denied => "denied".to_owned(),
    }
}
