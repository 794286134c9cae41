//! A large ledger: how soon it is open again after a kill, and how fast it is verified, searched and read.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sallyport_audit::chain::Chain;
use sallyport_audit::journal::Files;
use sallyport_audit::journal::scan::{last_note, scan};
use sallyport_audit::snapshot::Snapshot;
use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::verify::{Overall, Trust, directory};
use sallyport_audit::{Checkpoint, Digest, Record, Seq};
use serde_json::{Value, json};

use crate::load::{disk_bytes, memory_mb};
use crate::subject::{ORIGIN, draft, ledger};

fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

/// Writes so many records and ends without closing anything.
pub fn fill_and_die(path: &Path, records: u64) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let ledger = ledger(path, Box::new(signer()), Arc::new(PlainVault));
        for n in 2..records {
            ledger.enqueue(draft(n)).await.expect("it is taken");
        }
        ledger.append(draft(records)).await.expect("it is durable");
    });
    std::process::abort()
}

/// What can be asked of a large ledger, each with how long the answer took.
pub fn reopen(path: &Path) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (first, reopen_ms) = timed(|| ledger(path, Box::new(signer()), Arc::new(PlainVault)));
    runtime.block_on(first.close()).expect("it closes");
    let (again, reopen_again_ms) = timed(|| ledger(path, Box::new(signer()), Arc::new(PlainVault)));
    let reader = again.reader();
    let records = reader.len();
    let (scanned, scan_ms) = timed(|| {
        let mut at = 0;
        while at < records.min(200_000) {
            at += reader.range(Seq::new(at), 1000).expect("it is read").len() as u64;
        }
        at
    });
    let ((), get_ms) = timed(|| {
        for n in 0..1000 {
            reader.get(Seq::new(n * 7919 % records)).expect("it is read").expect("it is there");
        }
    });
    let memory_mb = memory_mb();
    runtime.block_on(again.close()).expect("it closes");

    let trust = Trust { keys: vec![signer().verifier()], ..Trust::default() };
    let (verdict, verify_ms) = timed(|| directory(path, &trust).expect("it is read"));
    assert_eq!(verdict.overall(), Overall::Verified);
    let (record_bytes, chain_ms) = timed(|| chain_only(path, records));
    let (found, search_ms) = timed(|| search(path, records / 2));
    assert_eq!(found, 1);
    let (_, prove_ms) = timed(|| {
        let snapshot = Snapshot::latest(Files::new(path)).expect("it has a head");
        snapshot.prove(Seq::new(records / 2)).expect("it is proved")
    });
    json!({
        "records": records, "heads": verdict.ledger.heads, "record_bytes": record_bytes / records,
        "copies": ((disk_bytes(path) as f64 / record_bytes as f64) * 100.0).round() / 100.0,
        "reopen_ms": reopen_ms, "reopen_again_ms": reopen_again_ms, "memory_mb": memory_mb,
        "scanned_per_s": per_second(scanned, scan_ms), "get_us": get_ms, "verified_per_s": per_second(records, verify_ms),
        "chained_per_s": per_second(records, chain_ms), "search_ms": search_ms, "prove_ms": prove_ms,
    })
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = Instant::now();
    (work(), before.elapsed().as_millis() as u64)
}

fn per_second(records: u64, ms: u64) -> u64 {
    records * 1000 / ms.max(1)
}

/// Reads the journal and puts every record into the tree, without looking at what it says; gives back how many
/// bytes records and sealed values have.
fn chain_only(path: &Path, records: u64) -> u64 {
    let (mut chain, mut bytes) = (Chain::genesis(), 0);
    let mut take = |_: Seq, record: &[u8], sealed: &[u8]| {
        chain.extend(Digest::leaf(record));
        bytes += (record.len() + sealed.len()) as u64;
        ControlFlow::Continue(())
    };
    scan(&Files::new(path), Seq::ZERO, &mut take).expect("it is read");
    let (note, _) = last_note(&Files::new(path)).expect("it is read");
    let (head, _) = Checkpoint::from_note(&note.expect("it has a head")).expect("a checkpoint");
    assert_eq!((chain.size(), chain.frontier().root()), (records, head.root));
    bytes
}

/// Looks for the one record whose `bytes` are `n`, in the journal and without an index.
fn search(path: &Path, n: u64) -> u64 {
    let mut found = 0;
    let mut take = |_: Seq, record: &[u8], _: &[u8]| {
        let record = Record::parse(record).expect("a record");
        found += u64::from(record.details.get("bytes").and_then(Value::as_u64) == Some(n));
        ControlFlow::Continue(())
    };
    scan(&Files::new(path), Seq::ZERO, &mut take).expect("it is read");
    found
}
