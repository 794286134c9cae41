//! Detections over restarts: what is known of people does not begin anew with each start.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use sallyport_audit::{
    Draft, Entry, Kind, Outcome,
    detection::{BUILT_IN, Detecting, Rules},
    sink::{Feed, FeedError, FileCursor, SinkName},
};
use tokio::sync::watch;

use crate::{
    http::eventually,
    source::{ORIGIN, Source},
};

const DAY: i64 = 86_400;

async fn start(source: &Source, directory: &Path) -> Detecting {
    let cursor = FileCursor::new(directory, SinkName::parse("detections").unwrap(), ORIGIN);
    let rules = Rules::parse(BUILT_IN).unwrap();
    let (feed, notice) = (Arc::new(source.clone()), Arc::new(source.clone()));
    Detecting::start(&rules, Arc::new(cursor), feed, notice).await.unwrap()
}

fn session(who: &str) -> Draft {
    Draft::new(Kind::SessionOpened, Outcome::Success).subject(who).source("203.0.113.7:443")
}

/// The rules of what was raised, each with the last record that it names.
fn raised(source: &Source) -> Vec<(String, u64)> {
    let records = (0..source.len()).map(|seq| source.entry(seq).record);
    let found = records.filter(|record| record.kind == Kind::DetectionRaised);
    found
        .map(|record| {
            let last = record.details["records"].as_array().unwrap().last().unwrap().as_u64().unwrap();
            (record.details["rule"].as_str().unwrap().to_owned(), last)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_dormant_who_wakes_after_a_restart_is_found_however_many_records_came_since() {
    let directory = tempfile::tempdir().unwrap();
    let source = Source::new();
    source.append_after(-200 * DAY, Draft::new(Kind::LedgerCreated, Outcome::Success));
    source.append_after(-100 * DAY, session("user:alice"));
    source.append_after(-10 * DAY, session("user:bob"));
    // More than are looked at again after a start.
    for _ in 0..25_000 {
        source.append_after(-DAY, Draft::new(Kind::GatewayHeartbeat, Outcome::Success));
    }
    let detecting = start(&source, directory.path()).await;
    let woke = source.append_after(0, session("user:alice"));
    let bob = source.append_after(1, session("user:bob"));
    let mut status = detecting.status();
    status.wait_for(|status| status.next > bob).await.unwrap();
    eventually("it is recorded", || !raised(&source).is_empty()).await;
    assert_eq!(raised(&source), [("dormant-account".to_owned(), woke)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_counts_as_dormant_in_a_ledger_that_is_younger_than_that() {
    let directory = tempfile::tempdir().unwrap();
    let source = Source::new();
    source.append_after(-80 * DAY, Draft::new(Kind::LedgerCreated, Outcome::Success));
    let detecting = start(&source, directory.path()).await;
    let last = source.append_after(0, session("user:alice"));
    let down = source.append_after(1, Draft::new(Kind::HsmDown, Outcome::Failure));
    detecting.status().wait_for(|status| status.next > last).await.unwrap();
    eventually("the key provider's trouble is recorded", || !raised(&source).is_empty()).await;
    assert_eq!(raised(&source), [("hsm-trouble".to_owned(), down)]);
}

/// A ledger that counts the records which it gave whole.
struct Counting(Source, AtomicUsize);

impl Feed for Counting {
    fn origin(&self) -> String {
        self.0.origin()
    }

    fn range(&self, from: u64, limit: usize) -> Result<Vec<Entry>, FeedError> {
        let entries = self.0.range(from, limit)?;
        self.1.fetch_add(entries.len(), Ordering::SeqCst);
        Ok(entries)
    }

    fn of_kinds(
        &self,
        kinds: &BTreeSet<Kind>,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<Entry>, u64), FeedError> {
        let (entries, next) = self.0.of_kinds(kinds, from, limit)?;
        self.1.fetch_add(entries.len(), Ordering::SeqCst);
        Ok((entries, next))
    }

    fn heads(&self) -> watch::Receiver<u64> {
        self.0.heads()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_at_which_no_rule_looks_are_passed_over_unopened() {
    let directory = tempfile::tempdir().unwrap();
    let source = Source::new();
    let feed = Arc::new(Counting(source.clone(), AtomicUsize::new(0)));
    let cursor = FileCursor::new(directory.path(), SinkName::parse("detections").unwrap(), ORIGIN);
    let rules = Rules::parse(BUILT_IN).unwrap();
    let counted: Arc<Counting> = Arc::clone(&feed);
    let detecting = Detecting::start(&rules, Arc::new(cursor), feed, Arc::new(source.clone())).await.unwrap();
    for _ in 0..1000 {
        source.append(Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice"));
    }
    let down = source.append(Draft::new(Kind::HsmDown, Outcome::Failure));
    detecting.status().wait_for(|status| status.next > down).await.unwrap();
    eventually("the key provider's trouble is recorded", || !raised(&source).is_empty()).await;
    assert_eq!(raised(&source), [("hsm-trouble".to_owned(), down)]);
    // The first, for its time, and those that a rule looks at.
    let opened = counted.1.load(Ordering::SeqCst);
    assert!(opened < 10, "{opened}");
}
