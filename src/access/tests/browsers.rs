//! Sessions in browsers: what they open, and that they end with what began them.

use super::*;
use crate::access::fact::Renewal;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

async fn begin(world: &World, who: &Identity, tunnel: &str) -> Identity {
    let (_, text, _) = world.access.sign_in(who, object(tunnel), HOUR).await.unwrap();
    world.access.authenticate_session(&text, world.clock.now()).unwrap()
}

#[tokio::test]
async fn a_session_opens_its_tunnel_and_nothing_else_and_is_no_token() {
    let world = World::new().await;
    let alice = world.login("alice").await;
    let (_, text, _) = world.access.sign_in(&alice, object("open"), HOUR).await.unwrap();
    let session = world.access.authenticate_session(&text, world.clock.now()).unwrap();
    assert!(matches!(world.connect(&session, "open"), Decision::Allowed(_)));
    assert!(world.is_denied(&session, "demo"));
    let lock = refusal(world.access.lock(&session, user("vic").into(), main_tenant(), None, None).await);
    assert!(matches!(lock, Err(Refusal::NotAllowed { .. })), "an admin's session at a tunnel is no admin");
    assert!(world.access.authenticate(&text, world.clock.now()).is_err(), "nor a token");
    let (_, token) = world.token("alice", "main", HOUR).await;
    assert!(world.access.authenticate_session(&token, world.clock.now()).is_err(), "nor a token a session");
    let again = refusal(world.access.sign_in(&session, object("open"), HOUR).await.map(drop));
    assert_eq!(again, Err(Refusal::NotAPerson), "no session begins another and outlives its ground");
}

#[tokio::test]
async fn a_session_ends_with_the_token_the_key_and_the_sign_out_that_it_rests_on() {
    let world = World::new().await;
    let (id, text) = world.token("vic", "main", SignedDuration::from_hours(24)).await;
    let vic = world.access.authenticate(&text, world.clock.now()).unwrap();
    let session = begin(&world, &vic, "open").await;
    let permit = world.permit(&session, "open");
    world.access.revoke_token(Caller::Operator, id, None).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::TokenRevoked);
    assert!(world.is_denied(&session, "open"));

    let key: KeyPrint = "0a".repeat(16).parse().unwrap();
    let tell =
        |keys: Vec<KeyPrint>| world.access.issuer_keys("corp".parse().unwrap(), keys, Renewal::Published);
    tell(vec![key]).await.unwrap();
    let vouched = Vouched {
        subject: user("corp+eve"),
        tenant: main_tenant(),
        roles: vec![role("visitor")],
        proof: Outside { token: TokenId::of_controllers(&[1; 32]), key: Some(key) },
        issued: None,
        expires: world.clock.now().checked_add(SignedDuration::from_mins(1)).unwrap(),
    };
    let eve = world.access.vouched(vouched, world.clock.now()).unwrap();
    let session = begin(&world, &eve, "open").await;
    assert_eq!(session.roles(), [role("visitor")]);
    // An identity token lives for minutes: its end isn't that of the session that it began.
    world.clock.forward(SignedDuration::from_mins(5));
    let permit = world.permit(&session, "open");
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
    tell(Vec::new()).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::KeyWithdrawn);
    assert!(world.is_denied(&session, "open"));

    let val = world.login("val").await;
    let session = begin(&world, &val, "open").await;
    let permit = world.permit(&session, "open");
    world.access.sign_out(&session).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::TokenRevoked);
    assert!(!world.is_denied(&val, "open"), "the token that began it stands");
}

#[tokio::test]
async fn a_session_outlives_neither_its_time_nor_its_token_and_is_forgotten_a_day_later() {
    let world = World::new().await;
    let (_, text) = world.token("vic", "main", SignedDuration::from_mins(10)).await;
    let vic = world.access.authenticate(&text, world.clock.now()).unwrap();
    let (id, _, expires) = world.access.sign_in(&vic, object("open"), HOUR).await.unwrap();
    assert_eq!(expires, start().checked_add(SignedDuration::from_mins(10)).unwrap());
    world.clock.forward(SignedDuration::from_hours(30));
    assert!(world.access.state().token(id).is_some());
    world.token("val", "main", HOUR).await;
    assert!(world.access.state().token(id).is_none(), "there would be more of them every day");
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn a_narrowed_token_begins_no_wider_session() {
    let world = World::new().await;
    let scope = Scope::from_words(["tunnel:open", "connect"]).unwrap();
    let issued = world.access.issue_token(Caller::Operator, user("alice"), main_tenant(), HOUR, scope).await;
    let narrow = world.access.authenticate(&issued.unwrap().1, world.clock.now()).unwrap();
    assert!(world.access.sign_in(&narrow, object("open"), HOUR).await.is_ok());
    let wider = refusal(world.access.sign_in(&narrow, object("demo"), HOUR).await.map(drop));
    assert!(matches!(wider, Err(Refusal::NotAllowed { .. })));
}

#[tokio::test]
async fn a_session_at_the_console_decides_and_uses_no_tunnel_and_neither_kind_is_taken_for_the_other() {
    let world = World::new().await;
    let (alice, now) = (world.login("alice").await, world.clock.now());
    let (_, text, _) = world.access.sign_in_to_console(&alice, HOUR, None).await.unwrap();
    let session = world.access.authenticate_console(&text, None, now).unwrap();
    assert!(world.is_denied(&session, "open"), "it uses no tunnel");
    let lock = world.access.lock(&session, user("vic").into(), main_tenant(), None, None).await;
    assert!(lock.is_ok(), "an admin is one at the console: {lock:?}");
    assert!(world.access.authenticate_session(&text, now).is_err(), "it is none at a tunnel");
    assert!(world.access.authenticate(&text, now).is_err(), "nor a token");
    let (_, at_tunnel, _) = world.access.sign_in(&alice, object("open"), HOUR).await.unwrap();
    assert!(world.access.authenticate_console(&at_tunnel, None, now).is_err(), "nor the other way round");
    let scope = Scope::from_words(["approve", "read"]).unwrap();
    let issued = world.access.issue_token(Caller::Operator, user("alice"), main_tenant(), HOUR, scope).await;
    let narrow = world.access.authenticate(&issued.unwrap().1, now).unwrap();
    let wider = refusal(world.access.sign_in_to_console(&narrow, HOUR, None).await.map(drop));
    assert!(matches!(wider, Err(Refusal::NotAllowed { .. })), "a narrowed token begins none");
    world.access.sign_out(&session).await.unwrap();
    assert!(world.access.authenticate_console(&text, None, now).is_err());
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn at_the_console_everybody_takes_back_what_they_asked_for_and_gives_back_what_they_got() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let (_, text, _) = world.access.sign_in_to_console(&vic, HOUR, None).await.unwrap();
    let session = world.access.authenticate_console(&text, None, world.clock.now()).unwrap();
    let request = world.ask(&vic, "demo", 10).await;
    world.access.withdraw(&session, request, None).await.unwrap();
    let grant = world.granted(&vic, 10).await;
    world.access.revoke(&session, grant, None).await.unwrap();

    let narrowed = world.login_for("vic", &["tunnel:open", "connect"]).await;
    let request = world.ask(&vic, "demo", 10).await;
    assert_eq!(
        refusal(world.access.withdraw(&narrowed, request, None).await),
        Err(Refusal::NoSuchRequest { request })
    );
    world.access.withdraw(&vic, request, None).await.unwrap();
    let grant = world.granted(&vic, 10).await;
    assert!(world.access.revoke(&narrowed, grant, None).await.is_err());
}

#[tokio::test]
async fn a_session_at_the_console_that_is_bound_to_its_network_is_good_there_alone() {
    let world = World::new().await;
    let (alice, now) = (world.login("alice").await, world.clock.now());
    let [home, near, away] = ["203.0.113.7", "203.0.113.8", "198.51.100.7"].map(|text| text.parse().ok());
    let network = home.map(HomeNetwork::of);
    let (_, bound, _) = world.access.sign_in_to_console(&alice, HOUR, network).await.unwrap();
    let (_, free, _) = world.access.sign_in_to_console(&alice, HOUR, None).await.unwrap();
    let shown = |token: &str, from| world.access.authenticate_console(token, from, now).map(drop);
    for from in [home, near, None] {
        assert_eq!(shown(&bound, from), Ok(()), "{from:?}");
    }
    assert_eq!(shown(&bound, away), Err(AuthError::OtherNetwork));
    assert_eq!(shown(&free, away), Ok(()));
}
