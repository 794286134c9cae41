//! Makes a pack from a ledger.

use std::collections::BTreeMap;
use std::io::{self, Write};

use sallyport_audit::export::Exporter;
use sallyport_audit::note::{PublicKey, SignedNote};
use sallyport_audit::proof::Proof;
use sallyport_audit::selection::Selection;
use sallyport_audit::snapshot::{Shown, Snapshot, SnapshotError};
use sallyport_audit::tree::PathsBuilder;
use sallyport_audit::{Digest, Seq};

use super::documents::{DocumentError, documents, proof_name};
use super::{CHECKPOINT, HISTORY, Info, KEYS, MOST_PROOFS, PackWriter, RECORDS, SIGNATURE, SUMS, StoreError};
use crate::framework::Framework;
use crate::report::Report;

/// A pack could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// Nothing to pack.
    #[error("the period holds no record, so there is nothing to pack")]
    Empty,
    /// Records of the period are no longer in the ledger.
    #[error("records from {first} on, within the period, were pruned from this ledger")]
    Pruned {
        /// The first of them.
        first: u64,
    },
    /// The record before the first one of the period is no longer in the ledger.
    #[error(
        "record {before}, the one before the first of the period, was pruned from this ledger: nothing would show \
             where the period begins"
    )]
    Boundary {
        /// Its number.
        before: u64,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] SnapshotError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A page or table.
    #[error("a document could not be made: {0}")]
    Document(DocumentError),
    /// The key.
    #[error("the pack could not be signed: {0}")]
    Sign(String),
    /// A file of the pack.
    #[error("cannot write the pack: {0}")]
    Write(#[from] io::Error),
}

impl MakeError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "give a period in which the ledger has records: `auditctl stats` shows its days",
            Self::Boundary { .. } => {
                "give a period that begins later, or restore the records from the archive beside this ledger, and ask there"
            }
            Self::Pruned { .. } => "restore them from the archive beside this ledger, and ask there",
            Self::Ledger(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Document(_) => {
                "this is a fault of the program: use `auditctl report --json`, and report it"
            }
            Self::Sign(_) => "check the key, or make the pack without one",
            Self::Write(_) => "check the room on the disk, and who may write there",
        }
    }
}

/// Signs the list of a pack's files.
pub trait Signer {
    /// The public key.
    fn key(&self) -> &PublicKey;
    /// An Ed25519 signature.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String>;
}

/// What a pack is made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The ledger up to the head that the report stands under.
    pub snapshot: &'a Snapshot,
    /// The mapping.
    pub framework: &'a Framework,
    /// The report that was made of them.
    pub report: &'a Report,
    /// The public keys with which the ledger was checked.
    pub keys: &'a [PublicKey],
}

/// Makes packs.
pub struct Maker<'a> {
    source: Source<'a>,
    info: Info,
    signer: Option<&'a dyn Signer>,
}

impl<'a> Maker<'a> {
    /// For this report; signed if there is somebody to sign.
    pub fn new(source: Source<'a>, signer: Option<&'a dyn Signer>) -> Result<Self, MakeError> {
        let key = signer.map(|signer| signer.key().to_string());
        let info = Info::of(source.report, key).ok_or(MakeError::Empty)?;
        // Whoever checks the pack could not tell that from records that were left out.
        if let Some(before) = info.scope.first.checked_sub(1)
            && source.report.population.sum.first == Some(info.scope.first)
        {
            return Err(MakeError::Boundary { before });
        }
        Ok(Self { source, info, signer })
    }

    /// Writes it. `progress` is told the name of each file that is begun.
    pub fn write(&self, mut pack: PackWriter, progress: &mut dyn FnMut(&str)) -> Result<(), MakeError> {
        let Source { snapshot, framework, report, keys } = self.source;
        if let Some(selection) = self.info.scope.history() {
            progress(HISTORY);
            pack.file(HISTORY, |out| export(snapshot, &selection, out))?;
        }
        progress(RECORDS);
        let selection = self.info.scope.selection();
        pack.file(RECORDS, |out| export(snapshot, &selection, out))?;
        let wanted = report.exceptional(MOST_PROOFS);
        if !wanted.is_empty() {
            progress("proofs");
            let mut proofs = Proofs::new(&wanted, report.head.size);
            snapshot.records(&mut |shown| {
                proofs.take(shown);
                Ok(())
            })?;
            for (name, proof) in proofs.finish(snapshot.note()) {
                pack.file(&name, |out| fill(out, &proof))?;
            }
        }
        progress("documents");
        for (name, bytes) in documents(report, framework, &self.info).map_err(MakeError::Document)? {
            pack.file(&name, |out| fill(out, &bytes))?;
        }
        pack.file(CHECKPOINT, |out| fill(out, snapshot.note().as_bytes()))?;
        let listed: Vec<String> = keys.iter().map(|key| format!("{key}\n")).collect();
        let listed = listed.concat();
        pack.file(KEYS, |out| fill(out, listed.as_bytes()))?;
        let sums = pack.sums();
        pack.file(SUMS, |out| fill(out, sums.as_bytes()))?;
        if let Some(signer) = self.signer {
            let text = super::sums::note_text(&self.info.head.origin, &sums);
            let signature = signer.sign(text.as_bytes()).map_err(MakeError::Sign)?;
            let note = SignedNote::new(text, signer.key(), &signature).to_string();
            pack.file(SIGNATURE, |out| fill(out, note.as_bytes()))?;
        }
        Ok(pack.finish()?)
    }
}

fn fill(out: &mut dyn Write, bytes: &[u8]) -> Result<(), MakeError> {
    Ok(out.write_all(bytes)?)
}

/// Writes an export of the records that a selection names; those of a range must all be there.
fn export(snapshot: &Snapshot, selection: &Selection, out: &mut dyn Write) -> Result<(), MakeError> {
    let mut exporter = Exporter::new(io::BufWriter::new(out), snapshot.note(), selection)?;
    let mut pruned = None;
    snapshot.records(&mut |shown| match shown {
        Shown::Record { seq, bytes, leaf } => exporter.record(seq, bytes, leaf),
        Shown::Omitted(run) => {
            let end = run.first.saturating_add(run.count());
            if selection.is_range()
                && selection.from.get() < end
                && selection.to.is_none_or(|to| run.first <= to.get())
            {
                pruned.get_or_insert(run.first.max(selection.from.get()));
            }
            exporter.pruned(run);
            Ok(())
        }
    })?;
    if let Some(first) = pruned {
        return Err(MakeError::Pruned { first });
    }
    exporter.finish()?;
    Ok(())
}

/// Makes the proofs of some records, in one reading.
pub(super) struct Proofs {
    paths: PathsBuilder,
    records: BTreeMap<u64, Option<Vec<u8>>>,
}

impl Proofs {
    pub(super) fn new(wanted: &[u64], size: u64) -> Self {
        Self {
            paths: PathsBuilder::new(wanted.iter().copied(), size),
            records: wanted.iter().map(|seq| (*seq, None)).collect(),
        }
    }

    pub(super) fn take(&mut self, shown: Shown<'_>) {
        match shown {
            Shown::Record { seq, bytes, leaf } => {
                self.paths.push(leaf);
                if let Some(record) = self.records.get_mut(&seq.get()) {
                    *record = Some(bytes.to_vec());
                }
            }
            Shown::Omitted(run) => drop(self.paths.push_subtree(run.height, run.root)),
        }
    }

    /// Each proof with its file's name.
    pub(super) fn finish(mut self, note: &str) -> Vec<(String, Vec<u8>)> {
        let paths: BTreeMap<u64, Vec<Digest>> = self.paths.finish();
        let proof = |(index, path): (u64, Vec<Digest>)| {
            let record = self.records.remove(&index).flatten()?;
            let proof = Proof { record: Some(record), index: Seq::new(index), path, note: note.to_owned() };
            Some((proof_name(index), proof.to_string().into_bytes()))
        };
        paths.into_iter().filter_map(proof).collect()
    }
}
