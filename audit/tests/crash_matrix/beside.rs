//! What lies beside the journal, on a file system that is really full: a sink's cursor and the search index.
//!
//! Neither may keep the ledger from anything, lie about how far it came, or stay broken when there is room again.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use sallyport_audit::index::make::{MakeError, Maker};
use sallyport_audit::index::search::{Order, Searched, search};
use sallyport_audit::index::{Directories, Query};
use sallyport_audit::journal::Files;
use sallyport_audit::selection::Selection;
use sallyport_audit::sink::{CursorStore as _, FileCursor, Position, SinkName};
use sallyport_audit::{Kind, Outcome};

use crate::Counts;
use crate::sample::{ORIGIN, block_on, draft, open, options};

/// How many records one index file covers here.
const SPAN: u64 = 32;

pub(crate) fn run(counts: &mut Counts) {
    let (ledger, small) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
        .arg(small.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        println!(
            "Not tried, for want of leave to mount a file system: cursor and index on one that is full."
        );
        return;
    }
    written(ledger.path());
    let files = Files::new(ledger.path());
    let directory = small.path().join("index");
    let indexes = Directories::of(&files, [directory.clone()]);
    let plain = found(&files, &Directories::of(&files, []));
    assert_eq!(plain.1.indexed, 0);

    let cursor = FileCursor::new(small.path(), SinkName::parse("siem").unwrap(), ORIGIN);
    let position = |next| Position { next, sequence: next + 1 };
    cursor.save(position(1)).unwrap();
    let filler = small.path().join("filler");
    let full = |bytes: usize| std::fs::write(&filler, vec![1; bytes]).is_err();
    assert!(full(1 << 20), "it is full");

    for next in 2..5 {
        let error = cursor.save(position(next)).unwrap_err();
        assert!(error.hint().contains("room") || error.hint().contains("disk"), "{}", error.hint());
        assert_eq!(cursor.load().unwrap(), Some(position(1)), "it only stays behind");
        counts.case("a sink's cursor on a file system that is full");
    }
    let target = || directory.clone();
    let mut maker = Maker::new(&files, &target, SPAN);
    for _ in 0..3 {
        let error = maker.make(&indexes, 301, &|| false, &mut |_| panic!("nothing can be made")).unwrap_err();
        assert!(matches!(error, MakeError::Write { .. }), "{error}");
        let (records, searched) = found(&files, &indexes);
        assert_eq!(records, plain.0, "what was half written answers nothing");
        assert_eq!(searched.indexed, 0);
        counts.case("the search index on a file system that is full");
    }

    std::fs::remove_file(&filler).unwrap();
    cursor.save(position(9)).unwrap();
    assert_eq!(cursor.load().unwrap(), Some(position(9)));
    let mut made = 0;
    maker.make(&indexes, 301, &|| false, &mut |_| made += 1).unwrap();
    assert_eq!(made, 301 / SPAN, "each span once, from the first on");
    let (records, searched) = found(&files, &indexes);
    assert_eq!(records, plain.0);
    assert!(searched.indexed >= 200 && searched.faults.is_empty(), "{searched:?}");
    counts.case("cursor and index when there is room again");
    let unmounted = Command::new("umount").arg(small.path()).output().unwrap();
    assert!(unmounted.status.success());
}

/// A ledger of 301 records of its own, of which a few are of a kind to look for.
fn written(path: &Path) {
    let (ledger, _) = open(options(path, 50_000)).unwrap();
    block_on(async {
        for n in 0..300 {
            let mut draft = draft(n);
            if n % 50 == 7 {
                (draft.kind, draft.result) = (Kind::SessionRefused, Outcome::Denied);
            }
            ledger.append(draft).await.unwrap();
        }
        ledger.close().await.unwrap();
    });
}

fn found(files: &Files, indexes: &Directories) -> (Vec<u64>, Searched) {
    let query = Query::new(Selection { kinds: vec![Kind::SessionRefused], ..Selection::default() });
    let mut records = Vec::new();
    let searched = search(files, indexes, &query, Order::OldestFirst, None, &mut |hit| {
        records.push(hit.record.seq.get());
        ControlFlow::Continue(())
    });
    (records, searched.unwrap())
}
