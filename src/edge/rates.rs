//! How many calls of the API, or requests to tunnels, a person and an address may make in a minute. What is beyond is refused before it costs anything, and one
//! record tells of each time that somebody goes too far, not one for each call.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use sallyport_audit::{Draft, Kind, Outcome};

use crate::session::subscriber;

/// Keys remembered before those that have cooled down are forgotten.
const MANY: usize = 10_000;

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// Counts calls by person and by address.
pub struct Rates {
    users: Option<Rate<String>>,
    addresses: Option<Rate<IpAddr>>,
}

/// What is left of a minute's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Calls in a minute.
    pub limit: u32,
    /// Calls that may follow at once.
    pub remaining: u32,
    /// Until all of them may be made again.
    pub reset: Duration,
    /// Until one more may be made; zero if one may.
    pub wait: Duration,
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl Left {
    /// Tells what is left of the count by `what`: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), and
    /// `Retry-After` (RFC 9110 section 10.2.3) where it is used up.
    pub fn write(&self, what: &str, headers: &mut HeaderMap) {
        let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let mut put = |name, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        put(POLICY, format!("\"{what}\";q={};w=60", self.limit));
        put(LIMIT, format!("\"{what}\";r={};t={}", self.remaining, seconds(self.reset)));
        if !self.wait.is_zero() {
            put(RETRY_AFTER, seconds(self.wait).max(1).to_string());
        }
    }

    /// The record of somebody who went beyond: one for a burst.
    pub fn record(&self, what: &str, object: String, source: SocketAddr, correlation: &str) -> Draft {
        Draft::new(Kind::ConnectionRefused, Outcome::Denied)
            .object(object)
            .source(source.to_string())
            .correlation(correlation)
            .detail("reason", "rate-limited")
            .detail("by", what)
            .detail("limit_per_minute", self.limit)
    }
}

/// One call, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Nobody counts.
    Free,
    /// It may be made.
    Within(Left),
    /// It may not; `first` since one could.
    Beyond {
        /// How long to wait.
        left: Left,
        /// Whether it is the first that was refused since one wasn't.
        first: bool,
    },
}

struct Rate<K: Hash + Eq + Clone> {
    per_minute: NonZeroU32,
    limiter: Limiter<K>,
    seen: Mutex<Seen<K>>,
}

struct Seen<K> {
    /// Who was told that they went too far.
    told: HashSet<K>,
    /// Keys beyond which those that have cooled down are forgotten.
    sweep_at: usize,
}

impl Rates {
    /// So many calls in a minute, each; `None` counts nothing.
    pub fn new(by_user: Option<NonZeroU32>, by_address: Option<NonZeroU32>) -> Self {
        Self { users: by_user.map(Rate::new), addresses: by_address.map(Rate::new) }
    }

    /// Counts a call of a person's.
    pub fn user(&self, subject: &str) -> Counted {
        self.users.as_ref().map_or(Counted::Free, |rate| rate.count(&subject.to_owned()))
    }

    /// Counts a call from an address.
    pub fn address(&self, address: IpAddr) -> Counted {
        self.addresses.as_ref().map_or(Counted::Free, |rate| rate.count(&subscriber(address)))
    }
}

impl<K: Hash + Eq + Clone> Rate<K> {
    fn new(per_minute: NonZeroU32) -> Self {
        let limiter = RateLimiter::hashmap(Quota::per_minute(per_minute));
        let seen = Seen { told: HashSet::new(), sweep_at: MANY };
        Self { per_minute, limiter: limiter.with_middleware(), seen: Mutex::new(seen) }
    }

    fn count(&self, key: &K) -> Counted {
        let limit = self.per_minute.get();
        let whole = Duration::from_mins(1);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { told, sweep_at } = &mut *seen;
        let counted = match self.limiter.check_key(key) {
            Ok(state) => {
                told.remove(key);
                let remaining = state.remaining_burst_capacity();
                let reset = whole.mul_f64(f64::from(limit.saturating_sub(remaining)) / f64::from(limit));
                Counted::Within(Left { limit, remaining, reset, wait: Duration::ZERO })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                let left = Left { limit, remaining: 0, reset: whole, wait };
                Counted::Beyond { left, first: told.insert(key.clone()) }
            }
        };
        if self.limiter.len() > *sweep_at {
            self.limiter.retain_recent();
            // Not for each call again while so many are warm: the way through all of them is long.
            *sweep_at = MANY.max(2 * self.limiter.len());
        }
        if told.len() > MANY {
            told.clear();
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_a_call_is_refused_and_told_of_once_and_others_are_not_touched() {
        let rates = Rates::new(NonZeroU32::new(3), NonZeroU32::new(1));
        for remaining in [2, 1, 0] {
            let Counted::Within(left) = rates.user("user:alice") else { panic!() };
            assert_eq!((left.limit, left.remaining), (3, remaining));
        }
        for expected in [true, false, false] {
            let Counted::Beyond { left, first } = rates.user("user:alice") else { panic!() };
            assert_eq!(first, expected);
            assert!(left.wait > Duration::ZERO && left.wait <= Duration::from_secs(20));
        }
        assert!(matches!(rates.user("user:bob"), Counted::Within(_)));
        let network: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(matches!(rates.address(network), Counted::Within(_)));
        let same: IpAddr = "2001:db8::2".parse().unwrap();
        assert!(
            matches!(rates.address(same), Counted::Beyond { .. }),
            "a subscriber's network is one address"
        );
        assert_eq!(Rates::new(None, None).user("user:alice"), Counted::Free);
    }
}
