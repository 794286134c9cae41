//! The audit ledger as the log of access.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sallyport_audit::{Entry, Ledger, Seq};

use super::fact::{Fact, Stamp};
use super::log::{LogError, RecordLog};
use super::record::{Parts, draft_of, fact_of};

/// Records read at a time while replaying: a few megabytes at most.
const BATCH: usize = 1024;

impl RecordLog for Ledger {
    fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
        async move {
            let receipt = Self::append(self, draft_of(&fact)).await;
            let receipt = receipt.map_err(|error| LogError(format!("didn't take the record: {error}")))?;
            Ok(Stamp { seq: receipt.seq.get(), time: receipt.time })
        }
        .boxed()
    }

    fn replay(&self, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<(), LogError> {
        let reader = self.reader();
        let mut from = Seq::ZERO;
        loop {
            let batch =
                reader.range(from, BATCH).map_err(|error| LogError(format!("can't be read: {error}")))?;
            let Some(last) = batch.last() else { return Ok(()) };
            from = last.record.seq.next();
            for entry in &batch {
                let fact = read(entry)
                    .map_err(|why| LogError(format!("holds record {} of access: {why}", entry.record.seq)))?;
                if let Some(fact) = fact {
                    visit(Stamp { seq: entry.record.seq.get(), time: entry.record.time }, fact);
                }
            }
        }
    }
}

fn read(entry: &Entry) -> Result<Option<Fact>, String> {
    let record = &entry.record;
    fact_of(&Parts {
        kind: record.kind,
        result: record.result,
        action: record.action.as_deref(),
        object: record.object.as_deref(),
        grant: record.grant.as_deref(),
        policy: record.policy.as_deref(),
        correlation: record.correlation.as_deref(),
        details: &record.details,
        personal: &entry.personal,
    })
}
