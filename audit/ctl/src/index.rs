//! `auditctl index`, and where searches find and put index files.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use sallyport_audit::Digest;
use sallyport_audit::index::check::check;
use sallyport_audit::index::directory::is_ours;
use sallyport_audit::index::make::{MakeError, Maker};
use sallyport_audit::index::{Directories, IndexFault, Query, SPAN};
use sallyport_audit::journal::Files;
use sallyport_audit::journal::head::{self, HeadFile};

use crate::Failure;
use crate::output::{count, ledger};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make what is missing of the index.
    Make(Arguments),
    /// Compare the index with the journal; without checking the journal.
    Check(Arguments),
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// The ledger's directory.
    ledger: PathBuf,
    /// Where index files are, or are put.
    #[arg(long, value_name = "DIR")]
    index_dir: Option<PathBuf>,
}

/// Where a search looks for an index.
#[derive(Args)]
pub(crate) struct Place {
    /// Read the whole journal, and use no index.
    #[arg(long)]
    no_index: bool,
    /// Where index files are, and are put if some are missing. Usually the ledger's own directory, or the
    /// user's cache for a ledger of somebody else.
    #[arg(long, value_name = "DIR", conflicts_with = "no_index")]
    index_dir: Option<PathBuf>,
}

impl Place {
    /// The directories to look into, after making what is missing if that speeds this query up.
    ///
    /// That no index could be made is told and is no failure: the journal is read.
    pub(crate) fn ready(&self, files: &Files, query: &Query) -> Directories {
        self.directories(files, !query.is_range())
    }

    /// The same for counting, which an index always speeds up.
    pub(crate) fn ready_to_count(&self, files: &Files) -> Directories {
        self.directories(files, true)
    }

    fn directories(&self, files: &Files, make: bool) -> Directories {
        if self.no_index {
            return Directories::none();
        }
        let home = Home::of(files, self.index_dir.as_deref());
        if make && let Err(error) = home.make(files) {
            eprintln!("note: {error}; the journal is read without an index there");
        }
        home.directories
    }
}

/// Index files that could not be used are said, each with what was done instead.
pub(crate) fn tell(faults: &[(PathBuf, IndexFault)]) {
    for (path, fault) in faults {
        eprintln!(
            "warning: {}: {fault}; the records were read from the journal instead, and `auditctl index make` makes it again",
            path.display()
        );
    }
}

/// Where the index of a ledger is looked for, and where it is put.
struct Home {
    directories: Directories,
    given: Option<PathBuf>,
    cache: Option<PathBuf>,
}

impl Home {
    fn of(files: &Files, given: Option<&Path>) -> Self {
        let (given, cache) = (given.map(Path::to_owned), cache(files));
        let directories = Directories::of(files, given.clone().into_iter().chain(cache.clone()));
        Self { directories, given, cache }
    }

    /// Where new files are put.
    fn target(&self, files: &Files) -> PathBuf {
        match (&self.given, &self.cache) {
            (Some(given), _) => given.clone(),
            (None, Some(cache)) if !is_ours(files.directory()) => cache.clone(),
            _ => files.index(),
        }
    }

    /// Makes what is missing; how many files that were.
    fn make(&self, files: &Files) -> Result<u64, MakeError> {
        let (target, mut made) = (std::cell::OnceCell::new(), 0);
        let directory = || {
            let new = || {
                let target = self.target(files);
                eprintln!("note: making an index of the ledger in {}, once", target.display());
                target
            };
            target.get_or_init(new).clone()
        };
        let mut maker = Maker::new(files, &directory, SPAN);
        let result = maker.make(&self.directories, records(files), &|| false, &mut |_| {
            made += 1;
            if std::io::stderr().is_terminal() && made % 8 == 0 {
                eprint!("\r{} indexed ", count(made * SPAN, "record", "records"));
            }
        });
        if made >= 8 && std::io::stderr().is_terminal() {
            eprintln!();
        }
        result.map(|()| made)
    }
}

/// How many records there are at least, without reading them: by the head file, or by the name of the last segment.
fn records(files: &Files) -> u64 {
    let head = files.read_head().ok().flatten().map(|bytes| head::read(&bytes));
    let named = files.segments().ok().and_then(|segments| Some(segments.last()?.first.get()));
    match head {
        Some(HeadFile::Head { checkpoint, .. }) => checkpoint.size,
        _ => named.unwrap_or_default(),
    }
}

/// The user's cache, in a directory named after the ledger's first record: no two ledgers share one.
fn cache(files: &Files) -> Option<PathBuf> {
    let first = files.segments().ok()?.first()?.first;
    let mut leaf = None;
    let named = |found: sallyport_audit::journal::reading::Found<'_>| {
        leaf = Some(Digest::leaf(found.record));
        std::ops::ControlFlow::Break(())
    };
    sallyport_audit::journal::reading::read(files, None, first, &mut { named }).ok()?;
    let name: String = leaf?.to_string().chars().take(32).collect();
    let set = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("sallyport/index").join(name))
}

pub(crate) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Make(arguments) => make(arguments),
        Command::Check(arguments) => compare(arguments),
    }
}

fn make(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let home = Home::of(&files, arguments.index_dir.as_deref());
    let made = home.make(&files).map_err(|error| failure(&error))?;
    println!("{} made", count(made, "index file", "index files"));
    Ok(ExitCode::SUCCESS)
}

fn compare(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ledger(&arguments.ledger)?;
    let home = Home::of(&files, arguments.index_dir.as_deref());
    let (mut records, mut wrong, mut good) = (0, 0_u64, 0_u64);
    let compared = check(&files, &home.directories, &mut |checked| match checked.fault {
        None => {
            good += 1;
            records += checked.records;
        }
        Some(fault) => {
            wrong += 1;
            println!("wrong: {}: {fault}", checked.path.display());
        }
    });
    compared.map_err(|error| failure(&error))?;
    println!(
        "{} over {} as the journal has them",
        count(good, "index file", "index files"),
        count(records, "record", "records")
    );
    if wrong > 0 {
        return Err(Failure::broken(
            format!("{} not what the journal has", count(wrong, "index file says", "index files say")),
            "an index proves nothing and harms nothing but searches: delete it, or run `auditctl index make`",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn failure(error: &MakeError) -> Failure {
    match error {
        MakeError::Damaged { .. } | MakeError::Record(_) => {
            Failure::broken(error, "run `auditctl verify` on the ledger: it names the first bad record")
        }
        MakeError::Write { .. } => Failure::not_evaluated(
            error,
            "make room on the disk, or give a directory that you may write to with --index-dir",
        ),
        MakeError::Journal(_) => {
            Failure::not_evaluated(error, "copy the whole ledger directory to a good disk and use the copy")
        }
    }
}
