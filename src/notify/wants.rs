//! What goes one way, and how much of it: events by their names, detections from some severity on, and never a flood of these.
//!
//! Whoever can make a rule find something can make it find it again and again. So of each rule so many detections are told in
//! an hour, and the rest stand in the ledger alone; a request that waits for somebody isn't held up by them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::detection::Grade;

use super::Event;

/// So many detections of one rule are told in an hour.
pub(super) const MOST_AN_HOUR: usize = 10;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What the operator lets go one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// The events.
    pub events: BTreeSet<Event>,
    /// Detections that are less grave don't go.
    pub detections_from: Grade,
}

/// What was found, as far as it matters to whether it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The rule's name.
    pub rule: String,
    /// How grave it is.
    pub grade: Grade,
}

impl Wants {
    /// Whether this goes.
    pub(super) fn take(&self, event: Event, detected: Option<&Detected>) -> bool {
        self.events.contains(&event) && detected.is_none_or(|found| found.grade >= self.detections_from)
    }
}

/// The detections that were told within the last hour, by rule.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, Lately>);

#[derive(Debug, Default)]
struct Lately {
    times: VecDeque<Timestamp>,
    /// Whether it was said that there are more than are told.
    said: bool,
}

/// What becomes of one detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is told.
    Tell,
    /// It isn't, and neither are those behind it: to be recorded once.
    Stop,
    /// It isn't.
    Silent,
}

impl Told {
    /// The next detection of a rule, whose record is of `time`.
    pub(super) fn next(&mut self, rule: &str, time: Timestamp) -> Next {
        let is_old = |told: Timestamp| time.duration_since(told) >= HOUR;
        self.0.retain(|_, lately| !lately.times.back().is_some_and(|told| is_old(*told)));
        let lately = self.0.entry(rule.to_owned()).or_default();
        while lately.times.front().is_some_and(|told| is_old(*told)) {
            lately.times.pop_front();
            lately.said = false;
        }
        if lately.times.len() < MOST_AN_HOUR {
            lately.times.push_back(time);
            return Next::Tell;
        }
        if std::mem::replace(&mut lately.said, true) { Next::Silent } else { Next::Stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn of_each_rule_so_many_are_told_in_an_hour_and_it_is_said_once_that_there_are_more() {
        let mut told = Told::default();
        for second in 0..10 {
            assert_eq!(told.next("a", at(second)), Next::Tell);
        }
        assert_eq!(told.next("a", at(20)), Next::Stop);
        assert_eq!(told.next("a", at(21)), Next::Silent);
        assert_eq!(told.next("b", at(21)), Next::Tell, "another rule");
        assert_eq!(told.next("a", at(3599)), Next::Silent);
        assert_eq!(told.next("a", at(3600)), Next::Tell, "the first is an hour old");
        assert_eq!(told.next("a", at(3600)), Next::Stop);
    }

    #[test]
    fn memory_holds_no_rule_that_has_been_quiet_for_an_hour() {
        let mut told = Told::default();
        for number in 0..1_000 {
            told.next(&format!("rule-{number}"), at(number * 60));
        }
        assert!(told.0.len() <= 60, "{}", told.0.len());
    }

    #[test]
    fn detections_that_are_less_grave_than_wanted_do_not_go_and_other_events_do() {
        let wants = Wants { events: Event::ALL.iter().copied().collect(), detections_from: Grade::High };
        let found = |grade| Detected { rule: "a".to_owned(), grade };
        assert!(wants.take(Event::Detection, Some(&found(Grade::High))));
        assert!(!wants.take(Event::Detection, Some(&found(Grade::Medium))));
        assert!(wants.take(Event::Request, None));
        let none = Wants { events: BTreeSet::from([Event::Request]), detections_from: Grade::Low };
        assert!(!none.take(Event::Detection, Some(&found(Grade::Critical))));
    }
}
