//! The hours in which people usually ask for leave, as the operator names them. They decide nothing: an approver is told of a request from
//! outside of them.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::access::policy::window::{WEEKDAYS, time_of_day};

/// Days, and hours of each, in a time zone: `mon-fri 06:00-20:00 Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Monday first.
    days: [bool; 7],
    from: Time,
    /// Not included; if it isn't later than `from`, over midnight.
    until: Time,
    zone: TimeZone,
    zone_name: String,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is not days, hours and a time zone such as mon-fri 06:00-20:00 UTC");
        let mut words = text.split_whitespace();
        let (Some(days), Some(hours), Some(zone_name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(shape());
        };
        let (from, until) = hours.split_once('-').ok_or_else(shape)?;
        let (from, until) = (time(from)?, time(until)?);
        if from == until {
            return Err(format!("`{hours}` begins when it ends: name a later end"));
        }
        let zone = TimeZone::get(zone_name)
            .map_err(|_| format!("`{zone_name}` is no time zone; give a name such as Europe/Berlin"))?;
        Ok(Self { days: read_days(days)?, from, until, zone, zone_name: zone_name.to_owned() })
    }
}

fn time(text: &str) -> Result<Time, String> {
    time_of_day(text).ok_or_else(|| format!("`{text}` is not a time of day such as 06:00"))
}

/// Names and ranges of days, separated by commas.
fn read_days(text: &str) -> Result<[bool; 7], String> {
    let place = |word: &str| {
        let found = WEEKDAYS.iter().position(|(name, _)| *name == word);
        found.ok_or_else(|| format!("`{word}` is not one of mon, tue, wed, thu, fri, sat, sun"))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (place(first)?, place(last)?);
        // A range may lead over Sunday.
        let length = (last + 7 - first) % 7;
        for day in first..=first + length {
            if let Some(on) = days.get_mut(day % 7) {
                *on = true;
            }
        }
    }
    Ok(days)
}

impl Hours {
    /// What an approver is told of a request of this moment; nothing if it is a usual one.
    pub(super) fn hint(&self, at: Timestamp) -> Option<String> {
        let local = at.to_zoned(self.zone.clone());
        let (day, time) = (local.weekday(), local.time());
        let on = |day: Weekday| self.days.iter().zip(WEEKDAYS).any(|(on, (_, name))| *on && name == day);
        let usual = if self.from < self.until {
            on(day) && time >= self.from && time < self.until
        } else {
            // Over midnight: the small hours belong to the day before.
            (on(day) && time >= self.from) || (on(day.previous()) && time < self.until)
        };
        let when = local.strftime("%a %H:%M");
        (!usual).then(|| format!("asked out of hours: {when} ({})", self.zone_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(hours: &str, at: &str) -> Option<String> {
        hours.parse::<Hours>().unwrap().hint(at.parse().unwrap())
    }

    #[test]
    fn hours_are_those_of_the_days_and_the_zone_that_are_named() {
        let usual = "mon-fri 06:00-20:00 UTC";
        // 2026-11-27 is a Friday.
        assert_eq!(hint(usual, "2026-11-27T06:00:00Z"), None);
        assert_eq!(hint(usual, "2026-11-27T19:59:59Z"), None);
        let night = hint(usual, "2026-11-27T20:00:00Z");
        assert_eq!(night.as_deref(), Some("asked out of hours: Fri 20:00 (UTC)"));
        assert!(hint(usual, "2026-11-28T12:00:00Z").unwrap().contains("Sat 12:00"));
        let berlin = "mon-fri 06:00-20:00 Europe/Berlin";
        assert_eq!(hint(berlin, "2026-11-27T05:00:00Z"), None, "there it is six");
        assert!(hint(berlin, "2026-11-27T19:00:00Z").unwrap().contains("Fri 20:00 (Europe/Berlin)"));
    }

    #[test]
    fn hours_may_lead_over_midnight_and_days_over_sunday() {
        let shift = "fri-mon,wed 22:00-06:00 UTC";
        for usual in
            ["2026-11-27T22:00:00Z", "2026-11-28T05:59:00Z", "2026-11-30T23:00:00Z", "2026-12-03T01:00:00Z"]
        {
            assert_eq!(hint(shift, usual), None, "{usual}");
        }
        for unusual in ["2026-11-27T21:59:00Z", "2026-11-27T01:00:00Z", "2026-12-01T23:00:00Z"] {
            assert!(hint(shift, unusual).is_some(), "{unusual}");
        }
    }

    #[test]
    fn what_are_no_hours_is_refused_with_what_would_be() {
        for (text, part) in [
            ("", "mon-fri"),
            ("mon-fri 06:00-20:00", "time zone"),
            ("mon-fri 06:00 UTC", "time zone"),
            ("mon-fri 6:00-20:00 UTC", "time of day"),
            ("mon-fri 06:00-24:00 UTC", "time of day"),
            ("mon-fri 06:00-06:00 UTC", "later end"),
            ("monday 06:00-20:00 UTC", "sat, sun"),
            ("mon- 06:00-20:00 UTC", "sat, sun"),
            ("mon-fri 06:00-20:00 Mars/Base", "Europe/Berlin"),
            ("mon-fri 06:00-20:00 UTC or so", "mon-fri"),
        ] {
            let fault = text.parse::<Hours>().unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }
}
