//! `auditctl stats`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use sallyport_audit::Outcome;
use sallyport_audit::index::statistics::{Amount, Group, Statistics, statistics};
use sallyport_audit::index::{Directories, Query};
use sallyport_audit::journal::scan::ScanEnd;
use serde_json::json;

use crate::Failure;
use crate::filter::Filter;
use crate::index::{self, tell};
use crate::kills;
use crate::log::{finish, search_failure};
use crate::output::{count, grouped, ledger, plain};

#[derive(Subcommand)]
enum Of {
    /// How long it took from the decision to end a session until its last byte, by cause.
    Kills(kills::Arguments),
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    of: Option<Of>,
    /// The ledger's directory.
    #[arg(required = true)]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Read and count every record, and believe no index.
    #[arg(long)]
    exact: bool,
    /// Count by day, too.
    #[arg(long)]
    days: bool,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    index: index::Place,
}

/// How many there are, by kind and result, and by day.
#[derive(Default)]
struct Counts {
    kinds: BTreeMap<String, [u64; RESULTS.len()]>,
    days: BTreeMap<i64, [u64; RESULTS.len()]>,
    records: u64,
    bytes: u64,
    sealed_bytes: u64,
    from_index: u64,
    sessions: u64,
    refusals: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

const RESULTS: [Outcome; 3] = [Outcome::Success, Outcome::Denied, Outcome::Failure];

impl Counts {
    fn take(&mut self, group: &Group, amount: &Amount) {
        let add = |row: &mut [u64; RESULTS.len()]| {
            for (result, cell) in RESULTS.iter().zip(row) {
                *cell += if result.as_str() == group.result { amount.records } else { 0 };
            }
        };
        add(self.kinds.entry(group.kind.clone()).or_default());
        add(self.days.entry(group.day).or_default());
        self.records += amount.records;
        self.bytes += amount.bytes;
        self.sealed_bytes += amount.sealed_bytes;
        if group.kind == "session.opened" {
            self.sessions += amount.records;
        }
        if group.result == Outcome::Denied.as_str() {
            self.refusals += amount.records;
        }
        self.first = Some(self.first.map_or(amount.first, |first| first.min(amount.first)));
        self.last = Some(self.last.map_or(amount.last, |last| last.max(amount.last)));
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Some(directory) = &arguments.ledger else {
        return match &arguments.of {
            Some(Of::Kills(arguments)) => kills::run(arguments),
            None => Err(Failure::usage("no ledger is named", "name the ledger's directory")),
        };
    };
    let files = ledger(directory)?;
    let query = Query::new(arguments.filter.checked()?);
    let indexes = if arguments.exact { Directories::none() } else { arguments.index.ready_to_count(&files) };
    let counted = statistics(&files, &indexes, &query).map_err(|error| search_failure(&files, &error))?;
    let Statistics { summary, from_index, searched, .. } = counted;
    let mut counts = Counts { from_index, ..Counts::default() };
    for (group, amount) in &summary {
        counts.take(group, amount);
    }
    let mut out = io::stdout().lock();
    let printed =
        if arguments.json { print_json(&mut out, &counts) } else { print(&mut out, &counts, arguments.days) };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    tell(&searched.faults);
    if counts.from_index > 0 {
        eprintln!(
            "note: {} counted by the index, which is not verified; --exact reads every record",
            count(counts.from_index, "record was", "records were")
        );
    }
    finish(directory, &searched.end.unwrap_or(ScanEnd::Complete))
}

fn day(number: i64) -> String {
    let days = jiff::Span::new().try_days(number);
    let date = days.ok().and_then(|days| Date::constant(1970, 1, 1).checked_add(days).ok());
    date.map_or_else(|| number.to_string(), |date| date.to_string())
}

fn print_json(out: &mut impl Write, counts: &Counts) -> io::Result<()> {
    let kinds: BTreeMap<_, BTreeMap<_, _>> = counts
        .kinds
        .iter()
        .map(|(kind, row)| (kind, RESULTS.iter().map(|result| result.as_str()).zip(*row).collect()))
        .collect();
    let days: BTreeMap<_, BTreeMap<_, _>> = counts
        .days
        .iter()
        .map(|(number, row)| (day(*number), RESULTS.iter().map(|result| result.as_str()).zip(*row).collect()))
        .collect();
    let value = json!({
        "records": counts.records,
        "bytes": counts.bytes,
        "sealed_bytes": counts.sealed_bytes,
        "first_time": counts.first,
        "last_time": counts.last,
        "sessions": counts.sessions,
        "refusals": counts.refusals,
        "counted_by_index": counts.from_index,
        "kinds": kinds,
        "days": days,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn print(out: &mut impl Write, counts: &Counts, days: bool) -> io::Result<()> {
    write!(
        out,
        "{}, {} bytes, with {} bytes of sealed personal values",
        count(counts.records, "record", "records"),
        grouped(counts.bytes),
        grouped(counts.sealed_bytes)
    )?;
    match (counts.first, counts.last) {
        (Some(first), Some(last)) => writeln!(out, ", from {first:.0} to {last:.0}\n")?,
        _ => return writeln!(out),
    }
    let mut table = |head: &str, rows: Vec<(String, [u64; RESULTS.len()])>| -> io::Result<()> {
        writeln!(out, "  {head:<20}  {:>12}  {:>12}  {:>12}", "success", "denied", "failure")?;
        for (name, row) in rows {
            let [success, denied, failure] = row.map(grouped);
            writeln!(out, "  {:<20}  {success:>12}  {denied:>12}  {failure:>12}", plain(&name))?;
        }
        Ok(())
    };
    table("kind", counts.kinds.iter().map(|(kind, row)| (kind.clone(), *row)).collect())?;
    if days {
        table("\n  day (UTC)", counts.days.iter().map(|(number, row)| (day(*number), *row)).collect())?;
    }
    let (sessions, refusals) = (counts.sessions, counts.refusals);
    writeln!(
        out,
        "\n{} opened, {}",
        count(sessions, "session", "sessions"),
        count(refusals, "refusal", "refusals")
    )
}
