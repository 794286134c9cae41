//! Counts records, and sums them up so that another run can be compared.

use sallyport_audit::{Digest, Record};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Some records, counted; enough to tell whether another run found the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The lowest number.
    pub first: Option<u64>,
    /// The highest number.
    pub last: Option<u64>,
    /// SHA-256 over their leaf hashes, one after the other.
    pub checksum: String,
}

/// Counts records and sums them up to a checksum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    first: Option<u64>,
    last: Option<u64>,
    hasher: Sha256,
}

impl Tally {
    pub(crate) fn take(&mut self, record: &Record, leaf: Digest) {
        self.count = self.count.saturating_add(1);
        self.first = self.first.or(Some(record.seq.get()));
        self.last = Some(record.seq.get());
        self.hasher.update(leaf.as_bytes());
    }

    pub(crate) fn sum(self) -> Sum {
        Sum {
            count: self.count,
            first: self.first,
            last: self.last,
            checksum: hex::encode(self.hasher.finalize()),
        }
    }
}
