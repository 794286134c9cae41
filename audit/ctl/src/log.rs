//! `auditctl log`

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sallyport_audit::journal::Files;
use sallyport_audit::journal::scan::{ScanEnd, scan};
use sallyport_audit::selection::Selection;
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
    /// Go on: list what is added, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Print the records as they are, one in a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let mut listing = Listing {
        selection: arguments.filter.selection(),
        left: arguments.limit.unwrap_or(u64::MAX),
        json: arguments.json,
        out: io::BufWriter::new(io::stdout().lock()),
    };
    if !arguments.follow {
        let end = listing.list(&files)?;
        return finish(&arguments.ledger, &end);
    }
    let mut seen = Extent::default();
    loop {
        let now = Extent::of(&files).map_err(|error| Failure::unreadable(&files.journal(), &error))?;
        // Reading a segment again costs something; its length costs nothing.
        if now == seen {
            std::thread::sleep(PAUSE);
            continue;
        }
        let end = listing.list(&files)?;
        match end {
            ScanEnd::Complete | ScanEnd::Unfinished { .. } => seen = now,
            ScanEnd::Stopped | ScanEnd::Damaged { .. } => return finish(&arguments.ledger, &end),
        }
    }
}

/// How long to wait between looks at a journal that is followed.
const PAUSE: Duration = Duration::from_millis(200);

/// How far a journal reaches, to see whether something was added.
#[derive(Default, PartialEq, Eq)]
struct Extent {
    segments: usize,
    bytes: u64,
}

impl Extent {
    fn of(files: &Files) -> io::Result<Self> {
        let segments = files.segments()?;
        let bytes = segments.last().map_or(Ok(0), |last| last.path.metadata().map(|file| file.len()))?;
        Ok(Self { segments: segments.len(), bytes })
    }
}

struct Listing<W: Write> {
    /// What is still wanted.
    selection: Selection,
    left: u64,
    json: bool,
    out: W,
}

impl<W: Write> Listing<W> {
    /// Lists what is wanted from where it stopped.
    fn list(&mut self, files: &Files) -> Result<ScanEnd, Failure> {
        let mut trouble: Option<Failure> = None;
        let end = scan(files, self.selection.from, &mut |seq, bytes, _| match self.one(seq, bytes) {
            Ok(flow) => flow,
            Err(failure) => {
                trouble = Some(failure);
                ControlFlow::Break(())
            }
        });
        let end = end.map_err(|error| Failure::unreadable(&files.journal(), &error))?;
        self.out.flush().map_err(|error| Failure::output(&error))?;
        trouble.map_or(Ok(end), Err)
    }

    fn one(&mut self, seq: Seq, bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
        if self.left == 0 || self.selection.to.is_some_and(|to| seq > to) {
            return Ok(ControlFlow::Break(()));
        }
        let record = Record::parse(bytes)
            .map_err(|error| Failure::broken(format!("record {seq}: {error}"), error.hint()))?;
        let wanted = self.selection.matches(&record);
        self.selection.from = seq.next();
        if wanted {
            self.left -= 1;
            let printed = if self.json { line(&mut self.out, bytes) } else { row(&mut self.out, &record) };
            printed.map_err(|error| Failure::output(&error))?;
        }
        Ok(ControlFlow::Continue(()))
    }
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
