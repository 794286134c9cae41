//! `auditctl stats kills`: how long it took from the decision to end a session until its last byte.
//!
//! Each session that was ended by a decision has both in its closing record: the cause, and the time that the gateway
//! measured. What the gateway ended for another reason (idle, stopping) or a peer closed, has none and isn't counted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::index::search::{Order, search};
use sallyport_audit::index::{Directories, Query};
use sallyport_audit::journal::scan::ScanEnd;
use sallyport_audit::selection::{Selection, beginning, end};
use sallyport_audit::{Kind, Outcome};
use serde_json::{Value, json};

use crate::Failure;
use crate::index::tell;
use crate::log::{finish, search_failure};
use crate::output::{count, grouped, ledger, plain};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    /// Only sessions that were closed from this day (2026-01-31) or instant (2026-01-31T12:00:00Z) on. UTC.
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    from_time: Option<jiff::Timestamp>,
    /// Only sessions that were closed up to this day, included, or before this instant. UTC.
    #[arg(long, value_name = "TIME", value_parser = end)]
    to_time: Option<jiff::Timestamp>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Times in microseconds, and how many sessions weren't let go of.
#[derive(Default)]
struct Times {
    all: Vec<u64>,
    held_on: u64,
}

impl Times {
    fn add(&mut self, micros: u64, result: Outcome) {
        self.all.push(micros);
        self.held_on += u64::from(result != Outcome::Success);
    }

    /// The nearest rank: the least time within which this share of the sessions ended.
    fn share(&self, per_mille: usize) -> u64 {
        let rank = (self.all.len() * per_mille).div_ceil(1_000).max(1);
        self.all.get(rank - 1).copied().unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "sessions": self.all.len(),
            "p50_us": self.share(500),
            "p99_us": self.share(990),
            "max_us": self.share(1_000),
            "held_on": self.held_on,
        })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let selection = Selection {
        kinds: vec![Kind::SessionClosed],
        from_time: arguments.from_time,
        to_time: arguments.to_time,
        ..Selection::default()
    };
    let (mut causes, mut all) = (BTreeMap::<String, Times>::new(), Times::default());
    // Every record is read: the index knows nothing of causes.
    let none = Directories::none();
    let searched = search(&files, &none, &Query::new(selection), Order::OldestFirst, None, &mut |hit| {
        let details = &hit.record.details;
        let cause = details.get("cause").and_then(Value::as_str);
        let micros = details.get("last_byte_after_us").and_then(Value::as_u64);
        if let (Some(cause), Some(micros)) = (cause, micros) {
            causes.entry(cause.to_owned()).or_default().add(micros, hit.record.result);
            all.add(micros, hit.record.result);
        }
        ControlFlow::Continue(())
    });
    let searched = searched.map_err(|error| search_failure(&files, &error))?;
    for times in causes.values_mut().chain([&mut all]) {
        times.all.sort_unstable();
    }
    let mut out = io::stdout().lock();
    let printed =
        if arguments.json { print_json(&mut out, &causes, &all) } else { print(&mut out, &causes, &all) };
    printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    tell(&searched.faults);
    finish(&arguments.ledger, &searched.end.unwrap_or(ScanEnd::Complete))
}

fn print_json(out: &mut impl Write, causes: &BTreeMap<String, Times>, all: &Times) -> io::Result<()> {
    let causes: BTreeMap<&str, Value> =
        causes.iter().map(|(cause, times)| (cause.as_str(), times.json())).collect();
    writeln!(out, "{}", json!({ "all": all.json(), "causes": causes }))
}

fn print(out: &mut impl Write, causes: &BTreeMap<String, Times>, all: &Times) -> io::Result<()> {
    writeln!(out, "from the decision to the last byte, in microseconds, as the gateway measured it\n")?;
    writeln!(out, "  {:<20}  {:>10}  {:>12}  {:>12}  {:>12}", "cause", "sessions", "p50", "p99", "max")?;
    let everything = ("all".to_owned(), all);
    let rows = causes.iter().map(|(cause, times)| (plain(cause), times));
    for (name, times) in rows.chain([everything]) {
        let [half, most, max] = [500, 990, 1_000].map(|share| grouped(times.share(share)));
        let sessions = grouped(times.all.len() as u64);
        writeln!(out, "  {name:<20}  {sessions:>10}  {half:>12}  {most:>12}  {max:>12}")?;
    }
    if all.held_on > 0 {
        let sessions = count(all.held_on, "session was", "sessions were");
        writeln!(out, "\n{sessions} not let go of in time: the gateway says so in the closing records")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_least_time_within_which_so_many_ended() {
        let times = Times { all: (1..=200).collect(), held_on: 0 };
        assert_eq!((times.share(500), times.share(990), times.share(1_000)), (100, 198, 200));
        let one = Times { all: vec![7], held_on: 0 };
        assert_eq!((one.share(500), one.share(990), one.share(1_000)), (7, 7, 7));
        assert_eq!(Times::default().share(500), 0);
    }
}
