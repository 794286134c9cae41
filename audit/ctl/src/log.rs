//! `auditctl log`

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use sallyport_audit::journal::scan::{ScanEnd, scan};
use sallyport_audit::{Record, Seq};

use crate::Failure;
use crate::filter::Filter;
use crate::output::{ledger, plain};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// List at most so many records.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Print the records as they are, one in a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let selection = arguments.filter.selection();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut trouble: Option<Failure> = None;
    let mut visit = |seq: Seq, bytes: &[u8], _: &[u8]| {
        if left == 0 || selection.to.is_some_and(|to| seq > to) {
            return ControlFlow::Break(());
        }
        let record = match Record::parse(bytes) {
            Ok(record) => record,
            Err(error) => {
                trouble = Some(Failure::broken(format!("record {seq}: {error}"), error.hint()));
                return ControlFlow::Break(());
            }
        };
        if !selection.matches(&record) {
            return ControlFlow::Continue(());
        }
        left -= 1;
        let printed = if arguments.json { line(&mut out, bytes) } else { row(&mut out, &record) };
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                trouble = Some(Failure::output(&error));
                ControlFlow::Break(())
            }
        }
    };
    let end = scan(&files, selection.from, &mut visit)
        .map_err(|error| Failure::unreadable(&files.journal(), &error))?;
    out.flush().map_err(|error| Failure::output(&error))?;
    trouble.map_or_else(|| finish(&arguments.ledger, &end), Err)
}

fn line(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.write_all(b"\n")
}

fn row(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let Record { seq, time, kind, result, .. } = record;
    write!(out, "{seq:>8}  {time:.3}  {kind:<20}  {result:<8}")?;
    for part in [&record.action, &record.object, &record.session, &record.grant].into_iter().flatten() {
        write!(out, "  {}", plain(part))?;
    }
    writeln!(out)
}

/// What was listed is not checked; and what could not be listed is said.
pub(crate) fn finish(directory: &Path, end: &ScanEnd) -> Result<ExitCode, Failure> {
    match end {
        ScanEnd::Complete | ScanEnd::Stopped => {}
        ScanEnd::Unfinished { bytes } => eprintln!(
            "note: behind the last group are {bytes} bytes of an unfinished one: it is being written just now, \
             or is left from a crash"
        ),
        ScanEnd::Damaged { segment, offset, what } => {
            return Err(Failure::broken(
                format!("the journal is damaged in {segment} at byte {offset}: {what}"),
                format!("run `auditctl verify {} --key KEY`: it names the record", directory.display()),
            ));
        }
    }
    eprintln!("note: shown as they stand, not checked; `auditctl verify` does that");
    Ok(ExitCode::SUCCESS)
}
