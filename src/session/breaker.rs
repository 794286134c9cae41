//! The circuit breaker of one publisher's app: after failures in a row it is left alone for a while, so that visitors hear at
//! once that it is away, and an app that struggles is not struck by everybody at the same time.
//!
//! A pure state machine of what happened and time. What counts as a failure is for the caller: that the app could not be reached,
//! broke off or did not begin to answer. An answer that says "500" is an answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest rest: an app that comes back is found within it.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// When a breaker opens, and for how long at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row; 0 is never.
    pub failures: u32,
    /// The first rest; each that follows on a failed try is twice as long, up to a minute.
    pub rest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everybody may; so many failed in a row.
    Closed(u32),
    /// Nobody may until then.
    Open { until: Instant, rest: Duration },
    /// One was let through at this time, to try.
    Trying { since: Instant, rest: Duration },
}

/// What somebody who was let through owes: how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// The app answered, whatever it said.
    Answered,
    /// It could not be reached, broke off or did not begin to answer.
    Failed,
}

/// A change that somebody should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It opened: the app is left alone.
    Opened,
    /// It closed: the app answers again.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    rules: BreakerRules,
    state: Mutex<State>,
}

impl Breaker {
    /// A closed one.
    pub fn new(rules: BreakerRules) -> Self {
        Self { rules, state: Mutex::new(State::Closed(0)) }
    }

    /// Whether a request may go to the app now; if not, after how long it may be tried again.
    pub fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        match *state {
            State::Closed(_) => Ok(()),
            State::Open { until, .. } if now < until => Err(until - now),
            State::Open { rest, .. } => {
                *state = State::Trying { since: now, rest };
                Ok(())
            }
            // Whoever tries may never tell: another may try after as long as a rest.
            State::Trying { since, rest } if now >= since + rest => {
                *state = State::Trying { since: now, rest };
                Ok(())
            }
            State::Trying { since, rest } => Err(since + rest - now),
        }
    }

    /// Hears how a request went that was let through.
    pub fn tell(&self, went: Went, now: Instant) -> Option<Turn> {
        let mut state = self.state();
        let (next, turn) = match (went, *state) {
            (Went::Answered, State::Closed(_)) => (State::Closed(0), None),
            (Went::Answered, _) => (State::Closed(0), Some(Turn::Closed)),
            (Went::Failed, State::Closed(failures)) => {
                let failures = failures.saturating_add(1);
                if self.rules.failures > 0 && failures >= self.rules.failures {
                    (State::Open { until: now + self.rules.rest, rest: self.rules.rest }, Some(Turn::Opened))
                } else {
                    (State::Closed(failures), None)
                }
            }
            // One that was under way when it opened.
            (Went::Failed, open @ State::Open { .. }) => (open, None),
            (Went::Failed, State::Trying { rest, .. }) => {
                let rest = (rest * 2).min(LONGEST_REST.max(self.rules.rest));
                (State::Open { until: now + rest, rest }, None)
            }
        };
        *state = next;
        turn
    }

    /// Whether one would be let through now, if anybody asked.
    pub fn would_admit(&self, now: Instant) -> bool {
        match *self.state() {
            State::Closed(_) => true,
            State::Open { until, .. } => now >= until,
            State::Trying { since, rest } => now >= since + rest,
        }
    }

    /// Whether the app is left alone.
    pub fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed(_))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: Duration = Duration::from_secs(10);

    fn breaker(failures: u32) -> (Breaker, Instant) {
        (Breaker::new(BreakerRules { failures, rest: REST }), Instant::now())
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_an_answer_starts_the_count_again() {
        let (breaker, now) = breaker(3);
        for went in [Went::Failed, Went::Failed, Went::Answered, Went::Failed, Went::Failed] {
            assert_eq!(breaker.tell(went, now), None);
        }
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(breaker.tell(Went::Failed, now), Some(Turn::Opened));
        assert_eq!(breaker.admit(now), Err(REST));
        assert!(breaker.is_open());
    }

    #[test]
    fn after_its_rest_one_may_try_and_the_others_wait_for_how_it_went() {
        let (breaker, now) = breaker(1);
        breaker.tell(Went::Failed, now);
        let later = now + REST;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), Err(REST), "one tries");
        assert_eq!(breaker.tell(Went::Answered, later), Some(Turn::Closed));
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn each_failed_try_makes_the_rest_longer_but_not_without_end() {
        let (breaker, mut now) = breaker(1);
        breaker.tell(Went::Failed, now);
        for seconds in [10, 20, 40, 60, 60] {
            assert_eq!(breaker.admit(now), Err(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(breaker.admit(now), Ok(()));
            assert_eq!(breaker.tell(Went::Failed, now), None);
        }
    }

    #[test]
    fn whoever_tries_and_never_tells_does_not_keep_it_open() {
        let (breaker, now) = breaker(1);
        breaker.tell(Went::Failed, now);
        assert_eq!(breaker.admit(now + REST), Ok(()));
        assert_eq!(breaker.admit(now + REST * 2), Ok(()));
    }

    #[test]
    fn one_that_is_switched_off_never_opens() {
        let (breaker, now) = breaker(0);
        for _ in 0..100 {
            assert_eq!(breaker.tell(Went::Failed, now), None);
        }
        assert_eq!(breaker.admit(now), Ok(()));
    }

    proptest! {
        #[test]
        fn whatever_happened_somebody_may_try_within_a_minute(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..100_u64), 0..60),
        ) {
            let (breaker, mut now) = breaker(2);
            for (answered, asks, seconds) in steps {
                now += Duration::from_secs(seconds);
                if asks {
                    let _may = breaker.admit(now);
                }
                breaker.tell(if answered { Went::Answered } else { Went::Failed }, now);
            }
            prop_assert_eq!(breaker.admit(now + LONGEST_REST), Ok(()));
        }
    }
}
