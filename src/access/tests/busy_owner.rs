//! However much the owner has to record, what takes something away doesn't wait for it; and what the ledger doesn't take is
//! neither forgotten nor done by halves.

use super::fact::Fact;
use super::*;
use crate::access::share::ShareRole;

/// Vic may ask for any of many tunnels, Olga may share any, and Dora is nobody by policy.
const MANY: &str = "
p, role:visitor, main, tunnel:t-*, connect, allow, one
p, role:shopkeeper, main, tunnel:*, read, allow, -
p, role:shopkeeper, main, tunnel:*, delete, allow, -
p, role:shopkeeper, main, tunnel:*, share, allow, -
p, role:shopkeeper, main, tunnel:*, connect, allow, -
p, role:tunnel-viewer, main, tunnel:*, read, allow, -
p, role:tunnel-viewer, main, tunnel:*, connect, allow, -
g, user:olga, role:shopkeeper, main
";

/// More than go to the disk together, and more than orders wait for the owner.
const SO_MANY: usize = 300;

async fn world() -> World {
    World::with(&format!("{TEAM}{MANY}"), WORKFLOWS).await
}

impl World {
    async fn shares(&self, giver: &Identity, to: &Identity, tunnel: &str) -> ShareId {
        let place = (main_tenant(), object(tunnel));
        let offered = self.access.share(giver, place, to.subject().clone(), ShareRole::Viewer, None);
        let share = offered.await.unwrap();
        self.access.accept_share(to, share).await.unwrap();
        share
    }
}

/// Lets every other task go on as far as it can.
async fn others_go_on() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_revocation_comes_before_all_orders_and_after_no_more_ends_than_go_to_the_disk_together() {
    let world = world().await;
    let (vic, val, anna) = (world.login("vic").await, world.login("val").await, world.login("anna").await);
    for number in 0..SO_MANY {
        let request = world.ask(&vic, &format!("t-{number}"), 10).await;
        world.approve(&anna, request).await.unwrap();
    }
    let before = world.log.facts().len();
    world.log.set_stuck(true);
    world.clock.forward(SignedDuration::from_mins(11));
    others_go_on().await;
    let asking = tokio::spawn({
        let (access, val) = (world.access.clone(), val.clone());
        async move { access.request(&val, ask("demo", 10)).await }
    });
    others_go_on().await;
    let locking = tokio::spawn({
        let access = world.access.clone();
        async move { access.lock(Caller::Operator, user("pat").into(), main_tenant(), None, None).await }
    });
    others_go_on().await;
    world.log.set_stuck(false);
    locking.await.unwrap().unwrap();
    asking.await.unwrap().unwrap();
    world.access.caught_up().await.unwrap();

    let facts = world.log.facts().split_off(before);
    let at = |wanted: fn(&Fact) -> bool| facts.iter().position(wanted).unwrap();
    let ends = facts.iter().filter(|fact| matches!(fact, Fact::GrantExpired { .. })).count();
    assert_eq!(ends, SO_MANY);
    let (locked, requested) =
        (at(|fact| matches!(fact, Fact::Locked { .. })), at(|fact| matches!(fact, Fact::Requested { .. })));
    assert!(locked < SO_MANY, "the lock waited for all {SO_MANY} ends: it is number {locked}");
    assert!(locked < requested, "the lock waited for an order that takes nothing away");
    // What was recorded together is folded in as a start reads it.
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn who_rests_on_a_locked_givers_share_is_cut_before_the_ledger_takes_the_lock() {
    let world = world().await;
    let (olga, dora) = (world.login("olga").await, world.login("dora").await);
    world.shares(&olga, &dora, "shop").await;
    let permit = world.permit(&dora, "shop");
    world.log.set_broken(true);
    let locked = world.access.lock(Caller::Operator, user("olga").into(), main_tenant(), None, None).await;
    assert!(matches!(locked, Err(AccessError::NotRecorded { cut: 1, .. })), "{locked:?}");
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);

    let world = self::world().await;
    let (olga, dora) = (world.login("olga").await, world.login("dora").await);
    world.shares(&olga, &dora, "shop").await;
    let permit = world.permit(&dora, "shop");
    world.log.set_broken(true);
    let lock = LockTarget::Role(role("shopkeeper"));
    world.access.lock(Caller::Operator, lock, main_tenant(), None, None).await.unwrap_err();
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
}

#[tokio::test]
async fn an_order_that_takes_much_away_while_the_ledger_is_down_is_recorded_whole_once_it_is_back() {
    let world = world().await;
    let (olga, vic) = (world.login("olga").await, world.login("vic").await);
    for number in 0..SO_MANY {
        let person = user(&format!("p-{number}"));
        let place = (main_tenant(), object("shop"));
        world.access.share(&olga, place, person, ShareRole::Viewer, None).await.unwrap();
    }
    world.log.set_broken(true);
    world.access.delete_tunnel(&olga, object("shop"), "it is closed".parse().unwrap()).await.unwrap_err();
    // And what is ordered after it is not forgotten, however much that was.
    world.access.lock(Caller::Operator, user("vic").into(), main_tenant(), None, None).await.unwrap_err();
    world.log.set_broken(false);
    world.clock.forward(SignedDuration::from_secs(1));
    world.access.lock(Caller::Operator, user("pat").into(), main_tenant(), None, None).await.unwrap();
    world.access.caught_up().await.unwrap();
    let facts = world.log.facts();
    assert_eq!(facts.iter().filter(|fact| matches!(fact, Fact::ShareEnded { .. })).count(), SO_MANY);
    assert!(facts.iter().any(|fact| matches!(fact, Fact::TunnelDeleted { .. })));
    assert!(world.is_denied(&vic, "open"), "the lock was forgotten");
}

#[tokio::test]
async fn another_token_key_that_the_ledger_did_not_take_is_not_recorded_behind_everybodys_back() {
    let world = world().await;
    let vic = world.login("vic").await;
    world.log.set_broken(true);
    let next = MemoryKeys::new();
    world.access.replace_token_key(Caller::Operator, next, false, None).await.unwrap_err();
    world.log.set_broken(false);
    world.clock.forward(SignedDuration::from_secs(1));
    world.access.lock(Caller::Operator, user("pat").into(), main_tenant(), None, None).await.unwrap();
    assert!(!world.log.facts().iter().any(|fact| matches!(fact, Fact::TokenKeyReplaced { .. })));
    // What the key in use signed stands, here and after a start.
    assert!(world.access.standing(vic.clone(), world.clock.now()).is_ok());
    assert!(world.restarted(&world.log).await.standing(vic, world.clock.now()).is_ok());
}
