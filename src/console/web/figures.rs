//! Latencies, errors and traffic from records of requests: pure, so that a figure on a page is one that a test can check.

use jiff::Timestamp;
use serde::Deserialize;

/// How many columns the charts have.
const COLUMNS: i64 = 60;

/// The record of one request, as far as figures need it.
#[derive(Deserialize)]
struct Answered {
    time: Timestamp,
    details: Details,
}

#[derive(Deserialize)]
struct Details {
    elapsed_us: u64,
    status: Option<u16>,
    #[serde(default)]
    whole: bool,
}

/// What is shown of them.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) requests: usize,
    /// There were more, which are older.
    pub(super) partial: bool,
    /// Within how many microseconds half, 95 and 99 of a hundred were answered.
    pub(super) quantiles_us: [Option<u64>; 3],
    pub(super) p50: String,
    pub(super) p95: String,
    pub(super) p99: String,
    /// Kinds of errors, and how many of each.
    pub(super) errors: Vec<(&'static str, usize)>,
    /// `[[upper bound in ms], [requests]]` as JSON.
    pub(super) histogram: String,
    /// `[[seconds since 1970], [requests], [errors]]` as JSON.
    pub(super) traffic: String,
}

/// The figures of the records of requests in the `minutes` before `now`; `partial` if there were more of them.
pub(super) fn of<'r>(
    records: impl Iterator<Item = &'r [u8]>,
    partial: bool,
    minutes: u32,
    now: Timestamp,
) -> Figures {
    let answered: Vec<Answered> = records.filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    let mut times: Vec<u64> = answered.iter().map(|one| one.details.elapsed_us).collect();
    times.sort_unstable();
    let count = |is: &dyn Fn(&Answered) -> bool| answered.iter().filter(|one| is(one)).count();
    let status = |low: u16, high: u16| {
        move |one: &Answered| one.details.status.is_some_and(|status| (low..high).contains(&status))
    };
    let broken = |one: &Answered| one.details.status.is_some_and(|status| status < 400) && !one.details.whole;
    let errors = [
        ("the app said no (4xx)", count(&status(400, 500))),
        ("the app failed (500)", count(&status(500, 502))),
        ("publisher or app away (502 to 504)", count(&status(502, 505))),
        ("the answer broke off", count(&broken)),
        ("the visitor left", count(&|one| one.details.status.is_none())),
    ];
    let quantiles_us = [50, 95, 99].map(|percent| quantile(&times, percent));
    let [p50, p95, p99] = quantiles_us.map(milliseconds);
    Figures {
        requests: answered.len(),
        partial,
        quantiles_us,
        p50,
        p95,
        p99,
        errors: errors.into_iter().filter(|(_, count)| *count > 0).collect(),
        histogram: histogram(&times),
        traffic: traffic(&answered, i64::from(minutes) * 60, now.as_second()),
    }
}

/// The smallest time within which so many of a hundred were answered (nearest rank).
fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with two digits")]
fn milliseconds(time: Option<u64>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{:.1} ms", time as f64 / 1_000.0))
}

/// How many took up to 1 ms, 2 ms, 4 ms, …
fn histogram(times: &[u64]) -> String {
    let mut bounds = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let (mut bound, mut below) = (1_000_u64, 0);
    let longest = times.last().copied().unwrap_or(0);
    loop {
        let upto = times.partition_point(|time| *time <= bound);
        bounds.push(bound / 1_000);
        counts.push(upto - below);
        below = upto;
        if bound >= longest || bounds.len() >= 24 {
            break;
        }
        bound *= 2;
    }
    serde_json::json!([bounds, counts]).to_string()
}

fn traffic(answered: &[Answered], span: i64, now: i64) -> String {
    let width = (span / COLUMNS).max(1);
    let first = now - width * COLUMNS;
    let times: Vec<i64> = (0..COLUMNS).map(|column| first + width * (column + 1)).collect();
    let (mut all, mut bad) = (vec![0_usize; times.len()], vec![0_usize; times.len()]);
    for one in answered {
        // The sixty columns are whole seconds wide and may begin later than the span: what is older stands in the first one.
        let column = (one.time.as_second() - first).div_euclid(width).clamp(0, COLUMNS - 1);
        let column = usize::try_from(column).unwrap_or(0);
        let failed = one.details.status.is_none_or(|status| status >= 400);
        if let (Some(all), Some(bad)) = (all.get_mut(column), bad.get_mut(column)) {
            *all += 1;
            *bad += usize::from(failed);
        }
    }
    serde_json::json!([times, all, bad]).to_string()
}

/// A number of bytes as people read it.
#[expect(clippy::cast_precision_loss, reason = "a figure for people, with two digits")]
pub(super) fn size_text(bytes: u64) -> String {
    scaled(bytes as f64, "B")
}

/// A figure with the unit that suits it.
pub(super) fn scaled(figure: f64, unit: &str) -> String {
    let steps = [("G", 1e9), ("M", 1e6), ("k", 1e3)];
    match steps.iter().find(|(_, size)| figure >= *size) {
        Some((prefix, size)) => format!("{:.1} {prefix}{unit}", figure / size),
        None => format!("{figure:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: i64, elapsed_us: u64, status: Option<u16>, whole: bool) -> Vec<u8> {
        let time = Timestamp::from_second(second).unwrap().to_string();
        let details = serde_json::json!({ "elapsed_us": elapsed_us, "status": status, "whole": whole });
        serde_json::json!({ "time": time, "details": details }).to_string().into_bytes()
    }

    #[test]
    fn quantiles_errors_and_traffic_are_those_of_the_records() {
        let now = 1_800_000_000;
        let mut records: Vec<Vec<u8>> =
            (1..=100).map(|n| record(now - n, n.unsigned_abs() * 1_000, Some(200), true)).collect();
        records.push(record(now - 1, 1_000_000, Some(503), true));
        records.push(record(now - 1, 1_000, None, false));
        records.push(record(now - 1, 1_000, Some(200), false));
        let figures = of(records.iter().map(Vec::as_slice), false, 60, Timestamp::from_second(now).unwrap());
        assert_eq!(figures.requests, 103);
        assert_eq!((figures.p50.as_str(), figures.p99.as_str()), ("50.0 ms", "100.0 ms"));
        assert_eq!(
            figures.errors,
            [("publisher or app away (502 to 504)", 1), ("the answer broke off", 1), ("the visitor left", 1)]
        );
        let [_, all, bad]: [Vec<i64>; 3] = serde_json::from_str(&figures.traffic).unwrap();
        assert_eq!((all.iter().sum::<i64>(), bad.iter().sum::<i64>()), (103, 2));
        let [bounds, counts]: [Vec<u64>; 2] = serde_json::from_str(&figures.histogram).unwrap();
        assert_eq!(counts.iter().sum::<u64>(), 103);
        assert_eq!((bounds[0], counts[0]), (1, 3));
    }

    #[test]
    fn what_is_older_than_the_first_column_stands_in_it_and_what_is_newer_than_the_last_in_that() {
        let now = 1_800_000_000;
        // A minute more than an hour ago, now, and a second later by another clock.
        let records = [now - 3_661, now, now + 1].map(|second| record(second, 1_000, Some(200), true));
        let figures = of(records.iter().map(Vec::as_slice), false, 60, Timestamp::from_second(now).unwrap());
        let [_, all, _]: [Vec<i64>; 3] = serde_json::from_str(&figures.traffic).unwrap();
        assert_eq!((all.first(), all.last(), all.iter().sum::<i64>()), (Some(&1), Some(&2), 3), "{all:?}");
    }

    #[test]
    fn no_request_at_all_is_no_fault() {
        let figures = of(std::iter::empty(), false, 60, Timestamp::UNIX_EPOCH);
        assert_eq!((figures.requests, figures.p50.as_str()), (0, "–"));
        assert_eq!(figures.histogram, "[[1],[0]]");
    }
}
