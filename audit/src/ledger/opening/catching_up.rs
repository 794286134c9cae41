//! Compares the journal with the head file, and brings the query store up to it.

use std::path::PathBuf;
use std::sync::Arc;

use super::recent::Begin;
use super::{Chain, Checkpoint, Digest, Expected, Files, Group, Known, LedgerError, LedgerOptions, Replayed};
use super::{Store, StoreState, Visitor, recent, replay};
use crate::epoch;
use crate::journal::files::SegmentPath;
use crate::ledger::scrub;
use crate::ledger::sled_store::SledStore;
use crate::prefix::Prefix;
use crate::record::Seq;

/// The most records that are put into the store at once.
const BATCH_RECORDS: u64 = 4096;

/// What the journal holds, and the store that has all of it.
pub(super) struct CaughtUp {
    pub(super) replayed: Replayed,
    /// The record with which reading began.
    pub(super) checked_from: Seq,
    /// How many records were read for this.
    pub(super) read: u64,
    /// Whether a head in the journal is the one in the head file, letter by letter.
    pub(super) known_is_there: bool,
    pub(super) store: Arc<dyn Store>,
    pub(super) store_state: StoreState,
}

/// Reads the journal, refuses it if the head file or the store know of more, and fills the store.
pub(super) fn replay_into_store(
    files: &Files,
    options: &LedgerOptions,
    expected: &Expected<'_>,
    known: &Known,
) -> Result<CaughtUp, LedgerError> {
    let fresh = !files.store().exists();
    let (store, store_head, mut trouble) = match open_store(files, options, expected) {
        Ok((store, head)) => (Some(store), head, None),
        Err(reason) => (None, None, Some(reason)),
    };
    let (known_head, known_note) = match known {
        Known::Head { checkpoint, note, .. } => (Some(checkpoint), Some(note.to_string())),
        _ => (None, None),
    };
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    // Both must be met on the way, so reading begins before the one that is further behind.
    let met = [known_head, store_head.as_ref()].map(|head| head.map_or(0, |head| head.size));
    let known_by_both = met.into_iter().min().unwrap_or_default();
    let Begin { from, state, prefix } =
        recent::begin(files, &segments, expected, known_by_both, options.reread_bytes)
            .unwrap_or_else(|| Begin { from: 0, state: Replayed::genesis(expected.key), prefix: None });
    let checked_from = state.chain.next();
    let mut walk = Walk::new(known_head, store_head.as_ref(), store.as_deref(), &state.chain);
    walk.known_note = known_note;
    if let Some(prefix) = &prefix {
        walk.must_not_hold(prefix);
    }
    let replayed = replay(files, segments.get(from..).unwrap_or_default(), state, expected, &mut walk)?;
    walk.flush();
    compare(files, known_head, store_head.as_ref(), &replayed, &walk)?;
    trouble = trouble.or_else(|| walk.store_trouble());
    let (records, read, known_is_there) = (walk.fed, walk.read, walk.known_is_there);
    match (store, trouble) {
        (Some(store), None) => {
            let state = match records {
                0 => StoreState::Current,
                _ if fresh => {
                    let reason = "there was no query store".to_owned();
                    StoreState::Rebuilt { records, reason, set_aside: None }
                }
                _ => StoreState::CaughtUp { records },
            };
            sync_store_directory(files);
            Ok(CaughtUp { replayed, checked_from, read, known_is_there, store, store_state: state })
        }
        (store, trouble) => {
            drop(store);
            let again = rebuild(files, &segments, options, expected, trouble.unwrap_or_default())?;
            Ok(CaughtUp { read: again.read + read, known_is_there, ..again })
        }
    }
}

/// Opens the store and reads its ends, so that a store which opens and cannot be read is found now.
fn open_store(
    files: &Files,
    options: &LedgerOptions,
    expected: &Expected<'_>,
) -> Result<(Arc<dyn Store>, Option<Checkpoint>), String> {
    if let Some(reason) = scrub::store_marked(files) {
        return Err(reason);
    }
    let store: Arc<dyn Store> = Arc::new(
        SledStore::open(&files.store(), options.store_cache_bytes)
            .map_err(|error| format!("it could not be opened: {error}"))?,
    );
    let unreadable = |error| format!("it could not be read: {error}");
    let Some(note) = store.head().map_err(unreadable)? else { return Ok((store, None)) };
    let head = Checkpoint::from_note(&note).ok().filter(|(head, note)| {
        // An earlier key or a lent one may have signed it. What it says is compared with the journal.
        epoch::split(&head.origin).0 == expected.origin
            && (!note.names(expected.key) || note.verify(expected.key).is_ok())
    });
    let (head, _) = head.ok_or("it belongs to another ledger, or its head was changed")?;
    for seq in [0, head.size.saturating_sub(1)].map(Seq::new) {
        let found = store.range(seq, 1).map_err(unreadable)?;
        if found.first().is_none_or(|stored| stored.seq != seq) {
            return Err(format!("record {seq} is missing from it"));
        }
    }
    Ok((store, Some(head)))
}

/// The journal must have everything that others remember of it.
fn compare(
    files: &Files,
    known: Option<&Checkpoint>,
    store: Option<&Checkpoint>,
    replayed: &Replayed,
    walk: &Walk<'_>,
) -> Result<(), LedgerError> {
    let size = replayed.chain.size();
    if let Some(known) = known {
        if known.size > size {
            if let Some(torn) = &replayed.torn {
                return Err(LedgerError::Damaged {
                    segment: torn.segment.name(),
                    offset: torn.offset,
                    seq: replayed.chain.next(),
                    what: format!("{}, and the head file says that it had been acknowledged", torn.what),
                });
            }
            return Err(LedgerError::Behind { journal: size, known: known.size, witness: files.head() });
        }
        let named = replayed.epochs.at(known.size).is_none_or(|epoch| epoch.origin == known.origin);
        if !named || walk.root_at_known != Some(known.root) {
            return Err(LedgerError::Forked { size: known.size, witness: files.head() });
        }
    }
    match store {
        Some(store) if store.size > size => {
            Err(LedgerError::Behind { journal: size, known: store.size, witness: files.store() })
        }
        _ => Ok(()),
    }
}

/// Puts what the store lacks into it while the journal is read.
struct Walk<'a> {
    known_size: Option<u64>,
    /// The head file's words.
    known_note: Option<String>,
    root_at_known: Option<Digest>,
    store_head: Option<&'a Checkpoint>,
    /// Whether the journal has led to the store's own head, so that the rest may be added.
    store_matches: bool,
    target: Option<&'a dyn Store>,
    waiting: Vec<Group<Vec<u8>>>,
    waiting_records: u64,
    fed: u64,
    read: u64,
    known_is_there: bool,
    failure: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(
        known: Option<&Checkpoint>,
        store_head: Option<&'a Checkpoint>,
        target: Option<&'a dyn Store>,
        begin: &Chain,
    ) -> Self {
        let (size, root) = (begin.size(), begin.frontier().root());
        Self {
            known_size: known.map(|known| known.size),
            known_note: None,
            root_at_known: known.filter(|known| known.size == size).map(|_| root),
            store_head,
            store_matches: match store_head {
                Some(head) => head.size == size && head.root == root,
                None => size == 0,
            },
            target,
            waiting: Vec::new(),
            waiting_records: 0,
            fed: 0,
            read: 0,
            known_is_there: false,
            failure: None,
        }
    }

    /// A store that has what was pruned is made anew.
    fn must_not_hold(&mut self, prefix: &Prefix) {
        if let (Some(store), Some(gone)) = (self.target, prefix.first_omitted())
            && store.range(gone, 1).is_ok_and(|found| found.first().is_some_and(|found| found.seq == gone))
        {
            self.failure = Some("it holds records that were pruned".to_owned());
        }
    }

    /// Puts what waits into the store.
    fn flush(&mut self) {
        if let (Some(store), None) = (self.target, &self.failure) {
            let groups: Vec<_> = self.waiting.iter().collect();
            match store.apply(&groups) {
                Ok(()) => self.fed += self.waiting_records,
                Err(error) => self.failure = Some(format!("it could not be written: {error}")),
            }
        }
        self.waiting.clear();
        self.waiting_records = 0;
    }

    /// Why the store has to be made anew, if it has.
    fn store_trouble(&self) -> Option<String> {
        let other = || "it holds other records than the journal".to_owned();
        self.failure.clone().or_else(|| (!self.store_matches).then(other))
    }
}

impl Visitor for Walk<'_> {
    fn pruned(&mut self, prefix: &Prefix) {
        let (size, root) = (prefix.size(), prefix.checkpoint().root);
        if self.known_size == Some(size) {
            self.root_at_known = Some(root);
        }
        self.must_not_hold(prefix);
        match self.store_head {
            // An empty store gets what was kept. It is whole only with the last of it, so all goes in at once.
            _ if self.store_matches => {
                self.waiting = prefix.groups();
                self.waiting_records = prefix.kept();
                self.flush();
            }
            Some(head) if head.size == size => self.store_matches = head.root == root,
            _ => {}
        }
    }

    fn record(&mut self, chain: &Chain) {
        self.read += 1;
        let size = chain.size();
        if self.known_size == Some(size) {
            self.root_at_known = Some(chain.frontier().root());
        }
    }

    fn group(&mut self, group: &Group<&[u8]>, chain: &Chain) {
        self.known_is_there |= self.known_note.as_ref().is_some_and(|note| note.as_bytes() == group.note());
        if self.store_matches {
            if let Ok(owned) = Group::parse(group.frame().to_vec()) {
                self.waiting_records += owned.count();
                self.waiting.push(owned);
            }
            if self.waiting_records >= BATCH_RECORDS {
                self.flush();
            }
        } else if let Some(head) = self.store_head
            && head.size == chain.size()
        {
            self.store_matches = head.root == chain.frontier().root();
        }
    }
}

/// Moves the store away and makes it anew from the journal.
fn rebuild(
    files: &Files,
    segments: &[SegmentPath],
    options: &LedgerOptions,
    expected: &Expected<'_>,
    reason: String,
) -> Result<CaughtUp, LedgerError> {
    tracing::warn!(reason, "the query store is made anew from the journal");
    let set_aside = set_store_aside(files)?;
    let path = files.store();
    let unusable =
        |error: crate::ledger::store::StoreError| LedgerError::Store { path: path.clone(), reason: error.0 };
    let store: Arc<dyn Store> =
        Arc::new(SledStore::open(&path, options.store_cache_bytes).map_err(unusable)?);
    let state = Replayed::genesis(expected.key);
    let mut walk = Walk::new(None, None, Some(store.as_ref()), &state.chain);
    let replayed = replay(files, segments, state, expected, &mut walk)?;
    walk.flush();
    if let Some(reason) = walk.failure {
        return Err(LedgerError::Store { path, reason });
    }
    let (records, read) = (walk.fed, walk.read);
    sync_store_directory(files);
    let store_state = StoreState::Rebuilt { records, reason, set_aside };
    Ok(CaughtUp { replayed, checked_from: Seq::ZERO, read, known_is_there: false, store, store_state })
}

/// Keeps one damaged store, the latest; it is only ever a copy of the journal.
fn set_store_aside(files: &Files) -> Result<Option<PathBuf>, LedgerError> {
    let (from, to) = (files.store(), files.directory().join("store.damaged"));
    if !from.exists() {
        return Ok(None);
    }
    let failed = |error| LedgerError::io("set the damaged query store aside as", &to, error);
    if to.exists() {
        std::fs::remove_dir_all(&to).or_else(|_| std::fs::remove_file(&to)).map_err(failed)?;
    }
    std::fs::rename(&from, &to).map_err(failed)?;
    Ok(Some(to))
}

/// sled never syncs the names of its files; a store that is lost to a power cut would only be made anew,
/// so a failure here is no reason to stop.
fn sync_store_directory(files: &Files) {
    for name in ["conf", "db", "."] {
        let _ = std::fs::File::open(files.store().join(name)).and_then(|file| file.sync_all());
    }
    let _ = std::fs::File::open(files.directory()).and_then(|file| file.sync_all());
}
