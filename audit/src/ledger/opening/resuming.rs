//! Begins a new epoch, as a recovery has planned it.
//!
//! The plan is not trusted: it is followed only if the journal is exactly what it says is kept, and the record
//! that declares the gap is the first of the new epoch. The plan is taken away once that record is durable; an
//! interrupted start finds it again and goes on.

use super::{Chain, Disk, Draft, Expected, Files, Group, LedgerError, LedgerOptions, PublicKey};
use super::{Replayed, Store as _, Visitor, replay};
use crate::checkpoint::Checkpoint;
use crate::epoch::{self, Epoch};
use crate::journal::files::read_bounded;
use crate::ledger::sled_store::SledStore;
use crate::recovery::{MAX_PLAN_BYTES, Plan};

/// The plan beside the ledger, if there is one.
fn plan(files: &Files) -> Result<Option<Plan>, LedgerError> {
    let unfinished = files.recovery_unfinished();
    if unfinished.exists() {
        return Err(LedgerError::RecoveryUnfinished { path: unfinished });
    }
    let path = files.recovery();
    let bytes = match read_bounded(&path, MAX_PLAN_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("read", path, error)),
    };
    Plan::parse(&bytes).map(Some).map_err(|what| LedgerError::RecoveryPlan { path, what })
}

/// What the plan asks for, after the journal was read.
pub(super) enum Step {
    /// There is no plan.
    None,
    /// The new epoch has begun; only the plan is still there.
    Begun,
    /// The new epoch begins now.
    Begin {
        /// As it was planned.
        plan: Box<Plan>,
        /// The key under which what is kept was written, if that is another than ours.
        former: Option<Box<PublicKey>>,
    },
}

impl Step {
    /// The ledger's name from now on, if it has one already.
    pub(super) fn origin(&self, replayed: &Replayed) -> Option<String> {
        match self {
            Self::Begin { plan, .. } => Some(plan.resumed.origin.clone()),
            Self::None | Self::Begun => replayed.epochs.origin().map(str::to_owned),
        }
    }

    /// The key under which the records are written that are there.
    pub(super) fn former(&self) -> Option<&PublicKey> {
        match self {
            Self::Begin { former, .. } => former.as_deref(),
            Self::None | Self::Begun => None,
        }
    }

    /// The ledger's epochs, with the one that begins now.
    pub(super) fn epochs(&self, replayed: &Replayed) -> Vec<Epoch> {
        let mut epochs = replayed.epochs.all().to_vec();
        if let Self::Begin { plan, .. } = self {
            let resumed = plan.resumed.clone();
            epochs.push(Epoch {
                number: resumed.epoch,
                origin: resumed.origin.clone(),
                start: replayed.chain.size(),
                resumed: Some(resumed),
                leaf: None,
            });
        }
        epochs
    }

    /// Whether what is recorded next goes into the last segment: an epoch begins one of its own.
    pub(super) fn goes_on_in_last(&self, replayed: &Replayed) -> bool {
        let begun = replayed.epochs.announced().is_some() || replayed.chain.size() == 0;
        !matches!(self, Self::Begin { .. }) || begun
    }

    /// The new epoch is on the disk, with what the plan said: the plan, which names a person, is taken away.
    pub(super) fn finish(&self, disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
        if matches!(self, Self::None) {
            return Ok(());
        }
        let path = files.recovery();
        let removed = disk.remove(&path).and_then(|()| disk.sync_directory(files.directory()));
        removed.map_err(|error| LedgerError::io("take away the recovery plan", path, error))
    }
}

/// Reads the plan, compares it with the journal, and moves the store of the lost epoch out of the way.
pub(super) fn step(
    files: &Files,
    options: &LedgerOptions,
    expected: &Expected<'_>,
) -> Result<Step, LedgerError> {
    let Some(mut plan) = plan(files)? else { return Ok(Step::None) };
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let replayed = replay(files, &segments, Replayed::genesis(expected.key), expected, &mut Unseen)?;
    let refuse = |what: String| Err(LedgerError::RecoveryPlan { path: files.recovery(), what });
    let (base, number) = epoch::split(&plan.resumed.origin);
    if base != expected.origin {
        return refuse(format!("it is for the ledger {base:?}, not {:?}", expected.origin));
    }
    let (chain, kept) = (&replayed.chain, &plan.kept);
    let reached = replayed.epochs.origin().map_or(0, |origin| epoch::split(origin).1);
    if reached >= number && chain.size() > 0 {
        return Ok(Step::Begun);
    }
    if kept.records != chain.size() || kept.root != chain.frontier().root() || kept.note != replayed.note {
        let there = chain.size();
        return refuse(format!("it keeps {} records, and the journal has {there} or others", kept.records));
    }
    if replayed.epochs.announced().is_some_and(|origin| origin != plan.resumed.origin) {
        return refuse("the journal has begun another epoch".to_owned());
    }
    let office = replayed.signers.own().last().map(|tenure| &tenure.key);
    let former = office.filter(|key| *key != expected.key).cloned().map(Box::new);
    match (&plan.resumed.key, &former) {
        (None, None) => {}
        (Some(key), Some(_)) if key == expected.key => {}
        (Some(key), _) => {
            return refuse(format!("it goes on under {key}, and this gateway's key is {}", expected.key));
        }
        (None, Some(former)) => {
            return refuse(format!(
                "what it keeps is signed by {former}, and this gateway's key is {}: if the record of the handover is lost, \
                 --handed-over-to names the key",
                expected.key
            ));
        }
    }
    ask_store(files, options, &mut plan, expected.key);
    set_store_aside(files, &plan)?;
    Ok(Step::Begin { plan: Box::new(plan), former })
}

/// A journal that has begun an epoch which no record declares needs the plan for it.
pub(super) fn check_announced(files: &Files, replayed: &Replayed, step: &Step) -> Result<(), LedgerError> {
    match (replayed.epochs.announced(), step) {
        (Some(origin), Step::None) => Err(LedgerError::RecoveryPlan {
            path: files.recovery(),
            what: format!("it is missing, and the journal has begun {origin:?}"),
        }),
        _ => Ok(()),
    }
}

struct Unseen;

impl Visitor for Unseen {
    fn record(&mut self, _: &Chain) {}
    fn group(&mut self, _: &Group<&[u8]>, _: &Chain) {}
}

/// What the query store still knows of the lost end, also when it was moved by a start that was interrupted.
fn ask_store(files: &Files, options: &LedgerOptions, plan: &mut Plan, key: &PublicKey) {
    let aside = files.directory().join(&plan.resumed.set_aside).join("store");
    let path = if aside.exists() { aside } else { files.store() };
    if !path.exists() {
        return;
    }
    let store = SledStore::open(&path, options.store_cache_bytes);
    let note = store.ok().and_then(|store| store.head().ok().flatten());
    let head = note.as_deref().and_then(|note| Checkpoint::from_note(note).ok());
    let resumed = &mut plan.resumed;
    if let Some((head, note)) = head
        && note.verify(key).is_ok()
        && head.origin == resumed.origin_before
        && head.size > resumed.first.saturating_add(resumed.at_least)
    {
        resumed.at_least = head.size.saturating_sub(resumed.first);
        resumed.lost_head = Some(note.keeping(std::slice::from_ref(key)).to_string());
    }
}

/// Moves the query store to where the rest of the lost epoch lies; it is made anew from what is kept.
fn set_store_aside(files: &Files, plan: &Plan) -> Result<(), LedgerError> {
    let (from, place) = (files.store(), files.directory().join(&plan.resumed.set_aside));
    let to = place.join("store");
    if !from.exists() || to.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&place)
        .and_then(|()| std::fs::rename(&from, &to))
        .map_err(|error| LedgerError::io("set the query store aside as", to, error))
}

/// The record with which the new epoch begins.
pub(super) fn draft(plan: &Plan) -> Draft {
    plan.resumed.draft().subject(plan.by.as_str()).reason(plan.reason.as_str())
}
