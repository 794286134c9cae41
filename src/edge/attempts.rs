//! Failed authentications by address: after too many, the address must wait. Guessing a token is hopeless anyway (it is a
//! signature); the bound keeps guessers from filling the ledger and from wearing out the verifier.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::http::StatusCode;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::page::Refusal;
use super::seats::person;
use crate::clock;

/// Failures that an address may have at once; one more is forgiven every two seconds.
const BURST: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// Addresses remembered before those that have cooled down are forgotten.
const MANY: usize = 10_000;

/// Counts failures by address.
pub struct Attempts {
    failures: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    barred: Mutex<HashMap<IpAddr, Instant>>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failures: RateLimiter::hashmap(Quota::per_minute(BURST)), barred: Mutex::default() }
    }
}

impl Attempts {
    /// Refuses an address that has failed too often.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let address = person(address);
        let barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        match barred.get(&address) {
            Some(until) if clock::monotonic() < *until => Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "too many failed attempts to sign in came from your address",
                "wait a minute, check your token, then try again",
            )),
            _ => Ok(()),
        }
    }

    /// Notes a failure. `true` if the address must wait from now on: its record says so, once for a burst.
    pub fn failed(&self, address: IpAddr) -> bool {
        let (now, address) = (clock::monotonic(), person(address));
        let mut barred = self.barred.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begins = false;
        if let Err(not_until) = self.failures.check_key(&address) {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            begins = barred.insert(address, now + wait).is_none_or(|until| until <= now);
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
        let attempts = Attempts::default();
        let (guesser, other) = (IpAddr::from([203, 0, 113, 7]), IpAddr::from([203, 0, 113, 8]));
        for _ in 0..BURST.get() {
            assert!(!attempts.failed(guesser));
            assert!(attempts.check(guesser).is_ok());
        }
        assert!(attempts.failed(guesser), "this one bars it");
        assert!(!attempts.failed(guesser), "and is told of once");
        assert_eq!(attempts.check(guesser).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        assert!(attempts.check(other).is_ok());
    }
}
