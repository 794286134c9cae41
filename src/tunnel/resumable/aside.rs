//! What may stand aside: bytes that nobody has read, taken out of the credit of their connection because what stands behind them is
//! wanted.
//!
//! Acknowledgements travel with the data of their direction. Somebody who sends and does not read would wait for one that
//! stands behind what they don't read, where a plain stream goes on. So what is before it is set aside, as much as the end of a stream
//! holds ([`super::end`]) and of all streams together so much; beyond it whoever sends waits until somebody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all streams of a link, or of a publisher; as each is looked at before a piece is taken, some pieces more.
const MOST: u64 = 32 << 20;

/// Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aside(Arc<AtomicU64>);

impl Aside {
    /// Whether more may stand aside.
    pub(super) fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < MOST
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were added.
    pub(super) fn sub(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
