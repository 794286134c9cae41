//! Searching a ledger that is open: with and without an index, by people, in pages, after damage.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::*;
use crate::index::Directories;
use crate::index::make::Maker;
use crate::index::search::Order;
use crate::journal::Files;
use crate::ledger::{Page, Search};
use crate::selection::Selection;

const SPAN: u64 = 16;

fn event(n: u64) -> Draft {
    let draft = Draft::new(Kind::SessionOpened, Outcome::Success)
        .object(format!("tunnel:{}", n % 3))
        .session(format!("sess-{}", n / 10))
        .grant(format!("grant-{}", n / 25))
        .detail("n", n);
    match n % 5 {
        0 => draft,
        1 => draft.subject(format!("user:{}", n % 4)).target("user:0"),
        _ => draft.subject(format!("user:{}", n % 4)),
    }
}

async fn ledger(directory: &Path) -> Ledger {
    let (ledger, _) = open(directory);
    for n in 1..100 {
        ledger.append(event(n)).await.unwrap();
    }
    ledger
}

fn make(directory: &Path) {
    let files = Files::new(directory);
    let target = || files.index();
    let mut maker = Maker::new(&files, &target, SPAN);
    maker.make(&Directories::of(&files, []), 100, &|| false, &mut |_| ()).unwrap();
    assert_eq!(Directories::of(&files, []).spans().len(), 6);
}

fn found(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.record.seq.get()).collect()
}

fn by_subject(name: &str) -> Search {
    Search { subjects: vec![name.to_owned()], limit: 1000, ..Search::default() }
}

#[tokio::test]
async fn who_did_it_and_to_whom_is_found_with_an_index_and_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(directory.path()).await;
    let reader = ledger.reader();
    let expected: Vec<u64> = (1..100).filter(|n| n % 5 != 0 && n % 4 == 2).collect();
    let targets: Vec<u64> = (1..100).filter(|n| n % 5 == 1).collect();
    for round in ["without", "with"] {
        assert_eq!(found(&reader.search(&by_subject("user:2")).unwrap()), expected, "{round}");
        let page = reader.search(&by_subject("user:9")).unwrap();
        assert_eq!((found(&page), page.next), (vec![], None), "{round}");
        let to = Search { targets: vec!["user:0".to_owned()], limit: 1000, ..Search::default() };
        assert_eq!(found(&reader.search(&to).unwrap()), targets, "{round}");
        let session: Vec<_> = reader.session("sess-4").unwrap().iter().map(|e| e.record.seq.get()).collect();
        assert_eq!(session, (40..50).collect::<Vec<_>>(), "{round}");
        assert_eq!(reader.grant("grant-3").unwrap().len(), 25, "{round}");
        make(directory.path());
    }
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn pages_follow_on_one_another_in_either_order() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(directory.path()).await;
    make(directory.path());
    let reader = ledger.reader();
    let all: Vec<u64> = (1..100).filter(|n| n % 3 == 1).collect();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let selection = Selection { objects: vec!["tunnel:1".to_owned()], ..Selection::default() };
        let mut search = Search { selection, order, limit: 7, ..Search::default() };
        let mut gathered = Vec::new();
        loop {
            let page = reader.search(&search).unwrap();
            assert!(page.entries.len() <= 7);
            gathered.extend(found(&page));
            match (page.next, order) {
                (None, _) => break,
                (Some(next), Order::OldestFirst) => search.selection.from = next,
                (Some(next), Order::NewestFirst) => search.selection.to = Some(next),
            }
        }
        if order == Order::NewestFirst {
            gathered.reverse();
        }
        assert_eq!(gathered, all, "{order:?}");
    }
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn an_index_that_is_spoilt_costs_a_running_gateway_no_hit() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(directory.path()).await;
    make(directory.path());
    for (number, span) in Directories::of(&Files::new(directory.path()), []).spans().into_iter().enumerate() {
        let mut bytes = fs::read(&span.path).unwrap();
        let at = (number * 97 + 20) % bytes.len();
        bytes[at] ^= 4;
        fs::write(&span.path, bytes).unwrap();
    }
    let expected: Vec<u64> = (1..100).filter(|n| n % 5 != 0 && n % 4 == 2).collect();
    assert_eq!(found(&ledger.reader().search(&by_subject("user:2")).unwrap()), expected);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_ledger_that_is_opened_makes_the_index_that_is_missing_and_closes_while_it_does() {
    let directory = tempfile::tempdir().unwrap();
    ledger(directory.path()).await.close().await.unwrap();
    let files = Files::new(directory.path());
    assert!(Directories::of(&files, []).spans().is_empty());
    let (ledger, _) = try_open(LedgerOptions { index_span: SPAN, ..options(directory.path()) }).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while Directories::of(&files, []).spans().len() < 6 {
        assert!(Instant::now() < deadline, "no index appears");
        tokio::task::yield_now().await;
    }
    let named: BTreeSet<_> =
        Directories::of(&files, []).spans().iter().map(|span| span.first.get()).collect();
    assert_eq!(named, (0..6).map(|n| n * SPAN).collect());
    assert_eq!(found(&ledger.reader().search(&by_subject("user:2")).unwrap()).len(), 20);
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn an_index_that_cannot_be_written_keeps_nothing_from_being_recorded() {
    let directory = tempfile::tempdir().unwrap();
    ledger(directory.path()).await.close().await.unwrap();
    fs::write(directory.path().join("index"), "in the way").unwrap();
    let (ledger, _) = try_open(LedgerOptions { index_span: SPAN, ..options(directory.path()) }).unwrap();
    ledger.append(event(100)).await.unwrap();
    assert_eq!(found(&ledger.reader().search(&by_subject("user:2")).unwrap()).len(), 20);
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn records_of_some_kinds_are_the_same_with_an_index_and_without_one_and_as_read_one_by_one() {
    use crate::sink::Feed;
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    for n in 1..100 {
        let kind = if n % 7 == 0 { Kind::AccessRequested } else { Kind::SessionOpened };
        ledger.append(Draft::new(kind, Outcome::Success).subject("user:a").detail("n", n)).await.unwrap();
    }
    let reader = ledger.reader();
    let feed: &dyn Feed = &reader;
    let kinds = BTreeSet::from([Kind::AccessRequested]);
    let all = |from: u64, to: u64, since: jiff::Timestamp| {
        let (mut from, mut found) = (from, Vec::new());
        while from < to {
            let (entries, next) = feed.kinds_since(&kinds, (from, to), since, 3).unwrap();
            assert!(next > from, "{from}");
            found.extend(entries.iter().map(|entry| entry.record.seq.get()));
            from = next;
        }
        found
    };
    let expected = |from, to| (from..to).filter(|n: &u64| *n > 0 && n.is_multiple_of(7)).collect::<Vec<_>>();
    let since = reader.get(Seq::new(50)).unwrap().unwrap().record.time;
    for round in ["without", "with"] {
        for (from, to) in [(0, 100), (7, 8), (8, 14), (90, 99), (5, 5)] {
            assert_eq!(all(from, to, jiff::Timestamp::MIN), expected(from, to), "{round} {from} {to}");
        }
        assert_eq!(all(0, 100, since), expected(50, 100), "{round}");
        make(directory.path());
    }
    ledger.close().await.unwrap();
}
