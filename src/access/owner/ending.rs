//! Ending the permits that lose their ground: by a fact, by time, by another policy.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use jiff::Timestamp;

use super::{Closing, Owner, Standing};
use crate::access::clock::Clock;
use crate::access::fact::Fact;
use crate::access::identity::{BegunWith, Identity, Proof};
use crate::access::issuer::{KeyPrint, Outside};
use crate::access::judge::{Judgement, judge_on};
use crate::access::lock::LockTarget;
use crate::access::names::Subject;
use crate::access::permit::{Cause, Life, Registry};
use crate::access::policy::Policy;
use crate::access::state::Share;
use crate::access::token::AuthError;

impl Owner {
    /// Whoever was locked out may have shared: what rests on that ends with them.
    pub(super) fn end_what_rests_on_others(&self, decided_at: Instant) {
        let Ok(standing) = self.standing.read() else { return };
        let now = self.clock.now();
        self.registry.sweep(decided_at, |life| {
            let shared = !life.explanation.shares.is_empty();
            if shared { still_holds(life, &standing, now).map(|_| Cause::ShareEnded) } else { None }
        });
    }

    /// Ends the permits that rest on what somebody gave who is locked by a fact that isn't folded in yet.
    pub(super) fn end_what_they_gave(&self, fact: &Fact, decided_at: Instant) -> usize {
        let Fact::Locked { target, tenant, .. } = fact else { return 0 };
        let Ok(standing) = self.standing.read() else { return 0 };
        let locked = |giver: &Subject| match target {
            LockTarget::Person(person) => person == giver,
            LockTarget::Role(role) => standing.policy.roles_of(giver, tenant).contains(role),
            LockTarget::Device(_) | LockTarget::Tunnel(_) | LockTarget::Tenant(_) => false,
        };
        self.registry.sweep(decided_at, |life| {
            let shares = life.explanation.shares.iter().filter_map(|id| standing.state.share(*id));
            let mut givers =
                shares.filter(|share| share.tenant == *tenant).filter_map(|share| share.by.as_ref());
            givers.any(locked).then_some(Cause::ShareEnded)
        })
    }

    /// Ends the permits that a fact takes the ground from.
    pub(super) fn end_permits(&self, fact: &Fact, decided_at: Instant) -> usize {
        let sweep = |verdict: &dyn Fn(&Life) -> Option<Cause>| self.registry.sweep(decided_at, verdict);
        match fact {
            Fact::GrantRevoked { grant, .. } => {
                sweep(&|life| (life.grant() == Some(*grant)).then_some(Cause::GrantRevoked))
            }
            Fact::GrantExpired { grant, .. } => {
                sweep(&|life| (life.grant() == Some(*grant)).then_some(Cause::GrantExpired))
            }
            Fact::ShareEnded { share, .. } => {
                sweep(&|life| life.explanation.shares.contains(share).then_some(Cause::ShareEnded))
            }
            Fact::TunnelDeleted { tenant, object, .. } => sweep(&|life| {
                let of_it = life.explanation.object == *object && life.identity.tenant == *tenant;
                of_it.then_some(Cause::TunnelDeleted)
            }),
            Fact::TokenRevoked { .. }
            | Fact::IssuerKeys { .. }
            | Fact::TokenKeyReplaced { .. }
            | Fact::DeviceRevoked { .. }
            | Fact::CertificateRevoked { .. }
            | Fact::Locked { .. } => {
                let Ok(policy) = self.standing.read().map(|standing| standing.policy.clone()) else {
                    return 0;
                };
                sweep(&|life| {
                    let who = &life.identity;
                    // What is used can be locked too.
                    let used = match fact {
                        Fact::Locked { target: LockTarget::Tunnel(tunnel), tenant, .. } => {
                            life.explanation.object == *tunnel && who.tenant == *tenant
                        }
                        Fact::Locked { target: LockTarget::Tenant(_), tenant, .. } => who.tenant == *tenant,
                        _ => false,
                    };
                    if used { Some(Cause::Locked) } else { takes_standing(fact, who, &policy) }
                })
            }
            _ => 0,
        }
    }
}

/// Whether a fact takes something from somebody: that doesn't wait for the ledger.
pub(super) fn revokes(fact: &Fact) -> bool {
    match fact {
        Fact::GrantRevoked { .. }
        | Fact::TokenRevoked { .. }
        | Fact::DeviceRevoked { .. }
        | Fact::CertificateRevoked { .. }
        | Fact::ShareEnded { .. }
        | Fact::TunnelDeleted { .. }
        | Fact::Locked { .. } => true,
        // A key that is merely new takes nothing.
        Fact::IssuerKeys { withdrawn, .. } => !withdrawn.is_empty(),
        Fact::TokenKeyReplaced { tokens_kept, .. } => !tokens_kept,
        _ => false,
    }
}

/// Why somebody doesn't stand any more by a revocation that the ledger hasn't taken yet.
pub(in crate::access) fn fallen(standing: &Standing, who: &Identity) -> Option<AuthError> {
    standing.unrecorded.iter().find_map(|fact| {
        let cause = takes_standing(fact, who, &standing.policy)?;
        Some(match (cause, fact) {
            (_, Fact::Locked { target, .. }) => AuthError::Locked { target: target.clone() },
            (Cause::KeyWithdrawn, _) => AuthError::KeyWithdrawn,
            (Cause::DeviceRevoked, _) => AuthError::DeviceRevoked,
            (Cause::CertificateRevoked, _) => AuthError::CertificateRevoked,
            _ => AuthError::Revoked,
        })
    })
}

/// What a fact takes from whoever is proved like this, whatever they use; `None` if nothing.
fn takes_standing(fact: &Fact, who: &Identity, policy: &Policy) -> Option<Cause> {
    match fact {
        Fact::TokenRevoked { token, .. } => {
            let shown = match who.proof {
                Proof::Token(id) | Proof::Join(id) => Some(id),
                Proof::Outside(outside) => Some(outside.token),
                _ => None,
            };
            let ground = who.begun_with.map(|with| match with {
                BegunWith::Token(id) | BegunWith::Outside(Outside { token: id, .. }) => id,
            });
            [shown, ground].contains(&Some(*token)).then_some(Cause::TokenRevoked)
        }
        Fact::IssuerKeys { withdrawn, .. } => {
            let gone = |key: Option<KeyPrint>| key.is_some_and(|key| withdrawn.contains(&key));
            let shown = matches!(who.proof, Proof::Outside(shown) if gone(shown.key));
            let ground = matches!(who.begun_with, Some(BegunWith::Outside(shown)) if gone(shown.key));
            (shown || ground).then_some(Cause::KeyWithdrawn)
        }
        Fact::TokenKeyReplaced { tokens_kept: false, .. } => {
            matches!(who.proof, Proof::Token(_) | Proof::Join(_)).then_some(Cause::TokenRevoked)
        }
        Fact::DeviceRevoked { device, .. } => {
            (who.proof == Proof::Device(*device)).then_some(Cause::DeviceRevoked)
        }
        Fact::CertificateRevoked { certificate, tenant, .. } => {
            let meant = who.proof == Proof::Certificate(*certificate) && who.tenant == *tenant;
            meant.then_some(Cause::CertificateRevoked)
        }
        Fact::Locked { target, tenant, .. } => {
            let meant = match target {
                LockTarget::Person(person) => *person == who.subject,
                LockTarget::Role(role) => policy.roles_with(&who.subject, &who.roles, tenant).contains(role),
                LockTarget::Device(device) => who.proof == Proof::Device(*device),
                LockTarget::Tunnel(_) | LockTarget::Tenant(_) => false,
            };
            (who.tenant == *tenant && meant).then_some(Cause::Locked)
        }
        _ => None,
    }
}

/// Ends permits when their time is over. A task of its own, so that nothing which the owner waits for delays it.
pub(in crate::access) async fn reap(
    standing: Arc<RwLock<Standing>>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
) {
    let _closing = Closing { standing: standing.clone(), registry: registry.clone() };
    loop {
        let now = clock.now();
        registry.sweep_overdue(now, Instant::now(), |life| {
            // With the state gone nothing may live either; only the word for it can't be told.
            let ends = |standing: &Standing| {
                life.grant().and_then(|id| standing.state.grant(id)).map(|grant| grant.ends)
            };
            let by_grant =
                standing.read().ok().and_then(|standing| ends(&standing)).is_some_and(|ends| ends <= now);
            let by_share = standing.read().is_ok_and(|standing| {
                let over = |share: &Share| share.until.is_some_and(|until| until <= now);
                life.explanation.shares.iter().filter_map(|id| standing.state.share(*id)).any(over)
            });
            let by_proof = life.identity.expires.is_some_and(|end| end <= now);
            Some(match (by_grant, by_share, by_proof) {
                (true, _, _) => Cause::GrantExpired,
                (false, true, _) => Cause::ShareEnded,
                (false, false, true) => expiry_of(&life.identity),
                (false, false, false) => Cause::WindowClosed,
            })
        });
        match registry.next_end() {
            Some(when) => tokio::select! {
                () = clock.sleep_until(when) => {}
                () = registry.admitted.notified() => {}
            },
            None => registry.admitted.notified().await,
        }
    }
}

/// What is over when an identity's time is.
fn expiry_of(who: &Identity) -> Cause {
    match who.proof {
        Proof::Device(_) => Cause::DeviceExpired,
        Proof::Certificate(_) => Cause::CertificateExpired,
        Proof::Nothing | Proof::Token(_) | Proof::Outside(_) | Proof::Join(_) => Cause::TokenExpired,
    }
}

/// Judges a live permit again; `None` when it holds.
pub(super) fn still_holds(life: &Life, standing: &Standing, now: Timestamp) -> Option<Cause> {
    let asked = &life.explanation;
    let holds = life.grant();
    match judge_on(&standing.state, &standing.policy, &life.identity, &asked.object, asked.action, holds, now)
    {
        // Its end was fixed when it began. Where time would end it sooner now, another session begins with that end.
        Judgement::Allowed { ends: Some(ends), .. } if life.ends.is_none_or(|end| ends < end) => {
            Some(Cause::PolicyChanged)
        }
        // A permit rests on its own grant: another one that would do opens another session.
        Judgement::Allowed { explanation, .. } => {
            let holds = explanation.grant.is_none() || explanation.grant == life.grant();
            (!holds).then_some(Cause::PolicyChanged)
        }
        Judgement::NeedsApproval { .. } | Judgement::Denied { .. } => {
            let over = life.identity.expires.is_some_and(|end| now >= end);
            Some(if over { expiry_of(&life.identity) } else { Cause::PolicyChanged })
        }
    }
}
