//! A pack for each month that is over, without anybody having to remember it.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use sallyport_audit::{Ledger, Seq};
use sallyport_compliance::{Builtin, Period};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Desk, Wanted};
use crate::clock;
use crate::console::ReportDesk as _;

/// How often it is looked whether a month is over. What failed is tried again then.
const EVERY: Duration = Duration::from_hours(1);

/// So many months back it is looked for what is missing: a gateway may have been away for as long as that.
const MONTHS: usize = 6;

/// Makes what is missing of the last months, until `stop`.
pub(in crate::gateway) async fn at_the_end_of_each(desk: Arc<Desk>, stop: CancellationToken) {
    loop {
        let of = Arc::clone(&desk);
        match tokio::task::spawn_blocking(move || of.schedule.frameworks()).await {
            Ok(Ok((frameworks, _))) => {
                make_what_is_missing(&desk, &frameworks, &desk.schedule.zone, clock::now()).await;
            }
            Ok(Err(why)) => warn!(%why, "of which months packs are to be made can't be told"),
            Err(error) => warn!(%error, "reading of which months packs are to be made was broken off"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = desk.schedule.changed.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Makes the packs of the last months that are over at `now`, the oldest first, but for those that are there, that somebody
/// deleted, or of which there is nothing.
pub(super) async fn make_what_is_missing(
    desk: &Arc<Desk>,
    frameworks: &[Builtin],
    (zone, zone_name): &(TimeZone, String),
    now: Timestamp,
) {
    let months = months_before(now, zone);
    // A plain list: an iterator of borrowed pairs would not be `Send` for every lifetime.
    let wanted: Vec<(Builtin, String, Period)> = frameworks
        .iter()
        .flat_map(|framework| {
            months.iter().map(move |(label, period)| (*framework, format!("{framework}-{label}"), *period))
        })
        .collect();
    for (framework, name, period) in wanted {
        if desk.file(&name).is_some()
            || desk.is_deleted(&name)
            || desk.nothing(&name).exists()
            || !reaches_into(&desk.ledger, period).await
        {
            continue;
        }
        let (zone, zone_name) = (zone.clone(), zone_name.clone());
        let wanted = Wanted { name, framework, period, zone, zone_name, scheduled: true };
        // While somebody else's is made, this one waits for the next look.
        if desk.enter(&wanted).is_ok() {
            Arc::clone(desk).make(wanted).await;
        }
    }
}

/// Whether the ledger knows of a time before the period's end, and none of the period was pruned: what is in the archive alone
/// cannot be packed here.
async fn reaches_into(ledger: &Ledger, period: Period) -> bool {
    let reader = ledger.reader();
    let first = tokio::task::spawn_blocking(move || {
        let pruned = reader.pruned();
        (pruned > 0, reader.get(Seq::new(pruned)))
    });
    match first.await {
        Ok((false, Ok(Some(first)))) => first.record.time < period.to,
        Ok((true, Ok(Some(first)))) => first.record.time < period.from,
        _ => false,
    }
}

/// The last months that are over, the oldest first: each as `2026-10`, with its first and last instant.
fn months_before(now: Timestamp, zone: &TimeZone) -> Vec<(String, Period)> {
    let instant = |date: Date| date.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let mut months = Vec::new();
    let mut next = now.to_zoned(zone.clone()).date().first_of_month();
    while let Ok(month) = next.checked_sub(1.month())
        && let Some((from, to)) = instant(month).zip(instant(next))
        && months.len() < MONTHS
    {
        months.push((format!("{:04}-{:02}", month.year(), month.month()), Period { from, to }));
        next = month;
    }
    months.reverse();
    months
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_that_is_over_is_that_of_the_time_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let now: Timestamp = "2026-10-31T23:30:00Z".parse().unwrap();
        let last = |now, zone: &TimeZone| months_before(now, zone).pop().unwrap();
        let (label, period) = last(now, &berlin);
        assert_eq!(label, "2026-10", "it is November there");
        let expected = Period {
            from: "2026-09-30T22:00:00Z".parse().unwrap(),
            to: "2026-10-31T23:00:00Z".parse().unwrap(),
        };
        assert_eq!(period, expected);
        assert_eq!(last(now, &TimeZone::UTC).0, "2026-09");
        let january = "2026-01-15T00:00:00Z".parse().unwrap();
        assert_eq!(last(january, &TimeZone::UTC).0, "2025-12");
    }

    #[test]
    fn it_is_looked_half_a_year_back_and_each_month_begins_where_the_one_before_it_ends() {
        let now = "2026-03-15T00:00:00Z".parse().unwrap();
        let months = months_before(now, &TimeZone::get("Europe/Berlin").unwrap());
        let labels: Vec<&str> = months.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["2025-09", "2025-10", "2025-11", "2025-12", "2026-01", "2026-02"]);
        assert!(months.windows(2).all(|pair| pair[0].1.to == pair[1].1.from));
    }
}
