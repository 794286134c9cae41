//! Where records come from when more is wanted than a report: the ledger itself, or a pack of it.
//!
//! Both give the same records with the same proofs; a pack only has fewer of them. Whoever reads from here need not know
//! which it is.

use std::collections::{BTreeMap, BTreeSet};

use sallyport_audit::export::{self, ExportError};
use sallyport_audit::note::PublicKey;
use sallyport_audit::record::RecordReader;
use sallyport_audit::snapshot::{Shown, Snapshot, SnapshotError};
use sallyport_audit::tree::PathsBuilder;
use sallyport_audit::{Checkpoint, Digest, Seq};

use crate::pack::{CHECKPOINT, HISTORY, INFO, Info, PackReader, RECORDS, StoreError};
use crate::scope::Survey;

/// Records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReelError {
    /// From the ledger.
    #[error(transparent)]
    Ledger(#[from] SnapshotError),
    /// From the pack's files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pack's records are not those of a signed head.
    #[error("{name}: {error}")]
    Export {
        /// Which file.
        name: &'static str,
        /// What is wrong with it.
        error: ExportError,
    },
    /// The pack has fewer records than it says, or others.
    #[error("{0} does not hold the records that {INFO} names, or these are not all of the pack's period")]
    Partial(&'static str),
    /// The head is not signed by a given key.
    #[error("the head that the records lead to: {0}")]
    Head(String),
    /// No pack.
    #[error("{INFO} or {CHECKPOINT} is missing or cannot be read: this is no pack")]
    Form,
}

impl ReelError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Export { error, .. } => error.hint(),
            Self::Head(_) => {
                "compare the key with the one that the ledger's owner published; if it is the same, do not believe this"
            }
            Self::Partial(_) => "do not rely on this pack; `auditctl verify-pack` says more",
            Self::Form => {
                "give a ledger's directory, or a pack that `auditctl report --out` wrote; `auditctl verify-pack` says more"
            }
        }
    }

    /// Whether something is not as it was signed, as opposed to missing or unreadable.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_broken(),
            Self::Export { error, .. } => matches!(error, ExportError::Bad { .. }),
            Self::Head(_) | Self::Partial(_) => true,
            Self::Store(_) | Self::Form => false,
        }
    }
}

/// By number: a record's bytes and its audit path.
pub type Proved = BTreeMap<u64, (Vec<u8>, Vec<Digest>)>;

enum Held {
    Ledger(Snapshot),
    Pack { pack: PackReader, info: Box<Info> },
}

/// Some records of one ledger, in order, under one signed head.
pub struct Reel {
    held: Held,
    keys: Vec<PublicKey>,
    note: String,
    head: Checkpoint,
}

impl Reel {
    /// All records of a ledger, up to a head that one of `keys` signed.
    pub fn of_ledger(snapshot: Snapshot, keys: &[PublicKey]) -> Result<Self, ReelError> {
        let note = snapshot.note().to_owned();
        Self::new(Held::Ledger(snapshot), note, keys)
    }

    /// The records of a pack.
    pub fn of_pack(mut pack: PackReader, keys: &[PublicKey]) -> Result<Self, ReelError> {
        let info = pack.read(INFO)?.and_then(|bytes| serde_json::from_slice::<Info>(&bytes).ok());
        let note = pack.read(CHECKPOINT)?.and_then(|bytes| String::from_utf8(bytes).ok());
        let (info, note) = info.zip(note).ok_or(ReelError::Form)?;
        Self::new(Held::Pack { pack, info: Box::new(info) }, note, keys)
    }

    fn new(source: Held, note: String, keys: &[PublicKey]) -> Result<Self, ReelError> {
        let (head, signed) =
            Checkpoint::from_note(&note).map_err(|error| ReelError::Head(error.to_string()))?;
        if keys.is_empty() {
            return Err(ReelError::Head("no public key was given".to_owned()));
        }
        signed.verify_any(keys).map_err(|error| ReelError::Head(error.to_string()))?;
        Ok(Self { held: source, keys: keys.to_vec(), note, head })
    }

    /// The signed head.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What it says.
    pub fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// What the pack is about, if it is one.
    pub fn info(&self) -> Option<&Info> {
        match &self.held {
            Held::Ledger(_) => None,
            Held::Pack { info, .. } => Some(info),
        }
    }

    /// Shows every record that is there, in order. What was made of them counts only when this returns `Ok`.
    pub fn records(&mut self, visit: &mut dyn FnMut(Seq, &[u8], Digest)) -> Result<(), ReelError> {
        self.pieces(&mut |_, shown| {
            if let Shown::Record { seq, bytes, leaf } = shown {
                visit(seq, bytes, leaf);
            }
        })
    }

    /// The bytes and audit paths of these records, as far as they are there.
    pub fn prove(&mut self, wanted: &BTreeSet<u64>) -> Result<Proved, ReelError> {
        let size = self.head.size;
        let mut found = BTreeMap::<u64, Vec<u8>>::new();
        // Each file of a pack leads to the head by itself.
        let mut paths = BTreeMap::<&str, PathsBuilder>::new();
        self.pieces(&mut |file, shown| {
            let paths = paths.entry(file).or_insert_with(|| PathsBuilder::new(wanted.iter().copied(), size));
            match shown {
                Shown::Record { seq, bytes, leaf } => {
                    paths.push(leaf);
                    if wanted.contains(&seq.get()) {
                        found.insert(seq.get(), bytes.to_vec());
                    }
                }
                Shown::Omitted(run) => drop(paths.push_subtree(run.height, run.root)),
            }
        })?;
        let paths = paths.into_values().flat_map(PathsBuilder::finish);
        Ok(paths.filter_map(|(seq, path)| Some((seq, (found.get(&seq)?.clone(), path)))).collect())
    }

    fn pieces(&mut self, visit: &mut dyn FnMut(&'static str, Shown<'_>)) -> Result<(), ReelError> {
        match &mut self.held {
            Held::Ledger(snapshot) => Ok(snapshot.records(&mut |shown| {
                visit("", shown);
                Ok(())
            })?),
            Held::Pack { pack, info } => {
                let files = if info.scope.history().is_some() { &[HISTORY, RECORDS][..] } else { &[RECORDS] };
                let mut survey = Survey::new(info.period);
                let mut reader = RecordReader::default();
                for &name in files {
                    let mut show = |shown: Shown<'_>| {
                        if let Shown::Record { seq, bytes, .. } = shown
                            && name == RECORDS
                            && let Ok(record) = reader.read(bytes)
                        {
                            survey.take(seq, record.time);
                        }
                        visit(name, shown);
                    };
                    let checked =
                        pack.file(name, |input| Ok(export::replay(input, &self.keys, &mut show)))?;
                    let checked = checked.ok_or(ReelError::Form)?;
                    let checked = checked.map_err(|error| ReelError::Export { name, error })?;
                    if (checked.size, checked.root) != (self.head.size, self.head.root) {
                        return Err(ReelError::Head(format!("{name} is under another one")));
                    }
                    let packed = &checked.selection;
                    let is_it = if name == HISTORY {
                        info.is_history(packed)
                    } else {
                        *packed == info.scope.selection()
                    };
                    if !is_it {
                        return Err(ReelError::Partial(name));
                    }
                }
                if !survey.is_whole(info.scope, self.head.size) {
                    return Err(ReelError::Partial(RECORDS));
                }
                Ok(())
            }
        }
    }
}
