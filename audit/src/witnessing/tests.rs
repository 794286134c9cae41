//! A real ledger, and witnesses in memory that decide as real ones do, or lie.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::ledger::LedgerOptions;
use crate::record::Seq;
use crate::testing::{PlainVault, SoftwareSigner, SoftwareWitness};
use crate::verify::{Overall, Trust, directory};
use crate::witness::{Refusal, Request};

const ORIGIN: &str = "example.org/ledger";
const NEVER: Duration = Duration::from_hours(1);

/// How a witness behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    Down,
    Silent,
    /// Cosigns another root than the one that it was shown.
    OtherRoot,
    /// Gives its first cosignature again and again.
    Replays,
    /// Always names another size.
    Loops,
    Status(u16),
}

struct FakeWitness {
    key: SoftwareWitness,
    manner: Mutex<Manner>,
    last: Mutex<Option<Checkpoint>>,
    first_answer: Mutex<Option<String>>,
    asked: watch::Sender<u32>,
}

impl FakeWitness {
    fn answer(&self, body: &str) -> Reply {
        let manner = *self.manner.lock().unwrap();
        let asked = *self.asked.borrow();
        let request = Request::parse(body).unwrap();
        let mut last = self.last.lock().unwrap();
        let keys = [SoftwareSigner::new(ORIGIN, [1; 32]).verifier()];
        let reply = |status, body: String| Reply { status, body: body.into_bytes() };
        match (manner, request.decide(&keys, last.as_ref())) {
            (Manner::Status(status), _) => reply(status, String::new()),
            (Manner::Loops, _) => reply(409, format!("{}\n", u32::from(asked.is_multiple_of(2)))),
            (_, Ok(accepted)) => {
                let mut checkpoint = accepted.checkpoint().clone();
                *last = Some(checkpoint.clone());
                if manner == Manner::OtherRoot {
                    checkpoint.root = crate::Digest::ZERO;
                }
                let line = format!("{}\n", self.key.cosign(&checkpoint, unix_time()));
                let first = self.first_answer.lock().unwrap().get_or_insert_with(|| line.clone()).clone();
                reply(200, if manner == Manner::Replays { first } else { line })
            }
            (_, Err(Refusal::Conflict { size } | Refusal::TwoHistories { size })) => {
                reply(409, format!("{size}\n"))
            }
            (_, Err(refusal)) => reply(refusal.status(), refusal.to_string()),
        }
    }
}

struct Way(Arc<FakeWitness>);

impl Courier for Way {
    fn add_checkpoint(
        &self,
        body: String,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Reply, String>> + Send + '_>> {
        Box::pin(async move {
            self.0.asked.send_modify(|asked| *asked += 1);
            let manner = *self.0.manner.lock().unwrap();
            match manner {
                Manner::Down => Err("connection refused".to_owned()),
                Manner::Silent => std::future::pending().await,
                _ => Ok(self.0.answer(&body)),
            }
        })
    }
}

fn fakes(manners: &[Manner]) -> (Vec<Arc<FakeWitness>>, Vec<Witness>) {
    let fakes: Vec<_> = manners
        .iter()
        .zip(1_u8..)
        .map(|(manner, n)| {
            Arc::new(FakeWitness {
                key: SoftwareWitness::new(&format!("witness.example.net/w{n}"), [n; 32]),
                manner: Mutex::new(*manner),
                last: Mutex::default(),
                first_answer: Mutex::default(),
                asked: watch::channel(0).0,
            })
        })
        .collect();
    let witnesses = fakes.iter().zip(1..).map(|(fake, n)| Witness {
        name: format!("w{n}"),
        key: fake.key.verifier(),
        courier: Arc::new(Way(Arc::clone(fake))),
    });
    let witnesses = witnesses.collect();
    (fakes, witnesses)
}

fn open(folder: &Path) -> Ledger {
    let signer = Box::new(SoftwareSigner::new(ORIGIN, [1; 32]));
    let options = LedgerOptions { segment_bytes: 600, ..LedgerOptions::new(folder, ORIGIN, "gw-1") };
    Ledger::open(options, signer, Arc::new(PlainVault)).unwrap().0
}

fn options(folder: &Path, quorum: usize) -> WitnessingOptions {
    WitnessingOptions {
        directory: folder.to_owned(),
        quorum,
        interval: NEVER,
        patience: Duration::from_millis(200),
        max_age: NEVER,
    }
}

fn heartbeat() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

/// The records about witnesses, once there are `count`.
async fn told(ledger: &Ledger, count: usize) -> Vec<crate::Record> {
    let mut heads = ledger.reader().heads();
    loop {
        heads.borrow_and_update();
        let entries = ledger.reader().range(Seq::ZERO, usize::MAX).unwrap();
        let told: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.record)
            .filter(|record| record.kind == Kind::LedgerWitnessed)
            .collect();
        if told.len() >= count {
            return told;
        }
        heads.changed().await.unwrap();
    }
}

fn trust(fakes: &[Arc<FakeWitness>], quorum: usize) -> Trust {
    Trust {
        keys: vec![SoftwareSigner::new(ORIGIN, [1; 32]).verifier()],
        cosigners: fakes.iter().map(|fake| fake.key.verifier()).collect(),
        quorum: Some(quorum),
        ..Trust::default()
    }
}

#[tokio::test]
async fn two_of_three_are_enough_and_the_record_says_who_was_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (fakes, witnesses) = fakes(&[Manner::Honest, Manner::Down, Manner::Honest]);
    let ledger = open(folder.path());
    let witnessing = Witnessing::start(ledger.clone(), witnesses, options(folder.path(), 2));
    let told = told(&ledger, 1).await;
    assert_eq!(told[0].result, Outcome::Success);
    let details = serde_json::to_value(&told[0].details).unwrap();
    assert_eq!((&details["reached"], &details["quorum"]), (&true.into(), &2.into()));
    assert_eq!(details["by"][0]["witness"], "w1");
    assert_eq!(details["missing"][0]["witness"], "w2");
    assert_eq!(details["missing"][0]["why"], "cannot be reached: connection refused");
    let state = witnessing.status().borrow().clone();
    assert!(state.fresh && state.sentence().contains("by w1, w3"), "{state:?}");
    // The proofs of the last round lead over many segments.
    for _ in 0..40 {
        ledger.append(heartbeat()).await.unwrap();
    }
    let last = witnessing.finish().await;
    assert_eq!(last.head.unwrap().records, 42);
    assert_eq!(fakes[0].last.lock().unwrap().as_ref().unwrap().size, 42);
    ledger.close().await.unwrap();
    let verdict = directory(folder.path(), &trust(&fakes, 2)).unwrap();
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.authenticity.sentence.contains("2 of 3 given cosigners"), "{verdict:#?}");
    let verdict = directory(folder.path(), &trust(&fakes, 3)).unwrap();
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:#?}");
}

#[tokio::test]
async fn witnesses_that_lie_or_do_not_answer_are_not_counted() {
    for manner in [
        Manner::OtherRoot,
        Manner::Loops,
        Manner::Silent,
        Manner::Status(403),
        Manner::Status(404),
        Manner::Status(422),
        Manner::Status(302),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (fakes, witnesses) = fakes(&[Manner::Honest, manner]);
        let ledger = open(folder.path());
        let witnessing = Witnessing::start(ledger.clone(), witnesses, options(folder.path(), 2));
        let told = told(&ledger, 1).await;
        assert_eq!(told[0].result, Outcome::Failure, "{manner:?}");
        let state = witnessing.status().borrow().clone();
        assert!(!state.fresh && state.head.is_none() && state.witnesses[1].trouble.is_some(), "{state:?}");
        assert_eq!(state.witnesses[1].disputes, manner == Manner::Status(422));
        assert!(!folder.path().join("witnessed").exists(), "{manner:?}");
        assert!(*fakes[1].asked.borrow() <= 3, "{manner:?} was asked without end");
        witnessing.finish().await;
        ledger.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_cosignature_that_is_given_again_for_a_later_head_is_false() {
    let folder = tempfile::tempdir().unwrap();
    let (_fakes, witnesses) = fakes(&[Manner::Replays]);
    let ledger = open(folder.path());
    let witnessing = Witnessing::start(ledger.clone(), witnesses, options(folder.path(), 1));
    assert_eq!(told(&ledger, 1).await[0].result, Outcome::Success);
    let last = witnessing.finish().await;
    assert_eq!(last.head.unwrap().records, 1, "the head of the first answer stays");
    assert_eq!(
        last.witnesses[0].trouble.as_deref(),
        Some("gave a false cosignature, or one of another head")
    );
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn what_is_witnessed_grows_old_and_young_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (fakes, witnesses) = fakes(&[Manner::Honest]);
    let ledger = open(folder.path());
    let tick = Duration::from_millis(20);
    let options = WitnessingOptions { interval: tick, max_age: tick * 5, ..options(folder.path(), 1) };
    let witnessing = Witnessing::start(ledger.clone(), witnesses, options);
    let mut status = witnessing.status();
    status.wait_for(|status| status.fresh).await.unwrap();
    *fakes[0].manner.lock().unwrap() = Manner::Down;
    // On a machine with much to do it may have grown old before it was asked in vain.
    let failed = |record: &crate::Record| record.result == Outcome::Failure;
    let mut least = 1;
    while !told(&ledger, least).await.iter().any(failed) {
        least += 1;
    }
    let old = status.wait_for(|status| !status.fresh).await.unwrap().clone();
    assert!(old.sentence().starts_with("not witnessed since "), "{old:?}");
    *fakes[0].manner.lock().unwrap() = Manner::Honest;
    status.wait_for(|status| status.fresh).await.unwrap();
    witnessing.finish().await;
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_starts_again_goes_on_from_the_witnessed_head() {
    let folder = tempfile::tempdir().unwrap();
    let (fakes, witnesses) = fakes(&[Manner::Honest]);
    let ledger = open(folder.path());
    let witnessing = Witnessing::start(ledger.clone(), witnesses.clone(), options(folder.path(), 1));
    told(&ledger, 1).await;
    witnessing.finish().await;
    ledger.close().await.unwrap();
    *fakes[0].manner.lock().unwrap() = Manner::Down;
    let ledger = open(folder.path());
    let witnessing = Witnessing::start(ledger.clone(), witnesses, options(folder.path(), 1));
    let mut status = witnessing.status();
    let state = status.wait_for(|status| status.witnesses[0].trouble.is_some()).await.unwrap().clone();
    assert!(state.fresh, "it was witnessed a moment ago: {state:?}");
    assert_eq!(state.witnesses[0].records, 2);
    witnessing.finish().await;
    ledger.close().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn a_restored_backup_is_told_from_the_ledger_that_was_witnessed() {
    let folder = tempfile::tempdir().unwrap();
    let (live, backup) = (folder.path().join("live"), folder.path().join("backup"));
    let (fakes, witnesses) = fakes(&[Manner::Down, Manner::Honest]);
    let patience = Duration::from_secs(5);
    assert_eq!(ask_first(&live, &witnesses, patience).await, Ok(FirstWord::NothingToShow));
    let ledger = open(&live);
    ledger.append(heartbeat()).await.unwrap();
    ledger.close().await.unwrap();
    let Ok(FirstWord::Asked { agree: 1, silent }) = ask_first(&live, &witnesses, patience).await else {
        panic!("the ledger itself is refused");
    };
    assert_eq!(silent[0].0, "w1");
    copy(&live, &backup);

    let ledger = open(&live);
    for _ in 0..30 {
        ledger.append(heartbeat()).await.unwrap();
    }
    ledger.close().await.unwrap();
    assert!(ask_first(&live, &witnesses, patience).await.is_ok());
    let restored = |trouble| Err(SeenElsewhere { witness: "w2".to_owned(), trouble });
    assert_eq!(
        ask_first(&backup, &witnesses, patience).await,
        restored(Trouble::Ahead { theirs: 32, ours: 2 })
    );

    // A backup that went on by itself has as many records, or more, but not the same ones.
    let ledger = open(&backup);
    for _ in 0..30 {
        ledger.append(heartbeat().detail("other", true)).await.unwrap();
    }
    ledger.close().await.unwrap();
    assert_eq!(ask_first(&backup, &witnesses, patience).await, restored(Trouble::TwoHistories { size: 32 }));
    let ledger = open(&backup);
    ledger.append(heartbeat()).await.unwrap();
    ledger.close().await.unwrap();
    let longer = ask_first(&backup, &witnesses, patience).await;
    assert_eq!(longer, restored(Trouble::OtherBeginning { old: 32 }));
    assert_eq!(fakes[1].last.lock().unwrap().as_ref().unwrap().size, 32, "the fork was not cosigned");
}

#[test]
fn a_head_is_as_young_as_the_oldest_cosignature_that_its_quorum_needs() {
    let at = |quorum| super::reached_at([10, 400, 300].into_iter(), quorum);
    assert_eq!((at(1), at(2), at(3), at(4), at(0)), (Some(400), Some(300), Some(10), None, None));
}
