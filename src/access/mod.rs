//! Access: who may do what, who has agreed to it, and the proof of it while it lasts.
//!
//! Identities come from tokens that the gateway issued. casbin policy decides; a rule may demand an approval
//! workflow; requests, approvals and grants are ledger records, and the state here is a fold over them. A decision
//! to allow is a [`Permit`], which dies at once when its grant, its token, its person or the policy no longer stands.
//!
//! Promised: deny by default; no permit without a decision, no grant without its quorum; what isn't recorded didn't
//! happen; every decision explains itself; nothing crosses tenants. Trusted: the policy directory, the ledger, the
//! token-signing key, the clock. Not trusted: tokens, names, reasons, and people with only one of two needed roles.
//!
//! Start with [`Access::authorize`] and `judge.rs` (one decision), then `decide.rs` (orders and approvals),
//! `state.rs` (the fold), `owner.rs` (the task that ties them to the ledger).

pub mod clock;
pub mod decide;
pub mod fact;
pub mod identity;
pub mod ids;
pub mod judge;
mod ledger;
pub mod log;
pub mod names;
pub mod object;
mod owner;
pub mod permit;
pub mod policy;
pub mod reason;
mod record;
pub mod state;
pub mod token;
pub mod workflow;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use clock::{Clock, SystemClock};
pub use decide::Refusal;
pub use identity::{Caller, Identity};
pub use ids::{GrantId, RequestId, TokenId};
pub use judge::{Context, Explanation, RuleRef};
pub use log::{LogError, RecordLog};
pub use names::{Principal, Role, Subject, Tenant};
pub use object::{Action, Object, Part};
pub use permit::{Cause, Death, Permit};
pub use policy::faults::PolicyFaults;
pub use policy::{Policy, PolicyDigest};
pub use reason::{Reason, Ticket};
pub use state::{Approval, Grant, GrantStatus, Lock, Request, RequestStatus, Token};
pub use token::{AuthError, SignError, TokenKeys};
pub use workflow::{Step, WorkflowName};

use decide::Command;
use fact::{Actor, Fact};
use judge::{Judgement, Outcome, judge};
use owner::{Order, Owner, Standing};
use permit::Registry;
use state::State;
use token::{Claims, TokenVerifier};

/// What [`Access::open`] needs to know.
#[derive(Debug, Clone)]
pub struct AccessOptions {
    /// Holds `model.conf`, `approvals.toml` and policy files (`*.csv`).
    pub policy_directory: PathBuf,
    /// What tokens name as issuer and audience: this gateway, such as `https://sallyport.example`.
    pub issuer: String,
}

/// What goes wrong in access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The policy can't be used.
    #[error("{0}")]
    Policy(PolicyFaults),
    /// The order isn't carried out, for a reason that its giver may know.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger couldn't be read at start.
    #[error("the state of access can't be read: {0}")]
    Replay(LogError),
    /// The ledger didn't take the record, so nothing was granted; `cut` sessions were ended all the same.
    #[error(
        "it couldn't be recorded, so it isn't in force ({cut} live sessions were ended all the same): {error}"
    )]
    NotRecorded {
        /// Why not.
        error: LogError,
        /// Sessions that the order would end, and that were ended.
        cut: usize,
    },
    /// The token-signing key couldn't be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Access has been closed.
    #[error("access has been stopped")]
    Stopped,
}

impl AccessError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Policy(faults) => faults.hint(),
            Self::Refused(refusal) => refusal.hint(),
            Self::Replay(_) => "run `auditctl verify` on the ledger",
            Self::NotRecorded { .. } => "see why the ledger doesn't take records, then give the order again",
            Self::Sign(_) => "see whether the key provider is up, then try again",
            Self::Stopped => "start the gateway again",
        }
    }
}

/// The answer to one question.
#[derive(Debug)]
pub enum Decision {
    /// Allowed, with the proof of it.
    Allowed(Permit),
    /// Allowed once the workflows are satisfied: the visitor may ask.
    NeedsApproval {
        /// All must be satisfied.
        workflows: Vec<WorkflowName>,
        /// Why.
        explanation: Explanation,
    },
    /// Not allowed.
    Denied {
        /// Why.
        explanation: Explanation,
    },
}

impl Decision {
    /// Why, whichever way it went.
    pub fn explanation(&self) -> &Explanation {
        match self {
            Self::Allowed(permit) => permit.explanation(),
            Self::NeedsApproval { explanation, .. } | Self::Denied { explanation } => explanation,
        }
    }
}

/// Which requests to list.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Only those that wait.
    pub pending: bool,
    /// Only this person's.
    pub subject: Option<Subject>,
    /// Only for this object.
    pub object: Option<Object>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

/// Which grants to list.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Only those that may be used now.
    pub live: bool,
    /// Only this person's.
    pub subject: Option<Subject>,
    /// Only for this object.
    pub object: Option<Object>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

/// A request with what it waits for, under the policy as it is now.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RequestView {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// What is missing; empty once it is decided.
    pub waits_for: Vec<Step>,
    /// Who can still help it along.
    pub eligible: Vec<Subject>,
}

/// What asking for access needs.
#[derive(Debug, Clone)]
pub struct Ask {
    /// For what.
    pub object: Object,
    /// To do what.
    pub action: Action,
    /// For how many minutes from the approval.
    pub minutes: u32,
    /// Why.
    pub reason: Reason,
    /// The ticket it belongs to.
    pub ticket: Option<Ticket>,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approved {
    /// It counts, and others are still needed.
    Counted,
    /// It was the last one needed.
    Granted(GrantId),
}

/// The handle to access. Clones share one state and one owner task.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    standing: Arc<RwLock<Standing>>,
    registry: Arc<Registry>,
    orders: mpsc::Sender<Order>,
    verifier: TokenVerifier,
    keys: Arc<dyn TokenKeys>,
    clock: Arc<dyn Clock>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Ten random bytes for an id.
fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    // A repeated id is refused by the fold, so a failure of the system's randomness grants nothing to anybody.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no randomness");
    }
    bytes
}

impl Access {
    /// Loads the policy, replays the ledger, and starts the owner task. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A policy with faults (all told), a ledger that can't be read or doesn't take the record of the policy, a key
    /// that isn't on P-256.
    pub async fn open(
        options: AccessOptions,
        log: Arc<dyn RecordLog>,
        keys: Arc<dyn TokenKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AccessError> {
        let verifier = TokenVerifier::new(&*keys, &options.issuer)?;
        let policy = match Policy::load(&options.policy_directory).await {
            Ok(policy) => Arc::new(policy),
            Err(faults) => {
                let record = owner::refused_policy(&faults, Actor::Operator);
                log.append(record).await.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
                return Err(AccessError::Policy(faults));
            }
        };
        let mut state = State::default();
        log.replay(&mut |stamp, fact| state.apply(stamp, &fact)).map_err(AccessError::Replay)?;
        let loaded = Fact::PolicyLoaded {
            digest: policy.digest(),
            previous: state.policy(),
            rules: policy.rule_count() as u64,
            by: Actor::Operator,
        };
        let stamp =
            log.append(loaded.clone()).await.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
        state.apply(stamp, &loaded);

        let standing = Arc::new(RwLock::new(Standing { state, policy, owned: true, unrecorded: Vec::new() }));
        let registry = Arc::new(Registry::default());
        let (orders, inbox) = mpsc::channel(owner::QUEUE);
        let owner = Owner {
            standing: standing.clone(),
            registry: registry.clone(),
            log,
            clock: clock.clone(),
            policy_directory: options.policy_directory,
        };
        let task = tokio::spawn(owner.run(inbox));
        let task = Mutex::new(Some(task));
        Ok(Self { inner: Arc::new(Inner { standing, registry, orders, verifier, keys, clock, task }) })
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]: each reason is told apart. Tell a peer only that it failed and the hint.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let claims = self.inner.verifier.verify(token, now)?;
        let identity = Identity {
            subject: claims.subject,
            tenant: claims.tenant,
            token: Some(claims.token),
            expires: Some(token::with_leeway(claims.expires)),
        };
        let standing = self.inner.standing.read().map_err(|_| AuthError::Unrecorded)?;
        judge::check_standing(&standing.state, &standing.policy, &identity, now)?;
        Ok(identity)
    }

    /// Decides whether somebody may do something now. Never waits for anything but a short lock.
    pub fn authorize(&self, who: &Identity, object: &Object, action: Action, context: &Context) -> Decision {
        let standing = match self.inner.standing.read() {
            Ok(standing) if !standing.owned => return stopped(who, object, action, standing.policy.digest()),
            Ok(standing) if !standing.unrecorded.is_empty() => {
                let why = "the ledger hasn't taken a revocation yet: nobody is let in until it has";
                return denied(who, object, action, standing.policy.digest(), why);
            }
            Ok(standing) => standing,
            Err(poisoned) => return stopped(who, object, action, poisoned.get_ref().policy.digest()),
        };
        match judge(&standing.state, &standing.policy, who, object, action, context.now) {
            // Admitted while the lock is held: see `permit.rs` for why.
            Judgement::Allowed { explanation, ends } => {
                Decision::Allowed(self.inner.registry.admit(who.clone(), explanation, ends))
            }
            Judgement::NeedsApproval { explanation } => {
                Decision::NeedsApproval { workflows: explanation.workflows.clone(), explanation }
            }
            Judgement::Denied { explanation } => Decision::Denied { explanation },
        }
    }

    /// As [`Self::authorize`], without a permit: for pages and lists that show what could be done.
    pub fn explain(&self, who: &Identity, object: &Object, action: Action, context: &Context) -> Explanation {
        let Ok(standing) = self.inner.standing.read() else {
            return stopped(who, object, action, self.policy_digest()).explanation().clone();
        };
        match judge(&standing.state, &standing.policy, who, object, action, context.now) {
            Judgement::Allowed { explanation, .. }
            | Judgement::NeedsApproval { explanation }
            | Judgement::Denied { explanation } => explanation,
        }
    }

    /// Asks for access.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], or the ledger couldn't record it; so with all orders below.
    pub async fn request(&self, by: &Identity, ask: Ask) -> Result<RequestId, AccessError> {
        let id = RequestId::new(self.inner.clock.now(), random());
        let Ask { object, action, minutes, reason, ticket } = ask;
        self.run(by, Command::Request { id, object, action, minutes, reason, ticket }).await?;
        Ok(id)
    }

    /// Agrees to a request, for at most so many minutes (`None`: as asked).
    pub async fn approve(
        &self,
        by: &Identity,
        request: RequestId,
        minutes: Option<u32>,
        reason: Option<Reason>,
    ) -> Result<Approved, AccessError> {
        let grant = GrantId::new(self.inner.clock.now(), random());
        let facts = self.run(by, Command::Approve { request, grant, minutes, reason }).await?;
        let granted = facts.iter().any(|fact| matches!(fact, Fact::GrantIssued { .. }));
        Ok(if granted { Approved::Granted(grant) } else { Approved::Counted })
    }

    /// Says no to a request.
    pub async fn reject(
        &self,
        by: &Identity,
        request: RequestId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Reject { request, reason }).await.map(drop)
    }

    /// Takes one's own request back.
    pub async fn withdraw(
        &self,
        by: &Identity,
        request: RequestId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Withdraw { request, reason }).await.map(drop)
    }

    /// Ends a grant; its live sessions end at once.
    pub async fn revoke(
        &self,
        by: impl Into<Caller>,
        grant: GrantId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Revoke { grant, reason }).await.map(drop)
    }

    /// Locks a person or a role out; their live sessions end at once.
    pub async fn lock(
        &self,
        by: impl Into<Caller>,
        principal: Principal,
        tenant: Tenant,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Lock { principal, tenant, reason }).await.map(drop)
    }

    /// Lets them in again.
    pub async fn unlock(
        &self,
        by: impl Into<Caller>,
        principal: Principal,
        tenant: Tenant,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Unlock { principal, tenant, reason }).await.map(drop)
    }

    /// Issues a token for a person. It is recorded before it exists outside: a token that the ledger doesn't know is
    /// never accepted. Show it once, in a file or an answer's body, never in a URL or a log.
    pub async fn issue_token(
        &self,
        by: impl Into<Caller>,
        subject: Subject,
        tenant: Tenant,
        life: SignedDuration,
    ) -> Result<(TokenId, String), AccessError> {
        let now = self.inner.clock.now();
        let token = TokenId::new(now, random());
        let not_before = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let expires = not_before.saturating_add(life).map_err(|_| Refusal::TokenLife)?;
        let expires = Timestamp::from_second(expires.as_second()).map_err(|_| Refusal::TokenLife)?;
        let claims = Claims { subject: subject.clone(), tenant: tenant.clone(), token, not_before, expires };
        // Signed first: a signature that fails leaves no token in the ledger that nobody holds.
        let text = self.inner.verifier.sign(&*self.inner.keys, &claims).await?;
        self.run(by, Command::IssueToken { token, subject, tenant, expires }).await?;
        Ok((token, text))
    }

    /// Revokes a token; sessions that were opened with it end at once.
    pub async fn revoke_token(
        &self,
        by: impl Into<Caller>,
        token: TokenId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::RevokeToken { token, reason }).await.map(drop)
    }

    /// Loads the policy directory again. All or nothing: with one fault the policy in force stays. Live sessions are
    /// judged again under the new one.
    pub async fn reload_policy(&self, by: impl Into<Caller>) -> Result<PolicyDigest, AccessError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Reload { by: by.into(), answer };
        self.inner.orders.send(order).await.map_err(|_| AccessError::Stopped)?;
        answered.await.map_err(|_| AccessError::Stopped)?
    }

    async fn run(&self, by: impl Into<Caller>, command: Command) -> Result<Vec<Fact>, AccessError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Run { by: by.into(), command, answer };
        self.inner.orders.send(order).await.map_err(|_| AccessError::Stopped)?;
        answered.await.map_err(|_| AccessError::Stopped)?
    }

    /// Requests that the caller may see, newest first: their own, those that they may decide on, and for an auditor
    /// of the object all of them.
    pub fn requests(&self, by: impl Into<Caller>, filter: &RequestFilter) -> Vec<RequestView> {
        let by = by.into();
        let now = self.inner.clock.now();
        let found: Vec<RequestId> = self.look(|standing| {
            let wanted = |request: &&Request| {
                (!filter.pending || request.status == RequestStatus::Pending)
                    && filter.subject.as_ref().is_none_or(|subject| *subject == request.subject)
                    && filter.object.as_ref().is_none_or(|object| *object == request.object)
                    && by.person().is_none_or(|who| who.tenant == request.tenant)
            };
            standing.state.requests().rev().filter(wanted).map(|request| request.id).collect()
        });
        let view = |id: RequestId| {
            self.look(|standing| {
                let (state, policy) = (&standing.state, &*standing.policy);
                let request = state.request(id)?;
                if !sees(state, policy, &by, &request.tenant, &request.subject, &request.object, now) {
                    return None;
                }
                let waits = request.status == RequestStatus::Pending;
                Some(RequestView {
                    waits_for: if waits {
                        decide::waits_for(state, policy, request, now)
                    } else {
                        Vec::new()
                    },
                    eligible: if waits { decide::eligible(state, policy, request, now) } else { Vec::new() },
                    request: request.clone(),
                })
            })
        };
        found.into_iter().filter_map(view).take(filter.limit.unwrap_or(usize::MAX)).collect()
    }

    /// Grants that the caller may see, newest first.
    pub fn grants(&self, by: impl Into<Caller>, filter: &GrantFilter) -> Vec<Grant> {
        let by = by.into();
        let now = self.inner.clock.now();
        let found: Vec<GrantId> = self.look(|standing| {
            let wanted = |grant: &&Grant| {
                (!filter.live || grant.is_live(now))
                    && filter.subject.as_ref().is_none_or(|subject| *subject == grant.subject)
                    && filter.object.as_ref().is_none_or(|object| *object == grant.object)
                    && by.person().is_none_or(|who| who.tenant == grant.tenant)
            };
            standing.state.grants().rev().filter(wanted).map(|grant| grant.id).collect()
        });
        let view = |id: GrantId| {
            self.look(|standing| {
                let (state, policy) = (&standing.state, &*standing.policy);
                let grant = state.grant(id)?;
                sees(state, policy, &by, &grant.tenant, &grant.subject, &grant.object, now)
                    .then(|| grant.clone())
            })
        };
        found.into_iter().filter_map(view).take(filter.limit.unwrap_or(usize::MAX)).collect()
    }

    /// Looks at what is in force, and lets go of it again. Lists look once per entry: a long list, which asks policy
    /// about each, must not keep a revocation waiting.
    fn look<T: Default>(&self, at: impl FnOnce(&Standing) -> T) -> T {
        self.inner.standing.read().map(|standing| at(&standing)).unwrap_or_default()
    }

    /// Tokens that the caller may see, newest first: their own, or for an admin of tokens the tenant's.
    pub fn tokens(&self, by: impl Into<Caller>) -> Vec<Token> {
        let by = by.into();
        let Ok(standing) = self.inner.standing.read() else { return Vec::new() };
        let all = self.may_admin(&standing, &by, Part::Tokens);
        let sees = |token: &&Token| match by.person() {
            None => true,
            Some(who) => who.tenant == token.tenant && (all || who.subject == token.subject),
        };
        standing.state.tokens().rev().filter(sees).cloned().collect()
    }

    /// Locks that the caller may see: for an admin of people the tenant's.
    pub fn locks(&self, by: impl Into<Caller>) -> Vec<Lock> {
        let by = by.into();
        let Ok(standing) = self.inner.standing.read() else { return Vec::new() };
        if !self.may_admin(&standing, &by, Part::People) {
            return Vec::new();
        }
        let sees = |lock: &&Lock| by.person().is_none_or(|who| who.tenant == lock.tenant);
        standing.state.locks().filter(sees).cloned().collect()
    }

    fn may_admin(&self, standing: &Standing, by: &Caller, part: Part) -> bool {
        by.person().is_none_or(|who| {
            let judgement = judge(
                &standing.state,
                &standing.policy,
                who,
                &Object::gateway(part),
                Action::Admin,
                self.inner.clock.now(),
            );
            matches!(judgement, Judgement::Allowed { .. })
        })
    }

    /// The digest of the policy in force.
    pub fn policy_digest(&self) -> PolicyDigest {
        match self.inner.standing.read() {
            Ok(standing) => standing.policy.digest(),
            Err(poisoned) => poisoned.get_ref().policy.digest(),
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        match self.inner.standing.read() {
            Ok(standing) => standing.policy.clone(),
            Err(poisoned) => poisoned.get_ref().policy.clone(),
        }
    }

    /// Number of live permits.
    pub fn live_permits(&self) -> usize {
        self.inner.registry.count()
    }

    /// A copy of the whole state, for tests of the fold.
    #[cfg(test)]
    pub(crate) fn state(&self) -> State {
        self.inner.standing.read().unwrap().state.clone()
    }

    /// Takes no more orders, ends every live permit, and waits for the owner task. Close the ledger after this.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.inner.orders.send(Order::Close { answer }).await.is_ok() {
            let _ = answered.await;
        }
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the owner of access ended by a panic");
        }
        // The owner's own end has swept already, unless it never ran.
        self.inner.registry.sweep(Instant::now(), |_| Some(Cause::Stopped));
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("policy", &self.policy_digest()).finish_non_exhaustive()
    }
}

/// Whether the caller may see what is another person's: those who approve or audit the object, in its tenant.
fn sees(
    state: &State,
    policy: &Policy,
    by: &Caller,
    tenant: &Tenant,
    subject: &Subject,
    object: &Object,
    now: Timestamp,
) -> bool {
    let Some(who) = by.person() else { return true };
    if who.tenant != *tenant || judge::check_standing(state, policy, who, now).is_err() {
        return false;
    }
    who.subject == *subject
        || policy.allows(&who.subject, tenant, object, Action::Approve)
        || policy.allows(&who.subject, tenant, object, Action::Audit)
}

fn stopped(who: &Identity, object: &Object, action: Action, policy: PolicyDigest) -> Decision {
    denied(who, object, action, policy, "access has been stopped")
}

fn denied(who: &Identity, object: &Object, action: Action, policy: PolicyDigest, why: &str) -> Decision {
    Decision::Denied {
        explanation: Explanation {
            outcome: Outcome::Denied,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            action,
            object: object.clone(),
            rules: Vec::new(),
            workflows: Vec::new(),
            grant: None,
            policy,
            code: "stopped",
            why: why.to_owned(),
        },
    }
}
