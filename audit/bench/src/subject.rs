//! What is measured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::ledger::Lending;
use sallyport_audit::{Draft, HeadSigner, Kind, Ledger, LedgerOptions, Outcome, Vault};

use crate::committer::Committer;
use crate::token::{self, TokenSigner, TokenVault};

pub const ORIGIN: &str = "gateway.example.org/ledger";

/// What one record takes in the ledger's journal, with the sealed values beside it, without the head of its group.
pub const RECORD_BYTES: usize = 700;

#[derive(Clone)]
pub struct Subject {
    what: What,
    record: Arc<Vec<u8>>,
}

#[derive(Clone)]
enum What {
    Ledger(Ledger),
    Other(Committer),
}

/// One HTTP request, as a gateway records it.
pub fn draft(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success)
        .subject("user:alice")
        .source("203.0.113.7:44321")
        .path("/reports/2026/january?page=4")
        .action("GET")
        .object("tunnel:demo")
        .session("sess-01983b9c2f7a7d31a4b5c6d7e8f90123")
        .detail("status", 200)
        .detail("bytes", n)
}

impl Subject {
    pub fn open(name: &str, directory: &Path) -> Self {
        let committer = |commit: Commit| Committer::new(name == "plain-gathering", commit);
        let what = match name {
            "ledger" => What::Ledger(ledger(
                &directory.join("ledger"),
                Box::new(SoftwareSigner::new(ORIGIN, [7; 32])),
                Arc::new(PlainVault),
            )),
            "ledger-softhsm" => {
                let keys = token::open(directory);
                let vault = TokenVault::open(&keys, directory);
                let signer = TokenSigner::new(keys, ORIGIN);
                What::Ledger(ledger(&directory.join("ledger"), Box::new(signer), Arc::new(vault)))
            }
            "ledger-lent" => {
                let keys = token::open(directory);
                let vault = TokenVault::open(&keys, directory);
                let mut options = LedgerOptions::new(directory.join("ledger"), ORIGIN, "gw-1");
                let (lifetime, own_every) = (Duration::from_secs(3600), Duration::from_secs(1));
                options.lending = Some(Lending { lifetime, heads: 1_000_000, own_every });
                let signer = Box::new(TokenSigner::new(keys, ORIGIN));
                What::Ledger(Ledger::open(options, signer, Arc::new(vault)).expect("it opens").0)
            }
            "plain" | "plain-gathering" => What::Other(committer(plain(directory))),
            "sqlite" => What::Other(committer(sqlite(directory))),
            "sled" => What::Other(committer(sled(directory))),
            other => panic!("there is no subject {other}"),
        };
        Self { what, record: Arc::new(vec![b'x'; RECORD_BYTES]) }
    }

    pub async fn append(&self, n: u64) {
        match &self.what {
            What::Ledger(ledger) => drop(ledger.append(draft(n)).await.expect("it is recorded")),
            What::Other(committer) => committer.append(Arc::clone(&self.record)).await,
        }
    }

    pub async fn close(&self) {
        if let What::Ledger(ledger) = &self.what {
            ledger.close().await.expect("it closes");
        }
    }
}

pub fn ledger(directory: &Path, signer: Box<dyn HeadSigner>, vault: Arc<dyn Vault>) -> Ledger {
    let options = LedgerOptions::new(directory, ORIGIN, "gw-1");
    Ledger::open(options, signer, vault).expect("it opens").0
}

type Commit = Box<dyn FnMut(&[(Arc<Vec<u8>>, tokio::sync::oneshot::Sender<()>)]) + Send>;

fn plain(directory: &Path) -> Commit {
    use std::io::Write as _;
    let mut file =
        std::fs::File::options().append(true).create(true).open(directory.join("plain")).expect("a file");
    let mut bytes = Vec::new();
    Box::new(move |group| {
        bytes.clear();
        group.iter().for_each(|(record, _)| bytes.extend_from_slice(record));
        file.write_all(&bytes).expect("it is written");
        file.sync_data().expect("it is synced");
    })
}

fn sqlite(directory: &Path) -> Commit {
    let mut db = rusqlite::Connection::open(directory.join("sqlite")).expect("a database");
    db.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    db.pragma_update(None, "synchronous", "FULL").expect("synchronous");
    db.execute("CREATE TABLE record (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)", []).expect("a table");
    db.busy_timeout(Duration::from_secs(5)).expect("a time limit");
    Box::new(move |group| {
        let transaction = db.transaction().expect("a transaction");
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO record (body) VALUES (?1)").expect("a statement");
            for (record, _) in group {
                insert.execute([record.as_slice()]).expect("it is inserted");
            }
        }
        transaction.commit().expect("it is durable");
    })
}

fn sled(directory: &Path) -> Commit {
    let config = ::sled::Config::new()
        .path(directory.join("sled"))
        .cache_capacity(64 * 1024 * 1024)
        .flush_every_ms(None);
    let db = config.open().expect("a store");
    let mut seq = 0_u64;
    Box::new(move |group| {
        let mut batch = ::sled::Batch::default();
        for (record, _) in group {
            batch.insert(&seq.to_be_bytes(), record.as_slice());
            seq += 1;
        }
        db.apply_batch(batch).expect("it is applied");
        db.flush().expect("it is flushed");
    })
}
