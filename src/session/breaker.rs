//! The circuit breaker of one publisher's app: after failures in a row it is left alone for a while, so that visitors hear at
//! once that it is away, and an app that struggles is not struck by everybody at the same time.
//!
//! A pure state machine of what happened and time. What counts as a failure is for the caller: that the app could not be reached,
//! broke off or did not begin to answer. An answer that says "500" is an answer.
//!
//! Promised: what happened is weighed by when it *began*, not by when it was heard of. An app that has just died may still
//! answer what it was asked before, and one that is back may still owe the failures of before: neither says how it is now. So
//! failures are in a row if nobody who began after them was answered, and a breaker that is open hears of nothing but its try.

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

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Everybody may. When those began that failed since the last who was answered: fewer than [`BreakerRules::failures`].
    Closed(Vec<Instant>),
    /// Nobody may until then.
    Open { until: Instant, rest: Duration },
    /// One was let through at this time, to try; another may be when the last one has taken as long as a rest.
    Trying { since: Instant, last: Instant, rest: Duration },
}

#[derive(Debug)]
struct Seen {
    state: State,
    /// When the last of those began who were answered.
    answered: Option<Instant>,
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
    /// It opened: the app is left alone for so long.
    Opened(Duration),
    /// Its rest is over: one may try.
    HalfOpened,
    /// It closed: the app answers again.
    Closed,
}

impl Turn {
    /// The word in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::HalfOpened => "half-open",
            Self::Closed => "closed",
        }
    }
}

/// Somebody who was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// When. To be given back with how it went.
    pub began: Instant,
    /// What changed with that.
    pub turn: Option<Turn>,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    rules: BreakerRules,
    seen: Mutex<Seen>,
}

impl Breaker {
    /// A closed one.
    pub fn new(rules: BreakerRules) -> Self {
        let seen = Seen { state: State::Closed(Vec::new()), answered: None };
        Self { rules, seen: Mutex::new(seen) }
    }

    /// Whether a request may go to the app now; if not, after how long it may be tried again.
    pub fn admit(&self, now: Instant) -> Result<Admitted, Duration> {
        let mut seen = self.seen();
        let (trying, turn) = match seen.state {
            State::Closed(_) => return Ok(Admitted { began: now, turn: None }),
            State::Open { until, .. } if now < until => return Err(until - now),
            State::Open { rest, .. } => {
                (State::Trying { since: now, last: now, rest }, Some(Turn::HalfOpened))
            }
            // Whoever tries may never tell, or take longer than a rest: another may try, and the first one's word counts as well.
            State::Trying { since, last, rest } if now >= last + rest => {
                (State::Trying { since, last: now, rest }, None)
            }
            State::Trying { last, rest, .. } => return Err(last + rest - now),
        };
        seen.state = trying;
        Ok(Admitted { began: now, turn })
    }

    /// Hears at `now` how a request went that was let through when it `began`.
    pub fn tell(&self, went: Went, began: Instant, now: Instant) -> Option<Turn> {
        let mut seen = self.seen();
        let seen = &mut *seen;
        let (next, turn) = match (went, &mut seen.state) {
            (Went::Answered, State::Closed(failed)) => {
                failed.retain(|other| *other > began);
                seen.answered = seen.answered.max(Some(began));
                return None;
            }
            (Went::Failed, State::Closed(failed)) => {
                // Somebody who came later was answered.
                if self.rules.failures == 0 || seen.answered.is_some_and(|answered| began < answered) {
                    return None;
                }
                failed.push(began);
                if failed.len() < self.rules.failures as usize {
                    return None;
                }
                let rest = self.rules.rest;
                (State::Open { until: now + rest, rest }, Turn::Opened(rest))
            }
            // One that was under way when it opened.
            (_, State::Open { .. }) => return None,
            (_, State::Trying { since, .. }) if began < *since => return None,
            (Went::Answered, State::Trying { .. }) => {
                seen.answered = seen.answered.max(Some(began));
                (State::Closed(Vec::new()), Turn::Closed)
            }
            (Went::Failed, State::Trying { rest, .. }) => {
                let rest = (*rest * 2).min(LONGEST_REST.max(self.rules.rest));
                (State::Open { until: now + rest, rest }, Turn::Opened(rest))
            }
        };
        seen.state = next;
        Some(turn)
    }

    /// After how long one would be let through; `None` is now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let free = match self.seen().state {
            State::Closed(_) => return None,
            State::Open { until, .. } => until,
            State::Trying { last, rest, .. } => last + rest,
        };
        free.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Whether the app is left alone.
    pub fn is_open(&self) -> bool {
        !matches!(self.seen().state, State::Closed(_))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // No change is left half done by a panic: none is possible between its steps.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: u32) -> (Breaker, Instant) {
        (Breaker::new(BreakerRules { failures, rest: REST }), Instant::now())
    }

    /// Goes in at `now`, and tells at once how it went.
    fn ask(breaker: &Breaker, went: Went, now: Instant) -> Option<Turn> {
        let admitted = breaker.admit(now).unwrap();
        breaker.tell(went, admitted.began, now)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_an_answer_starts_the_count_again() {
        let (breaker, now) = breaker(3);
        for went in [Went::Failed, Went::Failed, Went::Answered, Went::Failed, Went::Failed] {
            assert_eq!(ask(&breaker, went, now), None);
        }
        assert!(breaker.admit(now).is_ok());
        assert_eq!(ask(&breaker, Went::Failed, now), Some(Turn::Opened(REST)));
        assert_eq!(breaker.admit(now), Err(REST));
        assert!(breaker.is_open());
    }

    #[test]
    fn an_answer_to_what_was_asked_before_the_failures_began_does_not_keep_it_closed() {
        let (breaker, now) = breaker(3);
        // The app dies, and still ends what it had begun.
        for second in 1..3 {
            assert_eq!(ask(&breaker, Went::Failed, now + SECOND * second), None);
            assert_eq!(breaker.tell(Went::Answered, now, now + SECOND * second), None);
        }
        assert_eq!(ask(&breaker, Went::Failed, now + SECOND * 3), Some(Turn::Opened(REST)));
        assert_eq!(breaker.tell(Went::Answered, now, now + SECOND * 4), None, "nor does it close it");
        assert!(breaker.is_open());
    }

    #[test]
    fn a_failure_of_one_who_came_before_somebody_who_was_answered_does_not_count() {
        let (breaker, now) = breaker(2);
        assert_eq!(ask(&breaker, Went::Answered, now + SECOND * 5), None);
        for second in 0..4 {
            assert_eq!(breaker.tell(Went::Failed, now + SECOND * second, now + SECOND * 6), None);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn after_its_rest_one_may_try_and_the_others_wait_for_how_it_went() {
        let (breaker, now) = breaker(1);
        ask(&breaker, Went::Failed, now);
        let later = now + REST;
        let tries = breaker.admit(later).unwrap();
        assert_eq!(tries.turn, Some(Turn::HalfOpened));
        assert_eq!(breaker.admit(later), Err(REST), "one tries");
        assert_eq!(breaker.tell(Went::Answered, tries.began, later), Some(Turn::Closed));
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn while_one_tries_nothing_else_that_comes_to_an_end_counts() {
        let (breaker, now) = breaker(1);
        ask(&breaker, Went::Failed, now);
        let tries = breaker.admit(now + REST).unwrap();
        assert_eq!(breaker.tell(Went::Answered, now, now + REST), None);
        assert_eq!(breaker.tell(Went::Failed, now, now + REST), None);
        assert_eq!(breaker.admit(now + REST), Err(REST));
        assert_eq!(breaker.tell(Went::Failed, tries.began, now + REST), Some(Turn::Opened(REST * 2)));
    }

    #[test]
    fn each_failed_try_makes_the_rest_longer_but_not_without_end() {
        let (breaker, mut now) = breaker(1);
        ask(&breaker, Went::Failed, now);
        for (seconds, next) in [(10, 20), (20, 40), (40, 60), (60, 60), (60, 60)] {
            assert_eq!(breaker.admit(now), Err(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(ask(&breaker, Went::Failed, now), Some(Turn::Opened(Duration::from_secs(next))));
        }
    }

    #[test]
    fn whoever_tries_and_never_tells_does_not_keep_it_open() {
        let (breaker, now) = breaker(1);
        ask(&breaker, Went::Failed, now);
        assert!(breaker.admit(now + REST).is_ok());
        assert!(breaker.admit(now + REST * 2).is_ok());
    }

    #[test]
    fn whoever_tries_for_longer_than_a_rest_is_heard_as_well_as_those_who_try_after_them() {
        let (breaker, now) = breaker(1);
        ask(&breaker, Went::Failed, now);
        let first = breaker.admit(now + REST).unwrap();
        assert!(breaker.admit(now + REST * 2).is_ok());
        let heard = now + REST * 2 + SECOND;
        assert_eq!(
            breaker.tell(Went::Answered, first.began, heard),
            Some(Turn::Closed),
            "it is slow, and well"
        );
        let (breaker, now) = self::breaker(1);
        ask(&breaker, Went::Failed, now);
        let first = breaker.admit(now + REST).unwrap();
        assert!(breaker.admit(now + REST * 2).is_ok());
        assert_eq!(breaker.tell(Went::Failed, first.began, heard), Some(Turn::Opened(REST * 2)), "it hangs");
    }

    #[test]
    fn one_that_is_switched_off_never_opens() {
        let (breaker, now) = breaker(0);
        for _ in 0..100 {
            assert_eq!(ask(&breaker, Went::Failed, now), None);
        }
        assert!(breaker.admit(now).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_happened_somebody_may_try_within_a_minute(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..100_u64, 0..100_u64), 0..60),
        ) {
            let (breaker, start) = breaker(2);
            let mut now = start;
            for (answered, asks, seconds, ago) in steps {
                now += Duration::from_secs(seconds);
                if asks {
                    let _may = breaker.admit(now);
                }
                let began = now.checked_sub(Duration::from_secs(ago)).unwrap_or(start);
                breaker.tell(if answered { Went::Answered } else { Went::Failed }, began, now);
            }
            prop_assert!(breaker.admit(now + LONGEST_REST).is_ok());
        }

        #[test]
        fn failures_in_a_row_are_counted_by_when_they_began_whatever_the_order_in_which_they_are_heard_of(
            heard in prop::collection::vec(any::<bool>(), 1..20).prop_flat_map(|went| {
                let numbered: Vec<(u64, bool)> = (0..).zip(went).collect();
                Just(numbered).prop_shuffle()
            }),
        ) {
            let (breaker, start) = breaker(1000);
            for (second, answered) in &heard {
                let went = if *answered { Went::Answered } else { Went::Failed };
                breaker.tell(went, start + SECOND * u32::try_from(*second).unwrap(), start + SECOND * 100);
            }
            let last = heard.iter().filter(|(_, answered)| *answered).map(|(second, _)| *second).max();
            let in_a_row = heard.iter().filter(|(second, answered)| !answered && Some(*second) > last).count();
            let state = breaker.seen().state.clone();
            prop_assert!(matches!(state, State::Closed(failed) if failed.len() == in_a_row));
        }
    }
}
