//! Opens a ledger: finds out what is there before anything is added.
//!
//! In this order: take the lock; make durable what a killed process left; read the head file; read the whole
//! journal and compare it with the head file; bring the query store up to the journal, or make it anew; set an
//! unfinished end aside; record what was done. What does not fit is refused with its own explanation, and
//! nothing is changed by then.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock, mpsc};

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::disk::{Disk, RealDisk};
use super::head_writer::HeadWriter;
use super::journal_writer::JournalWriter;
use super::owner::{Clock, Owner, Pending, Publisher, Refusal};
use super::pruning;
use super::reader::{ReadSide, Reader};
use super::replay::{Expected, Replayed, Visitor, replay};
use super::store::Store;
use super::tail::Tail;
use super::{
    Ledger, LedgerError, LedgerOptions, LedgerStatus, Opened, PERMIT_BYTES, Shared, StoreState, feeder, torn,
};
use crate::chain::Chain;
use crate::checkpoint::{Checkpoint, check_origin};
use crate::digest::Digest;
use crate::journal::Files;
use crate::journal::Group;
use crate::journal::head::{self, HeadFile};
use crate::keys::{HeadSigner, Vault};
use crate::kind::Kind;
use crate::note::{PublicKey, SignedNote};
use crate::record::{Draft, FORMAT_VERSION, Outcome, Prepared};

mod catching_up;
mod life;

use life::Ending;

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
    options: LedgerOptions,
    signer: Box<dyn HeadSigner>,
    vault: Arc<dyn Vault>,
    surroundings: Surroundings,
) -> Result<(Ledger, Opened), LedgerError> {
    check_origin(&options.origin)
        .map_err(|source| LedgerError::Origin { origin: options.origin.clone(), source })?;
    let key = PublicKey::new(signer.origin_key_name(), &signer.public_key())?;
    let files = Files::new(&options.directory);
    let disk = surroundings.disk.as_ref();
    make_directory(disk, &files)?;
    let lock = lock(&files)?;
    settle(disk, &files)?;

    let mut known = read_head(&files, &options, &key)?;
    let expected = Expected { origin: &options.origin, key: &key };
    pruning::complete(disk, &files)?;
    let (replayed, store, store_state) = catching_up::replay_into_store(&files, &options, &expected, &known)?;
    check_last_head(&files, &replayed, &key)?;
    // The head of the first group is made durable before a second one is written.
    if matches!(known, Known::Blank) && replayed.groups > 1 {
        if !options.accept_lost_head {
            return Err(LedgerError::LostHead { path: files.head(), state: "blank" });
        }
        known = Known::Lost;
    }

    let torn = replayed.torn.as_ref().map(|torn| torn::set_aside(disk, &files, torn)).transpose()?;
    let created = replayed.chain.size() == 0;
    let head = match &known {
        Known::Nothing | Known::Missing => HeadWriter::create(disk, &files.head(), files.directory())?,
        Known::Blank | Known::Lost => HeadWriter::open(disk, &files.head(), None)?,
        Known::Head { slot, .. } => HeadWriter::open(disk, &files.head(), Some(*slot))?,
    };
    make_journal_directory(disk, &files)?;
    // A segment that was moved away as a whole leaves the one before it as the last.
    let last = replayed.last.clone();
    let journal = JournalWriter::new(
        Arc::clone(&surroundings.disk),
        files.clone(),
        options.origin.clone(),
        options.segment_bytes,
        last,
    )?;
    let opened = Opened { created, records: replayed.chain.size(), torn, store: store_state };
    let drafts = opening_drafts(&opened, &replayed, &known, &options, &key);
    let parts =
        Parts { options, signer, vault, clock: surroundings.clock, key, replayed, journal, head, store };
    let ledger = start(parts, drafts, lock)?;
    Ok((ledger, opened))
}

/// What the head file says.
pub(super) enum Known {
    /// Neither head file nor journal: a new ledger.
    Nothing,
    /// A head file into which nothing was written yet.
    Blank,
    /// The last head that was noted.
    Head { checkpoint: Checkpoint, slot: usize },
    /// Missing although there is a journal; the operator has accepted that.
    Missing,
    /// Unreadable; the operator has accepted that.
    Lost,
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

fn read_head(files: &Files, options: &LedgerOptions, key: &PublicKey) -> Result<Known, LedgerError> {
    let path = files.head();
    let bytes = files.read_head().map_err(|error| LedgerError::io("read", &path, error))?;
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let Some(bytes) = bytes else {
        return if segments.is_empty() {
            Ok(Known::Nothing)
        } else if options.accept_lost_head {
            Ok(Known::Missing)
        } else {
            Err(LedgerError::LostHead { path, state: "missing" })
        };
    };
    match head::read(&bytes) {
        HeadFile::Blank => Ok(Known::Blank),
        // The very first start was interrupted while the head file was made.
        HeadFile::Damaged if segments.is_empty() => Ok(Known::Blank),
        HeadFile::Damaged if options.accept_lost_head => Ok(Known::Lost),
        HeadFile::Damaged => Err(LedgerError::LostHead { path, state: "unreadable" }),
        HeadFile::Head { checkpoint, note, slot } => {
            if checkpoint.origin != options.origin {
                return Err(LedgerError::ForeignOrigin {
                    directory: files.directory().to_owned(),
                    found: checkpoint.origin,
                    expected: options.origin.clone(),
                });
            }
            signed_by(files, &note, key)?;
            Ok(Known::Head { checkpoint, slot })
        }
    }
}

fn signed_by(files: &Files, note: &SignedNote, key: &PublicKey) -> Result<(), LedgerError> {
    note.verify(key).map_err(|_| LedgerError::ForeignKey {
        directory: files.directory().to_owned(),
        found: note.signers(),
        expected: key.to_string(),
    })
}

/// The last signature vouches for every record, so it must be right.
fn check_last_head(files: &Files, replayed: &Replayed, key: &PublicKey) -> Result<(), LedgerError> {
    match SignedNote::parse(&replayed.note) {
        Ok(note) => signed_by(files, &note, key),
        Err(_) => Ok(()), // There is no group yet; every group's head was parsed when it was read.
    }
}

/// What opening itself has to say in the ledger.
fn opening_drafts(
    opened: &Opened,
    replayed: &Replayed,
    known: &Known,
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
    if matches!(known, Known::Missing | Known::Lost) {
        drafts.push(
            Draft::new(Kind::LedgerRecovered, Outcome::Success)
                .detail("cause", "the head file was lost, and the operator chose to go on without it"),
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
    options: LedgerOptions,
    signer: Box<dyn HeadSigner>,
    vault: Arc<dyn Vault>,
    clock: Clock,
    key: PublicKey,
    replayed: Replayed,
    journal: JournalWriter,
    head: HeadWriter,
    store: Arc<dyn Store>,
}

/// Records what opening has to say, and starts the two threads.
fn start(parts: Parts, drafts: Vec<Draft>, lock: File) -> Result<Ledger, LedgerError> {
    let Parts { options, signer, vault, clock, key, replayed, journal, head, store } = parts;
    let read_clock = Arc::clone(&clock);
    let (records, pruned) = (replayed.chain.size(), replayed.pruned);
    let note: Arc<str> = replayed.note.into();
    let (status, status_seen) = watch::channel(LedgerStatus::Open { records });
    let (heads, heads_seen) = watch::channel(records);
    let (notes, notes_seen) = watch::channel(Arc::clone(&note));
    let tail = Arc::new(Tail::default());
    let room =
        Arc::new(Semaphore::new((options.queue_bytes / PERMIT_BYTES).clamp(128, Semaphore::MAX_PERMITS)));
    let (flush_interval, written_by) = (options.flush_interval, options.node.clone());
    let mut owner = Owner {
        options,
        signer,
        key,
        vault: Arc::clone(&vault),
        clock,
        chain: replayed.chain,
        last_time: replayed.last_time,
        note,
        journal,
        head,
        tail: Arc::clone(&tail),
        publish: Publisher { status, heads, note: notes },
        held: std::collections::VecDeque::new(),
    };
    record_opening(&mut owner, drafts)?;

    let read_side = Arc::new(ReadSide {
        tail: Arc::clone(&tail),
        store: RwLock::new(Some(Arc::clone(&store))),
        pruned,
        vault,
        heads: heads_seen,
        note: notes_seen,
    });
    let (sender, messages) = mpsc::channel();
    let feeding = Arc::clone(&tail);
    let directory = owner.options.directory.clone();
    let spawn_failed = |error| LedgerError::io("start a thread for the ledger in", &directory, error);
    let feeder = std::thread::Builder::new()
        .name("ledger-store".to_owned())
        .spawn(move || feeder::run(&feeding, &store, flush_interval))
        .map_err(spawn_failed)?;
    let ending = Ending { tail, feeder, read_side: Arc::clone(&read_side), room: Arc::clone(&room), lock };
    let thread = std::thread::Builder::new()
        .name("ledger".to_owned())
        .spawn(move || life::live(owner, &messages, ending))
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
    Ok(Ledger { shared: Arc::new(shared) })
}

fn record_opening(owner: &mut Owner, drafts: Vec<Draft>) -> Result<(), LedgerError> {
    if drafts.is_empty() {
        return Ok(());
    }
    let pending: Result<Vec<_>, _> = drafts
        .into_iter()
        .map(|draft| Prepared::new(draft, &owner.options.node, [0; 32]))
        .map(|prepared| prepared.map(|prepared| Pending { prepared, reply: None, permit: None }))
        .collect();
    let pending = pending.map_err(|error| LedgerError::Failed { reason: error.to_string() })?;
    match owner.commit(&pending) {
        Ok(_) => {
            let synced = owner.head.sync();
            synced.map_err(|error| LedgerError::io("sync the head file in", &owner.options.directory, error))
        }
        Err(Refusal::Stalled(reason)) => Err(LedgerError::Signer { reason }),
        Err(Refusal::Failed(reason)) => Err(LedgerError::Failed { reason }),
    }
}
