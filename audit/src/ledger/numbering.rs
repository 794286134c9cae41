//! Gives records their numbers and their places in the chain.
//!
//! Records go into a group that stays open until the signer is free, so numbering and hashing go on while the
//! group before is signed and the one before that is written. Nothing of this is known to anybody until a group
//! is signed and durable: when one cannot be signed, it and what was numbered behind it are taken back, and their
//! numbers are given again.

use std::sync::Arc;

use jiff::Timestamp;

use super::lending::{Left, Lending, Lent};
use super::owner::{Clock, Pending, Reply};
use super::signing::Own;
use super::stamp::Stamp;
use super::{LedgerOptions, Receipt};
use crate::chain::Chain;
use crate::digest::Digest;
use crate::journal::GroupWriter;
use crate::keys::Vault;
use crate::kind::Kind;
use crate::note::PublicKey;
use crate::record::{Draft, Outcome, Prepared, RecordError, time_text};
use crate::signers::Rotation;

/// A place in the ledger, to which numbering can go back.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) chain: Chain,
    /// The time of the last record before it.
    pub(super) time: Option<Timestamp>,
    /// The key in office there.
    pub(super) key: PublicKey,
    /// What is left of the key that is lent to.
    pub(super) left: Option<Left>,
}

/// Records that have numbers, and no signed head yet.
pub(super) struct Unsigned {
    /// Where numbering goes on if this group cannot be signed.
    pub(super) before: Place,
    /// Where the ledger stands behind this group.
    pub(super) after: Place,
    /// The time of its last record.
    pub(super) time: Timestamp,
    pub(super) group: GroupWriter,
    /// What it says about keys.
    pub(super) change: Option<Change>,
    /// Who waits for each record, with its place in the ledger.
    pub(super) waiting: Vec<(Pending, Receipt)>,
    /// How many of them are answered.
    pub(super) callers: usize,
}

/// What a group says about the ledger's keys, with the keys themselves.
pub(super) enum Change {
    /// Its first record lends to this key.
    Lend(Box<Lent>),
    /// Its last record hands the ledger over to this key.
    HandOver(Box<Own>),
}

/// Why a record got no number.
pub(super) enum Refused {
    /// The key provider did not seal its personal values.
    Stalled(String),
    /// It cannot be written at all: a fault in the program.
    Failed(String),
}

/// What gives the numbers.
pub(super) struct Numbering {
    node: String,
    group_records: usize,
    group_bytes: usize,
    vault: Arc<dyn Vault>,
    clock: Clock,
    lending: Option<Lending>,
    /// Where the ledger stands with all that has a number.
    place: Place,
    open: Option<Open>,
    /// How many bytes and records the last group had: the next one will have about as many.
    usual_bytes: usize,
    usual_records: usize,
}

/// A group that still takes records.
struct Open {
    before: Place,
    group: GroupWriter,
    stamp: Stamp,
    change: Option<Change>,
    waiting: Vec<(Pending, Receipt)>,
    callers: usize,
}

impl Open {
    fn new(before: Place, usual_bytes: usize, usual_records: usize) -> Self {
        let group = GroupWriter::new(before.chain.next(), usual_bytes);
        let waiting = Vec::with_capacity(usual_records);
        Self { before, group, stamp: Stamp::default(), change: None, waiting, callers: 0 }
    }
}

impl Numbering {
    /// Goes on from `place`.
    pub(super) fn new(options: &LedgerOptions, vault: Arc<dyn Vault>, clock: Clock, place: Place) -> Self {
        let (group_records, group_bytes) = (options.group_records, options.group_bytes);
        Self {
            node: options.node.clone(),
            lending: options.lending.clone(),
            group_records,
            group_bytes,
            vault,
            clock,
            place,
            open: None,
            usual_bytes: 0,
            usual_records: 0,
        }
    }

    /// Whether the open group takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.waiting.len() >= self.group_records || open.group.len() >= self.group_bytes
        })
    }

    /// Whether no record waits to be signed.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Gives a draft its number; one that gets none leaves no trace.
    pub(super) fn add(&mut self, pending: Pending) -> Result<(), Box<(Pending, Refused)>> {
        let now = (self.clock)();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let before = self.place.clone();
                match self.begin(now, true) {
                    Ok(open) => open,
                    Err(refused) => {
                        self.place = before;
                        return Err(Box::new((pending, refused)));
                    }
                }
            }
        };
        // Within a group time never runs backwards; between groups a jump is a record of its own.
        let time = self.place.time.map_or(now, |last| last.max(now));
        match self.put(&mut open, &pending.prepared, time) {
            Ok(receipt) => {
                open.callers += usize::from(pending.reply.is_some());
                open.waiting.push((pending, receipt));
                self.open = Some(open);
                Ok(())
            }
            Err(refused) => {
                if open.waiting.is_empty() {
                    self.place = open.before;
                } else {
                    self.open = Some(open);
                }
                Err(Box::new((pending, refused)))
            }
        }
    }

    /// Closes the open group, so that it can be signed.
    pub(super) fn close(&mut self) -> Option<Box<Unsigned>> {
        let open = self.open.take()?;
        (self.usual_bytes, self.usual_records) = (open.group.len(), open.waiting.len());
        Some(self.finish(open))
    }

    fn finish(&self, open: Open) -> Box<Unsigned> {
        let Open { before, group, change, waiting, callers, .. } = open;
        let time = self.place.time.unwrap_or_else(|| (self.clock)());
        Box::new(Unsigned { before, after: self.place.clone(), time, group, change, waiting, callers })
    }

    /// A group of one record, which hands the ledger over to another key. There must be no open group.
    pub(super) fn hand_over(&mut self, to: Own, reply: Reply) -> Result<Box<Unsigned>, Box<(Reply, String)>> {
        let now = (self.clock)();
        let rotation = Rotation { old: self.place.key.clone(), new: to.key.clone() };
        let prepared = match Prepared::new(rotation.draft(), &self.node, [0; 32]) {
            Ok(prepared) => prepared,
            Err(error) => return Err(Box::new((reply, error.to_string()))),
        };
        let before = self.place.clone();
        let put = self.begin(now, false).and_then(|mut open| {
            let time = self.place.time.map_or(now, |last| last.max(now));
            let receipt = self.put(&mut open, &prepared, time)?;
            Ok((open, receipt))
        });
        match put {
            Ok((mut open, receipt)) => {
                (self.place.key, self.place.left) = (to.key.clone(), None);
                open.change = Some(Change::HandOver(Box::new(to)));
                open.waiting.push((Pending { prepared, reply: Some(reply), permit: None }, receipt));
                Ok(self.finish(open))
            }
            Err(Refused::Stalled(reason) | Refused::Failed(reason)) => {
                self.place = before;
                Err(Box::new((reply, reason)))
            }
        }
    }

    /// Takes back all numbers from `place` on; gives back the drafts of the group that was open.
    pub(super) fn go_back(&mut self, place: Place) -> Vec<Pending> {
        self.place = place;
        let waiting = self.open.take().map(|open| open.waiting).unwrap_or_default();
        waiting.into_iter().map(|(pending, _)| pending).collect()
    }

    /// Begins the group in which a new epoch is declared: nothing may stand before the declaration. A clock that
    /// went back is told, and signing lent, by the group behind it. There must be no open group.
    pub(super) fn begin_epoch(&mut self) {
        let before = self.place.clone();
        self.open = Some(Open::new(before, self.usual_bytes, self.usual_records));
    }

    /// Begins a group, which may lend signing anew.
    fn begin(&mut self, now: Timestamp, may_lend: bool) -> Result<Open, Refused> {
        let before = self.place.clone();
        let mut open = Open::new(before, self.usual_bytes, self.usual_records);
        if let Some(last) = self.place.time.replace(now).filter(|last| *last > now) {
            let jump =
                clock_jump(last, now, &self.node).map_err(|error| Refused::Failed(error.to_string()))?;
            self.put(&mut open, &jump, now)?;
        }
        self.place.left = self.place.left.map(Left::after_a_head);
        // Record 0 says whose ledger it is; nothing can be lent before that.
        if let Some(lending) = self.lending.as_ref().filter(|_| may_lend && open.before.chain.size() > 0)
            && lending.is_due(self.place.left, now)
        {
            let lent = Lent::make(&self.place.key, lending, now).map_err(Refused::Stalled)?;
            let record = Prepared::new(lent.delegation.draft(), &self.node, [0; 32]);
            let record = record.map_err(|error| Refused::Failed(error.to_string()))?;
            self.put(&mut open, &record, now)?;
            self.place.left = Some(lent.left());
            open.change = Some(Change::Lend(Box::new(lent)));
        }
        Ok(open)
    }

    /// Gives one draft its place in the group.
    fn put(&mut self, open: &mut Open, prepared: &Prepared, time: Timestamp) -> Result<Receipt, Refused> {
        let chain = &mut self.place.chain;
        let (seq, prev) = (chain.next(), chain.prev());
        let bytes = open.group.record(|out| prepared.write(seq, open.stamp.text(time), prev, out));
        // `Prepared` has bounded the length already.
        let bytes = bytes.ok_or_else(|| Refused::Failed(format!("record {seq} grew too long")))?;
        let digest = Digest::leaf(bytes);
        if let Some(sidecar) = prepared.sidecar() {
            match sidecar.seal(&*self.vault, digest, time) {
                Ok(sealed) => open.group.seal(&sealed),
                Err(error) => {
                    open.group.take_back();
                    return Err(Refused::Stalled(format!("personal values cannot be sealed: {error}")));
                }
            }
        }
        chain.extend(digest);
        self.place.time = Some(time);
        Ok(Receipt { seq, time, digest })
    }
}

/// The record which says that the wall clock went backwards.
fn clock_jump(from: Timestamp, to: Timestamp, node: &str) -> Result<Prepared, RecordError> {
    let back = from.duration_since(to);
    let draft = Draft::new(Kind::ClockJumped, Outcome::Success)
        .detail("from", time_text(from))
        .detail("to", time_text(to))
        .detail(
            "back_ms",
            i64::try_from(back.as_millis()).unwrap_or(i64::MAX).min(crate::record::MAX_INTEGER),
        );
    Prepared::new(draft, node, [0; 32])
}
