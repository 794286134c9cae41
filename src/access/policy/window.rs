//! Windows of time: weekdays and hours in a time zone, and fixed beginnings and ends.
//!
//! Hours are those on the wall in the time zone named; days on which the clock is set are handled by `jiff`. The zones
//! come with the program, so the same policy means the same on every host.

use std::fmt;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Days ahead in which the next change is looked for: a week repeats itself, but for one whose hours the clock was set over.
const HORIZON_DAYS: i64 = 16;

/// A window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    zone: TimeZone,
    zone_name: String,
    /// Monday first.
    days: [bool; 7],
    hours: Option<Hours>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

/// From the first to before the second; if the second isn't later, over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hours {
    from: Time,
    /// `None`: the end of the day.
    until: Option<Time>,
}

/// The parts of a window as the file says them.
pub(super) struct RawWindow {
    pub(super) time_zone: Option<String>,
    pub(super) days: Option<Vec<String>>,
    pub(super) from: Option<String>,
    pub(super) until: Option<String>,
    pub(super) after: Option<String>,
    pub(super) before: Option<String>,
}

/// The days of the week as files name them, Monday first.
pub(crate) const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl RawWindow {
    /// The window, if the file says anything of time; faults are told.
    pub(super) fn read(self, note: &mut impl FnMut(String)) -> Option<Window> {
        let Self { time_zone, days, from, until, after, before } = self;
        let says_nothing = days.is_none() && from.is_none() && until.is_none();
        if says_nothing && time_zone.is_some() {
            note("time_zone: it means nothing without `days` or `from` and `until`".to_owned());
        }
        if says_nothing && after.is_none() && before.is_none() {
            return None;
        }
        let zone_name = time_zone.unwrap_or_else(|| "UTC".to_owned());
        let zone = TimeZone::get(&zone_name)
            .map_err(|_| {
                let shown: String = zone_name.chars().take(64).collect();
                note(format!(
                    "time_zone: {shown:?} isn't a zone of the time zone database, such as Europe/Vienna"
                ));
            })
            .unwrap_or(TimeZone::UTC);
        let hours = match (from, until) {
            (None, None) => None,
            (Some(from), Some(until)) => read_hours(&from, &until, note),
            _ => {
                note("`from` and `until` go together".to_owned());
                None
            }
        };
        let after = read_instant("after", after, note);
        let before = read_instant("before", before, note);
        if let (Some(after), Some(before)) = (after, before)
            && before <= after
        {
            note("`before` isn't later than `after`: it would never hold".to_owned());
        }
        Some(Window { zone, zone_name, days: read_days(days, note), hours, after, before })
    }
}

fn read_days(days: Option<Vec<String>>, note: &mut impl FnMut(String)) -> [bool; 7] {
    let Some(days) = days else { return [true; 7] };
    if days.is_empty() || days.len() > 7 {
        note("days: name 1 to 7 of mon, tue, wed, thu, fri, sat, sun".to_owned());
    }
    let mut set = [false; 7];
    for day in days.iter().take(7) {
        match set.iter_mut().zip(WEEKDAYS).find(|(_, (name, _))| name == day) {
            Some((on, _)) => *on = true,
            None => note(format!(
                "days: {:?} isn't one of mon, tue, wed, thu, fri, sat, sun",
                day.chars().take(20).collect::<String>()
            )),
        }
    }
    set
}

fn read_hours(from: &str, until: &str, note: &mut impl FnMut(String)) -> Option<Hours> {
    let mut time = |key: &str, text: &str| {
        let parsed = time_of_day(text);
        if parsed.is_none() {
            let shown: String = text.chars().take(20).collect();
            note(format!("{key}: {shown:?} isn't a time of day such as 08:00"));
        }
        parsed
    };
    let from_time = time("from", from)?;
    // The end of the day has a name of its own.
    let until_time = if until == "24:00" { None } else { Some(time("until", until)?) };
    if Some(from_time) == until_time {
        note("`from` and `until` are the same: leave both out for the whole day".to_owned());
    }
    Some(Hours { from: from_time, until: until_time })
}

/// A time of day as files name it: `08:00`.
pub(crate) fn time_of_day(text: &str) -> Option<Time> {
    let shape = text.len() == 5 && text.as_bytes().get(2) == Some(&b':');
    if shape { text.parse().ok() } else { None }
}

fn read_instant(key: &str, text: Option<String>, note: &mut impl FnMut(String)) -> Option<Timestamp> {
    let text = text?;
    let parsed = text.parse::<Timestamp>().ok();
    if parsed.is_none() {
        let shown: String = text.chars().take(40).collect();
        note(format!("{key}: {shown:?} isn't an instant such as 2026-12-01T00:00:00Z"));
    }
    parsed
}

impl Window {
    /// Whether the instant is in the window.
    pub(super) fn contains(&self, now: Timestamp) -> bool {
        if self.after.is_some_and(|after| now < after) || self.before.is_some_and(|before| now >= before) {
            return false;
        }
        let local = now.to_zoned(self.zone.clone());
        let (day, time) = (local.weekday(), local.time());
        let Some(hours) = self.hours else { return self.on(day) };
        match hours.until {
            None => self.on(day) && time >= hours.from,
            Some(until) if hours.from < until => self.on(day) && time >= hours.from && time < until,
            // Over midnight: the small hours belong to the day before.
            Some(until) => (self.on(day) && time >= hours.from) || (self.on(day.previous()) && time < until),
        }
    }

    /// The first instant after `now` at which the answer is another one.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let inside = self.contains(now);
        let mut instants: Vec<Timestamp> = self.after.into_iter().chain(self.before).collect();
        // A fixed beginning far ahead begins its own weeks.
        let begin = self.after.map_or(now, |after| after.max(now));
        let today = begin.to_zoned(self.zone.clone()).date();
        for day in -1..HORIZON_DAYS {
            let Ok(date) = today.checked_add(day.days()) else { continue };
            self.edges(date, &mut instants);
        }
        // Where the clock is set, hours on the wall jump or come again.
        instants.extend(self.zone.following(now).take(2).map(|change| change.timestamp()));
        instants.sort_unstable();
        instants.into_iter().find(|instant| *instant > now && self.contains(*instant) != inside)
    }

    /// Whether its fixed end has come.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.before.is_some_and(|before| now >= before)
    }

    fn edges(&self, date: Date, into: &mut Vec<Timestamp>) {
        let hours = self.hours.iter().flat_map(|hours| [Some(hours.from), hours.until]).flatten();
        for time in hours.chain([Time::midnight()]) {
            let at = self.zone.to_ambiguous_timestamp(DateTime::from_parts(date, time));
            into.extend(at.earlier().ok());
            into.extend(at.later().ok());
        }
    }

    fn on(&self, day: Weekday) -> bool {
        self.days.iter().zip(WEEKDAYS).any(|(on, (_, name))| *on && name == day)
    }

    /// Why the instant isn't in the window.
    pub(super) fn miss(&self, now: Timestamp) -> String {
        let local = now.to_zoned(self.zone.clone());
        format!("it is {} in {}, and it holds {self}", local.strftime("%a %Y-%m-%d %H:%M"), self.zone_name)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> =
            self.days.iter().zip(WEEKDAYS).filter(|(on, _)| **on).map(|(_, (name, _))| name).collect();
        f.write_str(&if days.len() == 7 { "every day".to_owned() } else { days.join(" ") })?;
        if let Some(hours) = self.hours {
            write!(f, " {} to ", hours.from.strftime("%H:%M"))?;
            match hours.until {
                Some(until) => write!(f, "{}", until.strftime("%H:%M"))?,
                None => f.write_str("24:00")?,
            }
        }
        if let Some(after) = self.after {
            write!(f, ", not before {after}")?;
        }
        if let Some(before) = self.before {
            write!(f, ", before {before}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw() -> RawWindow {
        RawWindow { time_zone: None, days: None, from: None, until: None, after: None, before: None }
    }

    fn window(zone: &str, days: &[&str], hours: Option<(&str, &str)>) -> Window {
        let raw = RawWindow {
            time_zone: Some(zone.to_owned()),
            days: (!days.is_empty()).then(|| days.iter().map(|day| (*day).to_owned()).collect()),
            from: hours.map(|(from, _)| from.to_owned()),
            until: hours.map(|(_, until)| until.to_owned()),
            ..raw()
        };
        raw.read(&mut |what| panic!("{what}")).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const WEEK: [&str; 5] = ["mon", "tue", "wed", "thu", "fri"];

    #[test]
    fn hours_are_those_on_the_wall_of_the_zone_named() {
        let vienna = window("Europe/Vienna", &WEEK, Some(("08:00", "18:00")));
        // Friday in winter (one hour ahead of UTC) and in summer (two).
        for (instant, inside) in [
            ("2026-11-27T06:59:59Z", false),
            ("2026-11-27T07:00:00Z", true),
            ("2026-11-27T16:59:59Z", true),
            ("2026-11-27T17:00:00Z", false),
            ("2026-07-03T06:00:00Z", true),
            ("2026-07-03T16:00:00Z", false),
            // Saturday.
            ("2026-11-28T10:00:00Z", false),
        ] {
            assert_eq!(vienna.contains(at(instant)), inside, "{instant}");
        }
        assert_eq!(vienna.next_change(at("2026-11-27T10:00:00Z")), Some(at("2026-11-27T17:00:00Z")));
        assert_eq!(vienna.next_change(at("2026-11-27T17:00:00Z")), Some(at("2026-11-30T07:00:00Z")));
        assert!(vienna.miss(at("2026-11-28T10:00:00Z")).contains("Sat 2026-11-28 11:00 in Europe/Vienna"));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = window("UTC", &["fri"], Some(("22:00", "06:00")));
        for (instant, inside) in [
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:59Z", true),
            ("2026-11-28T06:00:00Z", false),
            // The small hours of Friday are Thursday's night.
            ("2026-11-27T03:00:00Z", false),
        ] {
            assert_eq!(night.contains(at(instant)), inside, "{instant}");
        }
        assert_eq!(night.next_change(at("2026-11-27T23:00:00Z")), Some(at("2026-11-28T06:00:00Z")));
    }

    #[test]
    fn an_hour_that_comes_twice_is_in_the_window_twice() {
        // Vienna, 25 October 2026: at 03:00 the clock is set back to 02:00.
        let small_hours = window("Europe/Vienna", &[], Some(("01:00", "02:30")));
        assert_eq!(small_hours.next_change(at("2026-10-25T00:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(small_hours.next_change(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
        assert_eq!(small_hours.next_change(at("2026-10-25T01:00:00Z")), Some(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn a_window_that_the_clock_was_set_over_opens_a_week_later() {
        // Vienna, 29 March 2026: there is no time between 02:00 and 03:00.
        let maintenance = window("Europe/Vienna", &["sun"], Some(("02:00", "03:00")));
        for monday in ["2026-03-23T12:00:00Z", "2026-03-22T05:00:00Z"] {
            assert_eq!(maintenance.next_change(at(monday)), Some(at("2026-04-05T00:00:00Z")), "{monday}");
        }
    }

    #[test]
    fn a_fixed_beginning_and_end_hold_once() {
        let once = RawWindow {
            after: Some("2027-03-01T20:00:00Z".to_owned()),
            before: Some("2027-03-01T23:00:00Z".to_owned()),
            ..raw()
        };
        let once = once.read(&mut |what| panic!("{what}")).unwrap();
        assert!(!once.contains(at("2026-11-28T00:00:00Z")));
        assert_eq!(once.next_change(at("2026-11-28T00:00:00Z")), Some(at("2027-03-01T20:00:00Z")));
        assert_eq!(once.next_change(at("2027-03-01T20:00:00Z")), Some(at("2027-03-01T23:00:00Z")));
        assert_eq!(once.next_change(at("2027-03-01T23:00:00Z")), None);
    }

    #[test]
    fn a_window_that_could_surprise_is_refused() {
        let owned = |text: &str| Some(text.to_owned());
        for (bad, part) in [
            (
                RawWindow { time_zone: owned("Mars/Base"), days: Some(vec!["mon".into()]), ..raw() },
                "time_zone",
            ),
            (RawWindow { time_zone: owned("UTC"), ..raw() }, "means nothing"),
            (RawWindow { days: Some(vec!["monday".into()]), ..raw() }, "monday"),
            (RawWindow { days: Some(vec![]), ..raw() }, "days"),
            (RawWindow { from: owned("08:00"), ..raw() }, "go together"),
            (RawWindow { from: owned("8:00"), until: owned("18:00"), ..raw() }, "time of day"),
            (RawWindow { from: owned("08:00"), until: owned("08:00"), ..raw() }, "the same"),
            (RawWindow { from: owned("24:00"), until: owned("08:00"), ..raw() }, "time of day"),
            (RawWindow { after: owned("yesterday"), ..raw() }, "instant"),
            (
                RawWindow {
                    after: owned("2027-01-01T00:00:00Z"),
                    before: owned("2026-01-01T00:00:00Z"),
                    ..raw()
                },
                "never hold",
            ),
        ] {
            let mut told = Vec::new();
            let _ = bad.read(&mut |what| told.push(what));
            assert!(told.iter().any(|what| what.contains(part)), "{part}: {told:?}");
        }
    }

    proptest! {
        #[test]
        fn between_two_changes_the_answer_stays(
            from in 0i8..24, until in 0i8..24, days in prop::collection::vec(0usize..7, 1..4),
            zone in prop::sample::select(vec!["UTC", "Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe"]),
            start in 1_767_225_600i64..1_798_761_600, steps in prop::collection::vec(0.0f64..1.0, 1..8),
        ) {
            prop_assume!(from != until);
            let days: Vec<&str> = days.iter().map(|day| WEEKDAYS[*day].0).collect();
            let window = window(zone, &days, Some((&format!("{from:02}:00"), &format!("{until:02}:00"))));
            let now = Timestamp::from_second(start).unwrap();
            let next = window.next_change(now).unwrap();
            prop_assert!(window.contains(next) != window.contains(now));
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a place within a week")]
            for step in steps {
                let second = start + ((next.as_second() - start - 1).max(0) as f64 * step) as i64;
                let between = Timestamp::from_second(second).unwrap();
                prop_assert_eq!(window.contains(between), window.contains(now), "{}", between);
            }
        }
    }
}
