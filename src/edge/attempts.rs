//! Failed authentications by address: after too many, the address is locked out for a time, whatever it shows then. Guessing
//! a token is hopeless anyway (it is a signature); the bound keeps guessers from filling the ledger and from wearing out the
//! verifier.
//!
//! A publisher's handshake that came to nothing proves nothing against its address: the network may be broken. But each may have
//! cost two signatures and a record, so those are counted too, apart, and lock out of handshakes alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::page::Refusal;
use crate::clock;
use crate::session::subscriber;

/// Failures that an address may have at once; one more is forgiven every two seconds.
const BURST: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// Addresses remembered before those that have cooled down are forgotten.
const MANY: usize = 10_000;

/// Counts failures by address.
pub struct Attempts {
    failed: Tally,
    fruitless: Tally,
}

struct Tally {
    failures: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    barred: Mutex<Barred>,
    lockout: Duration,
}

struct Barred {
    until: HashMap<IpAddr, Instant>,
    /// Addresses beyond which those that have cooled down are forgotten.
    sweep_at: usize,
}

impl Attempts {
    /// Locks an address that fails too often out for so long.
    pub fn new(lockout: Duration) -> Self {
        Self { failed: Tally::new(lockout), fruitless: Tally::new(lockout) }
    }

    /// Refuses an address that has failed too often.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let Some(wait) = self.failed.wait(address) else { return Ok(()) };
        Err(refusal("too many failed attempts to sign in came from your address", "check your token", wait))
    }

    /// Refuses also one of which too many handshakes came to nothing.
    pub(super) fn check_handshake(&self, address: IpAddr) -> Result<(), Refusal> {
        self.check(address)?;
        let Some(wait) = self.fruitless.wait(address) else { return Ok(()) };
        let detail = "too many handshakes that came to nothing came from your address";
        Err(refusal(detail, "check the network between the two ends", wait))
    }

    /// Notes a failure. `true` if the address is locked out from now on: its record says so, once.
    pub fn failed(&self, address: IpAddr) -> bool {
        self.failed.count(address)
    }

    /// Notes a handshake that came to nothing, through nobody's provable fault. `true` if the address is locked out of handshakes.
    pub(super) fn fruitless(&self, address: IpAddr) -> bool {
        self.fruitless.count(address)
    }
}

fn refusal(detail: &str, advice: &str, wait: u64) -> Refusal {
    let hint = format!("wait {wait} seconds, {advice}, then try again");
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", detail, hint);
    refusal.retry_after = wait;
    refusal
}

impl Tally {
    fn new(lockout: Duration) -> Self {
        let barred = Mutex::new(Barred { until: HashMap::new(), sweep_at: MANY });
        Self { failures: RateLimiter::hashmap(Quota::per_minute(BURST)), barred, lockout }
    }

    /// How many seconds an address that is locked out has to wait.
    fn wait(&self, address: IpAddr) -> Option<u64> {
        let now = clock::monotonic();
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        let until = barred.until.get(&subscriber(address)).filter(|until| now < **until)?;
        // Rounded up: whoever comes then is let try.
        Some(until.duration_since(now).as_secs().saturating_add(1))
    }

    fn count(&self, address: IpAddr) -> bool {
        let (now, address) = (clock::monotonic(), subscriber(address));
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        let Barred { until, sweep_at } = &mut *barred;
        let mut begins = false;
        // What was on its way when the lockout began doesn't lengthen it.
        if self.failures.check_key(&address).is_err() && until.get(&address).is_none_or(|until| *until <= now)
        {
            until.insert(address, now + self.lockout);
            begins = true;
        }
        if until.len().max(self.failures.len()) > *sweep_at {
            until.retain(|_, until| now < *until);
            self.failures.retain_recent();
            // Not for each failure again while so many are warm: the way through all of them is long.
            *sweep_at = MANY.max(2 * until.len().max(self.failures.len()));
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_must_wait_and_others_need_not() {
        let attempts = Attempts::new(Duration::from_mins(1));
        let (guesser, other) = (IpAddr::from([203, 0, 113, 7]), IpAddr::from([203, 0, 113, 8]));
        for _ in 0..BURST.get() {
            assert!(!attempts.failed(guesser));
            assert!(attempts.check(guesser).is_ok());
        }
        assert!(attempts.failed(guesser), "this one bars it");
        assert!(!attempts.failed(guesser), "and is told of once");
        let refused = attempts.check(guesser).unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!((59..=61).contains(&refused.retry_after), "as long as was set: {}", refused.retry_after);
        assert!(attempts.check(other).is_ok());
    }

    #[test]
    fn a_lockout_ends_by_itself() {
        let attempts = Attempts::new(Duration::ZERO);
        let guesser = IpAddr::from([203, 0, 113, 7]);
        for _ in 0..=BURST.get() {
            attempts.failed(guesser);
        }
        assert!(attempts.check(guesser).is_ok());
        assert!(attempts.failed(guesser), "and another failure begins another one");
    }

    #[test]
    fn handshakes_that_came_to_nothing_lock_out_of_handshakes_alone() {
        let attempts = Attempts::new(Duration::from_mins(1));
        let office = IpAddr::from([203, 0, 113, 7]);
        for _ in 0..BURST.get() {
            assert!(!attempts.fruitless(office));
        }
        assert!(attempts.check_handshake(office).is_ok());
        assert!(attempts.fruitless(office), "this one bars it");
        assert_eq!(attempts.check_handshake(office).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        assert!(attempts.check(office).is_ok(), "its visitors are let in");

        let guesser = IpAddr::from([203, 0, 113, 8]);
        while !attempts.failed(guesser) {}
        assert!(attempts.check(guesser).is_err() && attempts.check_handshake(guesser).is_err());
    }

    #[test]
    fn while_very_many_addresses_fail_not_each_failure_walks_through_all_of_them() {
        let attempts = Attempts::new(Duration::from_mins(1));
        let addresses = (0..).map(|n: u32| IpAddr::from(n.to_be_bytes()));
        for address in addresses.take(MANY + 1) {
            attempts.failed(address);
        }
        // All of them are warm, so none was forgotten.
        let barred = attempts.failed.barred.lock().unwrap();
        assert_eq!(barred.sweep_at, 2 * (MANY + 1));
    }
}
