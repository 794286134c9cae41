//! The algebra of approvals, and who may decide.

use std::fmt::Write as _;

use super::*;

async fn world_with_request(tunnel: &str) -> (World, RequestId) {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    let request = world.ask(&visitor, tunnel, 20).await;
    (world, request)
}

#[tokio::test]
async fn the_requester_never_decides_on_their_own_request_whatever_roles_they_have() {
    let world = World::new().await;
    // Alice is a visitor and an admin.
    let alice = world.login("alice").await;
    let request = world.ask(&alice, "demo", 20).await;
    assert_eq!(world.approve(&alice, request).await, Err(Refusal::OwnRequest { request }));
    assert_eq!(
        refusal(world.access.reject(&alice, request, None).await),
        Err(Refusal::OwnRequest { request })
    );
    // Nor under a second token of theirs.
    let again = world.login("alice").await;
    assert_eq!(world.approve(&again, request).await, Err(Refusal::OwnRequest { request }));
    assert!(!world.access.requests(&alice, &RequestFilter::default())[0].eligible.contains(&user("alice")));
    let refused = world.log.facts().into_iter().filter_map(|fact| match fact {
        fact::Fact::Refused(attempt) => Some((attempt.attempt, attempt.code)),
        _ => None,
    });
    let own = "own-request".to_owned();
    let expected = [
        (fact::Attempt::Approve, own.clone()),
        (fact::Attempt::Reject, own.clone()),
        (fact::Attempt::Approve, own),
    ];
    assert_eq!(refused.collect::<Vec<_>>(), expected);
    assert!(matches!(world.approve(&world.login("anna").await, request).await, Ok(Approved::Granted(_))));
}

#[tokio::test]
async fn every_step_must_hold_and_none_stands_for_another() {
    let (world, request) = world_with_request("vault").await;
    let (alice, anna, sue) =
        (world.login("alice").await, world.login("anna").await, world.login("sue").await);
    assert_eq!(world.approve(&alice, request).await, Ok(Approved::Counted));
    // A second admin is no security officer.
    assert_eq!(world.approve(&anna, request).await, Ok(Approved::Counted));
    assert!(matches!(world.approve(&sue, request).await, Ok(Approved::Granted(_))));
}

#[tokio::test]
async fn one_person_counts_once_even_with_both_roles() {
    let (world, request) = world_with_request("vault").await;
    let sam = world.login("sam").await;
    assert_eq!(world.approve(&sam, request).await, Ok(Approved::Counted));
    assert!(matches!(world.approve(&sam, request).await, Err(Refusal::AlreadyApproved { .. })));
    // With Sam in either place, one other person of the other role completes it.
    assert!(matches!(world.approve(&world.login("alice").await, request).await, Ok(Approved::Granted(_))));
}

#[tokio::test]
async fn an_approver_who_has_lost_the_role_or_is_locked_by_then_doesnt_count() {
    let (world, request) = world_with_request("vault").await;
    let (alice, sue) = (world.login("alice").await, world.login("sue").await);
    assert_eq!(world.approve(&alice, request).await, Ok(Approved::Counted));
    world.access.lock(Caller::Operator, user("alice").into(), main_tenant(), None, None).await.unwrap();
    assert_eq!(world.approve(&sue, request).await, Ok(Approved::Counted));
    world.access.unlock(Caller::Operator, user("alice").into(), main_tenant(), None).await.unwrap();
    // With the lock lifted both steps hold, and the request is granted as soon as that is so.
    let view = world.access.requests(&sue, &RequestFilter::default());
    let _ = world.access.reload_policy(Caller::Operator).await.unwrap();
    assert!(
        view.len() == 1
            && world.access.grants(&sue, &GrantFilter { live: true, ..GrantFilter::default() }).len() == 1
    );

    let (world, request) = world_with_request("vault").await;
    let (alice, sue) = (world.login("alice").await, world.login("sue").await);
    assert_eq!(world.approve(&alice, request).await, Ok(Approved::Counted));
    write_policy(world.directory.path(), &TEAM.replace("g, user:alice, role:admin, main\n", ""), WORKFLOWS);
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(world.approve(&sue, request).await, Ok(Approved::Counted));
}

#[tokio::test]
async fn a_request_that_waits_for_the_end_of_an_approvers_lock_is_granted_when_that_comes() {
    let (world, request) = world_with_request("vault").await;
    let (alice, sue, val) = (world.login("alice").await, world.login("sue").await, world.login("val").await);
    // Several of them: each is a record of its own.
    let other = world.ask(&val, "vault", 10).await;
    for request in [request, other] {
        assert_eq!(world.approve(&alice, request).await, Ok(Approved::Counted));
    }
    let until = world.clock.now().checked_add(SignedDuration::from_mins(10)).ok();
    world.access.lock(Caller::Operator, user("alice").into(), main_tenant(), until, None).await.unwrap();
    for request in [request, other] {
        assert_eq!(world.approve(&sue, request).await, Ok(Approved::Counted));
    }
    world.clock.forward(SignedDuration::from_mins(10));
    // No order comes that would wake anybody.
    let granted = async {
        while world.access.state().live_grants().count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), granted).await.expect("nobody woke up");
}

#[tokio::test]
async fn who_may_not_approve_the_object_or_has_no_role_that_is_asked_for_doesnt_count() {
    let (world, request) = world_with_request("demo").await;
    let (pat, sue, val) = (world.login("pat").await, world.login("sue").await, world.login("val").await);
    assert!(matches!(world.approve(&pat, request).await, Err(Refusal::NotAllowed { .. })));
    assert!(matches!(world.approve(&val, request).await, Err(Refusal::NotAllowed { .. })));
    // Sue may approve on this tunnel, but this workflow doesn't ask for security.
    assert!(matches!(world.approve(&sue, request).await, Err(Refusal::NotEligible { .. })));
    assert!(matches!(
        refusal(world.access.reject(&sue, request, None).await),
        Err(Refusal::NotEligible { .. })
    ));
    let view = world.access.find_request(world.login("anna").await, request).unwrap();
    assert_eq!(view.eligible, [user("alice"), user("anna"), user("sam")]);
}

#[tokio::test]
async fn nothing_crosses_tenants() {
    let (world, request) = world_with_request("demo").await;
    let mallory = world.login_to("mallory", "other").await;
    assert_eq!(world.approve(&mallory, request).await, Err(Refusal::NoSuchRequest { request }));
    assert_eq!(
        refusal(world.access.reject(&mallory, request, None).await),
        Err(Refusal::NoSuchRequest { request })
    );
    assert!(world.access.requests(&mallory, &RequestFilter::default()).is_empty());
    let Ok(Approved::Granted(grant)) = world.approve(&world.login("anna").await, request).await else {
        panic!()
    };
    assert_eq!(
        refusal(world.access.revoke(&mallory, grant, None).await),
        Err(Refusal::NoSuchGrant { grant })
    );
    assert!(world.access.grants(&mallory, &GrantFilter::default()).is_empty());
    let lock = world.access.lock(&mallory, user("alice").into(), main_tenant(), None, None).await;
    assert!(matches!(refusal(lock), Err(Refusal::OtherTenant { .. })));
    let (token, _) = world.token("vic", "main", SignedDuration::from_hours(1)).await;
    assert_eq!(
        refusal(world.access.revoke_token(&mallory, token, None).await),
        Err(Refusal::NoSuchToken { token })
    );
    assert!(world.access.tokens(&mallory).iter().all(|token| token.tenant == *mallory.tenant()));
    // The same person with the same role in another tenant has another tenant's leave only.
    let vic_there = world.login_to("vic", "other").await;
    assert!(matches!(world.connect(&vic_there, "demo"), Decision::NeedsApproval { .. }));
    assert!(world.is_denied(&vic_there, "open"));
}

#[tokio::test]
async fn the_grants_time_runs_from_the_approval_and_has_the_shortest_bound() {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    let request = world.ask(&visitor, "demo", 50).await;
    world.clock.forward(SignedDuration::from_mins(45));
    let anna = world.login("anna").await;
    let approved =
        world.access.approve(&anna, request, Some(10), Some("ten will do".parse().unwrap())).await.unwrap();
    assert!(matches!(approved, Approved::Granted(_)));
    let grant = world.access.grants(&visitor, &GrantFilter::default()).remove(0);
    assert_eq!(grant.starts, world.clock.now());
    assert_eq!(grant.ends, world.clock.now().checked_add(SignedDuration::from_mins(10)).unwrap());
}

#[tokio::test]
async fn minutes_beyond_the_request_or_the_workflow_are_refused() {
    let (world, request) = world_with_request("demo").await;
    let (val, anna) = (world.login("val").await, world.login("anna").await);
    for minutes in [0, 61, u32::MAX] {
        let asked = refusal(world.access.request(&val, ask("demo", minutes)).await);
        assert_eq!(asked, Err(Refusal::Minutes { asked: minutes, most: 60 }));
    }
    for minutes in [0, 21] {
        let approved = refusal(world.access.approve(&anna, request, Some(minutes), None).await);
        assert_eq!(approved, Err(Refusal::Minutes { asked: minutes, most: 20 }));
    }
}

#[tokio::test]
async fn a_workflow_may_demand_a_ticket() {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    let without = Ask { ticket: None, ..ask("vault", 5) };
    assert!(matches!(
        refusal(world.access.request(&visitor, without).await),
        Err(Refusal::TicketNeeded { .. })
    ));
    world.ask(&visitor, "vault", 5).await;
}

#[tokio::test]
async fn only_what_needs_an_approval_can_be_asked_for() {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    let ask_for = |tunnel: &str| world.access.request(&visitor, ask(tunnel, 5));
    assert!(matches!(refusal(ask_for("open").await), Err(Refusal::NotNeeded { .. })));
    assert!(matches!(refusal(ask_for("unheard-of").await), Err(Refusal::NotAllowed { .. })));
    let first = ask_for("demo").await.unwrap();
    assert_eq!(refusal(ask_for("demo").await), Err(Refusal::Duplicate { request: first }));
    let anonymous = Identity::anonymous(main_tenant());
    assert_eq!(refusal(world.access.request(&anonymous, ask("demo", 5)).await), Err(Refusal::NotAPerson));
}

#[tokio::test]
async fn a_decided_request_cant_be_decided_again() {
    let (world, request) = world_with_request("demo").await;
    let (anna, vic, val) = (world.login("anna").await, world.login("vic").await, world.login("val").await);
    assert_eq!(
        refusal(world.access.withdraw(&val, request, None).await),
        Err(Refusal::NoSuchRequest { request })
    );
    world.access.reject(&anna, request, Some("not today".parse().unwrap())).await.unwrap();
    let over = Err(Refusal::NotPending { request, state: "rejected" });
    assert_eq!(world.approve(&anna, request).await.map(drop), over);
    assert_eq!(refusal(world.access.withdraw(&vic, request, None).await), over);

    let request = world.ask(&vic, "demo", 5).await;
    world.access.withdraw(&vic, request, None).await.unwrap();
    assert_eq!(world.approve(&anna, request).await, Err(Refusal::NotPending { request, state: "withdrawn" }));
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn what_policy_demands_at_the_decision_counts_not_what_it_demanded_at_the_asking() {
    let (world, request) = world_with_request("demo").await;
    let anna = world.login("anna").await;
    let reload = |rows: String| {
        write_policy(world.directory.path(), &rows, WORKFLOWS);
        world.access.reload_policy(Caller::Operator)
    };
    reload(TEAM.replace(
        "tunnel:demo, connect, allow, one\np, role:visitor, main, tunnel:vault",
        "tunnel:demo, connect, allow, both\np, role:visitor, main, tunnel:vault",
    ))
    .await
    .unwrap();
    assert_eq!(world.approve(&anna, request).await, Ok(Approved::Counted));
    reload(format!("{TEAM}p, role:visitor, main, tunnel:demo, connect, deny, -\n")).await.unwrap();
    assert!(matches!(
        world.approve(&world.login("sue").await, request).await,
        Err(Refusal::PolicyChanged { .. })
    ));
}

#[tokio::test]
async fn a_requester_who_was_locked_meanwhile_gets_nothing() {
    let (world, request) = world_with_request("demo").await;
    world.access.lock(Caller::Operator, user("vic").into(), main_tenant(), None, None).await.unwrap();
    let anna = world.login("anna").await;
    assert!(matches!(world.approve(&anna, request).await, Err(Refusal::RequesterLocked { .. })));
}

#[tokio::test]
async fn the_number_of_requests_that_wait_is_bounded_per_person() {
    let mut rows = TEAM.to_owned();
    for n in 0..=decide::MAX_PENDING {
        writeln!(rows, "p, role:visitor, main, tunnel:n{n}, connect, allow, one").unwrap();
    }
    let world = World::with(&rows, WORKFLOWS).await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    for n in 0..decide::MAX_PENDING {
        world.ask(&vic, &format!("n{n}"), 5).await;
    }
    let one_more = format!("n{}", decide::MAX_PENDING);
    let refused = refusal(world.access.request(&vic, ask(&one_more, 5)).await);
    assert_eq!(refused, Err(Refusal::TooManyPending { waiting: decide::MAX_PENDING }));
    world.ask(&val, &one_more, 5).await;
}

#[tokio::test]
async fn who_asks_and_takes_it_back_without_end_is_stopped_for_the_day() {
    let world = World::new().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    for _ in 0..decide::MAX_A_DAY {
        let request = world.ask(&vic, "demo", 5).await;
        world.access.withdraw(&vic, request, None).await.unwrap();
    }
    let refused = refusal(world.access.request(&vic, ask("demo", 5)).await);
    assert_eq!(refused, Err(Refusal::TooManyToday { asked: decide::MAX_A_DAY }));
    world.ask(&val, "demo", 5).await;
    world.clock.forward(SignedDuration::from_hours(24));
    world.ask(&world.login("vic").await, "demo", 5).await;
}

#[tokio::test]
async fn people_see_their_own_requests_and_those_that_they_can_decide() {
    let (world, request) = world_with_request("demo").await;
    let seen = |who: &Identity| world.access.requests(who, &RequestFilter::default()).len();
    assert_eq!(seen(&world.login("vic").await), 1);
    assert_eq!(seen(&world.login("val").await), 0);
    assert_eq!(seen(&world.login("pat").await), 0);
    assert_eq!(seen(&world.login("anna").await), 1);
    assert_eq!(seen(&world.login("sue").await), 0, "she approves things, but can't decide on this one");
    assert_eq!(seen(&Identity::anonymous(main_tenant())), 0);
    let view = &world
        .access
        .requests(Caller::Operator, &RequestFilter { pending: true, ..RequestFilter::default() })[0];
    assert_eq!((view.request.id, view.waits_for.len()), (request, 1));
}
