//! Orders to access, and what each may cause: a pure function from state, policy and time to facts.
//!
//! The algebra of approvals stands here. A grant exists only because one of these decisions saw, under the policy in
//! force at that moment, that every step of every workflow demanded has enough distinct people: not the requester,
//! nobody twice, nobody who has lost the role or is locked by then.

use jiff::{SignedDuration, Timestamp};

use super::fact::{Actor, Attempt, Fact, RefusedAttempt};
use super::identity::{Caller, Identity};
use super::ids::{GrantId, RequestId, TokenId};
use super::judge::{Judgement, check_locks, check_standing, judge};
use super::names::{Principal, Role, Subject, Tenant};
use super::object::{Action, Object, Part};
use super::policy::{Policy, Ruling};
use super::reason::{Reason, Ticket};
use super::state::{GrantStatus, Request, RequestStatus, State};
use super::token::{AuthError, MAX_LIFE};
use super::workflow::{MAX_MINUTES, Step, TicketRule, WorkflowName, missing};

/// Most requests of one person that may wait at a time.
pub const MAX_PENDING: usize = 10;
/// Most requests of one tenant that may wait at a time.
pub const MAX_PENDING_OF_TENANT: usize = 10_000;
/// Most approvals that one request can collect; more than any workflow can use.
pub const MAX_APPROVALS: usize = 128;

/// An order. Ids that it may need are made beforehand: the decision itself draws no randomness.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are named for what they hold, and typed")]
pub enum Command {
    /// Ask for access.
    Request {
        id: RequestId,
        object: Object,
        action: Action,
        minutes: u32,
        reason: Reason,
        ticket: Option<Ticket>,
    },
    /// Agree to a request; `grant` is the id to use if that completes it.
    Approve { request: RequestId, grant: GrantId, minutes: Option<u32>, reason: Option<Reason> },
    /// Say no.
    Reject { request: RequestId, reason: Option<Reason> },
    /// Take one's own request back.
    Withdraw { request: RequestId, reason: Option<Reason> },
    /// End a grant now.
    Revoke { grant: GrantId, reason: Option<Reason> },
    /// Lock a person or a role out.
    Lock { principal: Principal, tenant: Tenant, reason: Option<Reason> },
    /// Let them in again.
    Unlock { principal: Principal, tenant: Tenant, reason: Option<Reason> },
    /// Issue a token.
    IssueToken { token: TokenId, subject: Subject, tenant: Tenant, expires: Timestamp },
    /// Revoke a token.
    RevokeToken { token: TokenId, reason: Option<Reason> },
    /// Leave to load the policy again; the load itself is the owner's.
    ReloadPolicy,
}

impl Command {
    fn attempt(&self) -> Attempt {
        match self {
            Self::Request { .. } => Attempt::Request,
            Self::Approve { .. } => Attempt::Approve,
            Self::Reject { .. } => Attempt::Reject,
            Self::Withdraw { .. } => Attempt::Withdraw,
            Self::Revoke { .. } => Attempt::Revoke,
            Self::Lock { .. } => Attempt::Lock,
            Self::Unlock { .. } => Attempt::Unlock,
            Self::IssueToken { .. } => Attempt::IssueToken,
            Self::RevokeToken { .. } => Attempt::RevokeToken,
            Self::ReloadPolicy => Attempt::ReloadPolicy,
        }
    }
}

/// Why an order isn't carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they hold, and typed")]
pub enum Refusal {
    /// The caller's token doesn't stand any more, or they are locked.
    #[error("{0}")]
    Standing(AuthError),
    /// Only a person can do this, and one who showed a token.
    #[error("only a person with a token can do this")]
    NotAPerson,
    /// Policy doesn't allow the caller to do this.
    #[error("policy doesn't allow this: {why}")]
    NotAllowed { why: String },
    /// Nobody approves their own request, whatever roles they have.
    #[error("{request} is your own: another person must decide on it")]
    OwnRequest { request: RequestId },
    /// The caller may approve, but no step of this request asks for a role of theirs.
    #[error("no step of {request} asks for a role of yours; it waits for {}", shown(.wanted))]
    NotEligible { request: RequestId, wanted: Vec<Step> },
    /// One person counts once.
    #[error("you have already approved {request}; it waits for {}", shown(.wanted))]
    AlreadyApproved { request: RequestId, wanted: Vec<Step> },
    /// No such request in the caller's tenant.
    #[error("there is no request {request}")]
    NoSuchRequest { request: RequestId },
    /// The request has been decided or taken back.
    #[error("{request} doesn't wait any more: it is {state}")]
    NotPending { request: RequestId, state: &'static str },
    /// No such grant in the caller's tenant.
    #[error("there is no grant {grant}")]
    NoSuchGrant { grant: GrantId },
    /// The grant has ended.
    #[error("{grant} has ended already")]
    GrantEnded { grant: GrantId },
    /// No such token in the caller's tenant.
    #[error("there is no token {token}")]
    NoSuchToken { token: TokenId },
    /// It was revoked before.
    #[error("{token} is revoked already")]
    TokenRevoked { token: TokenId },
    /// Nothing to ask for: policy allows it outright, or a grant is live.
    #[error("you may {action} {object} already")]
    NotNeeded { action: Action, object: Object },
    /// One like it waits.
    #[error("{request} asks for the same and waits already")]
    Duplicate { request: RequestId },
    /// Too many wait.
    #[error("{waiting} requests of yours wait already; {MAX_PENDING} is the most")]
    TooManyPending { waiting: usize },
    /// Too many wait in the whole tenant.
    #[error("{waiting} requests wait in this tenant already; {MAX_PENDING_OF_TENANT} is the most")]
    TenantFull { waiting: usize },
    /// Outside of what the workflows allow.
    #[error("{asked} minutes isn't 1 to {most}")]
    Minutes { asked: u32, most: u32 },
    /// A workflow wants a ticket.
    #[error("workflow {workflow} wants a ticket named")]
    TicketNeeded { workflow: WorkflowName },
    /// The policy has changed since it was asked, and doesn't allow it any more.
    #[error("policy doesn't allow what {request} asks for any more: {why}")]
    PolicyChanged { request: RequestId, why: String },
    /// The requester has been locked since.
    #[error("{request} can't be approved: {principal} is locked")]
    RequesterLocked { request: RequestId, principal: Principal },
    /// A token's life must be positive and bounded.
    #[error("a token must end in the future and within {} days", MAX_LIFE.as_hours() / 24)]
    TokenLife,
    /// No tokens for the visitor without one.
    #[error("{subject} can't have a token")]
    NoTokenFor { subject: Subject },
    /// Locked before, or not locked.
    #[error("{principal} is {state} already")]
    LockUnchanged { principal: Principal, state: &'static str },
    /// Locking oneself out is a mistake, not an intention.
    #[error("this would lock you out yourself")]
    OwnLock,
    /// Nothing crosses tenants.
    #[error("you act in tenant {own}; this is in {other}")]
    OtherTenant { own: Tenant, other: Tenant },
}

fn shown(steps: &[Step]) -> String {
    let each: Vec<String> = steps.iter().map(|step| format!("{} of {}", step.people, step.role)).collect();
    if each.is_empty() { "nobody".to_owned() } else { each.join(" and ") }
}

impl Refusal {
    /// One word for records and APIs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Standing(error) => error.code(),
            Self::NotAPerson => "not-a-person",
            Self::NotAllowed { .. } => "not-allowed",
            Self::OwnRequest { .. } => "own-request",
            Self::NotEligible { .. } => "not-eligible",
            Self::AlreadyApproved { .. } => "already-approved",
            Self::NoSuchRequest { .. } => "no-such-request",
            Self::NotPending { .. } => "not-pending",
            Self::NoSuchGrant { .. } => "no-such-grant",
            Self::GrantEnded { .. } => "grant-ended",
            Self::NoSuchToken { .. } => "no-such-token",
            Self::TokenRevoked { .. } => "token-revoked",
            Self::NotNeeded { .. } => "not-needed",
            Self::Duplicate { .. } => "duplicate",
            Self::TooManyPending { .. } => "too-many-pending",
            Self::TenantFull { .. } => "tenant-full",
            Self::Minutes { .. } => "minutes",
            Self::TicketNeeded { .. } => "ticket-needed",
            Self::PolicyChanged { .. } => "policy-changed",
            Self::RequesterLocked { .. } => "requester-locked",
            Self::TokenLife => "token-life",
            Self::NoTokenFor { .. } => "no-token-for",
            Self::LockUnchanged { .. } => "lock-unchanged",
            Self::OwnLock => "own-lock",
            Self::OtherTenant { .. } => "other-tenant",
        }
    }

    /// Whether somebody tried what they may not, which is recorded; the rest are mistakes.
    pub fn is_attempt(&self) -> bool {
        matches!(
            self,
            Self::Standing(_)
                | Self::NotAPerson
                | Self::NotAllowed { .. }
                | Self::OwnRequest { .. }
                | Self::NotEligible { .. }
                | Self::OtherTenant { .. }
        )
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Standing(error) => error.hint(),
            Self::NotAPerson => "log in with a token",
            Self::NotAllowed { .. } | Self::OtherTenant { .. } => "ask an admin, or have the policy changed",
            Self::OwnRequest { .. } | Self::NotEligible { .. } | Self::AlreadyApproved { .. } => {
                "`sallyport requests show` lists who can decide on it"
            }
            Self::NoSuchRequest { .. } | Self::NotPending { .. } => {
                "`sallyport requests list` shows what waits"
            }
            Self::NoSuchGrant { .. } | Self::GrantEnded { .. } => {
                "`sallyport grants list` shows what is live"
            }
            Self::NoSuchToken { .. } | Self::TokenRevoked { .. } => {
                "`sallyport tokens list` shows what is live"
            }
            Self::NotNeeded { .. } => "go ahead",
            Self::Duplicate { .. } => "wait for it, or withdraw it first",
            Self::TooManyPending { .. } => "withdraw one that you don't need any more",
            Self::TenantFull { .. } => "have an admin decide on what waits",
            Self::Minutes { .. } => "ask for a time within these bounds",
            Self::TicketNeeded { .. } => "ask again and name the ticket",
            Self::PolicyChanged { .. } => "reject it; the requester can ask for what policy allows now",
            Self::RequesterLocked { .. } => "unlock them first, or reject the request",
            Self::TokenLife => "choose a shorter life",
            Self::NoTokenFor { .. } => "name a person, as `user:NAME`",
            Self::LockUnchanged { .. } => "nothing needs to be done",
            Self::OwnLock => "have another admin do it",
        }
    }
}

/// Decides one order: the facts that it causes, in order, or why there are none.
///
/// # Errors
///
/// See [`Refusal`]; those that are attempts become a record through [`refused`].
pub fn decide(
    state: &State,
    policy: &Policy,
    by: &Caller,
    command: &Command,
    now: Timestamp,
) -> Result<Vec<Fact>, Refusal> {
    if let Caller::Person(identity) = by {
        if identity.is_anonymous() {
            return Err(Refusal::NotAPerson);
        }
        check_standing(state, policy, identity, now).map_err(Refusal::Standing)?;
    }
    let case = Case { state, policy, now };
    match command {
        Command::Request { .. } => case.request(person(by)?, command),
        Command::Approve { request, grant, minutes, reason } => {
            case.approve(person(by)?, *request, *grant, *minutes, reason.as_ref())
        }
        Command::Reject { request, reason } => case.reject(person(by)?, *request, reason.as_ref()),
        Command::Withdraw { request, reason } => case.withdraw(person(by)?, *request, reason.as_ref()),
        Command::Revoke { grant, reason } => case.revoke(by, *grant, reason.as_ref()),
        Command::Lock { principal, tenant, reason } => case.lock(by, principal, tenant, reason.as_ref()),
        Command::Unlock { principal, tenant, reason } => case.unlock(by, principal, tenant, reason.as_ref()),
        Command::IssueToken { token, subject, tenant, expires } => {
            case.issue_token(by, *token, subject, tenant, *expires)
        }
        Command::RevokeToken { token, reason } => case.revoke_token(by, *token, reason.as_ref()),
        Command::ReloadPolicy => case.admin(by, Part::Policy, None).map(|()| Vec::new()),
    }
}

/// Facts that are due without an order: ends that have come, and grants whose approvals are complete.
///
/// A request is granted as soon as every step holds under the policy in force. Usually that is at an approval; but
/// the gateway may have stopped between the approval's record and the grant's, or a new policy may ask for less.
/// `mint` makes ids.
pub fn due(state: &State, policy: &Policy, now: Timestamp, mut mint: impl FnMut() -> GrantId) -> Vec<Fact> {
    let case = Case { state, policy, now };
    let expired = state.overdue(now).map(|grant| Fact::GrantExpired {
        grant: grant.id,
        request: grant.request,
        tenant: grant.tenant.clone(),
        object: grant.object.clone(),
        subject: grant.subject.clone(),
    });
    let mut facts: Vec<Fact> = expired.collect();
    for request in state.pending().filter(|request| !request.approvals.is_empty()) {
        if let Ok(demand) = case.demand(request)
            && check_locks(state, policy, &request.subject, &request.tenant).is_ok()
            && case.still_missing(request, &demand.steps, None).is_empty()
        {
            facts.push(case.grant(request, mint(), &demand, None));
        }
    }
    facts
}

/// The record of an order that was refused because of who gave it.
pub fn refused(by: &Caller, command: &Command, refusal: &Refusal, state: &State) -> Fact {
    let (mut request, mut grant) = (None, None);
    let object;
    match command {
        Command::Request { object: asked, .. } => object = Some(asked.clone()),
        Command::Approve { request: id, .. }
        | Command::Reject { request: id, .. }
        | Command::Withdraw { request: id, .. } => {
            request = Some(*id);
            object = state.request(*id).map(|request| request.object.clone());
        }
        Command::Revoke { grant: id, .. } => {
            grant = Some(*id);
            object = state.grant(*id).map(|grant| grant.object.clone());
        }
        Command::Lock { .. } | Command::Unlock { .. } => object = Some(Object::gateway(Part::People)),
        Command::IssueToken { .. } | Command::RevokeToken { .. } => {
            object = Some(Object::gateway(Part::Tokens))
        }
        Command::ReloadPolicy => object = Some(Object::gateway(Part::Policy)),
    }
    Fact::Refused(RefusedAttempt {
        attempt: command.attempt(),
        by: actor(by),
        tenant: by.person().map(|identity| identity.tenant.clone()),
        request,
        grant,
        object,
        code: refusal.code().to_owned(),
    })
}

/// Who can still help a request along: people of the roles that its open steps ask for, who may approve it, without
/// the requester, those who have approved, and those who are locked.
pub fn eligible(state: &State, policy: &Policy, request: &Request, now: Timestamp) -> Vec<Subject> {
    let case = Case { state, policy, now };
    let Ok(demand) = case.demand(request) else { return Vec::new() };
    let wanted = case.still_missing(request, &demand.steps, None);
    let mut people: Vec<Subject> =
        wanted.iter().flat_map(|step| policy.members_of(&step.role, &request.tenant)).collect();
    people.sort_unstable();
    people.dedup();
    people.retain(|person| {
        *person != request.subject
            && !request.approvals.iter().any(|approval| approval.by == *person)
            && policy.allows(person, &request.tenant, &request.object, Action::Approve)
            && check_locks(state, policy, person, &request.tenant).is_ok()
    });
    people
}

/// What a request still waits for, under the policy as it is now.
pub fn waits_for(state: &State, policy: &Policy, request: &Request, now: Timestamp) -> Vec<Step> {
    let case = Case { state, policy, now };
    case.demand(request).map(|demand| case.still_missing(request, &demand.steps, None)).unwrap_or_default()
}

fn person(by: &Caller) -> Result<&Identity, Refusal> {
    by.person().ok_or(Refusal::NotAPerson)
}

fn actor(by: &Caller) -> Actor {
    match by {
        Caller::Operator => Actor::Operator,
        Caller::Person(identity) => Actor::Person(identity.subject.clone()),
    }
}

/// What policy demands of a request now.
struct Demand {
    workflows: Vec<WorkflowName>,
    steps: Vec<Step>,
    max_minutes: u32,
}

struct Case<'a> {
    state: &'a State,
    policy: &'a Policy,
    now: Timestamp,
}

impl Case<'_> {
    fn request(&self, who: &Identity, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let Command::Request { id, object, action, minutes, reason, ticket } = command else {
            return Ok(Vec::new());
        };
        let explanation = match judge(self.state, self.policy, who, object, *action, self.now) {
            Judgement::NeedsApproval { explanation } => explanation,
            Judgement::Allowed { .. } => {
                return Err(Refusal::NotNeeded { action: *action, object: object.clone() });
            }
            Judgement::Denied { explanation } => return Err(Refusal::NotAllowed { why: explanation.why }),
        };
        let mut most = MAX_MINUTES;
        for name in &explanation.workflows {
            let Some(workflow) = self.policy.workflow(name) else { continue };
            most = most.min(workflow.max_minutes);
            if workflow.ticket == TicketRule::Required && ticket.is_none() {
                return Err(Refusal::TicketNeeded { workflow: name.clone() });
            }
        }
        if !(1..=most).contains(minutes) {
            return Err(Refusal::Minutes { asked: *minutes, most });
        }
        let waiting: Vec<&Request> = self.state.pending_of(&who.tenant, &who.subject).collect();
        if let Some(same) = waiting.iter().find(|other| other.object == *object && other.action == *action) {
            return Err(Refusal::Duplicate { request: same.id });
        }
        if waiting.len() >= MAX_PENDING {
            return Err(Refusal::TooManyPending { waiting: waiting.len() });
        }
        let in_tenant = self.state.pending().filter(|other| other.tenant == who.tenant).count();
        if in_tenant >= MAX_PENDING_OF_TENANT {
            return Err(Refusal::TenantFull { waiting: in_tenant });
        }
        Ok(vec![Fact::Requested {
            request: *id,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows: explanation.workflows,
            minutes: *minutes,
            reason: reason.clone(),
            ticket: ticket.clone(),
        }])
    }

    fn approve(
        &self,
        who: &Identity,
        id: RequestId,
        grant: GrantId,
        minutes: Option<u32>,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let request = self.deciding(who, id)?;
        self.pending(request)?;
        let demand = self.demand(request)?;
        if let Some(asked) = minutes
            && !(1..=request.minutes).contains(&asked)
        {
            return Err(Refusal::Minutes { asked, most: request.minutes });
        }
        if let Err(AuthError::Locked { principal }) =
            check_locks(self.state, self.policy, &request.subject, &request.tenant)
        {
            return Err(Refusal::RequesterLocked { request: id, principal });
        }
        let wanted = self.still_missing(request, &demand.steps, None);
        if request.approvals.iter().any(|approval| approval.by == who.subject) {
            return Err(Refusal::AlreadyApproved { request: id, wanted });
        }
        let roles = self.counting_roles(&who.subject, &who.tenant, &demand.steps);
        if roles.is_empty() || request.approvals.len() >= MAX_APPROVALS {
            return Err(Refusal::NotEligible { request: id, wanted });
        }
        let mut facts = vec![Fact::Approved {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            requester: request.subject.clone(),
            by: who.subject.clone(),
            roles,
            minutes,
            reason: reason.cloned(),
        }];
        if self.still_missing(request, &demand.steps, Some(&who.subject)).is_empty() {
            facts.push(self.grant(request, grant, &demand, Some((&who.subject, minutes))));
        }
        Ok(facts)
    }

    /// The grant that a completed request becomes. Its time runs from now: the approval that completed it.
    fn grant(
        &self,
        request: &Request,
        id: GrantId,
        demand: &Demand,
        last: Option<(&Subject, Option<u32>)>,
    ) -> Fact {
        let limits = request.approvals.iter().filter_map(|approval| approval.minutes);
        let limit = limits.chain(last.and_then(|(_, minutes)| minutes)).min();
        let minutes = limit.unwrap_or(request.minutes).min(request.minutes).min(demand.max_minutes);
        let ends = self.now.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(self.now);
        let approvals = request.approvals.len() + usize::from(last.is_some());
        Fact::GrantIssued {
            grant: id,
            request: request.id,
            subject: request.subject.clone(),
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            action: request.action,
            workflows: demand.workflows.clone(),
            approvals: u32::try_from(approvals).unwrap_or(u32::MAX),
            starts: self.now,
            ends,
            policy: self.policy.digest(),
        }
    }

    fn reject(&self, who: &Identity, id: RequestId, reason: Option<&Reason>) -> Result<Vec<Fact>, Refusal> {
        let request = self.deciding(who, id)?;
        self.pending(request)?;
        Ok(vec![Fact::Rejected {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            requester: request.subject.clone(),
            by: who.subject.clone(),
            reason: reason.cloned(),
        }])
    }

    fn withdraw(&self, who: &Identity, id: RequestId, reason: Option<&Reason>) -> Result<Vec<Fact>, Refusal> {
        // To others' eyes a request that isn't theirs doesn't exist here.
        let request = self
            .state
            .request(id)
            .filter(|request| request.subject == who.subject && request.tenant == who.tenant)
            .ok_or(Refusal::NoSuchRequest { request: id })?;
        self.pending(request)?;
        Ok(vec![Fact::Withdrawn {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            by: who.subject.clone(),
            reason: reason.cloned(),
        }])
    }

    fn revoke(&self, by: &Caller, id: GrantId, reason: Option<&Reason>) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchGrant { grant: id };
        let grant = self.state.grant(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if grant.tenant != who.tenant {
                return Err(missing);
            }
            // Giving one's own grant back needs nobody's leave.
            if grant.subject != who.subject {
                self.may(who, &grant.object, Action::Approve)?;
            }
        }
        if grant.status != GrantStatus::Live {
            return Err(Refusal::GrantEnded { grant: id });
        }
        Ok(vec![Fact::GrantRevoked {
            grant: id,
            request: grant.request,
            tenant: grant.tenant.clone(),
            object: grant.object.clone(),
            subject: grant.subject.clone(),
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    fn lock(
        &self,
        by: &Caller,
        principal: &Principal,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        if let Caller::Person(who) = by {
            let own = match principal {
                Principal::Person(person) => *person == who.subject,
                Principal::Role(role) => self.policy.roles_of(&who.subject, tenant).contains(role),
            };
            if own {
                return Err(Refusal::OwnLock);
            }
        }
        if self.state.lock(tenant, principal).is_some() {
            return Err(Refusal::LockUnchanged { principal: principal.clone(), state: "locked" });
        }
        Ok(vec![Fact::Locked {
            principal: principal.clone(),
            tenant: tenant.clone(),
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    fn unlock(
        &self,
        by: &Caller,
        principal: &Principal,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        if self.state.lock(tenant, principal).is_none() {
            return Err(Refusal::LockUnchanged { principal: principal.clone(), state: "unlocked" });
        }
        Ok(vec![Fact::Unlocked {
            principal: principal.clone(),
            tenant: tenant.clone(),
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    fn issue_token(
        &self,
        by: &Caller,
        token: TokenId,
        subject: &Subject,
        tenant: &Tenant,
        expires: Timestamp,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::Tokens, Some(tenant))?;
        if subject.is_anonymous() {
            return Err(Refusal::NoTokenFor { subject: subject.clone() });
        }
        let life = expires.duration_since(self.now);
        if !life.is_positive() || life > MAX_LIFE {
            return Err(Refusal::TokenLife);
        }
        let (subject, tenant) = (subject.clone(), tenant.clone());
        Ok(vec![Fact::TokenIssued { token, subject, tenant, expires, by: actor(by) }])
    }

    fn revoke_token(&self, by: &Caller, id: TokenId, reason: Option<&Reason>) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchToken { token: id };
        let token = self.state.token(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if token.tenant != who.tenant {
                return Err(missing);
            }
            if token.subject != who.subject {
                self.may(who, &Object::gateway(Part::Tokens), Action::Admin)?;
            }
        }
        if token.revoked.is_some() {
            return Err(Refusal::TokenRevoked { token: id });
        }
        let tenant = token.tenant.clone();
        Ok(vec![Fact::TokenRevoked { token: id, tenant, by: actor(by), reason: reason.cloned() }])
    }

    /// Whether the caller may run a part of the gateway, in the tenant that the order is about.
    fn admin(&self, by: &Caller, part: Part, tenant: Option<&Tenant>) -> Result<(), Refusal> {
        let Caller::Person(who) = by else { return Ok(()) };
        if let Some(other) = tenant
            && *other != who.tenant
        {
            return Err(Refusal::OtherTenant { own: who.tenant.clone(), other: other.clone() });
        }
        self.may(who, &Object::gateway(part), Action::Admin)
    }

    fn may(&self, who: &Identity, object: &Object, action: Action) -> Result<(), Refusal> {
        match judge(self.state, self.policy, who, object, action, self.now) {
            Judgement::Allowed { .. } => Ok(()),
            Judgement::NeedsApproval { explanation } | Judgement::Denied { explanation } => {
                Err(Refusal::NotAllowed { why: explanation.why })
            }
        }
    }

    /// A request on which the caller may decide: of their tenant, on an object that they may approve, not their own.
    fn deciding(&self, who: &Identity, id: RequestId) -> Result<&Request, Refusal> {
        let request = self
            .state
            .request(id)
            .filter(|request| request.tenant == who.tenant)
            .ok_or(Refusal::NoSuchRequest { request: id })?;
        if request.subject == who.subject {
            return Err(Refusal::OwnRequest { request: id });
        }
        self.may(who, &request.object, Action::Approve)?;
        Ok(request)
    }

    fn pending(&self, request: &Request) -> Result<(), Refusal> {
        let state = match request.status {
            RequestStatus::Pending => return Ok(()),
            RequestStatus::Granted { .. } => "granted",
            RequestStatus::Rejected { .. } => "rejected",
            RequestStatus::Withdrawn { .. } => "withdrawn",
        };
        Err(Refusal::NotPending { request: request.id, state })
    }

    /// What policy demands for a request now; not what it demanded when it was asked.
    fn demand(&self, request: &Request) -> Result<Demand, Refusal> {
        let changed = |why: String| Refusal::PolicyChanged { request: request.id, why };
        let workflows =
            match self.policy.rule(&request.subject, &request.tenant, &request.object, request.action) {
                Ruling::Deny { why, .. } => return Err(changed(why)),
                Ruling::Allow { workflows, .. } if workflows.is_empty() => {
                    return Err(changed("it needs no approval any more".to_owned()));
                }
                Ruling::Allow { workflows, .. } => workflows,
            };
        let steps = self
            .policy
            .steps_of(&workflows)
            .ok_or_else(|| changed("a workflow that it names is gone".to_owned()))?;
        let limits = workflows.iter().filter_map(|name| self.policy.workflow(name)).map(|w| w.max_minutes);
        let max_minutes = limits.min().unwrap_or(MAX_MINUTES);
        Ok(Demand { workflows: workflows.into_iter().collect(), steps, max_minutes })
    }

    /// What is missing, counting those who have approved as they are now, and `also`.
    fn still_missing(&self, request: &Request, steps: &[Step], also: Option<&Subject>) -> Vec<Step> {
        let people = request.approvals.iter().map(|approval| &approval.by).chain(also);
        let counted: Vec<_> = people
            .filter(|person| {
                **person != request.subject
                    && self.policy.allows(person, &request.tenant, &request.object, Action::Approve)
                    && check_locks(self.state, self.policy, person, &request.tenant).is_ok()
            })
            .map(|person| self.counting_roles(person, &request.tenant, steps).into_iter().collect())
            .collect();
        missing(steps, &counted)
    }

    /// A person's roles that some step asks for.
    fn counting_roles(&self, person: &Subject, tenant: &Tenant, steps: &[Step]) -> Vec<Role> {
        let roles = self.policy.roles_of(person, tenant);
        roles.into_iter().filter(|role| steps.iter().any(|step| step.role == *role)).collect()
    }
}
