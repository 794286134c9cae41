//! The handle that the rest of the gateway holds: questions are answered here, orders go to the owner.

mod issuing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use jiff::Timestamp;
use sallyport_audit::KeyId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::decide::{self, Command, Refusal};
use super::decision::{Decision, denied, stopped};
use super::error::AccessError;
use super::fact::{Actor, Fact};
use super::identity::{Caller, Identity, Proof};
use super::ids::GrantId;
use super::index::Place;
use super::judge::{Context, Explanation, Judgement, check_standing, judge, judge_on};
use super::lock::LockTarget;
use super::log::RecordLog;
use super::names::{Subject, Tenant};
use super::object::{Action, Object};
use super::opening::{self, Folded};
use super::owner::{self, Order, Owner, PolicyChange, Standing};
use super::permit::{Cause, Registry};
use super::policy::drift::{Drift, Way};
use super::policy::faults::PolicyFaults;
use super::policy::{Policy, PolicyDigest};
use super::reason::Reason;
use super::token::{self, AuthError, Claims, Purpose, TokenKeys, TokenVerifier};
use super::vouching::Vouchers;

/// What [`Access::open`] needs to know.
#[derive(Debug, Clone)]
pub struct AccessOptions {
    /// Holds `model.conf`, `approvals.toml` and policy files (`*.csv`).
    pub policy_directory: PathBuf,
    /// What tokens name as issuer and audience: this gateway, such as `https://sallyport.example`.
    pub issuer: String,
    /// The tenant whose tunnels these are. What is for all tenants at once, policy and keys, is run from within it alone.
    pub tenant: Tenant,
    /// How a policy comes into force.
    pub policy_change: PolicyChange,
    /// Where it is kept which records tell of access; `None`: every start looks at all of them.
    pub index: Option<PathBuf>,
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
    /// For those that take something away.
    urgent: mpsc::Sender<Order>,
    verifier: RwLock<TokenVerifier>,
    /// Held for reading while a token is made and recorded: each is of one key, and the ledger knows of it before the key
    /// is replaced.
    keys: tokio::sync::RwLock<Arc<dyn TokenKeys>>,
    issuer: String,
    clock: Arc<dyn Clock>,
    policy_change: PolicyChange,
    policy_directory: PathBuf,
    index: Option<Place>,
    reloading: tokio::sync::Mutex<()>,
    vouchers: OnceLock<Arc<dyn Vouchers>>,
    tasks: Mutex<Option<Tasks>>,
}

/// The owner, which ends when it is told to, and the reaper, which never does by itself.
struct Tasks {
    owner: JoinHandle<()>,
    reaper: JoinHandle<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.reaper.abort();
    }
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
        // Before anything is recorded: a key that can't be used stops the start.
        TokenVerifier::new(&*keys, &BTreeMap::new(), &options.issuer)?;
        let policy = match Policy::load(&options.policy_directory).await {
            Ok(policy) => Arc::new(policy),
            Err(faults) => {
                let record = owner::refused_policy(&faults, Actor::Operator);
                log.append(record).await.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
                return Err(AccessError::Policy(faults));
            }
        };
        Self::open_with(policy, options, log, keys, clock).await
    }

    /// As [`Self::open`], with a policy that is there already.
    pub(super) async fn open_with(
        policy: Arc<Policy>,
        options: AccessOptions,
        log: Arc<dyn RecordLog>,
        keys: Arc<dyn TokenKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AccessError> {
        let place = options.index.clone().map(Place::new);
        let Folded { mut state, mut index, worth_keeping } =
            opening::fold(&*log, &*keys, place.as_ref()).map_err(AccessError::Replay)?;
        if let Some(place) = place.as_ref().filter(|_| worth_keeping) {
            place.keep(&index, &*keys).await;
        }
        if let Some(in_force) = state.policy()
            && options.policy_change == PolicyChange::SecondPerson
            && !state.may_load(policy.digest())
        {
            let found = policy.digest();
            let refusal = Refusal::PolicyNotApproved { digest: found };
            let record = decide::refused(&Caller::Operator, &Command::ReloadPolicy, &refusal, &state);
            log.append(record).await.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
            return Err(AccessError::PolicyNotApproved { in_force, found });
        }
        let loaded = Fact::PolicyLoaded {
            digest: policy.digest(),
            previous: state.policy(),
            rules: policy.rule_count() as u64,
            drift: Some(Drift::at_start(policy.digest(), state.policy())),
            by: Actor::Operator,
        };
        let stamp =
            log.append(loaded.clone()).await.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
        state.apply(stamp, &loaded);
        index.add(stamp);
        let verifier = TokenVerifier::new(&*keys, state.token_keys(), &options.issuer)?;

        let standing =
            Arc::new(RwLock::new(Standing { state, policy, owned: true, unrecorded: VecDeque::new() }));
        let registry = Arc::new(Registry::default());
        let (orders, inbox) = mpsc::channel(owner::QUEUE);
        let (urgent, urgent_inbox) = mpsc::channel(owner::QUEUE);
        let owner = Owner {
            standing: standing.clone(),
            registry: registry.clone(),
            log,
            clock: clock.clone(),
            change: options.policy_change,
            home: options.tenant,
            index,
        };
        let owner = tokio::spawn(owner.run(urgent_inbox, inbox));
        let reaper = tokio::spawn(owner::reap(standing.clone(), registry.clone(), clock.clone()));
        let inner = Inner {
            standing,
            registry,
            orders,
            urgent,
            verifier: RwLock::new(verifier),
            keys: tokio::sync::RwLock::new(keys),
            issuer: options.issuer,
            clock,
            policy_directory: options.policy_directory,
            index: place,
            policy_change: options.policy_change,
            reloading: tokio::sync::Mutex::new(()),
            vouchers: OnceLock::new(),
            tasks: Mutex::new(Some(Tasks { owner, reaper })),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Says who vouches for credentials that aren't the gateway's own. Once: a second word changes nothing.
    pub fn believe(&self, vouchers: Arc<dyn Vouchers>) {
        let _ = self.inner.vouchers.set(vouchers);
    }

    pub(super) fn vouchers(&self) -> Option<&Arc<dyn Vouchers>> {
        self.inner.vouchers.get()
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]: each reason is told apart. Tell a peer only that it failed and the hint.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        self.of_purpose(token, Purpose::Access, now)
    }

    pub(super) fn of_purpose(
        &self,
        token: &str,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        self.of_claims(self.verifier().verify(token, purpose, now)?, now)
    }

    /// Who a token speaks for whose signature and times are good, if it stands.
    pub(super) fn of_claims(&self, claims: Claims, now: Timestamp) -> Result<Identity, AuthError> {
        let (proof, expires) = (Proof::Token(claims.token), token::with_leeway(claims.expires));
        let mut identity = Identity::proved(claims.subject, claims.tenant, proof, expires);
        // What it covers and rests on stands in the ledger alone.
        let known = self.look(|standing| {
            let token = standing.state.token(claims.token)?;
            Some((token.scope.clone(), token.sign_in.clone()))
        });
        if let Some((scope, sign_in)) = known {
            identity.scope = scope;
            identity.begun_with = sign_in.as_ref().map(|sign_in| sign_in.with);
            identity.roles = sign_in.map(|sign_in| sign_in.claimed).unwrap_or_default().into();
        }
        self.standing(identity, now)
    }

    /// The identity, if what proves it stands now.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate`].
    pub fn standing(&self, identity: Identity, now: Timestamp) -> Result<Identity, AuthError> {
        let standing = self.inner.standing.read().map_err(|_| AuthError::Unrecorded)?;
        check_standing(&standing.state, &standing.policy, &identity, now)?;
        match owner::fallen(&standing, &identity) {
            Some(error) => Err(error),
            None => Ok(identity),
        }
    }

    /// Decides whether somebody may do something now. Never waits for anything but a short lock.
    pub fn authorize(&self, who: &Identity, object: &Object, action: Action, context: &Context) -> Decision {
        self.authorize_on(who, object, action, None, context)
    }

    /// The same for whoever has just begun this grant.
    pub(super) fn authorize_on(
        &self,
        who: &Identity,
        object: &Object,
        action: Action,
        holds: Option<GrantId>,
        context: &Context,
    ) -> Decision {
        let standing = match self.inner.standing.read() {
            Ok(standing) if !standing.owned => return stopped(who, object, action, standing.policy.digest()),
            Ok(standing) if !standing.unrecorded.is_empty() => {
                let why = "the ledger hasn't taken a revocation yet: nobody is let in until it has";
                return denied(who, object, action, standing.policy.digest(), why);
            }
            Ok(standing) => standing,
            Err(poisoned) => return stopped(who, object, action, poisoned.get_ref().policy.digest()),
        };
        let who = who.met(context);
        match judge_on(&standing.state, &standing.policy, &who, object, action, holds, context.now) {
            // Admitted while the lock is held: see `permit.rs` for why.
            Judgement::Allowed { explanation, ends } => {
                Decision::Allowed(self.inner.registry.admit(who, explanation, ends))
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
        match judge(&standing.state, &standing.policy, &who.met(context), object, action, context.now) {
            Judgement::Allowed { explanation, .. }
            | Judgement::NeedsApproval { explanation }
            | Judgement::Denied { explanation } => explanation,
        }
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

    /// Locks a person, a role, a device, a tunnel or a tenant; the live sessions that it is about end at once. `until` is
    /// when it ends by itself.
    pub async fn lock(
        &self,
        by: impl Into<Caller>,
        target: LockTarget,
        tenant: Tenant,
        until: Option<Timestamp>,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Lock { target, tenant, until, reason }).await.map(drop)
    }

    /// Lifts a lock.
    pub async fn unlock(
        &self,
        by: impl Into<Caller>,
        target: LockTarget,
        tenant: Tenant,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Unlock { target, tenant, reason }).await.map(drop)
    }

    /// Ends all that a person has, each by a record of its own: the first step of their erasure.
    pub async fn end_all_of(
        &self,
        by: impl Into<Caller>,
        subject: Subject,
        reason: Reason,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Erase { subject, reason }).await.map(drop)
    }

    /// Records that a person's data key was destroyed, and keeps their name no longer: the last step.
    pub async fn forget(
        &self,
        by: &Identity,
        person: Subject,
        key: KeyId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        let by = Actor::Person(by.subject.clone());
        self.order_forget(by, person, key, reason).await
    }

    /// Records an erasure that was broken off between the destruction of the key and its record, as of the operator.
    pub async fn complete_erasure(&self, key: KeyId) -> Result<(), AccessError> {
        self.order_forget(Actor::Operator, Subject::erased(key), key, None).await
    }

    async fn order_forget(
        &self,
        by: Actor,
        person: Subject,
        key: KeyId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Forget { by, person, key, reason, answer };
        self.inner.orders.send(order).await.map_err(|_| AccessError::Stopped)?;
        answered.await.map_err(|_| AccessError::Stopped)?
    }

    /// The data keys whose erasure the ledger tells of.
    pub fn erased_keys(&self) -> BTreeSet<KeyId> {
        self.look(|standing| standing.state.erased_keys().clone())
    }

    /// Loads the policy directory again. All or nothing: with one fault the policy in force stays. Live sessions are
    /// judged again under the new one.
    pub async fn reload_policy(&self, by: impl Into<Caller>) -> Result<PolicyDigest, AccessError> {
        self.reload(by.into(), None).await
    }

    /// The same for somebody who has looked at the files: refused if they are others by now.
    pub async fn reload_policy_looked_at(
        &self,
        by: impl Into<Caller>,
        looked_at: PolicyDigest,
    ) -> Result<PolicyDigest, AccessError> {
        self.reload(by.into(), Some(looked_at)).await
    }

    async fn reload(&self, by: Caller, looked_at: Option<PolicyDigest>) -> Result<PolicyDigest, AccessError> {
        // One at a time: an older reading of the files must not be put in force after a newer one.
        let _turn = self.inner.reloading.lock().await;
        self.run(by.clone(), Command::ReloadPolicy).await?;
        let loaded = Policy::load(&self.inner.policy_directory).await;
        if let Ok(policy) = &loaded {
            still_those(looked_at, policy.digest())?;
        }
        self.install(by, loaded).await
    }

    /// Puts a policy in force, compared before with the one in force now: the owner of the state doesn't wait for that.
    pub(super) async fn install(
        &self,
        by: impl Into<Caller>,
        loaded: Result<Policy, PolicyFaults>,
    ) -> Result<PolicyDigest, AccessError> {
        let in_force = self.policy();
        let digest = in_force.digest();
        let compared = match loaded {
            Err(faults) => (Err(faults), Way::Unclear.into()),
            Ok(policy) => tokio::task::spawn_blocking(move || {
                let drift = Drift::between(&in_force, &policy);
                (Ok(Box::new(policy)), drift)
            })
            .await
            .map_err(|_| AccessError::Stopped)?,
        };
        let (loaded, drift) = compared;
        let (answer, answered) = oneshot::channel();
        let order = Order::Install { by: by.into(), loaded, drift: (digest, drift), answer };
        self.inner.orders.send(order).await.map_err(|_| AccessError::Stopped)?;
        answered.await.map_err(|_| AccessError::Stopped)?
    }

    pub(super) async fn run(
        &self,
        by: impl Into<Caller>,
        command: Command,
    ) -> Result<Vec<Fact>, AccessError> {
        let (answer, answered) = oneshot::channel();
        let orders = if command.takes_away() { &self.inner.urgent } else { &self.inner.orders };
        let order = Order::Run { by: by.into(), command, given: Instant::now(), answer };
        orders.send(order).await.map_err(|_| AccessError::Stopped)?;
        answered.await.map_err(|_| AccessError::Stopped)?
    }

    /// Returns once every fact that is in the ledger now is folded in: whoever reads a record there may see it sooner than the
    /// state that it leads to.
    ///
    /// # Errors
    ///
    /// Access is closed.
    pub async fn caught_up(&self) -> Result<(), AccessError> {
        let (answer, answered) = oneshot::channel();
        self.inner.orders.send(Order::Settle { answer }).await.map_err(|_| AccessError::Stopped)?;
        answered.await.map_err(|_| AccessError::Stopped)
    }

    /// Looks at what is in force, and lets go of it again; nothing to see once a writer has panicked.
    pub(super) fn look<T: Default>(&self, at: impl FnOnce(&Standing) -> T) -> T {
        self.inner.standing.read().map(|standing| at(&standing)).unwrap_or_default()
    }

    /// Reads and checks the files in the policy folder; nothing comes into force by it.
    pub(super) async fn load_candidate(&self) -> Result<Policy, PolicyFaults> {
        Policy::load(&self.inner.policy_directory).await
    }

    /// How a policy comes into force here.
    pub fn policy_change(&self) -> PolicyChange {
        self.inner.policy_change
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.now()
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
    pub(crate) fn state(&self) -> super::state::State {
        self.inner.standing.read().unwrap().state.clone()
    }

    /// Takes no more orders, ends every live permit, and waits for the owner task. Close the ledger after this.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.inner.orders.send(Order::Close { answer }).await.is_ok()
            && let Ok(index) = answered.await
            && let Some(place) = &self.inner.index
        {
            place.keep(&index, &**self.inner.keys.read().await).await;
        }
        let tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks
            && let Err(error) = (&mut tasks.owner).await
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

/// Whether the files in the policy folder are those that somebody has looked at, if anybody has.
pub(super) fn still_those(looked_at: Option<PolicyDigest>, found: PolicyDigest) -> Result<(), Refusal> {
    match looked_at.filter(|looked_at| *looked_at != found) {
        None => Ok(()),
        Some(looked_at) => Err(Refusal::PolicyFilesChanged { looked_at, found }),
    }
}
