//! The ledger as a sink sees it: something to read from, and somewhere to report to.

use std::{collections::BTreeSet, future::Future, pin::Pin};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    kind::Kind,
    ledger::{Entry, Ledger, Reader, Search},
    record::{Draft, Seq},
    selection::Selection,
};

use super::{Feed, FeedError, Notice};

impl Feed for Reader {
    fn origin(&self) -> String {
        // The first line of a checkpoint is the origin (C2SP tlog-checkpoint).
        self.checkpoint().lines().next().unwrap_or_default().to_owned()
    }

    fn pruned(&self) -> u64 {
        Self::pruned(self)
    }

    fn epochs(&self) -> Vec<(u64, u64)> {
        Self::epochs(self).iter().map(|epoch| (epoch.number, epoch.start)).collect()
    }

    fn range(&self, from: u64, limit: usize) -> Result<Vec<Entry>, FeedError> {
        Self::range(self, Seq::new(from), limit).map_err(|error| FeedError::new(error.to_string()))
    }

    fn of_kinds(
        &self,
        kinds: &BTreeSet<Kind>,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<Entry>, u64), FeedError> {
        let found = Self::of_kinds(self, Seq::new(from), limit, |kind| kinds.contains(&kind));
        let (entries, next) = found.map_err(|error| FeedError::new(error.to_string()))?;
        Ok((entries, next.get()))
    }

    fn kinds_since(
        &self,
        kinds: &BTreeSet<Kind>,
        (from, to): (u64, u64),
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Entry>, u64), FeedError> {
        let Some(last) = to.checked_sub(1).filter(|last| from <= *last) else { return Ok((Vec::new(), to)) };
        let selection = Selection {
            from: Seq::new(from),
            to: Some(Seq::new(last)),
            kinds: kinds.iter().copied().collect(),
            from_time: Some(since),
            ..Selection::default()
        };
        let search = Search { selection, limit, ..Search::default() };
        let page = self.search(&search).map_err(|error| FeedError::new(error.to_string()))?;
        Ok((page.entries, page.next.map_or(to, Seq::get)))
    }

    fn heads(&self) -> watch::Receiver<u64> {
        Self::heads(self)
    }
}

impl Notice for Ledger {
    fn record(&self, draft: Draft) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let kind = draft.kind;
            if let Err(error) = self.enqueue(draft).await {
                tracing::warn!(%kind, %error, "a record about a sink was not taken by the ledger");
            }
        })
    }
}
