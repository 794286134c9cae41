//! Draws a sample that nobody could have chosen: the population is committed to before the seed is known.
//!
//! First the population is counted and summed up, and the commitment to it is printed. Then, and only then, the auditor
//! chooses a seed (dice, a newspaper, a public beacon). Each record of the population gets a score, and the lowest scores
//! are the sample. Anybody with the same records, commitment and seed draws the same; whoever changes the population after
//! the seed was known changes the commitment.
//!
//! The algorithm, so that anyone can do it again:
//!
//! ```text
//! commitment = SHA-256("sallyport-sample/1" LF origin LF size LF root LF query LF count LF checksum LF)
//! score      = SHA-256(commitment LF seed LF leaf LF)
//! ```
//!
//! Digests are written in hexadecimal; root and size are those of the signed head, leaf is the record's leaf hash, and
//! checksum is SHA-256 over the leaf hashes of the population in order.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::record::RecordReader;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Checkpoint, Digest, Record, Seq};
use serde::Serialize;

use crate::reel::{Reel, ReelError};
use crate::tally::{Sum, Tally};

const FORMAT: &str = "sallyport-sample/1";

/// The longest seed, in bytes.
pub const MAX_SEED_BYTES: usize = 256;

/// The most records that are drawn.
pub const MAX_SAMPLE: usize = 10_000;

/// Records from which a sample is drawn, counted and committed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// The ledger's name.
    pub origin: String,
    /// How many records the head covers.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The conditions, as JSON.
    pub query: String,
    /// How many records meet them, from where to where.
    #[serde(flatten)]
    pub sum: Sum,
    /// The digest that stands for all of this.
    pub commitment: Digest,
}

/// One record of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: &'static str,
    /// How it ended.
    pub result: &'static str,
    /// To what.
    pub object: Option<String>,
    /// In which session, by which grant, for which request: the first that is there.
    pub reference: Option<String>,
    /// Its leaf hash.
    pub leaf: Digest,
    /// What made it part of the sample.
    pub score: Digest,
}

/// Counts the records that meet `selection` and commits to them.
pub fn commit(reel: &mut Reel, selection: &Selection) -> Result<Committed, ReelError> {
    let mut tally = Tally::default();
    each(reel, selection, &mut |record, leaf| tally.take(record, leaf))?;
    let query = serde_json::to_string(selection).unwrap_or_default();
    let Checkpoint { origin, size, root } = reel.head().clone();
    let sum = tally.sum();
    let commitment =
        digest(&format!("{FORMAT}\n{origin}\n{size}\n{root}\n{query}\n{}\n{}\n", sum.count, sum.checksum));
    Ok(Committed { origin, size, root, query, sum, commitment })
}

/// Draws `number` records with `seed`: those with the lowest scores, in the order of their scores.
pub fn draw(
    reel: &mut Reel,
    selection: &Selection,
    commitment: &Digest,
    seed: &str,
    number: usize,
) -> Result<Vec<Drawn>, ReelError> {
    let number = number.min(MAX_SAMPLE);
    let mut lowest: BTreeMap<[u8; 32], Drawn> = BTreeMap::new();
    each(reel, selection, &mut |record, leaf| {
        let score = digest(&format!("{commitment}\n{seed}\n{leaf}\n"));
        let worst = lowest.last_key_value().map(|(worst, _)| *worst);
        if lowest.len() >= number && worst.is_none_or(|worst| *score.as_bytes() > worst) {
            return;
        }
        let reference = record.session.as_ref().or(record.grant.as_ref()).or(record.correlation.as_ref());
        let drawn = Drawn {
            seq: record.seq.get(),
            time: record.time,
            kind: record.kind.as_str(),
            result: record.result.as_str(),
            object: record.object.clone(),
            reference: reference.cloned(),
            leaf,
            score,
        };
        lowest.insert(*score.as_bytes(), drawn);
        if lowest.len() > number {
            lowest.pop_last();
        }
    })?;
    Ok(lowest.into_values().collect())
}

fn each(
    reel: &mut Reel,
    selection: &Selection,
    take: &mut dyn FnMut(&Record, Digest),
) -> Result<(), ReelError> {
    let mut reader = RecordReader::default();
    reel.records(&mut |seq: Seq, bytes, leaf| {
        if !selection.covers(seq) {
            return;
        }
        // What cannot be read is no record; the verifier says so.
        if let Ok(view) = reader.read(bytes)
            && (selection.kinds.is_empty() || selection.kinds.contains(&view.kind))
        {
            let record = view.to_record();
            if selection.matches(&record) {
                take(&record, leaf);
            }
        }
    })
}

fn digest(text: &str) -> Digest {
    Digest::of(&[text.as_bytes()])
}
