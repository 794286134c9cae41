//! From the first request to the cut session.

use super::*;

#[tokio::test]
async fn a_visitor_asks_an_admin_agrees_the_visit_works_and_revocation_ends_it() {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    assert!(matches!(world.connect(&visitor, "demo"), Decision::NeedsApproval { .. }));

    let grant = world.granted(&visitor, 10).await;
    let permit = world.permit(&visitor, "demo");
    assert_eq!(permit.grant(), Some(grant));
    assert!(permit.is_alive());
    assert_eq!(world.access.live_permits(), 1);

    let admin = world.login("alice").await;
    world.access.revoke(&admin, grant, Some("over".parse().unwrap())).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::GrantRevoked);
    assert_eq!(world.access.live_permits(), 0);
    assert!(matches!(world.connect(&visitor, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn a_grant_ends_by_itself_and_its_session_with_it() {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    let grant = world.granted(&visitor, 10).await;
    let permit = world.permit(&visitor, "demo");

    world.clock.forward(SignedDuration::from_mins(10));
    assert_eq!(ended(&permit).await.cause, Cause::GrantExpired);
    assert!(matches!(world.connect(&visitor, "demo"), Decision::NeedsApproval { .. }));
    let _ = world.access.reload_policy(Caller::Operator).await.unwrap();
    assert!(
        world
            .log
            .facts()
            .iter()
            .any(|fact| matches!(fact, fact::Fact::GrantExpired { grant: g, .. } if *g == grant))
    );
}

#[tokio::test]
async fn a_restart_gives_exactly_the_same_state() {
    let world = World::new().await;
    let visitor = world.login("vic").await;
    let grant = world.granted(&visitor, 10).await;
    world.ask(&visitor, "vault", 5).await;
    world.access.lock(Caller::Operator, user("pat").into(), main_tenant(), None, None).await.unwrap();
    let before = world.access.state();

    let again = world.restarted(&world.log.clone()).await;
    assert_eq!(again.state(), before);
    let Decision::Allowed(permit) =
        again.authorize(&visitor, &object("demo"), Action::Connect, &world.context())
    else {
        panic!("the grant should be live after a restart");
    };
    assert_eq!(permit.grant(), Some(grant));
}
