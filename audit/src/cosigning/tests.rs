//! A real ledger with a cosigner beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::kind::Kind;
use crate::ledger::{Ledger, LedgerOptions};
use crate::record::{Draft, Outcome};
use crate::testing::{PlainVault, SoftwareCosigner, SoftwareSigner};
use crate::verify::{Overall, Trust, directory};

const ORIGIN: &str = "example.org/ledger";

/// Long enough that only the beginning and the end of a test cosign.
const NEVER: Duration = Duration::from_hours(1);

fn open(folder: &Path) -> Ledger {
    let signer = Box::new(SoftwareSigner::new(ORIGIN, [1; 32]));
    Ledger::open(LedgerOptions::new(folder, ORIGIN, "gw-1"), signer, Arc::new(PlainVault)).unwrap().0
}

fn start(ledger: &Ledger, folder: &Path, cosigner: SoftwareCosigner, interval: Duration) -> Cosigning {
    Cosigning::start(ledger.reader(), folder, Box::new(cosigner), interval).unwrap()
}

fn trust(cosigner: &SoftwareCosigner) -> Trust {
    Trust {
        keys: vec![SoftwareSigner::new(ORIGIN, [1; 32]).verifier()],
        cosigners: vec![cosigner.verifier()],
        ..Trust::default()
    }
}

fn heartbeat() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

#[tokio::test]
async fn the_last_head_of_a_closed_ledger_is_cosigned_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let cosigner = SoftwareCosigner::new(ORIGIN, [5; 32]);
    let ledger = open(folder.path());
    let cosigning = start(&ledger, folder.path(), cosigner.clone(), NEVER);
    for _ in 0..3 {
        ledger.append(heartbeat()).await.unwrap();
    }
    ledger.close().await.unwrap();
    assert_eq!(cosigning.finish().await.unwrap(), 4);
    let verdict = directory(folder.path(), &trust(&cosigner)).unwrap();
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:?}");
    assert!(verdict.authenticity.sentence.contains("1 of 1 given cosigners"), "{verdict:?}");
    assert!(verdict.completeness.sentence.contains("cosigned head beside it covers 4 of 4"), "{verdict:?}");
    // Opened again, the ledger is not disturbed by the file beside it.
    open(folder.path()).close().await.unwrap();
    let stranger = SoftwareCosigner::new(ORIGIN, [6; 32]);
    let verdict = directory(folder.path(), &trust(&stranger)).unwrap();
    assert_eq!(verdict.overall(), Overall::Broken);
    let enough = Trust {
        quorum: Some(1),
        cosigners: vec![stranger.verifier(), cosigner.verifier()],
        ..trust(&cosigner)
    };
    assert_eq!(directory(folder.path(), &enough).unwrap().overall(), Overall::Verified);
}

#[tokio::test]
async fn later_heads_are_cosigned_at_every_interval() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let cosigner = SoftwareCosigner::new(ORIGIN, [5; 32]);
    let cosigning = start(&ledger, folder.path(), cosigner, Duration::from_millis(1));
    let mut status = cosigning.status();
    let receipt = ledger.append(heartbeat()).await.unwrap();
    status.wait_for(|status| status.records > receipt.seq.get()).await.unwrap();
    ledger.close().await.unwrap();
    cosigning.finish().await.unwrap();
}

/// Signs, or fails, or signs wrongly.
struct Moody {
    good: SoftwareCosigner,
    wrong: Arc<AtomicBool>,
}

impl Cosigner for Moody {
    fn name(&self) -> &str {
        self.good.name()
    }

    fn public_key(&self) -> &[u8] {
        self.good.public_key()
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let message = if self.wrong.load(Ordering::SeqCst) { b"another" } else { message };
        self.good.sign(message)
    }
}

#[tokio::test]
async fn a_false_cosignature_never_replaces_a_right_one_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let good = SoftwareCosigner::new(ORIGIN, [5; 32]);
    let wrong = Arc::new(AtomicBool::new(false));
    let moody = Moody { good: good.clone(), wrong: Arc::clone(&wrong) };
    let cosigning =
        Cosigning::start(ledger.reader(), folder.path(), Box::new(moody), Duration::from_millis(1)).unwrap();
    let mut status = cosigning.status();
    status.wait_for(|status| status.records == 1).await.unwrap();
    wrong.store(true, Ordering::SeqCst);
    ledger.append(heartbeat()).await.unwrap();
    status.wait_for(|status| status.trouble.is_some()).await.unwrap();
    assert_eq!(directory(folder.path(), &trust(&good)).unwrap().overall(), Overall::Verified);
    wrong.store(false, Ordering::SeqCst);
    status.wait_for(|status| status.records == 2 && status.trouble.is_none()).await.unwrap();
    ledger.close().await.unwrap();
    cosigning.finish().await.unwrap();
}

#[tokio::test]
async fn a_ledger_cut_shorter_than_its_cosigned_head_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = tempfile::tempdir().unwrap();
    let cosigner = SoftwareCosigner::new(ORIGIN, [5; 32]);
    let ledger = open(folder.path());
    ledger.close().await.unwrap();
    std::fs::create_dir(earlier.path().join("journal")).unwrap();
    let journal = Files::new(folder.path()).segments().unwrap()[0].path.clone();
    let kept = earlier.path().join("journal").join(journal.file_name().unwrap());
    std::fs::copy(&journal, &kept).unwrap();
    std::fs::copy(folder.path().join("head"), earlier.path().join("head")).unwrap();
    let ledger = open(folder.path());
    ledger.append(heartbeat()).await.unwrap();
    let cosigning = start(&ledger, folder.path(), cosigner.clone(), NEVER);
    ledger.close().await.unwrap();
    cosigning.finish().await.unwrap();
    std::fs::copy(folder.path().join("cosigned"), earlier.path().join("cosigned")).unwrap();
    let keys = Trust { cosigners: Vec::new(), ..trust(&cosigner) };
    assert_eq!(directory(folder.path(), &keys).unwrap().overall(), Overall::Verified);
    let verdict = directory(earlier.path(), &keys).unwrap();
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:?}");
}
