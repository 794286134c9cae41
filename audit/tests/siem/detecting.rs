//! Detections over restarts: what is known of people does not begin anew with each start.

use std::{path::Path, sync::Arc};

use sallyport_audit::{
    Draft, Kind, Outcome,
    detection::{BUILT_IN, Detecting, Rules},
    sink::{FileCursor, SinkName},
};

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
