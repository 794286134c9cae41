//! `auditctl stats`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use sallyport_audit::journal::scan::scan;
use sallyport_audit::{Outcome, Record};
use serde_json::json;

use crate::Failure;
use crate::filter::Filter;
use crate::log::finish;
use crate::output::{count, grouped, ledger};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// How many there are, by kind and result.
#[derive(Default)]
struct Counts {
    kinds: BTreeMap<&'static str, [u64; RESULTS.len()]>,
    records: u64,
    bytes: u64,
    sealed_bytes: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

const RESULTS: [Outcome; 3] = [Outcome::Success, Outcome::Denied, Outcome::Failure];

impl Counts {
    fn take(&mut self, record: &Record, bytes: usize, sealed: usize) {
        let row = self.kinds.entry(record.kind.as_str()).or_default();
        for (result, cell) in RESULTS.iter().zip(row) {
            *cell += u64::from(*result == record.result);
        }
        self.records += 1;
        self.bytes += bytes as u64;
        self.sealed_bytes += sealed as u64;
        self.first.get_or_insert(record.time);
        self.last = Some(record.time);
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let selection = arguments.filter.selection();
    let mut counts = Counts::default();
    let mut trouble = None;
    let end = scan(&files, selection.from, &mut |seq, bytes, sealed| {
        if selection.to.is_some_and(|to| seq > to) {
            return ControlFlow::Break(());
        }
        match Record::parse(bytes) {
            Ok(record) if selection.matches(&record) => counts.take(&record, bytes.len(), sealed.len()),
            Ok(_) => {}
            Err(error) => {
                trouble = Some(Failure::broken(format!("record {seq}: {error}"), error.hint()));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    let end = end.map_err(|error| Failure::unreadable(&files.journal(), &error))?;
    let mut out = io::stdout().lock();
    let printed = if arguments.json { print_json(&mut out, &counts) } else { print(&mut out, &counts) };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    trouble.map_or_else(|| finish(&arguments.ledger, &end), Err)
}

fn print_json(out: &mut impl Write, counts: &Counts) -> io::Result<()> {
    let kinds: BTreeMap<_, BTreeMap<_, _>> = counts
        .kinds
        .iter()
        .map(|(kind, row)| (*kind, RESULTS.iter().map(|result| result.as_str()).zip(*row).collect()))
        .collect();
    let value = json!({
        "records": counts.records,
        "bytes": counts.bytes,
        "sealed_bytes": counts.sealed_bytes,
        "first_time": counts.first,
        "last_time": counts.last,
        "kinds": kinds,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn print(out: &mut impl Write, counts: &Counts) -> io::Result<()> {
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
    writeln!(out, "  {:<20}  {:>12}  {:>12}  {:>12}", "kind", "success", "denied", "failure")?;
    for (kind, [success, denied, failure]) in &counts.kinds {
        let [success, denied, failure] = [success, denied, failure].map(|number| grouped(*number));
        writeln!(out, "  {kind:<20}  {success:>12}  {denied:>12}  {failure:>12}")?;
    }
    Ok(())
}
