//! Where facts are kept, behind a seam: the ledger in the gateway, a list in tests.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};

use sallyport_audit::Digest;

use super::fact::{Fact, Stamp};

/// The log couldn't take or give a fact.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger {0}")]
pub struct LogError(pub String);

/// An append-only log of records.
pub trait RecordLog: Send + Sync + 'static {
    /// Appends one fact; resolves once it is durable.
    fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>>;

    /// Appends facts in this order, and tells of each in this order once it is durable. Each stands alone: one that can't be appended
    /// keeps those behind it from nothing.
    fn append_all<'a>(&'a self, facts: &'a [Fact]) -> BoxStream<'a, Result<Stamp, LogError>> {
        stream::iter(facts).then(|fact| self.append(fact.clone())).boxed()
    }

    /// Shows every fact of access in the log from record `from` on, in order; how many records there were.
    ///
    /// # Errors
    ///
    /// When a record can't be read. A record that isn't one of access is passed over.
    fn replay(&self, from: u64, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<u64, LogError>;

    /// Shows the facts in these records, ascending, and in no others.
    ///
    /// # Errors
    ///
    /// When one can't be read; one that isn't there or tells no fact is left out.
    fn replay_these(&self, records: &[u64], visit: &mut dyn FnMut(Stamp, Fact)) -> Result<(), LogError> {
        let Some(first) = records.first() else { return Ok(()) };
        let mut only = |stamp: Stamp, fact: Fact| {
            if records.binary_search(&stamp.seq).is_ok() {
                visit(stamp, fact);
            }
        };
        self.replay(*first, &mut only).map(drop)
    }

    /// The leaf hash of a record; `None` if there is none, it was pruned, or the log keeps none, which is then always read whole.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    fn digest(&self, _record: u64) -> Result<Option<Digest>, LogError> {
        Ok(None)
    }
}

#[cfg(test)]
pub(crate) mod memory {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::sync::watch;

    use super::{LogError, RecordLog};
    use crate::access::clock::Clock;
    use crate::access::fact::{Fact, Stamp};

    /// A log in memory: shared by clones, so that a second `Access` can replay what the first one wrote.
    #[derive(Clone)]
    pub(crate) struct MemoryLog {
        facts: Arc<Mutex<Vec<(Stamp, Fact)>>>,
        broken: Arc<AtomicBool>,
        /// A ledger that neither takes nor refuses: appends wait while this is true.
        stuck: watch::Sender<bool>,
        clock: Arc<dyn Clock>,
    }

    impl MemoryLog {
        pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
            Self { facts: Arc::default(), broken: Arc::default(), stuck: watch::Sender::new(false), clock }
        }

        /// Everything appended so far.
        pub(crate) fn facts(&self) -> Vec<Fact> {
            self.facts.lock().unwrap().iter().map(|(_, fact)| fact.clone()).collect()
        }

        /// From now on, or no longer, every append fails.
        pub(crate) fn set_broken(&self, broken: bool) {
            self.broken.store(broken, Ordering::SeqCst);
        }

        /// From now on, or no longer, every append waits.
        pub(crate) fn set_stuck(&self, stuck: bool) {
            self.stuck.send_replace(stuck);
        }

        /// A copy of the first `count` facts, as a crash would have left them.
        pub(crate) fn cut(&self, count: usize) -> Self {
            let facts = self.facts.lock().unwrap().iter().take(count).cloned().collect();
            Self { facts: Arc::new(Mutex::new(facts)), ..Self::new(self.clock.clone()) }
        }
    }

    impl RecordLog for MemoryLog {
        fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
            async move {
                let _ = self.stuck.subscribe().wait_for(|stuck| !stuck).await;
                if self.broken.load(Ordering::SeqCst) {
                    return Err(LogError("is broken for this test".to_owned()));
                }
                let mut facts = self.facts.lock().unwrap();
                let seq = facts.len() as u64;
                let digest = sallyport_audit::Digest::of(&[format!("{seq} {fact:?}").as_bytes()]);
                let stamp = Stamp { seq, time: self.clock.now(), digest };
                facts.push((stamp, fact));
                Ok(stamp)
            }
            .boxed()
        }

        fn replay(&self, from: u64, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<u64, LogError> {
            let facts = self.facts.lock().unwrap().clone();
            let end = facts.len() as u64;
            // As the ledger does: what was refused tells no fact.
            for (stamp, fact) in facts.into_iter().filter(|(stamp, _)| stamp.seq >= from) {
                if fact.is_folded() {
                    visit(stamp, fact);
                }
            }
            Ok(end)
        }

        fn digest(&self, record: u64) -> Result<Option<sallyport_audit::Digest>, LogError> {
            let facts = self.facts.lock().unwrap();
            Ok(facts.iter().find(|(stamp, _)| stamp.seq == record).map(|(stamp, _)| stamp.digest))
        }
    }
}
