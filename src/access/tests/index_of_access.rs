//! A start by the index of access: the same state, sooner, or the index is refused.

use std::sync::atomic::{AtomicU64, Ordering};

use sallyport_audit::Digest;

use super::*;
use crate::access::fact::{Fact, Stamp};
use crate::access::index::Place;
use crate::access::log::{LogError, RecordLog};
use crate::access::opening::fold;

/// A log that remembers from where it was replayed.
struct Watched {
    log: MemoryLog,
    from: AtomicU64,
    altered: Option<u64>,
}

impl Watched {
    fn over(log: &MemoryLog) -> Self {
        Self { log: log.clone(), from: AtomicU64::new(u64::MAX), altered: None }
    }

    fn begun_at(&self) -> u64 {
        self.from.load(Ordering::SeqCst)
    }
}

impl RecordLog for Watched {
    fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
        self.log.append(fact)
    }

    fn replay(&self, from: u64, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<u64, LogError> {
        self.from.store(from, Ordering::SeqCst);
        self.log.replay(from, visit)
    }

    fn replay_these(&self, records: &[u64], visit: &mut dyn FnMut(Stamp, Fact)) -> Result<(), LogError> {
        self.log.replay_these(records, &mut |mut stamp, fact| {
            if Some(stamp.seq) == self.altered {
                stamp.digest = Digest::of(&[b"altered"]);
            }
            visit(stamp, fact);
        })
    }

    fn digest(&self, record: u64) -> Result<Option<Digest>, LogError> {
        self.log.digest(record)
    }
}

/// A gateway that has lived and stopped, and where its index is.
async fn lived() -> (World, Place) {
    let world = World::new().await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let grant = world.granted(&vic, 10).await;
    world.access.revoke(&anna, grant, None).await.unwrap();
    world.access.lock(&anna, user("pat").into(), main_tenant(), None, None).await.unwrap();
    world.access.close().await;
    let place = Place::new(world.directory.path().join("access-index"));
    (world, place)
}

#[tokio::test]
async fn a_start_by_the_index_gives_exactly_the_state_that_reading_everything_gives() {
    let (world, place) = lived().await;
    let whole = fold(&world.log, &*world.keys, None).unwrap();
    let watched = Watched::over(&world.log);
    let soon = fold(&watched, &*world.keys, Some(&place)).unwrap();
    assert_eq!(soon.state, whole.state);
    assert_eq!(soon.index, whole.index);
    let end = world.log.facts().len() as u64;
    assert_eq!(watched.begun_at(), end, "nothing was looked at but what the index names");

    // What came after it is found all the same.
    let again = world.restarted(&world.log).await;
    let anna = world.login_of(&again, "anna").await;
    again.unlock(&anna, user("pat").into(), main_tenant(), None).await.unwrap();
    let crashed = Watched::over(&world.log);
    let state = fold(&crashed, &*world.keys, Some(&place)).unwrap().state;
    assert_eq!((state, crashed.begun_at()), (again.state(), end));
}

#[tokio::test]
async fn a_reload_an_erasure_and_a_refusal_are_no_less_in_the_index_than_orders_are() {
    let world = World::new().await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let first = world.access.policy_digest();
    write_policy(
        world.directory.path(),
        &format!("{TEAM}p, role:visitor, main, tunnel:open, connect, deny, -\n"),
        WORKFLOWS,
    );
    let second = world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_ne!(first, second);
    let key = sallyport_audit::KeyId::from_bytes([7; 16]);
    world.access.end_all_of(Caller::Operator, user("vic"), "asked".parse().unwrap()).await.unwrap();
    world.access.forget(&anna, user("vic"), key, None).await.unwrap();
    // Refused, and recorded as that.
    assert!(world.access.lock(&vic, user("pat").into(), main_tenant(), None, None).await.is_err());
    std::fs::write(world.directory.path().join("policy.csv"), "p, nonsense").unwrap();
    assert!(world.access.reload_policy(Caller::Operator).await.is_err());
    // What comes after them is what makes a start pass over them.
    world.access.lock(&anna, user("pat").into(), main_tenant(), None, None).await.unwrap();
    let lived = world.access.state();
    world.access.close().await;

    let place = Place::new(world.directory.path().join("access-index"));
    let watched = Watched::over(&world.log);
    let soon = fold(&watched, &*world.keys, Some(&place)).unwrap();
    assert_eq!(watched.begun_at(), world.log.facts().len() as u64, "the index was used");
    assert_eq!(soon.state.policy(), Some(second), "or the policy before it could come back unasked");
    assert!(soon.state.erased_keys().contains(&key));
    assert_eq!(fold(&world.log, &*world.keys, None).unwrap().state, soon.state);
    assert_eq!(soon.state.policy(), lived.policy());
}

#[tokio::test]
async fn an_index_that_was_altered_or_is_of_another_key_or_ledger_is_refused_and_everything_is_read() {
    let (world, place) = lived().await;
    let whole = fold(&world.log, &*world.keys, None).unwrap().state;
    let refused = |log: &Watched, keys: &MemoryKeys, state: &state::State| {
        assert_eq!(fold(log, keys, Some(&place)).unwrap().state, *state);
        assert_eq!(log.begun_at(), 0, "everything was looked at");
    };
    refused(&Watched::over(&world.log), &MemoryKeys::new(), &whole);
    let altered = Watched { altered: Some(2), ..Watched::over(&world.log) };
    refused(&altered, &world.keys, &whole);
    // Set back by one record, as a restored copy would be.
    let count = world.log.facts().len() - 1;
    let short = world.log.cut(count);
    let before = fold(&short, &*world.keys, None).unwrap().state;
    refused(&Watched::over(&short), &world.keys, &before);

    let path = world.directory.path().join("access-index");
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        refused(&Watched::over(&world.log), &world.keys, &whole);
    }
    for length in [0, 10, 64, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        refused(&Watched::over(&world.log), &world.keys, &whole);
    }
}

#[tokio::test]
async fn a_run_in_which_the_ledger_refused_a_record_keeps_no_index() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    world.log.set_broken(true);
    assert!(world.access.request(&vic, ask("demo", 10)).await.is_err());
    world.log.set_broken(false);
    world.access.close().await;
    assert!(!world.directory.path().join("access-index").exists());
}
