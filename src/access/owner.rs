//! The task that owns the state of access.
//!
//! One order at a time: decide (pure), append every fact durably, only then fold it in and publish, then end the
//! permits that no longer hold, and answer. Between orders it wakes when a grant ends, to record that. Nothing else
//! writes the state, so what the ledger says and what is in force are the same at every answer.
//!
//! A revocation depends neither on the ledger's health ([`recording`]) nor on how much else is to be done: orders that take
//! something away come before all others, and of what time makes due no more is recorded before one than goes to the disk together.
//! What it may wait for is one order that has begun: a second at the most, for an access review of thousands of roles.
//! Ends by time are the [`reap`] task's, which waits for nothing but the clock.
//!
//! Reading and checking a new policy takes time, so that isn't done here: a [`Order::Install`] brings it ready made.

mod ending;
mod recording;

use std::collections::VecDeque;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::KeyId;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::decide::{self, Command, Refusal};
use super::error::AccessError;
use super::fact::{Actor, Fact};
use super::identity::Caller;
use super::ids::{GrantId, random};
use super::index::Index;
use super::log::RecordLog;
use super::names::{Subject, Tenant};
use super::permit::{Cause, Registry};
use super::policy::drift::{Drift, Way};
use super::policy::faults::PolicyFaults;
use super::policy::{Policy, PolicyDigest};
use super::reason::Reason;
use super::state::State;

use ending::still_holds;
pub(super) use ending::{fallen, reap};

/// Orders that may wait for the owner. Each costs one durable append, about a millisecond: a full queue is about a
/// quarter of a second of work, and more callers wait at the sender instead of in memory.
pub(super) const QUEUE: usize = 256;

/// How soon a record that the ledger didn't take is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// What is in force; decisions read it, only the owner writes it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) policy: Arc<Policy>,
    /// Cleared when the owner or the reaper ends, however: nothing could be ended any more, so nothing is allowed.
    pub(super) owned: bool,
    /// Revocations that the ledger hasn't taken yet. While there is one, nothing is allowed.
    pub(super) unrecorded: VecDeque<Fact>,
}

/// What can be asked of the owner.
#[derive(Debug)]
pub(super) enum Order {
    Run {
        by: Caller,
        command: Command,
        /// When it was given: what it takes away is measured from then on.
        given: Instant,
        answer: oneshot::Sender<Result<Vec<Fact>, AccessError>>,
    },
    Install {
        by: Caller,
        loaded: Result<Box<Policy>, PolicyFaults>,
        /// How it differs from the policy of this digest.
        drift: (PolicyDigest, Drift),
        answer: oneshot::Sender<Result<PolicyDigest, AccessError>>,
    },
    /// The person's data key is gone: record it, and keep their name no longer.
    Forget {
        by: Actor,
        person: Subject,
        key: KeyId,
        reason: Option<Reason>,
        answer: oneshot::Sender<Result<(), AccessError>>,
    },
    /// Answered once everything that was recorded before is folded in.
    Settle { answer: oneshot::Sender<()> },
    /// Answered with what a next start is to read.
    Close { answer: oneshot::Sender<Index> },
}

pub(super) struct Owner {
    pub(super) standing: Arc<RwLock<Standing>>,
    pub(super) registry: Arc<Registry>,
    pub(super) log: Arc<dyn RecordLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) change: PolicyChange,
    /// The tenant from within which the policy and the keys of all are run.
    pub(super) home: Tenant,
    /// Which records tell of access, with all that were written since the start.
    pub(super) index: Index,
}

/// How a policy comes into force while the gateway runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicyChange {
    /// One admin reloads it.
    #[default]
    Reload,
    /// One admin proposes it and another approves exactly those bytes. A start with other bytes is refused, too.
    SecondPerson,
}

/// What time had made due is recorded.
struct CaughtUp {
    /// By then.
    at: Timestamp,
    /// Whether all of it is.
    is_all: bool,
}

/// Fails closed when the owner or the reaper ends, by a panic too.
struct Closing {
    standing: Arc<RwLock<Standing>>,
    registry: Arc<Registry>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        // A poisoned lock denies everything by itself.
        if let Ok(mut standing) = self.standing.write() {
            standing.owned = false;
        }
        self.registry.sweep(Instant::now(), |_| Some(Cause::Stopped));
    }
}

impl Owner {
    /// Until all senders are gone, or it is closed. Orders of `urgent` come first.
    pub(super) async fn run(mut self, mut urgent: mpsc::Receiver<Order>, mut orders: mpsc::Receiver<Order>) {
        let _closing = Closing { standing: self.standing.clone(), registry: self.registry.clone() };
        loop {
            let wake = match self.catch_up().await {
                Some(CaughtUp { at, is_all: true }) => self.next_wake(at),
                // At once, but for orders that have come meanwhile.
                Some(CaughtUp { at, is_all: false }) => Some(at),
                None => self.clock.now().checked_add(RETRY).ok(),
            };
            let order = tokio::select! {
                biased;
                Some(order) = urgent.recv() => order,
                order = orders.recv() => match order {
                    Some(order) => order,
                    None => return,
                },
                () = self.sleep(wake) => continue,
            };
            match order {
                Order::Close { answer } => {
                    let _ = answer.send(self.index);
                    return;
                }
                Order::Settle { answer } => {
                    let _ = answer.send(());
                }
                // A caller that went away doesn't undo what it ordered.
                Order::Run { by, command, given, answer } => {
                    let _ = answer.send(self.execute(&by, &command, given).await);
                }
                Order::Forget { by, person, key, reason, answer } => {
                    let _ = answer.send(self.forget(&person, &Fact::Erased { key, by, reason }, key).await);
                }
                Order::Install { by, loaded, drift, answer } => {
                    let _ = answer.send(self.install(&by, loaded, drift).await);
                }
            }
        }
    }

    async fn sleep(&self, until: Option<Timestamp>) {
        match until {
            Some(when) => self.clock.sleep_until(when).await,
            None => std::future::pending().await,
        }
    }

    fn next_wake(&self, caught_up: Timestamp) -> Option<Timestamp> {
        let standing = self.standing.read().ok()?;
        let escalation = decide::next_escalation(&standing.state, &standing.policy);
        let unlocked = standing.state.next_lock_end(caught_up);
        standing.state.next_end().into_iter().chain(escalation).chain(unlocked).min()
    }

    async fn execute(
        &mut self,
        by: &Caller,
        command: &Command,
        decided_at: Instant,
    ) -> Result<Vec<Fact>, AccessError> {
        if !command.takes_away() && !self.record_the_unrecorded(decided_at).await {
            return Err(AccessError::Unrecorded);
        }
        let decision = {
            let standing = self.standing.read().map_err(|_| AccessError::Stopped)?;
            let decision = match by.person().and_then(|who| fallen(&standing, who)) {
                Some(error) => Err(Refusal::Standing(error)),
                None => self.check_home(by, command).and_then(|()| {
                    decide::decide(&standing.state, &standing.policy, by, command, self.clock.now())
                }),
            };
            decision.map_err(|refusal| {
                let record =
                    refusal.is_attempt().then(|| decide::refused(by, command, &refusal, &standing.state));
                (refusal, record)
            })
        };
        match decision {
            Ok(facts) => {
                self.record(&facts, decided_at).await?;
                Ok(facts)
            }
            Err((refusal, record)) => {
                if let Some(fact) = record {
                    self.commit(&fact, decided_at).await?;
                }
                Err(AccessError::Refused(refusal))
            }
        }
    }

    /// What is for all tenants at once isn't run from within another one, whatever policy lets its people do there.
    fn check_home(&self, by: &Caller, command: &Command) -> Result<(), Refusal> {
        match by.person() {
            Some(who) if command.is_for_all_tenants() && *who.tenant() != self.home => {
                Err(Refusal::OtherTenant { own: who.tenant().clone(), other: self.home.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Records what time has made due, or as much of it as goes to the disk together. `None` when that must be tried again.
    async fn catch_up(&mut self) -> Option<CaughtUp> {
        let decided_at = Instant::now();
        if !self.record_the_unrecorded(decided_at).await {
            return None;
        }
        let now = self.clock.now();
        let due = {
            let standing = self.standing.read().ok()?;
            decide::due(&standing.state, &standing.policy, now, || GrantId::new(now, random()))
        };
        if due.is_empty() {
            return Some(CaughtUp { at: now, is_all: true });
        }
        // Nothing may be used past its end, whether or not that could be recorded.
        match self.record_first(&due, decided_at).await {
            Ok(recorded) => Some(CaughtUp { at: now, is_all: recorded == due.len() }),
            Err(error) => {
                tracing::error!(%error, "an end that has come couldn't be recorded");
                None
            }
        }
    }

    /// Records an erasure, and puts what is left of the person into the place of their name.
    async fn forget(&mut self, person: &Subject, fact: &Fact, key: KeyId) -> Result<(), AccessError> {
        let decided_at = Instant::now();
        let recorded = self.log.append(fact.clone()).await;
        self.index.note(fact, &recorded);
        let stamp = recorded.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
        {
            let mut standing = self.standing.write().map_err(|_| AccessError::Stopped)?;
            standing.state.forget(person, key);
            standing.state.apply(stamp, fact);
        }
        // Whoever slipped in between the end of their grants and this holds nothing any more.
        self.registry.sweep(decided_at, |life| (life.identity.subject == *person).then_some(Cause::Erased));
        Ok(())
    }

    /// Puts a new policy in force, or records why not.
    async fn install(
        &mut self,
        by: &Caller,
        loaded: Result<Box<Policy>, PolicyFaults>,
        (compared_with, drift): (PolicyDigest, Drift),
    ) -> Result<PolicyDigest, AccessError> {
        let decided_at = Instant::now();
        // Asked for the second time: the caller's leave may have ended while the policy was read.
        self.execute(by, &Command::ReloadPolicy, decided_at).await?;
        let actor = match by.person() {
            None => Actor::Operator,
            Some(identity) => Actor::Person(identity.subject.clone()),
        };
        let policy = match loaded {
            Ok(policy) => Arc::<Policy>::from(policy),
            Err(faults) => {
                self.commit(&refused_policy(&faults, actor), decided_at).await?;
                return Err(AccessError::Policy(faults));
            }
        };
        let digest = policy.digest();
        let (previous, agreed) = {
            let standing = self.standing.read().map_err(|_| AccessError::Stopped)?;
            (standing.policy.digest(), standing.state.may_load(digest))
        };
        if self.change == PolicyChange::SecondPerson && !agreed {
            let refusal = Refusal::PolicyNotApproved { digest };
            let record = {
                let standing = self.standing.read().map_err(|_| AccessError::Stopped)?;
                decide::refused(by, &Command::ReloadPolicy, &refusal, &standing.state)
            };
            self.commit(&record, decided_at).await?;
            return Err(AccessError::Refused(refusal));
        }
        let rules = policy.rule_count() as u64;
        // Only of the policy that this one really follows.
        let drift = if compared_with == previous { drift } else { Way::Unclear.into() };
        let fact =
            Fact::PolicyLoaded { digest, previous: Some(previous), rules, drift: Some(drift), by: actor };
        // Recorded before it is in force: no decision is ever made under a policy that the ledger doesn't know.
        let recorded = self.log.append(fact.clone()).await;
        self.index.note(&fact, &recorded);
        let stamp = recorded.map_err(|error| AccessError::NotRecorded { error, cut: 0 })?;
        {
            let mut standing = self.standing.write().map_err(|_| AccessError::Stopped)?;
            standing.state.apply(stamp, &fact);
            standing.policy = policy;
        }
        let standing = self.standing.read().map_err(|_| AccessError::Stopped)?;
        let now = self.clock.now();
        let died = self.registry.sweep(decided_at, |life| still_holds(life, &standing, now));
        tracing::info!(%digest, %previous, rules, died, "policy loaded");
        Ok(digest)
    }
}

/// The record of a policy that wasn't used.
pub(super) fn refused_policy(faults: &PolicyFaults, by: Actor) -> Fact {
    let places = faults.faults().iter().take(20).map(|fault| fault.place.to_string()).collect();
    Fact::PolicyRefused { places, count: faults.count() as u64, by }
}
