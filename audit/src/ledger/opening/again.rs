//! Opens a ledger's files again after a write or sync failed, under the same handles, readers and numbers.
//!
//! In this order: put the files back to what was acknowledged (`restoring`); read them as at every opening, and compare them
//! with what this process remembers; bring the query store up to them, or make it anew; record what happened, through
//! the same steps as every other record. Only when that record is durable is anything else taken. A step that fails
//! leaves everything refused, and all of them may be done again; what is read and is not what was acknowledged ends the
//! ledger, as it would keep it from being opened.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::catching_up::CaughtUp;
use super::restoring::{Restored, restore};
use super::{Disk, Expected, Files, LedgerError, LedgerOptions, StoreState, Vault};
use super::{JournalWriter, Numbering, Place, Signing, Writing};
use super::{read_all, read_head, record_opening};
use crate::epoch;
use crate::kind::Kind;
use crate::ledger::feeder::Feeder;
use crate::ledger::owner::Clock;
use crate::ledger::reader::ReadSide;
use crate::ledger::writing::Failure;
use crate::record::{Draft, Outcome, time_text};

/// What opening again needs to know of the ledger.
pub(in crate::ledger) struct Again {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Files,
    /// With the origin of its epoch.
    pub(super) options: LedgerOptions,
    pub(super) vault: Arc<dyn Vault>,
    pub(super) clock: Clock,
    pub(super) read_side: Arc<ReadSide>,
    pub(super) feeder: Arc<Feeder>,
}

impl Again {
    /// See the module's documentation. Gives back what numbers from here on.
    pub(in crate::ledger) fn open(
        &self,
        signing: &mut Signing,
        writing: &mut Writing,
    ) -> Result<Box<Numbering>, LedgerError> {
        let restored = restore(self.disk.as_ref(), &self.files, writing)?;
        // What was lent behind the last acknowledged record was not, so it is lent anew.
        let place = Place { left: None, ..writing.place.clone() };
        signing.go_back(&place);
        let store = self.read(&place, writing)?;
        writing.journal = JournalWriter::new(
            Arc::clone(&self.disk),
            self.files.clone(),
            self.options.origin.clone(),
            self.options.segment_bytes,
            writing.journal.end(),
        )?;
        let mut numbering =
            Box::new(Numbering::new(&self.options, Arc::clone(&self.vault), Arc::clone(&self.clock), place));
        let failure = writing.failure.take();
        let drafts = drafts(failure.as_ref(), &restored, &store);
        writing.head = restored.head;
        let recorded = record_opening(&self.options.node, drafts, &mut numbering, signing, writing);
        if recorded.is_err() {
            // Until it is recorded, nothing has become better.
            writing.failure = failure;
        }
        recorded.map(|()| numbering)
    }

    /// Reads the files, and exchanges the store for one that has everything in them.
    fn read(&self, place: &Place, writing: &Writing) -> Result<StoreState, LedgerError> {
        let options =
            LedgerOptions { origin: epoch::split(&self.options.origin).0.to_owned(), ..self.options.clone() };
        let known = read_head(&self.files, &options)?;
        let expected = Expected { origin: &options.origin, key: &place.key };
        self.let_go_of_store();
        let CaughtUp { replayed, store, store_state, .. } =
            read_all(&self.files, &options, &expected, &known)?;
        let acknowledged = writing.place.chain.checkpoint(&self.options.origin);
        let found = replayed.chain.checkpoint(&self.options.origin);
        if found != acknowledged || *replayed.note != *writing.note || replayed.torn.is_some() {
            let segment = replayed.last.and_then(|(path, _)| Some(path.file_name()?.to_owned()));
            return Err(LedgerError::Damaged {
                segment: segment.unwrap_or_default().to_string_lossy().into_owned(),
                offset: 0,
                seq: replayed.chain.next(),
                what: format!("{} records were acknowledged, and it ends otherwise", acknowledged.size),
            });
        }
        *self.read_side.store.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&store));
        // Only now: what was in memory is in the new store.
        let fed = self.feeder.start_again(store);
        fed.map_err(|error| {
            LedgerError::io("start a thread for the ledger in", self.files.directory(), error)
        })?;
        self.read_side.recovering.store(false, Ordering::SeqCst);
        Ok(store_state)
    }

    /// A store is opened only once at a time. One that has failed does not recover by itself.
    fn let_go_of_store(&self) {
        if let Err(reason) = self.feeder.stop() {
            tracing::info!(reason, "the query store is opened again");
        }
        self.read_side.recovering.store(true, Ordering::SeqCst);
        self.read_side.store.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What is to be said in the ledger.
fn drafts(failure: Option<&Failure>, restored: &Restored, store: &StoreState) -> Vec<Draft> {
    let mut draft = Draft::new(Kind::LedgerRecovered, Outcome::Success).detail("bytes", restored.bytes);
    if let Some(Failure { reason, when }) = failure {
        draft = draft.detail("cause", reason.as_str()).detail("when", time_text(*when));
    }
    if !restored.set_aside.is_empty() {
        draft = draft.detail("set_aside", restored.set_aside.join(" "));
    }
    let mut drafts = vec![draft];
    if let StoreState::Rebuilt { records, reason, .. } = store {
        drafts.push(
            Draft::new(Kind::LedgerRebuilt, Outcome::Success)
                .detail("reason", reason.as_str())
                .detail("records", *records),
        );
    }
    drafts
}
