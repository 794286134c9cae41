//! A pack for each month that is over, without anybody having to remember it.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use sallyport_audit::{Ledger, Seq};
use sallyport_compliance::{Builtin, Period};
use tokio_util::sync::CancellationToken;

use super::{Desk, Wanted};
use crate::clock;
use crate::console::ReportDesk as _;

/// How often it is looked whether a month is over. What failed is tried again then.
const EVERY: Duration = Duration::from_hours(1);

/// Makes what is missing of the month before this one, until `stop`.
pub(in crate::gateway) async fn at_the_end_of_each(
    desk: Arc<Desk>,
    frameworks: Vec<Builtin>,
    zone: (TimeZone, String),
    stop: CancellationToken,
) {
    loop {
        make_what_is_missing(&desk, &frameworks, &zone, clock::now()).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Makes the packs of the last month that is over at `now`, but for those that are there or that somebody deleted.
pub(super) async fn make_what_is_missing(
    desk: &Arc<Desk>,
    frameworks: &[Builtin],
    (zone, zone_name): &(TimeZone, String),
    now: Timestamp,
) {
    for framework in frameworks {
        let Some((label, period)) = month_before(now, zone) else { continue };
        let name = format!("{framework}-{label}");
        if desk.file(&name).is_some() || desk.is_deleted(&name) || begins_after(&desk.ledger, period.to).await
        {
            continue;
        }
        let (zone, zone_name) = (zone.clone(), zone_name.clone());
        let wanted = Wanted { name, framework: *framework, period, zone, zone_name, scheduled: true };
        // While somebody else's is made, this one waits for the next look.
        if desk.enter(&wanted).is_ok() {
            Arc::clone(desk).make(wanted).await;
        }
    }
}

/// Whether the ledger knows nothing of a time before `end`.
async fn begins_after(ledger: &Ledger, end: Timestamp) -> bool {
    let reader = ledger.reader();
    let first = tokio::task::spawn_blocking(move || reader.get(Seq::new(reader.pruned()))).await;
    !matches!(first, Ok(Ok(Some(entry))) if entry.record.time < end)
}

/// The last month that is over, as `2026-10`, and its first and last instant.
fn month_before(now: Timestamp, zone: &TimeZone) -> Option<(String, Period)> {
    let this = now.to_zoned(zone.clone()).date().first_of_month();
    let last: Date = this.checked_sub(1.month()).ok()?;
    let instant = |date: Date| date.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let period = Period { from: instant(last)?, to: instant(this)? };
    Some((format!("{:04}-{:02}", last.year(), last.month()), period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_that_is_over_is_that_of_the_time_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let now: Timestamp = "2026-10-31T23:30:00Z".parse().unwrap();
        let (label, period) = month_before(now, &berlin).unwrap();
        assert_eq!(label, "2026-10", "it is November there");
        let expected = Period {
            from: "2026-09-30T22:00:00Z".parse().unwrap(),
            to: "2026-10-31T23:00:00Z".parse().unwrap(),
        };
        assert_eq!(period, expected);
        assert_eq!(month_before(now, &TimeZone::UTC).unwrap().0, "2026-09");
        let january = "2026-01-15T00:00:00Z".parse().unwrap();
        assert_eq!(month_before(january, &TimeZone::UTC).unwrap().0, "2025-12");
    }
}
