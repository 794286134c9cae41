//! What a ledger needs to know before it can be opened.

use std::path::PathBuf;
use std::time::Duration;

use super::lending::Lending;

/// Where and how a ledger is kept. Make it with [`LedgerOptions::new`] and change what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LedgerOptions {
    /// The ledger's directory; made with access for its owner alone if it is not there.
    pub directory: PathBuf,
    /// The ledger's name in its heads, such as `sallyport.example/ledger`.
    pub origin: String,
    /// The gateway's name in its records.
    pub node: String,
    /// A segment file is closed when it has this many bytes. 64 MiB.
    pub segment_bytes: u64,
    /// The most records in one group. 4,096.
    pub group_records: usize,
    /// The most bytes of records in one group, more or less. 8 MiB.
    pub group_bytes: usize,
    /// How much memory may wait to be recorded, in bytes. 32 MiB.
    pub queue_bytes: usize,
    /// How much may wait in memory to be put into the query store, in bytes. 64 MiB.
    pub store_lag_bytes: usize,
    /// How much memory the query store may use for its cache, in bytes. 64 MiB.
    pub store_cache_bytes: u64,
    /// How many records one file of the search index covers. 16,384.
    pub index_span: u64,
    /// How often the head file and the store are flushed. One second.
    pub flush_interval: Duration,
    /// How often a signer that failed is asked again. One second.
    pub retry_interval: Duration,
    /// How long a group is kept open for which nobody waits. 20 milliseconds.
    pub patience: Duration,
    /// How much of the journal's end is read whole when the ledger is opened, in bytes; older segments are only
    /// compared at their ends. 64 MiB.
    pub reread_bytes: u64,
    /// Lets a key in memory sign heads in between, for a slow key provider. Off.
    pub lending: Option<Lending>,
}

impl LedgerOptions {
    /// The usual bounds.
    pub fn new(directory: impl Into<PathBuf>, origin: impl Into<String>, node: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            origin: origin.into(),
            node: node.into(),
            segment_bytes: 64 * 1024 * 1024,
            group_records: 4096,
            group_bytes: 8 * 1024 * 1024,
            queue_bytes: 32 * 1024 * 1024,
            store_lag_bytes: 64 * 1024 * 1024,
            store_cache_bytes: 64 * 1024 * 1024,
            index_span: crate::index::SPAN,
            flush_interval: Duration::from_secs(1),
            retry_interval: Duration::from_secs(1),
            patience: Duration::from_millis(20),
            reread_bytes: 64 * 1024 * 1024,
            lending: None,
        }
    }
}
