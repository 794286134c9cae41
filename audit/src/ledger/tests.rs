use std::path::Path;

use super::*;
use crate::kind::Kind;
use crate::record::Outcome;
use crate::testing::{PlainVault, SoftwareSigner};

const ORIGIN: &str = "gateway.example.org/ledger";

fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

fn options(directory: &Path) -> LedgerOptions {
    LedgerOptions::new(directory, ORIGIN, "gw-1")
}

fn open(directory: &Path) -> (Ledger, Opened) {
    Ledger::open(options(directory), Box::new(signer()), Arc::new(PlainVault)).unwrap()
}

fn draft(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").path(format!("/{n}")).detail("n", n)
}

#[tokio::test]
async fn what_was_acknowledged_is_read_at_once_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, opened) = open(directory.path());
    assert!(opened.created);
    let reader = ledger.reader();
    for n in 1..=20 {
        let receipt = ledger.append(draft(n)).await.unwrap();
        assert_eq!(receipt.seq, Seq::new(n));
        let entry = reader.get(receipt.seq).unwrap().unwrap();
        assert_eq!(entry.digest(), receipt.digest);
        assert_eq!(entry.record.time, receipt.time);
        assert_eq!(entry.personal.get(&crate::Personal::Path), Some(&format!("/{n}")));
    }
    ledger.close().await.unwrap();
    let (ledger, opened) = open(directory.path());
    assert_eq!((opened.created, opened.records, opened.store), (false, 21, StoreState::Current));
    let entries = ledger.reader().range(Seq::ZERO, 100).unwrap();
    assert_eq!(entries.len(), 21);
    assert_eq!(entries[0].record.kind, Kind::LedgerCreated);
    assert!(entries.windows(2).all(|pair| pair[1].record.prev == pair[0].digest()));
    ledger.close().await.unwrap();
}
