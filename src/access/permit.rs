//! Permits: proofs of a decision that are alive, and die at once when the decision no longer holds.
//!
//! A [`Permit`] has private fields and isn't `Clone`: only [`super::Access::authorize`] makes one, one per decision,
//! and the session broker takes it by value. Whoever holds it learns of its death through [`Permit::died`], so
//! revocation is on the path of the bytes, not in a sweep beside it.
//!
//! Every live permit stands in the [`Registry`]. A permit is admitted while its decision's state is held locked for
//! reading, and state changes under the write lock before the registry is swept. So no permit slips through between
//! a decision and the change that would have forbidden it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use super::ids::GrantId;
use super::judge::Explanation;

/// Why a permit died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its grant was revoked.
    GrantRevoked,
    /// Its grant's time is over.
    GrantExpired,
    /// A share that it rests on ended.
    ShareEnded,
    /// The tunnel was deleted.
    TunnelDeleted,
    /// The visitor's token was revoked.
    TokenRevoked,
    /// The visitor's token's time is over.
    TokenExpired,
    /// The issuer that vouched for the visitor has withdrawn its key.
    KeyWithdrawn,
    /// The device was revoked.
    DeviceRevoked,
    /// The device's enrollment is over.
    DeviceExpired,
    /// The client certificate was revoked.
    CertificateRevoked,
    /// The client certificate's time is over.
    CertificateExpired,
    /// The visitor, or a role of theirs, was locked.
    Locked,
    /// A condition of time under which policy allowed it holds no more.
    WindowClosed,
    /// The policy in force doesn't allow it any more.
    PolicyChanged,
    /// The visitor's name was erased.
    Erased,
    /// Access itself has stopped; nothing could end the session later.
    Stopped,
}

impl Cause {
    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GrantRevoked => "grant-revoked",
            Self::GrantExpired => "grant-expired",
            Self::ShareEnded => "share-ended",
            Self::TunnelDeleted => "tunnel-deleted",
            Self::TokenRevoked => "token-revoked",
            Self::TokenExpired => "token-expired",
            Self::KeyWithdrawn => "key-withdrawn",
            Self::DeviceRevoked => "device-revoked",
            Self::DeviceExpired => "device-expired",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CertificateExpired => "certificate-expired",
            Self::Locked => "locked",
            Self::WindowClosed => "window-closed",
            Self::PolicyChanged => "policy-changed",
            Self::Erased => "erased",
            Self::Stopped => "access-stopped",
        }
    }
}

/// The end of a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Why.
    pub cause: Cause,
    /// When the order was taken up, or the time came: from here the time to the last byte is measured.
    pub decided_at: Instant,
}

/// What a permit and the registry share.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) identity: Identity,
    pub(super) explanation: Explanation,
    pub(super) ends: Option<Timestamp>,
    ended: CancellationToken,
    death: OnceLock<Death>,
}

impl Life {
    pub(super) fn grant(&self) -> Option<GrantId> {
        self.explanation.grant
    }

    fn end(&self, death: Death) {
        // The first cause stands.
        let _ = self.death.set(death);
        self.ended.cancel();
    }
}

/// Proof that access was allowed, and still is.
#[must_use = "a permit that is dropped permits nothing"]
#[derive(Debug)]
pub struct Permit {
    life: Arc<Life>,
    number: u64,
    registry: Arc<Registry>,
}

impl Permit {
    /// Why it was allowed: what the session's record must hold.
    pub fn explanation(&self) -> &Explanation {
        &self.life.explanation
    }

    /// Who was allowed.
    pub fn identity(&self) -> &Identity {
        &self.life.identity
    }

    /// The grant that it rests on; `None` when a rule allows it outright.
    pub fn grant(&self) -> Option<GrantId> {
        self.life.grant()
    }

    /// When it ends by itself: the grant's end, the token's, or that of a window of time, whichever is first.
    pub fn ends(&self) -> Option<Timestamp> {
        self.life.ends
    }

    /// Whether it still holds.
    pub fn is_alive(&self) -> bool {
        !self.life.ended.is_cancelled()
    }

    /// Resolves when it dies; at once if it is dead. Safe to drop and call again.
    pub async fn died(&self) -> Death {
        self.life.ended.cancelled().await;
        self.death()
    }

    /// Its death, if it has died.
    pub fn dead(&self) -> Option<Death> {
        (!self.is_alive()).then(|| self.death())
    }

    fn death(&self) -> Death {
        // `end` sets the death before it cancels; were that ever broken, the permit would still be dead.
        self.life
            .death
            .get()
            .copied()
            .unwrap_or_else(|| Death { cause: Cause::Stopped, decided_at: Instant::now() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.registry.table().remove(self.number);
    }
}

/// All live permits.
#[derive(Debug, Default)]
pub(super) struct Registry {
    table: Mutex<Table>,
    next: AtomicU64,
    /// Told when a permit is admitted that ends before all others: the reaper has to wake earlier.
    pub(super) admitted: Notify,
}

#[derive(Debug, Default)]
struct Table {
    lives: HashMap<u64, Weak<Life>>,
    /// Those that end by themselves, soonest first.
    ends: BTreeMap<(Timestamp, u64), Weak<Life>>,
}

impl Table {
    fn remove(&mut self, number: u64) {
        // A life that is gone has left `ends` with it, or leaves at the next look.
        if let Some(ends) =
            self.lives.remove(&number).and_then(|life| life.upgrade()).and_then(|life| life.ends)
        {
            self.ends.remove(&(ends, number));
        }
    }
}

impl Registry {
    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole at every point where a panic could happen; going on is safe, and needed to revoke.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a permit. Called with the state locked for reading.
    pub(super) fn admit(
        self: &Arc<Self>,
        identity: Identity,
        explanation: Explanation,
        ends: Option<Timestamp>,
    ) -> Permit {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let life = Arc::new(Life {
            identity,
            explanation,
            ends,
            ended: CancellationToken::new(),
            death: OnceLock::new(),
        });
        let mut table = self.table();
        table.lives.insert(number, Arc::downgrade(&life));
        if let Some(ends) = ends {
            table.ends.insert((ends, number), Arc::downgrade(&life));
            if table.ends.first_key_value().is_some_and(|((_, first), _)| *first == number) {
                self.admitted.notify_one();
            }
        }
        drop(table);
        Permit { life, number, registry: self.clone() }
    }

    /// Ends every permit for which `verdict` names a cause. Returns how many died.
    pub(super) fn sweep(&self, decided_at: Instant, verdict: impl Fn(&Life) -> Option<Cause>) -> usize {
        // Judged outside the lock: a sweep may ask casbin about each, and sessions come and go meanwhile.
        let lives: Vec<(u64, Arc<Life>)> =
            self.table().lives.iter().filter_map(|(number, life)| Some((*number, life.upgrade()?))).collect();
        self.end(lives, decided_at, verdict)
    }

    /// The same for those whose own end has come.
    pub(super) fn sweep_overdue(
        &self,
        now: Timestamp,
        decided_at: Instant,
        verdict: impl Fn(&Life) -> Option<Cause>,
    ) -> usize {
        let lives: Vec<(u64, Arc<Life>)> = {
            let mut table = self.table();
            let later = table.ends.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut table.ends, later);
            due.into_iter().filter_map(|((_, number), life)| Some((number, life.upgrade()?))).collect()
        };
        self.end(lives, decided_at, verdict)
    }

    fn end(
        &self,
        lives: Vec<(u64, Arc<Life>)>,
        decided_at: Instant,
        verdict: impl Fn(&Life) -> Option<Cause>,
    ) -> usize {
        let mut died = Vec::new();
        for (number, life) in lives {
            if let Some(cause) = verdict(&life) {
                life.end(Death { cause, decided_at });
                died.push(number);
            }
        }
        let mut table = self.table();
        for number in &died {
            table.remove(*number);
        }
        died.len()
    }

    /// When the next permit ends by itself.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.table().ends.first_key_value().map(|((ends, _), _)| *ends)
    }

    /// Number of live permits.
    pub(super) fn count(&self) -> usize {
        self.table().lives.len()
    }
}
