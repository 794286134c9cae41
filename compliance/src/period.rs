//! The time that a report is about.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// From the first instant up to, and not including, the second. UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// The first instant that belongs to it.
    pub from: Timestamp,
    /// The first instant that no longer does.
    pub to: Timestamp,
}

/// Why two texts are not a period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Not a date or time.
    #[error("{text:?} is neither a date (2026-01-31) nor a time (2026-01-31T12:00:00Z)")]
    Unreadable {
        /// What was given.
        text: String,
    },
    /// Nothing lies between the two.
    #[error("the period ends at {to}, which is not after its beginning at {from}")]
    Empty {
        /// Its beginning.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
}

impl Period {
    /// Reads two dates or times, dates in UTC. A date as `from` begins at its midnight, a date as `to` is included as a
    /// whole.
    pub fn parse(from: &str, to: &str) -> Result<Self, PeriodError> {
        Self::parse_in(from, to, &TimeZone::UTC)
    }

    /// The same with the days of a time zone.
    pub fn parse_in(from: &str, to: &str, zone: &TimeZone) -> Result<Self, PeriodError> {
        let from = instant(from, false, zone)?;
        let to = instant(to, true, zone)?;
        if to <= from {
            return Err(PeriodError::Empty { from, to });
        }
        Ok(Self { from, to })
    }

    /// Whether `time` lies in it.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }
}

fn instant(text: &str, whole_day: bool, zone: &TimeZone) -> Result<Timestamp, PeriodError> {
    let unreadable = || PeriodError::Unreadable { text: text.to_owned() };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // The civil date parser would read the date out of a longer text; here the text must be the date.
    let date: Date = text.parse().map_err(|_| unreadable())?;
    if date.to_string() != text {
        return Err(unreadable());
    }
    let date = if whole_day { date.checked_add(1.day()).map_err(|_| unreadable())? } else { date };
    date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_day_belongs_to_the_period_as_a_whole() {
        let period = Period::parse("2026-01-01", "2026-01-31").unwrap();
        assert!(period.contains("2026-01-31T23:59:59.999999999Z".parse().unwrap()));
        assert!(!period.contains("2026-02-01T00:00:00Z".parse().unwrap()));
        assert!(!period.contains("2025-12-31T23:59:59.999999999Z".parse().unwrap()));
    }

    #[test]
    fn a_time_is_taken_as_it_stands_whatever_its_offset() {
        let period = Period::parse("2026-01-01T01:00:00+01:00", "2026-01-01T12:00:00Z").unwrap();
        assert_eq!(period, Period::parse("2026-01-01", "2026-01-01T12:00:00Z").unwrap());
    }

    #[test]
    fn a_day_is_that_of_the_time_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let period = Period::parse_in("2026-03-29", "2026-03-29", &berlin).unwrap();
        let expected = Period::parse("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z").unwrap();
        assert_eq!(period, expected, "23 hours, because the clocks went forward");
    }

    #[test]
    fn nonsense_is_refused_with_what_was_given() {
        for text in ["", "January", "2026-02-30", "2026-01-01T00:00:00", "2026-01-01 x"] {
            let refused = Period::parse(text, "2026-01-31").unwrap_err();
            assert!(refused.to_string().contains(&format!("{text:?}")), "{refused}");
        }
        assert!(matches!(Period::parse("2026-02-01", "2026-01-01"), Err(PeriodError::Empty { .. })));
    }
}
