//! A permit dies at once with whatever it rests on.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn revoking_one_grant_ends_its_sessions_and_no_others() {
    let world = World::new().await;
    let (vic, val, anna) = (world.login("vic").await, world.login("val").await, world.login("anna").await);
    let grant = world.granted(&vic, 10).await;
    world.granted(&val, 10).await;
    let (first, second) = (world.permit(&vic, "demo"), world.permit(&vic, "demo"));
    let (other, open) = (world.permit(&val, "demo"), world.permit(&vic, "open"));
    let before = Instant::now();
    world.access.revoke(&anna, grant, None).await.unwrap();
    for permit in [&first, &second] {
        let death = ended(permit).await;
        assert_eq!(death.cause, Cause::GrantRevoked);
        assert!(death.decided_at >= before);
        assert_eq!(permit.dead(), Some(death));
    }
    assert!(other.is_alive() && open.is_alive());
    assert_eq!(refusal(world.access.revoke(&anna, grant, None).await), Err(Refusal::GrantEnded { grant }));
}

#[tokio::test]
async fn only_those_who_may_approve_and_the_holder_can_end_a_grant() {
    let world = World::new().await;
    let (vic, val, sue) = (world.login("vic").await, world.login("val").await, world.login("sue").await);
    let grant = world.granted(&vic, 10).await;
    assert!(matches!(refusal(world.access.revoke(&val, grant, None).await), Err(Refusal::NotAllowed { .. })));
    world.access.revoke(&vic, grant, None).await.unwrap();
    let grant = world.granted(&vic, 10).await;
    world.access.revoke(&sue, grant, None).await.unwrap();
}

#[tokio::test]
async fn locking_a_person_or_a_role_ends_their_sessions_and_keeps_them_out() {
    let world = World::new().await;
    let (vic, val, pat) = (world.login("vic").await, world.login("val").await, world.login("pat").await);
    let (of_vic, of_val) = (world.permit(&vic, "open"), world.permit(&val, "open"));
    let alice = world.login("alice").await;
    world
        .access
        .lock(&alice, user("vic").into(), main_tenant(), None, Some("lost laptop".parse().unwrap()))
        .await
        .unwrap();
    assert_eq!(ended(&of_vic).await.cause, Cause::Locked);
    assert!(of_val.is_alive());
    assert!(world.is_denied(&vic, "open"));
    let (_, text) = world.token("vic", "main", SignedDuration::from_hours(1)).await;
    assert!(matches!(world.access.authenticate(&text, world.clock.now()), Err(AuthError::Locked { .. })));

    world.access.lock(Caller::Operator, role("visitor").into(), main_tenant(), None, None).await.unwrap();
    assert_eq!(ended(&of_val).await.cause, Cause::Locked);
    let publish = world.access.authorize(&pat, &object("demo"), Action::Publish, &world.context());
    assert!(matches!(publish, Decision::Allowed(_)));

    for principal in [user("vic").into(), role("visitor").into()] {
        world.access.unlock(Caller::Operator, principal, main_tenant(), None).await.unwrap();
    }
    assert!(matches!(world.connect(&vic, "open"), Decision::Allowed(_)));
}

#[tokio::test]
async fn nobody_locks_themselves_out() {
    let world = World::new().await;
    let alice = world.login("alice").await;
    for principal in [user("alice").into(), role("admin").into()] {
        assert_eq!(
            refusal(world.access.lock(&alice, principal, main_tenant(), None, None).await),
            Err(Refusal::OwnLock)
        );
    }
}

#[tokio::test]
async fn a_new_policy_ends_the_sessions_that_it_doesnt_allow_and_no_others() {
    let world = World::new().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    world.granted(&vic, 10).await;
    let (demo, open, of_val) =
        (world.permit(&vic, "demo"), world.permit(&vic, "open"), world.permit(&val, "open"));
    write_policy(
        world.directory.path(),
        &format!("{TEAM}p, user:vic, main, tunnel:open, connect, deny, -\n"),
        WORKFLOWS,
    );
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(ended(&open).await.cause, Cause::PolicyChanged);
    assert!(demo.is_alive() && of_val.is_alive());

    // A workflow that asks for more than the grant has: the grant isn't enough any more.
    let stricter = TEAM.replace(
        "p, role:visitor, main, tunnel:demo, connect, allow, one",
        "p, role:visitor, main, tunnel:demo, connect, allow, both",
    );
    write_policy(world.directory.path(), &stricter, WORKFLOWS);
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(ended(&demo).await.cause, Cause::PolicyChanged);
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn a_policy_with_a_fault_ends_nothing_and_changes_nothing() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let permit = world.permit(&vic, "open");
    write_policy(world.directory.path(), "p, role:visitor, main, tunnel:open, connect, Deny, -\n", WORKFLOWS);
    let Err(AccessError::Policy(faults)) = world.access.reload_policy(Caller::Operator).await else {
        panic!()
    };
    assert!(faults.to_string().contains("policy.csv:1"), "{faults}");
    assert!(permit.is_alive());
    let Some(fact::Fact::PolicyRefused { places, .. }) = world.log.facts().pop() else {
        panic!("it should be recorded")
    };
    assert_eq!(places[0], "policy.csv:1");
    // And only an admin of the policy can load one.
    assert!(matches!(refusal(world.access.reload_policy(&vic).await), Err(Refusal::NotAllowed { .. })));
}

#[tokio::test]
async fn every_decision_explains_itself() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let needs = world.connect(&vic, "demo").explanation().clone();
    assert_eq!((needs.code, needs.rules[0].place.as_str()), ("needs-approval", "policy.csv:5"));
    assert_eq!(needs.policy, world.access.policy_digest());
    let grant = world.granted(&vic, 10).await;
    let permit = world.permit(&vic, "demo");
    assert_eq!((permit.explanation().code, permit.explanation().grant), ("grant", Some(grant)));
    let none = world.connect(&vic, "unheard-of").explanation().clone();
    assert_eq!((none.code, none.rules.len()), ("no-rule", 0));
    let draft = permit.explanation().draft(sallyport_audit::Kind::SessionOpened);
    assert_eq!(draft.result, sallyport_audit::Outcome::Success);
    assert_eq!(draft.grant, Some(grant.to_string()));
    assert_eq!(draft.policy, Some(world.access.policy_digest().to_string()));
    assert!(!format!("{:?}", draft.details).contains("vic"));
}

#[tokio::test]
async fn the_visitor_without_a_token_gets_what_is_meant_for_everyone_and_no_more() {
    let world = World::new().await;
    let anonymous = Identity::anonymous(main_tenant());
    assert!(matches!(world.connect(&anonymous, "public-site"), Decision::Allowed(_)));
    for tunnel in ["demo", "open", "public", "vault"] {
        assert!(world.is_denied(&anonymous, tunnel), "{tunnel}");
    }
    assert!(world.is_denied(&Identity::anonymous("other".parse().unwrap()), "public-site"));
}

#[tokio::test]
async fn a_dropped_permit_leaves_nothing_behind() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let permits: Vec<Permit> = (0..100).map(|_| world.permit(&vic, "open")).collect();
    assert_eq!(world.access.live_permits(), 100);
    drop(permits);
    assert_eq!(world.access.live_permits(), 0);
}

#[tokio::test]
async fn a_revocation_that_cant_be_recorded_cuts_all_the_same_and_lets_nobody_in_until_it_is() {
    let world = World::new().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    let grant = world.granted(&vic, 10).await;
    let permit = world.permit(&vic, "demo");
    world.log.set_broken(true);
    let result = world.access.revoke(Caller::Operator, grant, None).await;
    assert!(matches!(result, Err(AccessError::NotRecorded { cut: 1, .. })), "{result:?}");
    assert_eq!(ended(&permit).await.cause, Cause::GrantRevoked);
    assert!(world.is_denied(&vic, "demo"));
    assert!(world.is_denied(&val, "open"));

    world.log.set_broken(false);
    world.clock.forward(SignedDuration::from_secs(1));
    // The next order comes after the retry.
    world.access.lock(Caller::Operator, user("pat").into(), main_tenant(), None, None).await.unwrap();
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
    assert!(matches!(world.connect(&val, "open"), Decision::Allowed(_)));
    assert!(world.log.facts().iter().any(|fact| matches!(fact, fact::Fact::GrantRevoked { .. })));
}

#[tokio::test]
async fn whoever_is_locked_or_whose_token_is_revoked_is_nobody_before_that_is_recorded() {
    let world = World::new().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    let (alice, anna) = (world.login("alice").await, world.login("anna").await);
    let (id, text) = world.token("sam", "main", SignedDuration::from_hours(1)).await;
    let sam = world.access.authenticate(&text, world.clock.now()).unwrap();
    let (request, grant) = (world.ask(&vic, "demo", 10).await, world.granted(&val, 10).await);
    let permit = world.permit(&val, "demo");

    world.log.set_broken(true);
    world.access.lock(Caller::Operator, user("alice").into(), main_tenant(), None, None).await.unwrap_err();
    world.access.revoke_token(Caller::Operator, id, None).await.unwrap_err();
    let stands = |who: &Identity| world.access.standing(who.clone(), world.clock.now());
    assert!(matches!(stands(&alice), Err(AuthError::Locked { .. })));
    assert_eq!(stands(&sam).unwrap_err(), AuthError::Revoked);
    assert_eq!(world.access.authenticate(&text, world.clock.now()).unwrap_err(), AuthError::Revoked);
    for nobody in [&alice, &sam] {
        world.access.revoke(nobody, grant, None).await.unwrap_err();
        assert!(permit.is_alive(), "nobody's word ends a session");
    }
    // Others give nothing meanwhile, and can still take away.
    let approved = world.access.approve(&anna, request, None, None).await;
    assert!(matches!(approved, Err(AccessError::Unrecorded)), "{approved:?}");
    let unlocked = world.access.unlock(Caller::Operator, user("alice").into(), main_tenant(), None).await;
    assert!(matches!(unlocked, Err(AccessError::Unrecorded)), "{unlocked:?}");
    let revoked = world.access.revoke(&anna, grant, None).await;
    assert!(matches!(revoked, Err(AccessError::NotRecorded { cut: 1, .. })), "{revoked:?}");

    // The ledger is back, and the time to try again hasn't come: the order itself has it recorded first.
    world.log.set_broken(false);
    let locked = world.approve(&alice, request).await;
    assert!(matches!(locked, Err(Refusal::Standing(AuthError::Locked { .. }))), "{locked:?}");
    assert_eq!(world.approve(&sam, request).await, Err(Refusal::Standing(AuthError::Revoked)));
    assert!(matches!(world.approve(&anna, request).await, Ok(Approved::Granted(_))));
}

#[tokio::test]
async fn all_that_one_order_takes_away_ends_though_the_ledger_takes_none_of_it() {
    let delete = "p, role:admin, main, tunnel:*, delete, allow, -\n";
    for hangs in [false, true] {
        let world = World::with(&format!("{TEAM}{delete}"), WORKFLOWS).await;
        let (vic, val, anna) =
            (world.login("vic").await, world.login("val").await, world.login("anna").await);
        let grants = [world.granted(&vic, 10).await, world.granted(&val, 10).await];
        let permits = [world.permit(&vic, "demo"), world.permit(&val, "demo")];
        if hangs {
            world.log.set_stuck(true);
        } else {
            world.log.set_broken(true);
        }
        let access = world.access.clone();
        let deleting = tokio::spawn(async move {
            access.delete_tunnel(&anna, object("demo"), "sold".parse().unwrap()).await
        });
        for permit in &permits {
            assert_eq!(ended(permit).await.cause, Cause::GrantRevoked);
        }
        world.log.set_broken(false);
        world.log.set_stuck(false);
        assert_eq!(deleting.await.unwrap().is_ok(), hangs);
        // The next order has the rest recorded first.
        world.ask(&vic, "vault", 10).await;
        for grant in grants {
            let status = world.access.state().grant(grant).unwrap().status.clone();
            assert!(matches!(status, GrantStatus::Revoked { .. }), "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_grant_that_cant_be_recorded_isnt_given() {
    let world = World::new().await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let request = world.ask(&vic, "demo", 10).await;
    world.log.set_broken(true);
    assert!(matches!(
        world.access.approve(&anna, request, None, None).await,
        Err(AccessError::NotRecorded { .. })
    ));
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn a_grant_ends_on_time_even_if_that_cant_be_recorded() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    world.granted(&vic, 10).await;
    let permit = world.permit(&vic, "demo");
    world.log.set_broken(true);
    world.clock.forward(SignedDuration::from_mins(10));
    assert_eq!(ended(&permit).await.cause, Cause::GrantExpired);
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn a_ledger_that_hangs_holds_up_no_revocation_and_no_expiry() {
    let world = World::new().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    let grant = world.granted(&vic, 10).await;
    world.granted(&val, 5).await;
    let (of_vic, of_val) = (world.permit(&vic, "demo"), world.permit(&val, "demo"));
    world.log.set_stuck(true);
    let access = world.access.clone();
    let revoking = tokio::spawn(async move { access.revoke(Caller::Operator, grant, None).await });
    assert_eq!(ended(&of_vic).await.cause, Cause::GrantRevoked);
    assert!(world.is_denied(&vic, "demo"));
    // The owner still waits for the ledger; what ends by time ends all the same.
    world.clock.forward(SignedDuration::from_mins(5));
    assert_eq!(ended(&of_val).await.cause, Cause::GrantExpired);
    assert!(!revoking.is_finished());

    world.log.set_stuck(false);
    revoking.await.unwrap().unwrap();
    assert!(matches!(world.connect(&vic, "open"), Decision::Allowed(_)));
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn when_access_stops_nothing_is_allowed_and_every_session_ends() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let permit = world.permit(&vic, "open");
    world.access.close().await;
    assert_eq!(ended(&permit).await.cause, Cause::Stopped);
    assert!(world.is_denied(&vic, "open"));
    assert!(matches!(world.access.request(&vic, ask("demo", 5)).await, Err(AccessError::Stopped)));
    world.access.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_permit_slips_through_between_a_decision_and_the_revocation() {
    let world = World::new().await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    for _ in 0..20 {
        let grant = world.granted(&vic, 10).await;
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let (access, vic, context) = (world.access.clone(), vic.clone(), world.context());
                tokio::task::spawn_blocking(move || {
                    let ask = || access.authorize(&vic, &object("demo"), Action::Connect, &context);
                    (0..50)
                        .filter_map(
                            |_| if let Decision::Allowed(permit) = ask() { Some(permit) } else { None },
                        )
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        world.access.revoke(&anna, grant, None).await.unwrap();
        for task in asking {
            assert!(
                task.await.unwrap().iter().all(|permit| !permit.is_alive()),
                "a permit outlived its grant"
            );
        }
    }
}
