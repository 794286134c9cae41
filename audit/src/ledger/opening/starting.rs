//! Records what opening has to say, and starts the threads that own the ledger from then on.
//!
//! The first records go through the same steps as every later one, one after the other, before anybody else may
//! append: what was found and done is durable before anything stands on it.

use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::time::Instant;

use tokio::sync::{Semaphore, watch};

use super::life::{self, Ending};
use super::resuming::{self, Step};
use super::{Again, Replayed};
use crate::disk::Disk;
use crate::epoch::Epoch;
use crate::journal::Files;
use crate::keys::Vault;
use crate::kind::Kind;
use crate::ledger::committer::Committer;
use crate::ledger::feeder::Feeder;
use crate::ledger::head_writer::HeadWriter;
use crate::ledger::inbox::inbox;
use crate::ledger::indexer::Indexer;
use crate::ledger::journal_writer::JournalWriter;
use crate::ledger::numbering::{Numbering, Place, Refused};
use crate::ledger::owner::{Clock, Owner, Pending};
use crate::ledger::publisher::Publisher;
use crate::ledger::reader::{ReadSide, Reader};
use crate::ledger::signing::{Own, Signing, Unable};
use crate::ledger::store::Store;
use crate::ledger::tail::Tail;
use crate::ledger::writing::Writing;
use crate::ledger::{
    Ledger, LedgerError, LedgerOptions, LedgerStatus, Opened, PERMIT_BYTES, Shared, StoreState,
};
use crate::note::PublicKey;
use crate::record::{Draft, FORMAT_VERSION, Outcome, Prepared};

/// What opening itself has to say in the ledger.
pub(super) fn opening_drafts(
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
    if let Step::Begin { plan, .. } = step {
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

pub(super) struct Parts {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: LedgerOptions,
    pub(super) own: Own,
    pub(super) vault: Arc<dyn Vault>,
    pub(super) clock: Clock,
    pub(super) replayed: Replayed,
    pub(super) pruned: u64,
    pub(super) epochs: Vec<Epoch>,
    pub(super) journal: JournalWriter,
    pub(super) head: HeadWriter,
    pub(super) store: Arc<dyn Store>,
}

/// Records what opening has to say, does what may be done only then, and starts the threads.
pub(super) fn start(
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
    let (sender, messages) = inbox();
    let (orders, to_do) = mpsc::sync_channel(1);
    let committer = Arc::new(Committer {
        signing: Mutex::new((signing, to_do)),
        writing: Mutex::new(writing),
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
pub(super) fn record_opening(
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
