//! What happened on each day.

use std::collections::BTreeMap;

use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use sallyport_audit::{Kind, Outcome};

use super::{Book, End, Section, Seen, Sheet};
use crate::chart;

/// Days that are listed although nothing happened on them, so that a chart shows the gap.
const MOST_DAYS: usize = 1_100;

#[derive(Default, Clone, Copy)]
struct Day {
    success: u64,
    denied: u64,
    failure: u64,
    opened: u64,
}

pub(super) struct Activity {
    book: Book,
    zone: TimeZone,
    days: BTreeMap<Date, Day>,
}

impl Activity {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { book: Book::of(Kind::ALL), zone, days: BTreeMap::new() }
    }
}

impl Section for Activity {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        let day = self.days.entry(seen.record.time.to_zoned(self.zone.clone()).date()).or_default();
        match seen.record.result {
            Outcome::Success => day.success += 1,
            Outcome::Denied => day.denied += 1,
            Outcome::Failure => day.failure += 1,
        }
        day.opened += u64::from(seen.record.kind == Kind::SessionOpened && seen.done());
    }

    fn finish(mut self: Box<Self>, end: &End<'_>) -> Sheet {
        let mut day = end.period.from.to_zoned(end.zone.clone()).date();
        let last = end.period.to.to_zoned(end.zone.clone());
        for _ in 0..MOST_DAYS {
            let midnight = day.to_zoned(end.zone.clone());
            if midnight.is_ok_and(|midnight| midnight >= last) {
                break;
            }
            self.days.entry(day).or_default();
            let Ok(next) = day.checked_add(1.day()) else { break };
            day = next;
        }
        let quiet = self.days.values().filter(|day| day.success + day.denied + day.failure == 0).count();
        let names: Vec<String> = self.days.keys().map(ToString::to_string).collect();
        let series = [
            ("denied", self.days.values().map(|day| day.denied).collect()),
            ("failure", self.days.values().map(|day| day.failure).collect()),
        ];
        let opened = [("sessions opened", self.days.values().map(|day| day.opened).collect::<Vec<_>>())];
        let chart = [
            chart::bars("Sessions opened, per day", &names, &opened),
            chart::bars("Refusals and failures, per day", &names, &series),
        ];
        let rows: Vec<_> = self
            .days
            .iter()
            .map(|(date, day)| {
                vec![
                    date.to_string().into(),
                    day.success.into(),
                    day.denied.into(),
                    day.failure.into(),
                    day.opened.into(),
                ]
            })
            .collect();
        let mut sheet = self
            .book
            .sheet(
                "activity",
                "Activity by day",
                "Every record of the period, by the day of the report's time zone.",
            )
            .figure("days without a record", quiet)
            .rows(&["day", "success", "denied", "failure", "sessions opened"], rows);
        let drawn: String = chart.into_iter().flatten().collect();
        sheet.chart = (!drawn.is_empty()).then_some(drawn);
        sheet
    }
}
