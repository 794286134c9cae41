//! A large ledger: how soon it is open again after a kill, and how fast it is verified and read.

use std::path::Path;
use std::time::Instant;

use sallyport_audit::Seq;
use sallyport_audit::testing::SoftwareSigner;
use sallyport_audit::verify::{Overall, Trust, directory};
use serde_json::{Value, json};

use crate::load::memory_mb;
use crate::subject::{ORIGIN, draft, ledger};

fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

/// Writes so many records and ends without closing anything.
pub fn fill_and_die(path: &Path, records: u64) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let ledger = ledger(path, Box::new(signer()));
        for n in 2..records {
            ledger.enqueue(draft(n)).await.expect("it is taken");
        }
        ledger.append(draft(records)).await.expect("it is durable");
    });
    std::process::abort()
}

pub fn reopen(path: &Path) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let before = Instant::now();
    let first = ledger(path, Box::new(signer()));
    let reopen_ms = before.elapsed().as_millis() as u64;
    runtime.block_on(first.close()).expect("it closes");
    let before = Instant::now();
    let again = ledger(path, Box::new(signer()));
    let reopen_again_ms = before.elapsed().as_millis() as u64;
    let reader = again.reader();
    let (before, mut at) = (Instant::now(), 0);
    while at < reader.len().min(200_000) {
        at += reader.range(Seq::new(at), 1000).expect("it is read").len() as u64;
    }
    let scanned_per_s = (at as f64 / before.elapsed().as_secs_f64()) as u64;
    let records = reader.len();
    runtime.block_on(again.close()).expect("it closes");
    let memory = memory_mb();
    let before = Instant::now();
    let verdict =
        directory(path, &Trust { keys: vec![signer().verifier()], ..Trust::default() }).expect("it is read");
    assert_eq!(verdict.overall(), Overall::Verified);
    let verified_per_s = (records as f64 / before.elapsed().as_secs_f64()) as u64;
    json!({
        "records": records, "reopen_ms": reopen_ms, "reopen_again_ms": reopen_again_ms, "verified_per_s": verified_per_s,
        "scanned_per_s": scanned_per_s, "memory_mb": memory, "heads": verdict.ledger.heads,
    })
}
