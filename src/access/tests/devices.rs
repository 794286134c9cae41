//! Devices: enrolled by a join token that works once, good while they are not revoked.

use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn keys(fill: u8) -> DeviceKeys {
    DeviceKeys { ed25519: Arc::from([fill; 32]), ml_dsa: Arc::from(vec![fill; 1_952]) }
}

fn id(fill: u8) -> DeviceId {
    DeviceId::from_bytes([fill; 16])
}

impl World {
    async fn join_token(&self, name: &str) -> (TokenId, String) {
        self.access.issue_join_token(Caller::Operator, user(name), main_tenant(), DAY).await.unwrap()
    }

    async fn enroll(&self, join: &str, fill: u8) -> Result<Device, NotEnrolled> {
        self.access.enroll(join, id(fill), keys(fill), self.clock.now()).await
    }

    fn device(&self, fill: u8) -> Result<Identity, AuthError> {
        self.access.authenticate_device(id(fill), |known| *known == keys(fill), self.clock.now())
    }
}

fn refused(outcome: Result<Device, NotEnrolled>) -> Refusal {
    match outcome {
        Err(NotEnrolled::Access(AccessError::Refused(refusal))) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_speaks_for_the_person_whom_the_join_token_named() {
    let world = World::new().await;
    let (join, text) = world.join_token("vic").await;
    let device = world.enroll(&text, 1).await.unwrap();
    assert_eq!((device.subject.clone(), device.join), (user("vic"), join));
    let vic = world.device(1).unwrap();
    assert_eq!((vic.subject(), vic.proof()), (&user("vic"), Proof::Device(id(1))));
    let _permit = world.permit(&vic, "open");
}

#[tokio::test]
async fn a_join_token_works_exactly_once_and_the_second_use_is_recorded() {
    let world = World::new().await;
    let (join, text) = world.join_token("vic").await;
    // At the same time: one of the two comes second.
    let (one, two) = tokio::join!(world.enroll(&text, 1), world.enroll(&text, 2));
    assert_eq!([&one, &two].iter().filter(|outcome| outcome.is_ok()).count(), 1, "{one:?} {two:?}");
    let second = refused(if one.is_ok() { two } else { one });
    assert_eq!(second, Refusal::JoinSpent { token: join });
    assert_eq!(refused(world.enroll(&text, 3).await), Refusal::JoinSpent { token: join });
    let attempts = world.log.facts();
    let denied = attempts
        .iter()
        .filter(|fact| matches!(fact, fact::Fact::Refused(attempt) if attempt.code == "join-spent"));
    assert_eq!(denied.count(), 2);
    assert_eq!(world.access.devices(Caller::Operator).len(), 1);
    // Nor after a restart.
    let again = world.restarted(&world.log).await;
    let late = again.enroll(&text, id(4), keys(4), world.clock.now()).await;
    assert_eq!(refused(late), Refusal::JoinSpent { token: join });
}

#[tokio::test]
async fn a_join_token_is_no_token_and_a_token_enrolls_nothing() {
    let world = World::new().await;
    let (_, join) = world.join_token("vic").await;
    let refused = world.access.authenticate(&join, world.clock.now());
    assert!(matches!(refused, Err(AuthError::Malformed(_))), "{refused:?}");
    let (_, token) = world.token("vic", "main", DAY).await;
    let refused = world.enroll(&token, 1).await;
    assert!(matches!(refused, Err(NotEnrolled::Auth(AuthError::Malformed(_)))), "{refused:?}");
    assert!(is_typed_as_ours(&join), "it must not be passed on to an app");
}

#[tokio::test]
async fn a_join_token_that_is_revoked_or_over_enrolls_nothing() {
    let world = World::new().await;
    let (revoked, text) = world.join_token("vic").await;
    world.access.revoke_token(Caller::Operator, revoked, None).await.unwrap();
    assert_eq!(refused(world.enroll(&text, 1).await), Refusal::Standing(AuthError::Revoked));
    let (_, text) = world.join_token("vic").await;
    world.clock.forward(DAY + DAY);
    assert!(matches!(world.enroll(&text, 1).await, Err(NotEnrolled::Auth(AuthError::Expired { .. }))));
}

#[tokio::test]
async fn a_person_who_is_locked_enrolls_nothing() {
    let world = World::new().await;
    let (_, text) = world.join_token("vic").await;
    world.access.lock(Caller::Operator, user("vic").into(), main_tenant(), None, None).await.unwrap();
    assert!(matches!(refused(world.enroll(&text, 1).await), Refusal::Standing(AuthError::Locked { .. })));
}

#[tokio::test]
async fn a_device_whose_signatures_do_not_fit_is_nobody() {
    let world = World::new().await;
    let (_, text) = world.join_token("vic").await;
    world.enroll(&text, 1).await.unwrap();
    let outcome = world.access.authenticate_device(id(1), |_| false, world.clock.now());
    assert_eq!(outcome, Err(AuthError::Possession));
    assert_eq!(world.device(2), Err(AuthError::UnknownDevice));
}

#[tokio::test]
async fn revoking_a_device_ends_what_stands_on_it_and_nothing_else() {
    let world = World::new().await;
    for fill in [1, 2] {
        let (_, text) = world.join_token("vic").await;
        world.enroll(&text, fill).await.unwrap();
    }
    let (lost, kept) = (world.device(1).unwrap(), world.device(2).unwrap());
    let (dying, living) = (world.permit(&lost, "open"), world.permit(&kept, "open"));
    // One's own device needs nobody's leave, another's does.
    let val = world.login("val").await;
    let refused = refusal(world.access.revoke_device(&val, id(1), None).await);
    assert!(matches!(refused, Err(Refusal::NotAllowed { .. })), "{refused:?}");
    let vic = world.login("vic").await;
    world.access.revoke_device(&vic, id(1), Some("lost".parse().unwrap())).await.unwrap();
    assert_eq!(ended(&dying).await.cause, Cause::DeviceRevoked);
    assert!(living.is_alive());
    assert_eq!(world.device(1), Err(AuthError::DeviceRevoked));
    assert!(world.is_denied(&lost, "open"));
    let again = refusal(world.access.revoke_device(&vic, id(1), None).await);
    assert_eq!(again, Err(Refusal::DeviceRevoked { device: id(1) }));
}

#[tokio::test]
async fn a_devices_leave_ends_by_itself() {
    let world = World::new().await;
    let (_, text) = world.join_token("vic").await;
    world.enroll(&text, 1).await.unwrap();
    let permit = world.permit(&world.device(1).unwrap(), "open");
    world.clock.forward(token::MAX_LIFE + SignedDuration::from_mins(1));
    assert_eq!(ended(&permit).await.cause, Cause::DeviceExpired);
    assert!(matches!(world.device(1), Err(AuthError::DeviceExpired { .. })));
}

#[tokio::test]
async fn a_restart_knows_the_same_devices() {
    let world = World::new().await;
    let (_, text) = world.join_token("vic").await;
    world.enroll(&text, 1).await.unwrap();
    world.access.revoke_device(Caller::Operator, id(1), None).await.unwrap();
    let again = world.restarted(&world.log).await;
    assert_eq!(again.state(), world.access.state());
}

#[tokio::test]
async fn erasing_a_person_revokes_their_devices() {
    let world = World::new().await;
    let (_, text) = world.join_token("vic").await;
    world.enroll(&text, 1).await.unwrap();
    world.access.end_all_of(Caller::Operator, user("vic"), "asked for".parse().unwrap()).await.unwrap();
    assert_eq!(world.device(1), Err(AuthError::DeviceRevoked));
}

#[tokio::test]
async fn a_token_that_was_narrowed_to_a_tunnel_takes_no_device_from_its_person() {
    let world = World::new().await;
    let (_, join) = world.join_token("vic").await;
    let device = world.enroll(&join, 1).await.unwrap().id;
    let narrow = world.login_for("vic", &["tunnel:open", "connect"]).await;
    let refused = refusal(world.access.revoke_device(&narrow, device, None).await);
    assert!(matches!(refused, Err(Refusal::NotAllowed { .. })), "{refused:?}");
    world.access.revoke_device(&world.login("vic").await, device, None).await.unwrap();
}

#[tokio::test]
async fn a_device_that_is_known_is_not_enrolled_again_for_somebody_else() {
    let world = World::new().await;
    let ((_, first), (_, second)) = (world.join_token("vic").await, world.join_token("val").await);
    world.enroll(&first, 1).await.unwrap();
    assert_eq!(refused(world.enroll(&second, 1).await), Refusal::DeviceKnown { device: id(1) });
    assert_eq!(world.device(1).unwrap().subject(), &user("vic"));
}
