//! Failed sign-ins and what else was turned away, by day and reason.

use std::collections::BTreeMap;

use jiff::{civil::Date, tz::TimeZone};
use sallyport_audit::{Kind, Outcome};

use super::{Book, End, Section, Seen, Sheet, count};
use crate::chart;

const KINDS: &[Kind] = &[
    Kind::AuthFailed,
    Kind::ConnectionRefused,
    Kind::HandshakeRefused,
    Kind::TunnelRefused,
    Kind::SessionRefused,
    Kind::AccessDecided,
];

pub(super) struct Refusals {
    book: Book,
    zone: TimeZone,
    table: BTreeMap<(Date, &'static str, String), u64>,
    days: BTreeMap<Date, u64>,
    failed: u64,
}

impl Refusals {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { book: Book::of(KINDS), zone, table: BTreeMap::new(), days: BTreeMap::new(), failed: 0 }
    }
}

impl Section for Refusals {
    fn take(&mut self, seen: &Seen<'_>) {
        if seen.record.result == Outcome::Success || !self.book.takes(seen) {
            return;
        }
        let day = seen.record.time.to_zoned(self.zone.clone()).date();
        let reason = seen.text("reason").or_else(|| seen.text("decision")).unwrap_or("unnamed");
        // A peer's own words can be in a reason: what is common stands before them.
        let reason = reason.split(':').next().unwrap_or(reason).trim();
        let short: String = reason.chars().take(80).collect();
        count(&mut self.table, (day, seen.record.kind.as_str(), short));
        if seen.record.kind == Kind::AuthFailed {
            self.failed += 1;
            count(&mut self.days, day);
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, table, days, failed, .. } = *self;
        let all: u64 = table.values().sum();
        let names: Vec<String> = days.keys().map(ToString::to_string).collect();
        let drawn = chart::bars(
            "Credentials refused, per day on which there were some",
            &names,
            &[("credentials refused", days.values().copied().collect())],
        );
        let rows = table.into_iter().map(|((day, kind, reason), count)| {
            vec![day.to_string().into(), kind.into(), reason.into(), count.into()]
        });
        let mut sheet = book
            .sheet(
                "refusals",
                "Failed sign-ins, and what else was refused",
                "Credentials, connections, handshakes and decisions that ended in a refusal, by day. Where it came from \
                 stands in each record as a commitment. The query is narrowed to records whose result is denied or failure.",
            )
            .figure("credentials refused", failed)
            .figure("refusals of all kinds", all)
            .rows(&["day", "kind", "reason", "records"], rows.collect::<Vec<_>>());
        sheet.query.push_str("; result is denied or failure");
        sheet.chart = drawn;
        sheet
    }
}
