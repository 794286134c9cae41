//! Sessions that have ended, for those who keep them: all of the time that was asked for, and not those alone that one search gives.

use sallyport_audit::{Entry, Kind, Page, Search};

use super::measured::{self, Filter, SAMPLE, Span};
use super::viewer::Viewer;
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::search as searching;

/// The most of one export: as much as is put together in memory for one person. Of more it is said that there are more.
const MOST: usize = 50_000;

/// What `keep` makes of each, the newest first, and whether there are older ones. That they are read is recorded before.
pub(super) async fn of<T>(
    shared: &Shared,
    viewer: &Viewer,
    filter: &Filter,
    span: Span,
    keep: impl Fn(&Entry) -> T,
) -> Result<(Vec<T>, bool), Problem> {
    let Some(search) = measured::recorded(shared, viewer, filter, span, Kind::SessionClosed).await? else {
        return Ok((Vec::new(), false));
    };
    let read = |search| searching::found(shared, &viewer.caller, search);
    gathered(Search { limit: SAMPLE, ..search }, MOST, read, keep).await
}

/// Page after page, each from where the one before ended.
async fn gathered<T, F: Future<Output = Result<Page, Problem>>>(
    mut search: Search,
    most: usize,
    read: impl Fn(Search) -> F,
    keep: impl Fn(&Entry) -> T,
) -> Result<(Vec<T>, bool), Problem> {
    let mut kept = Vec::new();
    loop {
        let page = read(search.clone()).await?;
        let left = most - kept.len();
        kept.extend(page.entries.iter().take(left).map(&keep));
        let Some(next) = page.next else { return Ok((kept, page.entries.len() > left)) };
        if kept.len() == most {
            return Ok((kept, true));
        }
        search.selection.to = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use sallyport_audit::index::search::Order;
    use sallyport_audit::{Digest, Seq, Values};
    use serde_json::json;

    use super::*;

    fn entry(seq: u64) -> Entry {
        let record = json!({
            "v": 1, "seq": seq, "time": "2026-11-29T01:00:03Z", "prev": Digest::ZERO, "kind": "session.closed",
            "result": "success", "node": "n", "details": {},
        });
        Entry::new(serde_json::from_value(record).unwrap(), Vec::new(), Values::default())
    }

    /// What is gathered of records from 0 to `records`, of which every second one is of a session.
    async fn numbers(records: u64, most: usize) -> (Vec<u64>, bool) {
        // Gives back what it has after so many were read, as the ledger does, though they be of something else.
        let read = |search: Search| async move {
            let mut page = Page::default();
            let end = search.selection.to.map_or(records, |to| to.get() + 1);
            let mut at = end;
            while at > 0 && page.entries.len() < search.limit && end - at < 7 {
                at -= 1;
                page.entries.extend(at.is_multiple_of(2).then(|| entry(at)));
            }
            page.next = at.checked_sub(1).map(Seq::new);
            Ok(page)
        };
        let search = Search { order: Order::NewestFirst, limit: 3, ..Search::default() };
        gathered(search, most, read, |entry| entry.record.seq.get()).await.ok().unwrap()
    }

    #[tokio::test]
    async fn an_export_has_every_session_of_its_time_or_says_that_it_has_not() {
        for records in 0..60 {
            let all: Vec<u64> = (0..records).rev().filter(|seq| seq % 2 == 0).collect();
            for most in [1, 3, 10, 29, 30, 31] {
                let (kept, partial) = numbers(records, most).await;
                assert_eq!(kept, all[..most.min(all.len())], "{most} of {records}");
                assert!(partial || kept.len() == all.len(), "{most} of {records}");
                assert!(!partial || kept.len() == most, "never said of less than the most");
            }
        }
        assert!(!numbers(60, 31).await.1, "it has all");
    }
}
