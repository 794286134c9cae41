//! Grants that are good for one session and no other.

use super::*;
use crate::access::state::Grant;

fn once(tunnel: &str) -> Ask {
    Ask { once: true, ..ask(tunnel, 30) }
}

impl World {
    /// A grant for one session at the demo tunnel.
    async fn granted_once(&self, who: &Identity) -> GrantId {
        let request = self.access.request(who, once("demo")).await.unwrap();
        match self.approve(&self.login("anna").await, request).await.unwrap() {
            Approved::Granted(grant) => grant,
            Approved::Counted => panic!("one approval should be enough"),
        }
    }

    async fn enter(&self, who: &Identity, tunnel: &str) -> Decision {
        self.access.admit(who, &object(tunnel), Action::Connect, &self.context()).await
    }

    async fn let_in(&self, who: &Identity, tunnel: &str) -> Permit {
        match self.enter(who, tunnel).await {
            Decision::Allowed(permit) => permit,
            other => panic!("not let in: {}", other.explanation().why),
        }
    }

    fn grant(&self, id: GrantId) -> Grant {
        self.access.find_grant(Caller::Operator, id).unwrap()
    }
}

fn waits(decision: &Decision) -> bool {
    matches!(decision, Decision::NeedsApproval { .. })
}

#[tokio::test]
async fn a_grant_for_one_session_carries_one_and_no_second_not_after_a_restart_either() {
    let mut world = World::new().await;
    let vic = world.login("vic").await;
    let grant = world.granted_once(&vic).await;
    assert!(waits(&world.connect(&vic, "demo")), "who only asks whether they could spends nothing");
    let permit = world.let_in(&vic, "demo").await;
    assert_eq!(permit.grant(), Some(grant));
    assert!(world.grant(grant).is_spent());
    assert!(waits(&world.enter(&vic, "demo").await), "it is spent, though its session still runs");
    // The session goes on over a change of policy that leaves its rule, and ends with its grant.
    write_policy(world.directory.path(), &TEAM.replace("g, user:val, role:visitor, main\n", ""), WORKFLOWS);
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert!(permit.is_alive());
    drop(permit);
    assert!(waits(&world.enter(&vic, "demo").await), "and stays spent when it has ended");
    world.access.close().await;
    world.access = world.restarted(&world.log.clone()).await;
    let vic = world.login("vic").await;
    assert!(waits(&world.enter(&vic, "demo").await));
    assert!(world.grant(grant).is_spent());
}

#[tokio::test]
async fn whether_somebody_would_be_let_in_can_be_asked_without_using_up_a_grant_for_one_session() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let bars =
        |world: &World| world.access.would_refuse(&vic, &object("demo"), Action::Connect, &world.context());
    assert!(bars(&world).is_some_and(|decision| waits(&decision)));
    let grant = world.granted_once(&vic).await;
    for _ in 0..2 {
        assert!(bars(&world).is_none());
    }
    assert!(!world.grant(grant).is_spent());
    let _permit = world.let_in(&vic, "demo").await;
    assert!(bars(&world).is_some_and(|decision| waits(&decision)), "it is spent");
}

#[tokio::test]
async fn its_session_ends_when_the_grant_does() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let grant = world.granted_once(&vic).await;
    let permit = world.let_in(&vic, "demo").await;
    world.access.revoke(Caller::Operator, grant, None).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::GrantRevoked);
    let second = world.granted_once(&vic).await;
    let permit = world.let_in(&vic, "demo").await;
    assert_eq!(permit.grant(), Some(second));
    world.clock.forward(SignedDuration::from_mins(30));
    assert_eq!(ended(&permit).await.cause, Cause::GrantExpired);
}

#[tokio::test]
async fn of_many_who_come_at_the_same_time_one_is_let_in() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    world.granted_once(&vic).await;
    let all = futures_util::future::join_all((0..20).map(|_| world.enter(&vic, "demo"))).await;
    let allowed = all.iter().filter(|decision| matches!(decision, Decision::Allowed(_))).count();
    assert_eq!((allowed, all.iter().filter(|decision| waits(decision)).count()), (1, 19));
}

#[tokio::test]
async fn a_use_that_the_ledger_doesnt_take_lets_nobody_in_and_spends_nothing() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let grant = world.granted_once(&vic).await;
    world.log.set_broken(true);
    assert!(matches!(world.enter(&vic, "demo").await, Decision::Denied { .. }));
    world.log.set_broken(false);
    assert!(!world.grant(grant).is_spent());
    assert_eq!(world.let_in(&vic, "demo").await.grant(), Some(grant));
}

#[tokio::test]
async fn a_grant_for_a_time_is_used_before_one_for_a_single_session() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let single = world.granted_once(&vic).await;
    let timed = world.granted(&vic, 10).await;
    assert_eq!(world.let_in(&vic, "demo").await.grant(), Some(timed));
    assert!(!world.grant(single).is_spent());
}

#[tokio::test]
async fn the_requester_an_approver_or_the_workflow_makes_it_one_session() {
    let workflows = WORKFLOWS.replace("max_minutes = 30", "max_minutes = 30\nonce = true");
    let world = World::with(TEAM, &workflows).await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let request = world.ask(&vic, "demo", 30).await;
    let limits = Limits { once: true, ..Limits::default() };
    let approved = world.access.approve_within(&anna, request, limits, None).await.unwrap();
    let Approved::Granted(grant) = approved else { panic!("{approved:?}") };
    assert!(world.grant(grant).once, "by the approver");
    let request = world.ask(&vic, "vault", 30).await;
    world.approve(&anna, request).await.unwrap();
    let approved = world.approve(&world.login("sue").await, request).await.unwrap();
    let Approved::Granted(grant) = approved else { panic!("{approved:?}") };
    assert!(world.grant(grant).once, "by the workflow");
}
