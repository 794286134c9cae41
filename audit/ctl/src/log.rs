//! `auditctl log`, also known as `auditctl search`

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sallyport_audit::Record;
use sallyport_audit::index::Query;
use sallyport_audit::index::search::{Hit, Order, SearchError, Searched, go_on, search};
use sallyport_audit::journal::Files;
use sallyport_audit::journal::scan::ScanEnd;

use crate::Failure;
use crate::filter::Filter;
use crate::index::{self, tell};
use crate::output::{ledger, plain};

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// Only records in which this text stands, in any field or detail. May be given again: all must.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// List at most so many records.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The newest first.
    #[arg(long)]
    newest: bool,
    /// List the last so many records, the oldest of them first; with --follow also what is added.
    #[arg(long, value_name = "N", conflicts_with_all = ["newest", "limit"])]
    last: Option<u64>,
    /// Say only how many there are.
    #[arg(long, conflicts_with_all = ["follow", "last", "newest"])]
    count: bool,
    /// Go on: list what is added, until interrupted.
    #[arg(long, short, conflicts_with = "newest")]
    follow: bool,
    /// Print the records as they are, one in a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    index: index::Place,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let selection = arguments.filter.checked()?;
    let query = Query { texts: arguments.text.clone(), ..Query::new(selection) };
    let indexes = arguments.index.ready(&files, &query);
    let mut listing = Listing {
        listed: 0,
        json: arguments.json,
        trouble: None,
        out: io::BufWriter::new(io::stdout().lock()),
    };
    let seen = Extent::of(&files).map_err(|error| Failure::unreadable(&files.journal(), &error))?;
    let searched = if let Some(last) = arguments.last {
        listing.last(&files, &indexes, &query, last)
    } else {
        let order = if arguments.newest { Order::NewestFirst } else { Order::OldestFirst };
        search(&files, &indexes, &query, order, arguments.limit, &mut |hit| {
            if arguments.count { listing.counted() } else { listing.one(hit) }
        })
    };
    let searched = listing.ended(&files, searched)?;
    if arguments.count {
        let counted = listing.listed;
        writeln!(listing.out, "{counted}").map_err(|error| Failure::output(&error))?;
    }
    listing.flush()?;
    tell(&searched.faults);
    let left = arguments.limit.map(|limit| limit.saturating_sub(listing.listed));
    let end = searched.end.clone().unwrap_or(ScanEnd::Stopped);
    if !arguments.follow || left == Some(0) || matches!(end, ScanEnd::Damaged { .. }) {
        return finish(&arguments.ledger, &end);
    }
    follow(&arguments.ledger, &files, query, &mut listing, searched, seen, left)
}

/// Lists what is added, until interrupted or enough.
fn follow<W: Write>(
    directory: &Path,
    files: &Files,
    mut query: Query,
    listing: &mut Listing<W>,
    mut searched: Searched,
    mut seen: Extent,
    mut left: Option<u64>,
) -> Result<ExitCode, Failure> {
    loop {
        query.selection.from = query.selection.from.max(searched.next);
        let now = Extent::of(files).map_err(|error| Failure::unreadable(&files.journal(), &error))?;
        // Looking for its length costs nothing.
        if now == seen {
            std::thread::sleep(PAUSE);
            continue;
        }
        let before = listing.listed;
        let read = go_on(files, searched.place, &query, left, &mut |hit| listing.one(hit));
        let mut again = listing.ended(files, read)?;
        listing.flush()?;
        left = left.map(|left| left.saturating_sub(listing.listed - before));
        again.place = again.place.or(searched.place);
        searched = again;
        match searched.end.clone().unwrap_or(ScanEnd::Stopped) {
            _ if left == Some(0) => return finish(directory, &ScanEnd::Stopped),
            ScanEnd::Damaged { segment, offset, what } => {
                return finish(directory, &ScanEnd::Damaged { segment, offset, what });
            }
            // Nothing more can be wanted.
            ScanEnd::Stopped => return finish(directory, &ScanEnd::Stopped),
            ScanEnd::Complete | ScanEnd::Unfinished { .. } => seen = now,
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
    listed: u64,
    json: bool,
    trouble: Option<io::Error>,
    out: W,
}

/// The most records that `--last` keeps in memory.
const MOST_KEPT: u64 = 100_000;

impl<W: Write> Listing<W> {
    fn one(&mut self, hit: Hit<'_>) -> ControlFlow<()> {
        self.listed += 1;
        let printed = if self.json { line(&mut self.out, hit.bytes) } else { row(&mut self.out, hit.record) };
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.trouble = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn counted(&mut self) -> ControlFlow<()> {
        self.listed += 1;
        ControlFlow::Continue(())
    }

    /// The last records, in the order in which they were written.
    fn last(
        &mut self,
        files: &Files,
        indexes: &sallyport_audit::index::Directories,
        query: &Query,
        last: u64,
    ) -> Result<Searched, SearchError> {
        let mut kept: VecDeque<(Record, Vec<u8>)> = VecDeque::new();
        let last = Some(last.min(MOST_KEPT));
        let searched = search(files, indexes, query, Order::NewestFirst, last, &mut |hit| {
            kept.push_front((hit.record.clone(), hit.bytes.to_vec()));
            ControlFlow::Continue(())
        });
        for (record, bytes) in &kept {
            if self.one(Hit { record, bytes, sealed: &[] }).is_break() {
                break;
            }
        }
        searched
    }

    /// What went wrong, in the words of this program.
    fn ended(&mut self, files: &Files, searched: Result<Searched, SearchError>) -> Result<Searched, Failure> {
        if let Some(error) = self.trouble.take() {
            return Err(Failure::output(&error));
        }
        searched.map_err(|error| {
            // What was found before is shown.
            let _ = self.out.flush();
            search_failure(files, &error)
        })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }
}

pub(crate) fn search_failure(files: &Files, error: &SearchError) -> Failure {
    match error {
        SearchError::Journal(error) => Failure::unreadable(&files.journal(), error),
        SearchError::Record { source, .. } => Failure::broken(error, source.hint()),
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
