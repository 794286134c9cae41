//! A policy that two people must agree on, and reloads that come to nothing.

use super::fact::Fact;
use super::*;

async fn open(world: &World, log: &MemoryLog) -> Result<Access, AccessError> {
    let options = AccessOptions {
        policy_directory: world.directory.path().to_owned(),
        issuer: ISSUER.to_owned(),
        tenant: main_tenant(),
        policy_change: PolicyChange::SecondPerson,
        index: None,
    };
    Access::open(options, Arc::new(log.clone()), world.keys.clone(), world.clock.clone()).await
}

/// A gateway under two-person policy change. The world's own access is another one over the same log, for tokens.
async fn guarded() -> (World, Access) {
    let world = World::new().await;
    for name in ["alice", "anna", "pat"] {
        world.login(name).await;
    }
    let access = open(&world, &world.log).await.unwrap();
    (world, access)
}

async fn login(world: &World, access: &Access, name: &str) -> Identity {
    let (_, text) = access
        .issue_token(
            Caller::Operator,
            user(name),
            main_tenant(),
            SignedDuration::from_hours(1),
            Scope::whole(),
        )
        .await
        .unwrap();
    access.authenticate(&text, world.clock.now()).unwrap()
}

const CLOSED: &str = "p, role:visitor, main, tunnel:open, connect, deny, -\n";

fn change(world: &World) {
    write_policy(world.directory.path(), &format!("{TEAM}{CLOSED}"), WORKFLOWS);
}

fn why() -> Reason {
    "the review of November".parse().unwrap()
}

#[tokio::test]
async fn a_policy_takes_effect_only_when_another_admin_has_approved_its_digest() {
    let (world, access) = guarded().await;
    let (alice, anna, pat) = (
        login(&world, &access, "alice").await,
        login(&world, &access, "anna").await,
        login(&world, &access, "pat").await,
    );
    let before = access.policy_digest();
    // Nothing to propose yet, and no reload of other bytes, neither by an admin nor by the operator.
    assert!(matches!(
        refusal(access.propose_policy(&alice, why()).await.map(drop)),
        Err(Refusal::PolicyUnchanged { .. })
    ));
    change(&world);
    for by in [Caller::Operator, Caller::from(&alice)] {
        assert!(matches!(refusal(access.reload_policy(by).await), Err(Refusal::PolicyNotApproved { .. })));
    }
    assert!(
        matches!(world.log.facts().last(), Some(Fact::Refused(attempt)) if attempt.code == "policy-not-approved")
    );
    let difference = access.propose_policy(&alice, why()).await.unwrap();
    assert!(difference.changes.iter().any(|change| change.who == user("vic") && change.after == "denied"));
    let Some(Fact::PolicyProposed { digest, in_force, summary, .. }) = world.log.facts().last().cloned()
    else {
        panic!("{:?}", world.log.facts().last());
    };
    assert_eq!((digest, in_force), (difference.new, before));
    assert!(summary.contains("lost") && !summary.contains("user:"), "{summary}");
    assert_eq!(access.policy_digest(), before);
    // The proposer can't approve, nor who is no admin, nor the wrong digest.
    assert!(matches!(
        refusal(access.approve_policy(&alice, digest, None).await),
        Err(Refusal::OwnProposal { .. })
    ));
    assert!(matches!(
        refusal(access.approve_policy(&pat, digest, None).await),
        Err(Refusal::NotAllowed { .. })
    ));
    assert!(matches!(
        refusal(access.approve_policy(&anna, before, None).await),
        Err(Refusal::NoSuchProposal { .. })
    ));
    assert_eq!(access.policy_digest(), before);
    assert_eq!(access.approve_policy(&anna, digest, None).await.unwrap(), digest);
    assert_eq!(access.policy_digest(), digest);
    assert!(
        matches!(world.log.facts().last(), Some(Fact::PolicyLoaded { digest: d, previous, .. }) if *d == digest && *previous == Some(before))
    );
    assert!(access.pending_policy().await.unwrap().is_none());
}

#[tokio::test]
async fn files_that_change_after_the_proposal_are_not_what_was_approved() {
    let (world, access) = guarded().await;
    let (alice, anna) = (login(&world, &access, "alice").await, login(&world, &access, "anna").await);
    let before = access.policy_digest();
    change(&world);
    let digest = access.propose_policy(&alice, why()).await.unwrap().new;
    let proposed = std::fs::read_to_string(world.directory.path().join("policy.csv")).unwrap();
    std::fs::write(world.directory.path().join("policy.csv"), format!("{proposed}# one more line\n"))
        .unwrap();
    assert!(access.pending_policy().await.unwrap().unwrap().difference.is_none());
    assert!(matches!(
        refusal(access.approve_policy(&anna, digest, None).await),
        Err(Refusal::PolicyNotApproved { .. })
    ));
    assert_eq!(access.policy_digest(), before);
    // The approval was for certain bytes: once those lie there again, they may be loaded.
    std::fs::write(world.directory.path().join("policy.csv"), proposed).unwrap();
    assert_eq!(access.reload_policy(&alice).await.unwrap(), digest);
}

#[tokio::test]
async fn files_that_change_after_somebody_looked_at_them_are_not_what_is_loaded_or_proposed() {
    let world = World::new().await;
    let alice = world.login("alice").await;
    let before = world.access.policy_digest();
    change(&world);
    let looked_at = world.access.compare_candidate().await.unwrap().new;
    let seen = std::fs::read_to_string(world.directory.path().join("policy.csv")).unwrap();
    std::fs::write(world.directory.path().join("policy.csv"), format!("{seen}# one more line\n")).unwrap();
    let found = world.access.compare_candidate().await.unwrap().new;
    let loaded = refusal(world.access.reload_policy_looked_at(&alice, looked_at).await);
    let proposed = refusal(world.access.propose_policy_looked_at(&alice, looked_at, why()).await.map(drop));
    for refused in [loaded.map(drop), proposed] {
        assert!(
            matches!(&refused, Err(Refusal::PolicyFilesChanged { looked_at: was, found: is }) if *was == looked_at && *is == found),
            "{refused:?}"
        );
    }
    assert_eq!(world.access.policy_digest(), before);
    assert!(world.access.pending_policy().await.unwrap().is_none());
    // What lies there now, once somebody has looked at it.
    world.access.propose_policy_looked_at(&alice, found, why()).await.unwrap();
    assert_eq!(world.access.reload_policy_looked_at(&alice, found).await.unwrap(), found);
    assert_eq!(world.access.policy_digest(), found);
}

#[tokio::test]
async fn a_restart_is_no_way_around_the_second_person() {
    let (world, access) = guarded().await;
    let alice = login(&world, &access, "alice").await;
    let in_force = access.policy_digest();
    change(&world);
    let digest = access.propose_policy(&alice, why()).await.unwrap().new;
    access.close().await;
    let refused = open(&world, &world.log).await.unwrap_err();
    assert!(
        matches!(&refused, AccessError::PolicyNotApproved { in_force: was, found } if *was == in_force && *found == digest)
    );
    assert!(refused.hint().contains("put the files of the policy in force back"));
    // The way out: the old files, a start, and the proposal still waits.
    write_policy(world.directory.path(), TEAM, WORKFLOWS);
    let access = open(&world, &world.log).await.unwrap();
    assert_eq!(access.policy_digest(), in_force);
    let anna = login(&world, &access, "anna").await;
    change(&world);
    assert_eq!(access.approve_policy(&anna, digest, None).await.unwrap(), digest);
    access.close().await;
    // What was approved and is in force starts again.
    assert_eq!(open(&world, &world.log).await.unwrap().policy_digest(), digest);
}

#[tokio::test]
async fn an_approval_that_a_crash_cut_off_from_its_load_still_counts() {
    let (world, access) = guarded().await;
    let (alice, anna) = (login(&world, &access, "alice").await, login(&world, &access, "anna").await);
    change(&world);
    let digest = access.propose_policy(&alice, why()).await.unwrap().new;
    access.approve_policy(&anna, digest, None).await.unwrap();
    let facts = world.log.facts();
    let approved = facts.iter().position(|fact| matches!(fact, Fact::PolicyApproved { .. })).unwrap();
    let cut = world.log.cut(approved + 1);
    assert_eq!(open(&world, &cut).await.unwrap().policy_digest(), digest);
    // And without the approval it isn't.
    let cut = world.log.cut(approved);
    assert!(matches!(open(&world, &cut).await, Err(AccessError::PolicyNotApproved { .. })));
}

type Break<'a> = Box<dyn Fn() + 'a>;

#[tokio::test]
async fn a_reload_of_a_bad_or_missing_file_changes_nothing_and_is_recorded() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let permit = world.permit(&vic, "open");
    let before = world.access.policy_digest();
    let path = |name: &str| world.directory.path().join(name);
    let breaks: Vec<Break<'_>> = vec![
        Box::new(|| std::fs::write(path("policy.csv"), "p, role:a\n").unwrap()),
        Box::new(|| std::fs::remove_file(path("policy.csv")).unwrap()),
        Box::new(|| std::fs::remove_file(path("model.conf")).unwrap()),
        Box::new(|| std::fs::write(path("approvals.toml"), "[workflow").unwrap()),
        Box::new(|| std::fs::write(path("conditions.toml"), "[condition.x]\n").unwrap()),
        Box::new(|| std::fs::write(path("more.csv"), [0xff]).unwrap()),
        Box::new(|| std::fs::create_dir(path("dir.csv")).unwrap()),
    ];
    for (number, harm) in breaks.iter().enumerate() {
        harm();
        let refused = world.access.reload_policy(Caller::Operator).await;
        assert!(matches!(refused, Err(AccessError::Policy(_))), "{number}");
        assert!(matches!(world.log.facts().last(), Some(Fact::PolicyRefused { .. })), "{number}");
        assert_eq!(world.access.policy_digest(), before);
        assert!(permit.is_alive() && matches!(world.connect(&vic, "open"), Decision::Allowed(_)), "{number}");
        write_policy(world.directory.path(), TEAM, WORKFLOWS);
        for name in ["conditions.toml", "more.csv"] {
            let _ = std::fs::remove_file(path(name));
        }
        let _ = std::fs::remove_dir(path("dir.csv"));
    }
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(world.access.policy_digest(), before);
}

#[tokio::test]
async fn a_policy_change_empties_what_is_remembered_at_once() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    assert!(matches!(world.connect(&vic, "open"), Decision::Allowed(_)));
    change(&world);
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert!(world.is_denied(&vic, "open"));
}
