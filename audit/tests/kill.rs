//! A gateway that is killed in the middle of its work loses nothing that it acknowledged.
#![cfg(all(feature = "ledger", feature = "testing"))]
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::verify::{Overall, Trust, directory};
use sallyport_audit::{Draft, Kind, Ledger, LedgerOptions, Outcome, Seq};

const ORIGIN: &str = "gateway.example.org/ledger";
const DIRECTORY: &str = "SALLYPORT_TEST_LEDGER";

fn open(path: &Path) -> Ledger {
    let mut options = LedgerOptions::new(path, ORIGIN, "gw-1");
    options.segment_bytes = 50_000;
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    Ledger::open(options, Box::new(signer), Arc::new(PlainVault)).unwrap().0
}

/// Not a test: the gateway that is killed. Says on its output which records were acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below, in a process of its own"]
async fn a_gateway_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let ledger = open(Path::new(&path));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let ledger = ledger.clone();
        writers.spawn(async move {
            loop {
                let draft = Draft::new(Kind::HttpRequest, Outcome::Success).path("/").detail("by", writer);
                let receipt = ledger.append(draft).await.unwrap();
                writeln!(std::io::stdout().lock(), "acknowledged {} {}", receipt.seq, receipt.digest)
                    .unwrap();
            }
        });
    }
    // A writer that ends has met an error, which fails this process before it is killed.
    writers.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_killed_gateway_has_lost_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    for patience in [1, 9, 40, 150, 400] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "a_gateway_that_writes_until_it_is_killed"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        while acknowledged.len() < patience {
            acknowledged.extend(parse(&lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        // What it had still said before it died counts, too; a line that was cut off does not.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
        child.wait().unwrap();

        let ledger = open(&path);
        let reader = ledger.reader();
        for (seq, digest) in acknowledged {
            let entry = reader.get(seq).unwrap().unwrap_or_else(|| panic!("record {seq} is lost"));
            assert_eq!(entry.digest().to_string(), digest, "record {seq}");
        }
        ledger.close().await.unwrap();
        let key = SoftwareSigner::new(ORIGIN, [7; 32]).verifier();
        let verdict = directory(&path, &Trust { keys: vec![key], ..Trust::default() }).unwrap();
        assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    }
}

fn parse(line: &str) -> Option<(Seq, String)> {
    let (seq, digest) = line.split_once("acknowledged ")?.1.split_once(' ')?;
    (digest.len() == 64).then(|| Some((Seq::new(seq.parse().ok()?), digest.to_owned()))).flatten()
}
