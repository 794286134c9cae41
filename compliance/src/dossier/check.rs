//! Checks a dossier with nothing but public keys.

use sallyport_audit::note::PublicKey;
use sallyport_audit::tree::verify_inclusion;
use sallyport_audit::{Checkpoint, Digest, Record, Seq};

use super::ties::Ties;
use super::{Dossier, FORMAT, MOST_ITEMS, Story, part};

/// What a good dossier shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The head under which all of it stands.
    pub head: Checkpoint,
    /// The records.
    pub records: Vec<Record>,
}

/// Why a dossier is not to be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a dossier.
    #[error("it is no dossier in the form {FORMAT}")]
    Form,
    /// Without a key everything could be proved.
    #[error("no public key was given")]
    NoKey,
    /// The head.
    #[error("its checkpoint: {0}")]
    Head(String),
    /// A record is not the ledger's.
    #[error("record {0} is not the one that stands in the ledger at this number")]
    NotIncluded(Seq),
    /// A record cannot be read, or bears another number.
    #[error("item {0} is no record of this number")]
    Record(Seq),
    /// A record that has nothing to do with the others.
    #[error("record {0} does not belong to it, or stands in another part of it")]
    Foreign(Seq),
    /// Nothing ties the grant to the request.
    #[error("no record of it says that its grant came of its request")]
    Untied,
    /// None of its records is about it.
    #[error("none of its records is of {0}, which it says it is about")]
    About(String),
    /// The story is another one.
    #[error("the story at its top does not follow from its records")]
    Story,
}

impl Fault {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Form => "give the file that `auditctl dossier` wrote, unchanged",
            Self::NoKey => "give the ledger's public key with --key or --key-file",
            _ => "do not believe it; ask for a new one, and for the ledger itself",
        }
    }
}

/// Checks it against `keys`, of which one must have signed the head.
pub fn check(dossier: &Dossier, keys: &[PublicKey]) -> Result<Shown, Fault> {
    if dossier.format != FORMAT || dossier.items.is_empty() || dossier.items.len() > 3 * MOST_ITEMS {
        return Err(Fault::Form);
    }
    if keys.is_empty() {
        return Err(Fault::NoKey);
    }
    let (head, note) =
        Checkpoint::from_note(&dossier.checkpoint).map_err(|error| Fault::Head(error.to_string()))?;
    note.verify_any(keys).map_err(|error| Fault::Head(error.to_string()))?;
    let mut records: Vec<Record> = Vec::new();
    for item in &dossier.items {
        let leaf = Digest::leaf(item.record.as_bytes());
        if !verify_inclusion(&leaf, item.seq.get(), head.size, &item.path, &head.root) {
            return Err(Fault::NotIncluded(item.seq));
        }
        let record = Record::parse(item.record.as_bytes()).map_err(|_| Fault::Record(item.seq))?;
        if record.seq != item.seq || records.last().is_some_and(|last| last.seq >= record.seq) {
            return Err(Fault::Record(item.seq));
        }
        if part(&record) != item.part {
            return Err(Fault::Foreign(item.seq));
        }
        records.push(record);
    }
    if Story::of(&records) != dossier.story {
        return Err(Fault::Story);
    }
    Ties::of(&dossier.about, &records)?.tell(&dossier.about)?;
    Ok(Shown { head, records })
}
