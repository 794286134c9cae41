//! Opens a ledger: finds out what is there before anything is added.
//!
//! In this order: take the lock; make durable what a killed process left; read the head file; read the journal's
//! recent part (`recent`) and compare it with the head file; bring the query store up to the journal, or make it anew; set an
//! unfinished end aside; record what was done. What does not fit is refused with its own explanation, and
//! nothing is changed by then. A ledger that lost records goes on only as a recovery has planned it (`resuming`).

use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::committer::Committer;
use super::feeder::Feeder;
use super::head_writer::HeadWriter;
use super::indexer::Indexer;
use super::journal_writer::JournalWriter;
use super::numbering::{Numbering, Place, Refused};
use super::owner::{Clock, Messages, Owner, Pending};
use super::pruning;
use super::publisher::Publisher;
use super::reader::{ReadSide, Reader};
use super::replay::{Expected, Replayed, Visitor, replay};
use super::signing::{Own, Signing, Unable};
use super::store::Store;
use super::tail::Tail;
use super::writing::Writing;
use super::{
    Ledger, LedgerError, LedgerOptions, LedgerStatus, Opened, PERMIT_BYTES, Shared, StoreState, torn,
};
use crate::chain::Chain;
use crate::checkpoint::{Checkpoint, CheckpointError, check_origin};
use crate::digest::Digest;
use crate::disk::{Disk, RealDisk};
use crate::epoch::{self, Epoch};
use crate::journal::Files;
use crate::journal::head::{self, HeadFile};
use crate::journal::{Group, SegmentHeader};
use crate::keys::{HeadSigner, Vault};
use crate::kind::Kind;
use crate::note::{PublicKey, SignedNote};
use crate::record::{Draft, FORMAT_VERSION, Outcome, Prepared, Seq};

mod again;
mod catching_up;
mod life;
mod recent;
mod restoring;
mod resuming;

pub(super) use again::Again;
use catching_up::CaughtUp;
use life::Ending;
use resuming::Step;

/// The world outside: replaced by tests.
pub(super) struct Surroundings {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Clock,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the ledger's thread is the shell that reads the clock")]
    pub(super) fn real() -> Self {
        Self { disk: Arc::new(RealDisk), clock: Arc::new(Timestamp::now) }
    }
}

/// See the module's documentation.
pub(super) fn open(
    mut options: LedgerOptions,
    signer: Box<dyn HeadSigner>,
    vault: Arc<dyn Vault>,
    surroundings: Surroundings,
) -> Result<(Ledger, Opened), LedgerError> {
    check_base(&options.origin)
        .map_err(|source| LedgerError::Origin { origin: options.origin.clone(), source })?;
    let own = Own::new(signer)?;
    let key = own.key.clone();
    let files = Files::new(&options.directory);
    let disk = surroundings.disk.as_ref();
    make_directory(disk, &files)?;
    let lock = lock(&files)?;
    if files.room().exists() {
        // A crash while room was looked for left it. It harms nobody if it stays.
        let _ = disk.remove(&files.room());
    }
    settle(disk, &files)?;

    let known = read_head(&files, &options)?;
    let base = options.origin.clone();
    let expected = Expected { origin: &base, key: &key };
    // What pruning left to be done comes first: a plan speaks of what is kept then.
    pruning::complete(disk, &files)?;
    let pruned = files.pruned().map_err(|error| LedgerError::io("read", files.prefix(), error))?;
    let step = resuming::step(&files, &options, &expected)?;
    let CaughtUp { replayed, checked_from, store, store_state } =
        read_all(&files, &options, &expected, &known)?;
    resuming::check_announced(&files, &replayed, &step)?;
    // The head of the first group is made durable before a second one is written.
    if matches!(known, Known::Blank) && replayed.groups > 1 {
        return Err(LedgerError::LostHead { path: files.head(), state: "blank" });
    }

    let torn = replayed.torn.as_ref().map(|torn| torn::set_aside(disk, &files, torn)).transpose()?;
    let created = replayed.chain.size() == 0;
    let head = match &known {
        Known::Nothing => HeadWriter::create(disk, &files.head(), files.directory())?,
        Known::Blank => HeadWriter::open(disk, &files.head(), None)?,
        Known::Head { slot, .. } => HeadWriter::open(disk, &files.head(), Some(*slot))?,
    };
    make_journal_directory(disk, &files)?;
    // A segment that was moved away as a whole leaves the one before it as the last. An epoch begins its own.
    let last = step.goes_on_in_last(&replayed).then(|| replayed.last.clone()).flatten();
    options.origin = step.origin(&replayed).unwrap_or(options.origin);
    let journal = JournalWriter::new(
        Arc::clone(&surroundings.disk),
        files.clone(),
        options.origin.clone(),
        options.segment_bytes,
        last,
    )?;
    let opened = Opened { created, records: replayed.chain.size(), checked_from, torn, store: store_state };
    let drafts = opening_drafts(&opened, &replayed, &step, &options, &key);
    let epochs = step.epochs(&replayed);
    let disk = Arc::clone(&surroundings.disk);
    let Surroundings { disk: parts_disk, clock } = surroundings;
    let parts = Parts {
        disk: parts_disk,
        options,
        own,
        vault,
        clock,
        replayed,
        pruned,
        epochs,
        journal,
        head,
        store,
    };
    let ledger = start(parts, drafts, lock, || step.finish(disk.as_ref(), &files))?;
    Ok((ledger, opened))
}

/// Reads journal and head file, and brings the query store up to them.
fn read_all(
    files: &Files,
    options: &LedgerOptions,
    expected: &Expected<'_>,
    known: &Known,
) -> Result<CaughtUp, LedgerError> {
    let read = |options: &LedgerOptions| {
        let caught_up = catching_up::replay_into_store(files, options, expected, known)?;
        check_heads(files, &caught_up.replayed, known, expected.key)?;
        Ok(caught_up)
    };
    match read(options) {
        // The key that signs may be named only by a record before the place where reading began.
        Err(LedgerError::ForeignKey { .. }) => {
            read(&LedgerOptions { reread_bytes: u64::MAX, ..options.clone() })
        }
        other => other,
    }
}

/// Reads the records before `until` again, which opening had left out, and checks them as opening does.
///
/// For a thread of its own: it takes as long as reading that part of the journal takes. `until` is what
/// [`Opened::checked_from`] said.
pub fn reread(directory: &Path, origin: &str, key: &PublicKey, until: Seq) -> Result<(), LedgerError> {
    struct Nothing;
    impl Visitor for Nothing {
        fn record(&mut self, _: &Chain) {}
        fn group(&mut self, _: &Group<&[u8]>, _: &Chain) {}
    }
    let files = Files::new(directory);
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let older = segments.partition_point(|segment| segment.first < until);
    let older = segments.get(..older).unwrap_or_default();
    let replayed = replay(&files, older, Replayed::genesis(key), &Expected { origin, key }, &mut Nothing)?;
    let Some(next) = segments.iter().find(|segment| segment.first == until) else { return Ok(()) };
    let goes_on = recent::header(next)
        .is_some_and(|header| header == SegmentHeader::new(&header.origin, &replayed.chain, &replayed.note));
    if goes_on && replayed.torn.is_none() {
        return Ok(());
    }
    Err(LedgerError::Damaged {
        segment: older.last().unwrap_or(next).name(),
        offset: replayed.torn.as_ref().map_or(0, |torn| torn.offset),
        seq: replayed.chain.next(),
        what: replayed.torn.map_or("the segment behind it does not go on there".to_owned(), |torn| torn.what),
    })
}

/// What the head file says.
pub(super) enum Known {
    /// Neither head file nor journal: a new ledger.
    Nothing,
    /// A head file into which nothing was written yet.
    Blank,
    /// The last head that was noted.
    Head { checkpoint: Checkpoint, note: SignedNote, slot: usize },
}

/// Makes the ledger's directory, and its name durable: a power cut must not take the whole ledger away with it.
fn make_directory(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let directory = files.directory();
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<_> = directory.ancestors().take_while(is_missing).collect();
    let make = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for made in &missing {
            disk.sync_directory(parent(made))?;
        }
        // An earlier start may have been interrupted between the two.
        match disk.sync_directory(parent(directory)) {
            // Whoever made the directory in a place that this user may not read has made it to stay.
            Err(error) if missing.is_empty() && error.kind() == std::io::ErrorKind::PermissionDenied => {
                Ok(())
            }
            other => other,
        }
    };
    make().map_err(|error| LedgerError::io("make the ledger directory", directory, error))
}

/// Makes durable what a process that was killed has left in the system's memory: the last segment and its name.
///
/// Without this, what is read now could be gone after a power cut although records behind it were acknowledged.
fn settle(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let Some(last) = segments.last() else { return Ok(()) };
    let sync = || {
        disk.open(&last.path)?.sync()?;
        disk.sync_directory(&files.journal())
    };
    sync().map_err(|error| LedgerError::io("sync the journal's last segment", &last.path, error))
}

/// The directory in which the name of `path` stands.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn make_journal_directory(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let make = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(files.journal())?;
        disk.sync_directory(files.directory())
    };
    make().map_err(|error| LedgerError::io("make the journal directory", files.journal(), error))
}

/// Refuses if a process holds the ledger in `directory` at this moment: for whoever does something before opening it.
pub fn not_held(directory: &std::path::Path) -> Result<(), LedgerError> {
    let files = Files::new(directory);
    if files.lock().exists() { lock(&files).map(drop) } else { Ok(()) }
}

fn lock(files: &Files) -> Result<File, LedgerError> {
    let path = files.lock();
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| LedgerError::io("write to", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked { directory: files.directory().to_owned() }),
        Err(TryLockError::Error(error)) => Err(LedgerError::io("lock", &path, error)),
    }
}

/// The name of a ledger's first epoch: later ones are made from it.
fn check_base(origin: &str) -> Result<(), CheckpointError> {
    check_origin(origin)?;
    if epoch::split(origin).1 == 1 { Ok(()) } else { Err(CheckpointError::Epoch) }
}

fn read_head(files: &Files, options: &LedgerOptions) -> Result<Known, LedgerError> {
    let path = files.head();
    let bytes = files.read_head().map_err(|error| LedgerError::io("read", &path, error))?;
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let Some(bytes) = bytes else {
        return if segments.is_empty() {
            Ok(Known::Nothing)
        } else {
            Err(LedgerError::LostHead { path, state: "missing" })
        };
    };
    match head::read(&bytes) {
        HeadFile::Blank => Ok(Known::Blank),
        // The very first start was interrupted while the head file was made.
        HeadFile::Damaged if segments.is_empty() => Ok(Known::Blank),
        HeadFile::Damaged => Err(LedgerError::LostHead { path, state: "unreadable" }),
        HeadFile::Head { checkpoint, note, slot } => {
            if epoch::split(&checkpoint.origin).0 != options.origin {
                return Err(LedgerError::ForeignOrigin {
                    directory: files.directory().to_owned(),
                    found: checkpoint.origin,
                    expected: options.origin.clone(),
                });
            }
            // By whom it must be signed is known when the journal was read.
            Ok(Known::Head { checkpoint, note, slot })
        }
    }
}

/// The last signature vouches for every record, so it must be right, and be made by or for our own key.
fn check_heads(
    files: &Files,
    replayed: &Replayed,
    known: &Known,
    key: &PublicKey,
) -> Result<(), LedgerError> {
    let foreign = |found: String| LedgerError::ForeignKey {
        directory: files.directory().to_owned(),
        found,
        expected: key.to_string(),
    };
    let signed =
        |size, note: &SignedNote| replayed.signers.statement(size, note).map_err(|_| foreign(note.signers()));
    if let Some(office) = replayed.signers.own().last().filter(|office| office.key != *key) {
        return Err(foreign(office.key.to_string()));
    }
    if let Known::Head { checkpoint, note, .. } = known {
        signed(checkpoint.size, note)?;
    }
    match SignedNote::parse(&replayed.note) {
        Ok(note) => signed(replayed.chain.size(), &note),
        Err(_) => Ok(()), // There is no group yet; every group's head was parsed when it was read.
    }
}

/// What opening itself has to say in the ledger.
fn opening_drafts(
    opened: &Opened,
    replayed: &Replayed,
    step: &Step,
    options: &LedgerOptions,
    key: &PublicKey,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if opened.created {
        drafts.push(
            Draft::new(Kind::LedgerCreated, Outcome::Success)
                .detail("origin", options.origin.as_str())
                .detail("key", key.to_string())
                .detail("format", FORMAT_VERSION),
        );
    }
    if let Step::Begin(plan) = step {
        drafts.push(resuming::draft(plan));
    }
    if let (Some(tail), Some(torn)) = (&opened.torn, &replayed.torn) {
        let file = tail.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        drafts.push(
            Draft::new(Kind::LedgerRecovered, Outcome::Success)
                .detail("cause", "the journal ended in an unfinished group, which was never acknowledged")
                .detail("bytes", tail.bytes)
                .detail("found", torn.what.as_str())
                .detail("set_aside", file),
        );
    }
    if let StoreState::Rebuilt { records, reason, .. } = &opened.store
        && !opened.created
    {
        drafts.push(
            Draft::new(Kind::LedgerRebuilt, Outcome::Success)
                .detail("reason", reason.as_str())
                .detail("records", *records),
        );
    }
    drafts
}

struct Parts {
    disk: Arc<dyn Disk>,
    options: LedgerOptions,
    own: Own,
    vault: Arc<dyn Vault>,
    clock: Clock,
    replayed: Replayed,
    pruned: u64,
    epochs: Vec<Epoch>,
    journal: JournalWriter,
    head: HeadWriter,
    store: Arc<dyn Store>,
}

/// Records what opening has to say, does what may be done only then, and starts the threads.
fn start(
    parts: Parts,
    drafts: Vec<Draft>,
    lock: File,
    recorded: impl FnOnce() -> Result<(), LedgerError>,
) -> Result<Ledger, LedgerError> {
    let Parts { disk, options, own, vault, clock, replayed, pruned, epochs, journal, head, store } = parts;
    let (read_clock, record_clock) = (Arc::clone(&clock), Arc::clone(&clock));
    let records = replayed.chain.size();
    let note: Arc<str> = replayed.note.into();
    let (status, status_seen) = watch::channel(LedgerStatus::Open { records });
    let (heads, heads_seen) = watch::channel(records);
    let (notes, notes_seen) = watch::channel(Arc::clone(&note));
    let publisher = Arc::new(Publisher { status, heads, note: notes });
    let tail = Arc::new(Tail::default());
    let room =
        Arc::new(Semaphore::new((options.queue_bytes / PERMIT_BYTES).clamp(128, Semaphore::MAX_PERMITS)));
    let place =
        Place { chain: replayed.chain.clone(), time: replayed.last_time, key: own.key.clone(), left: None };
    let index_span = options.index_span;
    let mut numbering = Numbering::new(&options, Arc::clone(&vault), Arc::clone(&clock), place.clone());
    let mut signing =
        Signing::new(own, options.lending.clone(), options.origin.clone(), replayed.chain.clone());
    let mut writing = Writing {
        place,
        note,
        journal,
        head,
        tail: Arc::clone(&tail),
        store_lag_bytes: options.store_lag_bytes,
        flush_interval: options.flush_interval,
        publisher: Arc::clone(&publisher),
        clock: record_clock,
        synced: Instant::now(),
        failure: None,
    };
    record_opening(&options.node, drafts, &mut numbering, &mut signing, &mut writing)?;
    recorded()?;

    let read_side = Arc::new(ReadSide {
        files: Files::new(&options.directory),
        tail: Arc::clone(&tail),
        store: RwLock::new(Some(Arc::clone(&store))),
        pruned,
        recovering: AtomicBool::new(false),
        vault: Arc::clone(&vault),
        heads: heads_seen,
        note: notes_seen,
        epochs,
    });
    let directory = options.directory.clone();
    let spawn_failed =
        |error| LedgerError::io("start a thread for the ledger in", directory.as_path(), error);
    let feeder = Feeder::start(Arc::clone(&tail), options.flush_interval, store).map_err(spawn_failed)?;
    let feeder = Arc::new(feeder);
    let again = Again {
        disk,
        files: read_side.files.clone(),
        options: options.clone(),
        vault,
        clock,
        read_side: Arc::clone(&read_side),
        feeder: Arc::clone(&feeder),
    };
    let (sender, messages) = mpsc::channel();
    let sender = Messages(sender);
    let (orders, to_do) = mpsc::sync_channel(1);
    let committer = Arc::new(Committer {
        signing: Mutex::new((signing, to_do)),
        writing: Mutex::new((writing, Duration::ZERO)),
        owner: sender.clone(),
        publisher: Arc::clone(&publisher),
        again,
        flush_interval: options.flush_interval,
    });
    let workers: Vec<_> = ["ledger-0", "ledger-1"]
        .into_iter()
        .map(|name| life::spawn(name, Arc::clone(&committer)).map_err(spawn_failed))
        .collect::<Result<_, _>>()?;
    // Without an index searches take longer, and nothing else is different.
    let indexer = Indexer::start(read_side.files.clone(), read_side.heads.clone(), index_span);
    let indexer = indexer.inspect_err(|error| tracing::warn!(%error, "no search index is made")).ok();
    let ending =
        Ending { workers, feeder, indexer, read_side: Arc::clone(&read_side), room: Arc::clone(&room), lock };
    let written_by = options.node.clone();
    let owner = Owner::new(options, numbering, orders, Arc::clone(&publisher));
    let thread = std::thread::Builder::new()
        .name("ledger".to_owned())
        .spawn(move || life::live(owner, &messages, &publisher, ending))
        .map_err(spawn_failed)?;
    let shared = Shared {
        sender,
        room,
        status: status_seen,
        reader: Reader { shared: read_side },
        node: written_by,
        clock: read_clock,
        thread: Mutex::new(Some(thread)),
        closing: AtomicBool::new(false),
    };
    Ok(Ledger { shared: Arc::new(shared), queue: None })
}

/// Goes through the same steps as every later record, one after the other.
fn record_opening(
    node: &str,
    drafts: Vec<Draft>,
    numbering: &mut Numbering,
    signing: &mut Signing,
    writing: &mut Writing,
) -> Result<(), LedgerError> {
    let failed = |reason| LedgerError::Failed { reason };
    if drafts.first().is_some_and(|draft| draft.kind == Kind::LedgerResumed) {
        numbering.begin_epoch();
    }
    for draft in drafts {
        // Who decided a recovery, and why, is sealed like every personal value.
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| failed(error.to_string()))?;
        let prepared = Prepared::new(draft, node, seed).map_err(|error| failed(error.to_string()))?;
        let added = numbering.add(Pending { prepared, reply: None, permit: None });
        added.map_err(|refused| match refused.1 {
            Refused::Stalled(reason) => LedgerError::Signer { reason },
            Refused::Failed(reason) => failed(reason),
        })?;
    }
    let Some(unsigned) = numbering.close() else { return Ok(()) };
    let signed = signing.sign(unsigned).map_err(|unable| match unable {
        Unable::Stalled(_, reason) => LedgerError::Signer { reason },
        Unable::Failed(_, reason) => failed(reason),
    })?;
    writing.write(signed.after, signed.note, signed.group).map_err(failed)?;
    writing.sync().map_err(failed)
}
