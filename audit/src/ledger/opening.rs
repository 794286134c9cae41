//! Opens a ledger: finds out what is there before anything is added.
//!
//! In this order: take the lock; make durable what a killed process left; read the head file; read the journal's
//! recent part (`recent`) and compare it with the head file; bring the query store up to the journal, or make it anew; set an
//! unfinished end aside; record what was done. What does not fit is refused with its own explanation, and
//! nothing is changed by then. A ledger that lost records goes on only as a recovery has planned it (`resuming`).

use std::sync::Arc;

use jiff::Timestamp;

use super::head_writer::HeadWriter;
use super::journal_writer::JournalWriter;
use super::numbering::{Numbering, Place};
use super::owner::Clock;
use super::pruning;
use super::replay::{Expected, Replayed, Visitor, replay};
use super::signing::{Own, Signing};
use super::store::Store;
use super::writing::Writing;
use super::{Ledger, LedgerError, LedgerOptions, Opened, StoreState, torn};
use crate::chain::Chain;
use crate::checkpoint::{Checkpoint, CheckpointError, check_origin};
use crate::digest::Digest;
use crate::disk::{Disk, RealDisk};
use crate::epoch;
use crate::journal::files::SegmentPath;
use crate::journal::{Files, Group};
use crate::keys::{HeadSigner, Vault};
use crate::note::PublicKey;
use crate::record::Draft;

mod again;
mod catching_up;
mod directory;
mod known;
mod life;
mod recent;
mod rereading;
mod restoring;
mod resuming;
mod starting;

pub(super) use again::Again;
use catching_up::CaughtUp;
pub use directory::not_held;
use directory::{lock, make_directory, make_journal_directory, settle};
use known::{Known, check_heads, read_head};
pub use rereading::reread;
use starting::{Parts, opening_drafts, record_opening, start};

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
    // What is kept may be under a key that was replaced by a record which is lost.
    let expected = Expected { key: step.former().unwrap_or(&key), ..expected };
    let CaughtUp { replayed, checked_from, read, store, store_state, .. } =
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
    let records = replayed.chain.size();
    let opened = Opened { created, records, checked_from, read, torn, store: store_state };
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
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let length = |segment: &SegmentPath| std::fs::metadata(&segment.path).map_or(0, |found| found.len());
    let all: u64 = segments.iter().map(length).sum();
    let mut reread_bytes = options.reread_bytes;
    loop {
        let options = LedgerOptions { reread_bytes, ..options.clone() };
        let read = catching_up::replay_into_store(files, &options, expected, known).and_then(|caught_up| {
            check_heads(files, &caught_up, known, expected.key)?;
            Ok(caught_up)
        });
        match read {
            // The key that signed the end may be named only by a record before the place where reading began.
            Err(LedgerError::ForeignKey { .. }) if reread_bytes < all => {
                reread_bytes = reread_bytes.max(LEAST_AGAIN_BYTES).saturating_mul(8);
            }
            other => return other,
        }
    }
}

/// The name of a ledger's first epoch: later ones are made from it.
fn check_base(origin: &str) -> Result<(), CheckpointError> {
    check_origin(origin)?;
    if epoch::split(origin).1 == 1 { Ok(()) } else { Err(CheckpointError::Epoch) }
}

/// When reading has to begin earlier, it begins at least so many times eight bytes before the end.
const LEAST_AGAIN_BYTES: u64 = 1 << 20;
