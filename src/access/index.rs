//! Which records of the ledger tell of access, so that a start reads those and passes over all others.
//!
//! Why: a ledger holds a record for each request through a tunnel, and few of access; a start that looks at every one takes
//! longer each month. What would be forgotten if this file lied is a revocation, so it isn't believed: it is signed with the
//! gateway's own token key (in the HSM), it names the ledger's last record by its hash, which stands for everything before it
//! (each record holds the hash of the one before), and it holds a hash over the records of access themselves. A file that is
//! missing, of another ledger, not signed, or that the records don't agree with is refused, and the whole ledger is read.
//!
//! Trusted: the token-signing key. Not trusted: the file; the query store from which the records are read.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sallyport_audit::Digest;

use super::fact::{Fact, Stamp};
use super::log::LogError;
use super::token::TokenKeys;
use crate::secret_file;

/// The first line. No JSON Web Token begins so: what is signed here can be no token, and no token an index.
const TITLE: &[u8] = b"sallyport access index v2\n";
/// Largest file that is read, in bytes: a record takes one to three.
const MOST_BYTES: u64 = 1 << 30;
/// How long the signature may take; a stop waits for nothing longer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The records of access up to some record of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// So many records of the ledger were looked at.
    pub(super) end: u64,
    /// Leaf hash of the last of them.
    pub(super) last: Digest,
    /// Numbers of those that tell of access, ascending.
    pub(super) records: Vec<u64>,
    /// Hash over their numbers and leaf hashes, one after the other.
    running: Digest,
    /// Whether a record may be in the ledger that isn't here.
    spoiled: bool,
}

/// Why an index isn't used. It goes into the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unused {
    #[error("there is none")]
    None,
    #[error("it can't be read: {0}")]
    Unreadable(std::io::Error),
    #[error("it is no index, or cut off")]
    Malformed,
    #[error("it isn't signed with the gateway's token key")]
    Unsigned,
    #[error("it is of another ledger, or the ledger was set back")]
    OtherLedger,
    #[error("the records differ from those that it was made of")]
    Differs,
    #[error("a record that it names can't be read: {0}")]
    Lost(LogError),
}

impl Index {
    /// Before the first record.
    pub(super) fn new() -> Self {
        Self { end: 0, last: Digest::ZERO, records: Vec::new(), running: Digest::ZERO, spoiled: false }
    }

    /// One more record of access.
    pub(super) fn add(&mut self, stamp: Stamp) {
        self.running = step(self.running, stamp);
        self.records.push(stamp.seq);
        self.reach(stamp.seq + 1, stamp.digest);
    }

    /// What became of an append. Every record that is folded in has to pass here: a start by the index reads no other.
    pub(super) fn note(&mut self, fact: &Fact, appended: &Result<Stamp, LogError>) {
        match appended {
            Ok(stamp) if fact.is_folded() => self.add(*stamp),
            Ok(stamp) => self.reach(stamp.seq + 1, stamp.digest),
            Err(_) => self.spoil(),
        }
    }

    /// The ledger was looked at up to here.
    pub(super) fn reach(&mut self, end: u64, last: Digest) {
        if end > self.end {
            (self.end, self.last) = (end, last);
        }
    }

    /// The ledger didn't say that it took a record; whether it did is found out by reading it whole.
    fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Whether these are the records that it was made of.
    pub(super) fn agrees(&self, seen: &Self) -> bool {
        self.running == seen.running && self.records == seen.records
    }

    /// What is signed, without the signature.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = TITLE.to_vec();
        bytes.extend(self.end.to_be_bytes());
        bytes.extend(self.last.as_bytes());
        bytes.extend(self.running.as_bytes());
        bytes.extend((self.records.len() as u64).to_be_bytes());
        let mut before = 0;
        for record in &self.records {
            put(&mut bytes, record - before);
            before = *record;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(TITLE)?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let (last, rest) = rest.split_first_chunk::<32>()?;
        let (running, rest) = rest.split_first_chunk::<32>()?;
        let (count, mut rest) = rest.split_first_chunk::<8>()?;
        let count = u64::from_be_bytes(*count);
        // Each takes a byte at least: no more is set aside than was read.
        let mut records = Vec::with_capacity(usize::try_from(count).ok()?.min(rest.len()));
        let (end, mut before) = (u64::from_be_bytes(*end), None::<u64>);
        for _ in 0..count {
            let (step, after) = take(rest)?;
            let record = before.unwrap_or(0).checked_add(step)?;
            if before.is_some_and(|before| record <= before) || record >= end {
                return None;
            }
            records.push(record);
            (before, rest) = (Some(record), after);
        }
        let (last, running) = (Digest::from_bytes(*last), Digest::from_bytes(*running));
        rest.is_empty().then_some(Self { end, last, records, running, spoiled: false })
    }
}

fn step(running: Digest, stamp: Stamp) -> Digest {
    Digest::of(&[running.as_bytes(), &stamp.seq.to_be_bytes(), stamp.digest.as_bytes()])
}

/// A number in groups of seven bits, lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1..).map(|rest| (number, rest));
        }
    }
    None
}

/// Where an index is kept.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads it, if it was signed with this key. Blocks.
    pub(super) fn read(&self, public_key: &[u8]) -> Result<Index, Unused> {
        let bytes = read_bounded(&self.0).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Unused::None,
            _ => Unused::Unreadable(error),
        })?;
        let (signed, signature) =
            bytes.split_at_checked(bytes.len().saturating_sub(64)).ok_or(Unused::Malformed)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key);
        key.verify(signed, signature).map_err(|_| Unused::Unsigned)?;
        Index::decode(signed).ok_or(Unused::Malformed)
    }

    /// Signs it and puts it in the place of the one before. A failure costs the next start some time, and nothing else.
    pub(super) async fn keep(&self, index: &Index, keys: &dyn TokenKeys) {
        if index.spoiled {
            return tracing::info!("no index of access is kept: the ledger refused a record in this run");
        }
        let mut bytes = index.encode();
        let signature = match tokio::time::timeout(PATIENCE, keys.sign_es256(bytes.clone())).await {
            Ok(Ok(signature)) => signature,
            Ok(Err(error)) => return tracing::warn!(%error, "the index of access couldn't be signed"),
            Err(_) => return tracing::warn!("the index of access wasn't signed in time"),
        };
        bytes.extend(signature);
        let path = self.0.clone();
        let written = tokio::task::spawn_blocking(move || secret_file::write(&path, &bytes)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the index of access couldn't be written"),
            Err(panic) => tracing::error!(%panic, "writing the index of access panicked"),
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn index(records: &[u64]) -> Index {
        let mut index = Index::new();
        for seq in records {
            let digest = Digest::of(&[&seq.to_be_bytes()]);
            index.add(Stamp { seq: *seq, time: Timestamp::UNIX_EPOCH, digest });
        }
        index.reach(index.end + 5, Digest::of(&[b"last"]));
        index
    }

    proptest! {
        #[test]
        fn an_index_is_read_back_as_it_was_written(records in proptest::collection::btree_set(0_u64..1 << 40, 0..50)) {
            let records: Vec<u64> = records.into_iter().collect();
            let made = index(&records);
            prop_assert_eq!(Index::decode(&made.encode()), Some(made));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Index::decode(&bytes);
            let _ = Index::decode(&[TITLE, &bytes].concat());
        }
    }

    #[test]
    fn a_record_more_less_or_other_is_another_index() {
        let made = index(&[3, 4, 9]);
        assert!(made.agrees(&index(&[3, 4, 9])));
        for other in [&[3, 4][..], &[3, 4, 9, 10], &[3, 5, 9], &[]] {
            assert!(!made.agrees(&index(other)), "{other:?}");
        }
        let mut altered = index(&[3, 4]);
        altered.add(Stamp { seq: 9, time: Timestamp::UNIX_EPOCH, digest: Digest::of(&[b"altered"]) });
        assert!(!made.agrees(&altered));
    }
}
