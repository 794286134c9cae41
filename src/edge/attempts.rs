//! Failed authentications by address: after too many, the address is locked out for a time, whatever it shows then. Guessing
//! a token is hopeless anyway (it is a signature); the bound keeps guessers from filling the ledger and from wearing out the
//! verifier.

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
    failures: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    barred: Mutex<HashMap<IpAddr, Instant>>,
    lockout: Duration,
}

impl Attempts {
    /// Locks an address that fails too often out for so long.
    pub fn new(lockout: Duration) -> Self {
        Self { failures: RateLimiter::hashmap(Quota::per_minute(BURST)), barred: Mutex::default(), lockout }
    }

    /// Refuses an address that has failed too often.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let (now, address) = (clock::monotonic(), subscriber(address));
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = barred.get(&address).filter(|until| now < **until) else { return Ok(()) };
        // Rounded up: whoever comes then is let try.
        let wait = until.duration_since(now).as_secs().saturating_add(1);
        let mut refusal = Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-attempts",
            "too many failed attempts to sign in came from your address",
            format!("wait {wait} seconds, check your token, then try again"),
        );
        refusal.retry_after = wait;
        Err(refusal)
    }

    /// Notes a failure. `true` if the address is locked out from now on: its record says so, once.
    pub fn failed(&self, address: IpAddr) -> bool {
        let (now, address) = (clock::monotonic(), subscriber(address));
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begins = false;
        // What was on its way when the lockout began doesn't lengthen it.
        if self.failures.check_key(&address).is_err()
            && barred.get(&address).is_none_or(|until| *until <= now)
        {
            barred.insert(address, now + self.lockout);
            begins = true;
        }
        if barred.len() > MANY || self.failures.len() > MANY {
            barred.retain(|_, until| now < *until);
            self.failures.retain_recent();
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
}
