//! The one place where it is decided whether somebody may do something now. Pure: state, policy and time in,
//! a judgement with its explanation out. Live sessions are judged again by the same function when policy changes.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::backing::Asked;
use super::identity::{BegunWith, Identity, Proof};
use super::ids::{GrantId, ShareId};
use super::limits;
use super::lock::LockTarget;
use super::names::{Principal, Role, Subject, Tenant};
use super::object::{Action, Object};
use super::policy::conditions::{Through, Transport};
use super::policy::rows::Rule;
use super::policy::{Policy, PolicyDigest, Ruling, Unmet};
use super::state::{Grant, State};
use super::token::{AuthError, Purpose, with_leeway};
use super::transport::TlsFacts;
use super::workflow::WorkflowName;

/// The circumstances of a question.
#[derive(Debug, Clone)]
pub struct Context {
    /// The time.
    pub now: Timestamp,
    /// Where the visitor comes from.
    pub source: Option<SocketAddr>,
    /// What TLS agreed with the visitor, where it ends here.
    pub transport: Option<Transport>,
    /// What the tunnel's own handshake agreed, where one is asked for and is there.
    pub tunnel: Option<Through>,
}

impl Context {
    /// A question at this time, from nowhere in particular.
    pub fn at(now: Timestamp) -> Self {
        Self { now, source: None, transport: None, tunnel: None }
    }

    /// The same, from this address.
    #[must_use]
    pub fn from_source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// The same, on this connection; `None` on a bare TCP port.
    #[must_use]
    pub fn on(self, tls: Option<&TlsFacts>) -> Self {
        match tls {
            None => self,
            Some(tls) => self.over(Transport { group: tls.group.into(), suite: tls.suite.into() }),
        }
    }

    /// The same, through a tunnel whose handshake agreed this; `None`: there is none, or it isn't known.
    #[must_use]
    pub fn through(mut self, tunnel: Option<Through>) -> Self {
        self.tunnel = tunnel;
        self
    }

    /// The same, over a connection for which TLS agreed this.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }
}

/// A rule as an explanation names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// `policy.csv:12`.
    pub place: String,
    /// The row as written. Names a person if the rule does: not for the plain part of a record then.
    pub text: String,
    /// Whether the row names a person.
    pub personal: bool,
}

impl RuleRef {
    /// How the rule stands in a record: its place, and its text where that names nobody.
    pub fn for_record(&self) -> String {
        if self.personal { self.place.clone() } else { format!("{}: {}", self.place, self.text) }
    }
}

impl From<&Arc<Rule>> for RuleRef {
    fn from(rule: &Arc<Rule>) -> Self {
        let personal = matches!(&rule.who, Principal::Person(person) if !person.is_anonymous());
        Self { place: rule.place.to_string(), text: rule.text.to_string(), personal }
    }
}

/// A condition that decided, as an explanation names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConditionRef {
    /// The rule's place, `policy.csv:12`.
    pub rule: String,
    /// The condition as the rule names it, `!office` for one that must not hold.
    pub condition: String,
    /// Whether it can't be told instead of not holding.
    pub unknown: bool,
}

impl ConditionRef {
    /// How it stands in a record. Why it doesn't hold may tell where somebody is, and stands in the sealed reason.
    pub fn for_record(&self) -> String {
        let word = if self.unknown { "unknown" } else { "not met" };
        format!("{} {} {word}", self.rule, self.condition)
    }
}

impl From<&Unmet> for ConditionRef {
    fn from(unmet: &Unmet) -> Self {
        Self {
            rule: unmet.rule.place.to_string(),
            condition: unmet.condition.to_string(),
            unknown: unmet.unknown,
        }
    }
}

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Allowed.
    Allowed,
    /// Allowed once somebody approves.
    NeedsApproval,
    /// Denied.
    Denied,
}

/// Why a decision came out as it did: everything that its record must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Which way.
    pub outcome: Outcome,
    /// Who asked. Personal: not for the plain part of a record.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// To do what.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// The rules that decided, as written; empty when no rule spoke.
    pub rules: Vec<RuleRef>,
    /// Conditions that kept rules from allowing it, or made a deny rule speak.
    pub conditions: Vec<ConditionRef>,
    /// Workflows that the rules demand.
    pub workflows: Vec<WorkflowName>,
    /// The grant that satisfied them.
    pub grant: Option<GrantId>,
    /// The shares that it rests on where no rule speaks of the visitor: their own, then its giver's.
    pub shares: Vec<ShareId>,
    /// Roles that somebody outside vouched for, beside those that policy gives.
    pub claimed: Vec<Role>,
    /// The policy in force.
    pub policy: PolicyDigest,
    /// One word for records.
    pub code: &'static str,
    /// A sentence for people. Personal: it may name the visitor.
    pub why: String,
}

impl Explanation {
    /// Whether it was allowed.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }

    /// A denial under this policy, before anything has spoken for or against it.
    pub(super) fn denied(
        who: &Identity,
        object: &Object,
        action: Action,
        policy: PolicyDigest,
        code: &'static str,
    ) -> Self {
        Self {
            outcome: Outcome::Denied,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            action,
            object: object.clone(),
            rules: Vec::new(),
            conditions: Vec::new(),
            workflows: Vec::new(),
            grant: None,
            shares: Vec::new(),
            claimed: who.roles.to_vec(),
            policy,
            code,
            why: String::new(),
        }
    }
}

/// What [`judge`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Allowed until then (`None`: no end of its own).
    Allowed {
        explanation: Explanation,
        ends: Option<Timestamp>,
    },
    NeedsApproval {
        explanation: Explanation,
    },
    Denied {
        explanation: Explanation,
    },
}

/// Whether the token or the device behind an identity still stands and nobody locked its owner.
pub(super) fn check_standing(
    state: &State,
    policy: &Policy,
    who: &Identity,
    now: Timestamp,
) -> Result<(), AuthError> {
    match who.proof {
        Proof::Nothing => {}
        Proof::Token(id) => {
            let token = state
                .token(id)
                .filter(|token| matches!(token.purpose, Purpose::Access | Purpose::Session))
                .ok_or(AuthError::Unrecorded)?;
            if token.subject != who.subject || token.tenant != who.tenant {
                return Err(AuthError::Unrecorded);
            }
            if token.revoked.is_some() {
                return Err(AuthError::Revoked);
            }
            // What a token covers, and what a session rests on, stands in the ledger, whatever an identity says.
            let sign_in = token.sign_in.as_ref();
            let claimed = sign_in.map(|sign_in| sign_in.claimed.as_slice()).unwrap_or_default();
            let known = token.scope == who.scope
                && sign_in.map(|sign_in| sign_in.with) == who.begun_with
                && claimed == &*who.roles;
            if !known {
                return Err(AuthError::Unrecorded);
            }
            check_ground(state, who.begun_with, now)?;
            if now >= with_leeway(token.expires) {
                return Err(AuthError::Expired { at: token.expires });
            }
        }
        Proof::Device(id) => {
            let device = state.device(id).ok_or(AuthError::UnknownDevice)?;
            if device.subject != who.subject || device.tenant != who.tenant {
                return Err(AuthError::UnknownDevice);
            }
            if device.revoked.is_some() {
                return Err(AuthError::DeviceRevoked);
            }
            let target = LockTarget::Device(id);
            if state.lock(&who.tenant, &target, now).is_some() {
                return Err(AuthError::Locked { target });
            }
            if now >= with_leeway(device.expires) {
                return Err(AuthError::DeviceExpired { at: device.expires });
            }
        }
        Proof::Certificate(id) => {
            if state.is_certificate_revoked(&who.tenant, id) {
                return Err(AuthError::CertificateRevoked);
            }
            // Its end stands in the certificate, which TLS has checked, and not in the ledger.
            let end = who.expires.ok_or(AuthError::Unrecorded)?;
            if now > end {
                return Err(AuthError::CertificateExpired { at: end });
            }
        }
        Proof::Outside(shown) => {
            check_ground(state, Some(BegunWith::Outside(shown)), now)?;
            match who.expires {
                Some(end) if now < end => {}
                end => return Err(AuthError::Expired { at: end.unwrap_or(now) }),
            }
        }
        // Good for enrolling alone, which is decided elsewhere.
        Proof::Join(_) => return Err(AuthError::Unrecorded),
    }
    check_locks(state, policy, &who.subject, &who.roles, &who.tenant, now)
}

/// Whether what a session in a browser was begun with still stands.
fn check_ground(state: &State, begun_with: Option<BegunWith>, now: Timestamp) -> Result<(), AuthError> {
    match begun_with {
        None => Ok(()),
        Some(BegunWith::Token(id)) => match state.token(id) {
            None => Err(AuthError::Unrecorded),
            Some(token) if token.revoked.is_some() => Err(AuthError::Revoked),
            Some(token) if now >= with_leeway(token.expires) => Err(AuthError::Expired { at: token.expires }),
            Some(_) => Ok(()),
        },
        Some(BegunWith::Outside(shown)) => {
            if state.is_revoked_outside(shown.token) {
                return Err(AuthError::Revoked);
            }
            match shown.key {
                Some(key) if !state.is_issuers_key(key) => Err(AuthError::KeyWithdrawn),
                _ => Ok(()),
            }
        }
    }
}

/// Whether a person, or a role of theirs, is locked. `claimed` are roles that somebody outside vouches for.
pub(super) fn check_locks(
    state: &State,
    policy: &Policy,
    who: &Subject,
    claimed: &[Role],
    tenant: &Tenant,
    now: Timestamp,
) -> Result<(), AuthError> {
    if !state.has_locks() {
        return Ok(());
    }
    let roles = policy.roles_with(who, claimed, tenant).into_iter().map(LockTarget::Role);
    let locked = std::iter::once(LockTarget::Person(who.clone()))
        .chain(roles)
        .find(|target| state.lock(tenant, target, now).is_some());
    match locked {
        Some(target) => Err(AuthError::Locked { target }),
        None => Ok(()),
    }
}

/// Whether what is asked for is locked: the tunnel, or all of its tenant. The gateway itself is still run, or nobody could
/// look into what happened, or lift the lock.
fn check_object_locks(
    state: &State,
    tenant: &Tenant,
    object: &Object,
    now: Timestamp,
) -> Result<(), AuthError> {
    if !state.has_locks() || object.tunnel_name().is_none() {
        return Ok(());
    }
    let mut targets = [LockTarget::Tenant(tenant.clone()), LockTarget::Tunnel(object.clone())].into_iter();
    match targets.find(|target| state.lock(tenant, target, now).is_some()) {
        Some(target) => Err(AuthError::Locked { target }),
        None => Ok(()),
    }
}

/// Decides one question.
pub(super) fn judge(
    state: &State,
    policy: &Policy,
    who: &Identity,
    object: &Object,
    action: Action,
    now: Timestamp,
) -> Judgement {
    judge_on(state, policy, who, object, action, None, now)
}

/// The same for whoever has begun the grant `holds`: one that is good once carries them, and nobody else.
pub(super) fn judge_on(
    state: &State,
    policy: &Policy,
    who: &Identity,
    object: &Object,
    action: Action,
    holds: Option<GrantId>,
    now: Timestamp,
) -> Judgement {
    let mut explanation = Explanation::denied(who, object, action, policy.digest(), "no-rule");
    let standing = check_standing(state, policy, who, now)
        .and_then(|()| check_object_locks(state, &who.tenant, object, now));
    if let Err(error) = standing {
        explanation.code = error.code();
        explanation.why = error.to_string();
        return Judgement::Denied { explanation };
    }
    if !who.scope.covers(object, action) {
        explanation.code = "out-of-scope";
        explanation.why = format!("the token is for nothing but: {}", who.scope);
        return Judgement::Denied { explanation };
    }
    let at = who.circumstances(now);
    let (mut ruling, matched) = match policy.matched(&who.subject, &who.roles, &who.tenant, object, action) {
        Ok(matched) => {
            let nobody = || format!("no rule allows {} to {action} {object}", who.subject);
            (policy.weigh(&matched, Some(&at), nobody), matched)
        }
        Err(error) => (Ruling::deny(error.to_string()), Arc::default()),
    };
    let mut shared_until = None;
    // A rule whose conditions don't hold has said something: a share is no way around it.
    if matches!(&ruling, Ruling::Deny { rule: None, unmet, .. } if unmet.is_empty()) {
        let asked = Asked { state, policy, tenant: &who.tenant, object, now };
        if let Some(backing) = asked.backing(&who.subject, action, Some(&at)) {
            ruling = Ruling::Allow { rules: backing.rules, workflows: backing.workflows };
            (explanation.shares, shared_until) = (backing.shares, backing.ends);
        }
    }
    let (rules, workflows) = match ruling {
        Ruling::Deny { rule, unmet, why } => {
            explanation.rules = rule.iter().map(RuleRef::from).collect();
            explanation.conditions = unmet.iter().map(ConditionRef::from).collect();
            explanation.code = match (rule, unmet.is_empty()) {
                (Some(_), _) => "deny-rule",
                (None, false) => "condition",
                (None, true) => "no-rule",
            };
            explanation.why = why;
            return Judgement::Denied { explanation };
        }
        Ruling::Allow { rules, workflows } => (rules, workflows),
    };
    explanation.rules = rules.iter().map(RuleRef::from).collect();
    if workflows.is_empty() {
        explanation.outcome = Outcome::Allowed;
        explanation.code = "allow-rule";
        "a rule allows it".clone_into(&mut explanation.why);
        // A window that closes ends what it allowed.
        let closes = policy.until(&matched, &at, &workflows);
        let ends = who.expires.into_iter().chain(shared_until).chain(closes).min();
        return Judgement::Allowed { explanation, ends };
    }
    // Of several live grants the one that they hold, or the one that lasts longest, so that a renewal takes over by itself.
    let usable = |grant: &&Grant| {
        grant.object == *object
            && grant.action == action
            && grant.carries(holds, now)
            && workflows.is_subset(&grant.workflows)
            && limits::met(policy, &grant.conditions, &at)
    };
    let lasts =
        |grant: &Grant| limits::closes(policy, &grant.conditions, now).into_iter().chain([grant.ends]).min();
    let grants = state.live_grants_of(&who.tenant, &who.subject).filter(usable);
    let grant = grants.max_by_key(|grant| (holds == Some(grant.id), lasts(grant)));
    explanation.workflows = workflows.into_iter().collect();
    if let Some(grant) = grant {
        explanation.outcome = Outcome::Allowed;
        explanation.grant = Some(grant.id);
        explanation.code = "grant";
        explanation.why =
            format!("a rule allows it with an approval, and {} is live until {}", grant.id, grant.ends);
        let closes = policy.until(&matched, &at, &grant.workflows);
        let shuts = limits::closes(policy, &grant.conditions, now);
        let ends = who.expires.into_iter().chain(shared_until).chain(closes).chain(shuts);
        let ends = ends.chain([grant.ends]).min();
        Judgement::Allowed { explanation, ends }
    } else {
        explanation.outcome = Outcome::NeedsApproval;
        explanation.code = "needs-approval";
        let names: Vec<&str> = explanation.workflows.iter().map(WorkflowName::as_str).collect();
        explanation.why = format!(
            "a rule allows it only with an approval ({}), and there is no live grant",
            names.join(" and ")
        );
        Judgement::NeedsApproval { explanation }
    }
}
