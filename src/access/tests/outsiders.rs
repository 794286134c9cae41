//! People for whom somebody outside vouches: what they may, and everything that ends it. And locks on things.

use super::*;
use crate::access::fact::Renewal;

const ROWS: &str = "
p, role:eng, main, tunnel:demo, connect, allow, -
p, role:eng, main, tunnel:vault, connect, allow, one
p, role:ext, main, tunnel:demo, connect, deny, -
p, role:staff, main, tunnel:wiki, connect, allow, -
p, role:admin, main, tunnel:*, approve, allow, -
p, role:admin, main, gateway:*, admin, allow, -
g, role:eng, role:staff, main
g, user:anna, role:admin, main
";

fn key(n: u8) -> KeyPrint {
    hex::encode([n; 16]).parse().unwrap()
}

fn vouched(name: &str, n: u8, roles: &[&str], world: &World) -> Vouched {
    Vouched {
        subject: user(&format!("corp+{name}")),
        tenant: main_tenant(),
        roles: roles.iter().map(|name| role(name)).collect(),
        proof: Outside { token: TokenId::of_controllers(&[n; 32]), key: Some(key(n)) },
        issued: Some(world.clock.now()),
        expires: world.clock.now().checked_add(SignedDuration::from_mins(10)).unwrap(),
    }
}

async fn world() -> World {
    let world = World::with(ROWS, WORKFLOWS).await;
    tell(&world, &[1, 2]).await;
    world
}

async fn tell(world: &World, keys: &[u8]) {
    let keys = keys.iter().map(|n| key(*n)).collect();
    world.access.issuer_keys("corp".parse().unwrap(), keys, Renewal::Published).await.unwrap();
}

fn enter(world: &World, name: &str, n: u8, roles: &[&str]) -> Result<Identity, AuthError> {
    world.access.vouched(vouched(name, n, roles, world), world.clock.now())
}

#[tokio::test]
async fn claimed_roles_count_as_a_membership_would_with_what_they_bring_and_with_denials() {
    let world = world().await;
    let eve = enter(&world, "eve", 1, &["eng"]).unwrap();
    let permit = world.permit(&eve, "demo");
    assert_eq!(permit.explanation().claimed, [role("eng")]);
    assert!(matches!(world.connect(&eve, "wiki"), Decision::Allowed(_)), "a role brings its roles");
    assert!(world.is_denied(&enter(&world, "max", 1, &[]).unwrap(), "demo"));
    assert!(
        world.is_denied(&enter(&world, "max", 1, &["eng", "ext"]).unwrap(), "demo"),
        "a denial outweighs"
    );
    assert!(world.is_denied(&enter(&world, "max", 1, &["admin"]).unwrap(), "demo"));
}

#[tokio::test]
async fn what_somebody_outside_vouched_for_ends_with_the_token_the_key_and_the_person() {
    let world = world().await;
    let eve = enter(&world, "eve", 1, &["eng"]).unwrap();
    let max = enter(&world, "max", 2, &["eng"]).unwrap();

    let permit = world.permit(&eve, "demo");
    tell(&world, &[2]).await;
    assert_eq!(ended(&permit).await.cause, Cause::KeyWithdrawn);
    assert!(world.is_denied(&eve, "demo"), "an identity that was made before is no way around");
    assert_eq!(enter(&world, "eve", 1, &["eng"]).unwrap_err(), AuthError::KeyWithdrawn);
    let of_max = world.permit(&max, "demo");
    assert!(of_max.is_alive());

    let anna = world.login("anna").await;
    let id = TokenId::of_controllers(&[2; 32]);
    world.access.revoke_outside_token(&anna, id, main_tenant(), None).await.unwrap();
    assert_eq!(ended(&of_max).await.cause, Cause::TokenRevoked);
    assert_eq!(enter(&world, "max", 2, &["eng"]).unwrap_err(), AuthError::Revoked);
    let again = refusal(world.access.revoke_outside_token(&anna, id, main_tenant(), None).await);
    assert_eq!(again, Err(Refusal::TokenRevoked { token: id }));

    tell(&world, &[1, 2]).await;
    let locked = world.permit(&enter(&world, "eve", 1, &["eng"]).unwrap(), "demo");
    world.access.lock(&anna, role("staff").into(), main_tenant(), None, None).await.unwrap();
    assert_eq!(ended(&locked).await.cause, Cause::Locked, "a role that a claimed one brings");
    world.access.unlock(&anna, role("staff").into(), main_tenant(), None).await.unwrap();

    let expiring = world.permit(&enter(&world, "eve", 1, &["eng"]).unwrap(), "demo");
    world.clock.forward(SignedDuration::from_mins(10));
    assert_eq!(ended(&expiring).await.cause, Cause::TokenExpired);
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn nobody_but_the_gateway_itself_tells_an_issuers_keys_and_unchanged_ones_are_no_record() {
    let world = world().await;
    let anna = world.login("anna").await;
    let told = world.log.facts().len();
    tell(&world, &[2, 1]).await;
    assert_eq!(world.log.facts().len(), told);
    let by_person = world
        .access
        .run(
            &anna,
            decide::Command::IssuerKeys {
                issuer: "corp".parse().unwrap(),
                keys: vec![key(9)],
                why: Renewal::Published,
            },
        )
        .await;
    assert!(matches!(refusal(by_person), Err(Refusal::NotAllowed { .. })));
    let permit = world.permit(&enter(&world, "eve", 1, &["eng"]).unwrap(), "demo");
    world.access.only_issuers(&["other".parse().unwrap()].into()).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::KeyWithdrawn, "its issuer was taken out");
}

#[tokio::test]
async fn a_key_that_is_merely_new_keeps_nobody_out_while_the_ledger_is_down_and_one_that_is_gone_does() {
    let world = world().await;
    let eve = enter(&world, "eve", 1, &["eng"]).unwrap();
    let tell = |keys: &[u8]| {
        let keys = keys.iter().map(|n| key(*n)).collect();
        world.access.issuer_keys("corp".parse().unwrap(), keys, Renewal::Published)
    };
    world.log.set_broken(true);
    assert!(matches!(tell(&[1, 2, 3]).await, Err(AccessError::NotRecorded { cut: 0, .. })));
    let permit = world.permit(&eve, "demo");
    assert!(matches!(tell(&[2]).await, Err(AccessError::NotRecorded { cut: 1, .. })));
    assert_eq!(ended(&permit).await.cause, Cause::KeyWithdrawn);
    assert_eq!(enter(&world, "eve", 1, &["eng"]).unwrap_err(), AuthError::KeyWithdrawn);
    assert!(world.is_denied(&enter(&world, "max", 2, &["eng"]).unwrap(), "demo"));
}

#[tokio::test]
async fn somebody_from_outside_asks_and_is_granted_but_approves_nothing_by_a_claimed_role() {
    let world = world().await;
    let eve = enter(&world, "eve", 1, &["eng"]).unwrap();
    let request = world.ask(&eve, "vault", 10).await;
    let max = enter(&world, "max", 2, &["admin"]).unwrap();
    assert!(matches!(world.approve(&max, request).await, Err(Refusal::NotEligible { .. })));
    let anna = world.login("anna").await;
    assert!(matches!(world.approve(&anna, request).await, Ok(Approved::Granted(_))));
    assert!(matches!(world.connect(&eve, "vault"), Decision::Allowed(_)));
    assert!(world.is_denied(&enter(&world, "eve", 1, &[]).unwrap(), "vault"), "the grant gives no role");
}

#[tokio::test]
async fn nobody_of_another_tenant_ends_or_revokes_what_is_not_theirs() {
    let world = World::with(TEAM, WORKFLOWS).await;
    tell(&world, &[1]).await;
    let mallory = world.login_to("mallory", "other").await;
    let id = TokenId::of_controllers(&[1; 32]);
    let revoked = refusal(world.access.revoke_outside_token(&mallory, id, main_tenant(), None).await);
    assert!(matches!(revoked, Err(Refusal::OtherTenant { .. })));
    for target in ["tunnel:open", "tenant:main", "role:visitor", "user:vic"] {
        let target: LockTarget = target.parse().unwrap();
        let locked = refusal(world.access.lock(&mallory, target, main_tenant(), None, None).await);
        assert!(matches!(locked, Err(Refusal::OtherTenant { .. })), "{locked:?}");
    }
    let elsewhere: LockTarget = "tenant:main".parse().unwrap();
    let other: Tenant = "other".parse().unwrap();
    let locked = refusal(world.access.lock(&mallory, elsewhere, other.clone(), None, None).await);
    assert!(matches!(locked, Err(Refusal::LockElsewhere { .. })));
    // A lock in one tenant is none in the other, whatever the name.
    let vic = world.login("vic").await;
    let permit = world.permit(&vic, "open");
    world.access.lock(&mallory, object("open").as_str().parse().unwrap(), other, None, None).await.unwrap();
    assert!(permit.is_alive() && !world.is_denied(&vic, "open"));
}

#[tokio::test]
async fn a_tunnel_and_a_tenant_can_be_locked_and_whoever_runs_the_gateway_can_still_lift_it() {
    let world = World::new().await;
    let (alice, vic) = (world.login("alice").await, world.login("vic").await);
    let pat = world.login("pat").await;
    let publish = |name: &str| world.access.authorize(&pat, &object(name), Action::Publish, &world.context());
    let (of_vic, Decision::Allowed(of_pat)) = (world.permit(&vic, "open"), publish("open")) else { panic!() };
    let Decision::Allowed(elsewhere) = publish("demo") else { panic!() };
    let tunnel: LockTarget = "tunnel:open".parse().unwrap();
    world.access.lock(&alice, tunnel.clone(), main_tenant(), None, None).await.unwrap();
    assert_eq!(ended(&of_vic).await.cause, Cause::Locked);
    assert_eq!(ended(&of_pat).await.cause, Cause::Locked, "its publisher too");
    assert!(elsewhere.is_alive());
    assert!(world.is_denied(&vic, "open"));
    let found: Vec<String> = world.access.locks(&alice).iter().map(|lock| lock.target.to_string()).collect();
    assert_eq!(found, ["tunnel:open"]);
    world.access.unlock(&alice, tunnel, main_tenant(), None).await.unwrap();

    let of_vic = world.permit(&vic, "open");
    let tenant: LockTarget = "tenant:main".parse().unwrap();
    world.access.lock(&alice, tenant.clone(), main_tenant(), None, None).await.unwrap();
    assert_eq!(ended(&of_vic).await.cause, Cause::Locked);
    assert!(!elsewhere.is_alive());
    assert!(world.is_denied(&vic, "open"));
    let asked = refusal(world.access.request(&vic, ask("demo", 5)).await.map(drop));
    assert!(matches!(asked, Err(Refusal::NotAllowed { .. })), "{asked:?}");
    world.access.unlock(&alice, tenant, main_tenant(), None).await.unwrap();
    assert!(!world.is_denied(&vic, "open"));
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn a_lock_with_an_end_ends_by_itself_and_can_be_set_again() {
    let world = World::new().await;
    let vic = world.login("vic").await;
    let end = |minutes| world.clock.now().checked_add(SignedDuration::from_mins(minutes)).ok();
    let lock = |until| world.access.lock(Caller::Operator, user("vic").into(), main_tenant(), until, None);
    assert_eq!(refusal(lock(end(0)).await), Err(Refusal::LockEnd));
    lock(end(5)).await.unwrap();
    assert!(world.is_denied(&vic, "open"));
    world.clock.forward(SignedDuration::from_mins(5));
    assert!(!world.is_denied(&vic, "open"));
    lock(end(5)).await.unwrap();
    assert!(world.is_denied(&vic, "open"), "an old lock that has ended makes way for a new one");
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn a_narrowed_token_opens_what_it_names_and_nothing_more() {
    let world = World::new().await;
    let day = SignedDuration::from_hours(24);
    let scope = Scope::from_words(["tunnel:open", "connect"]).unwrap();
    let issued = world.access.issue_token(Caller::Operator, user("alice"), main_tenant(), day, scope).await;
    let (id, text) = issued.unwrap();
    let narrow = world.access.authenticate(&text, world.clock.now()).unwrap();
    assert!(matches!(world.connect(&narrow, "open"), Decision::Allowed(_)));
    let Decision::Denied { explanation } = world.connect(&narrow, "demo") else { panic!() };
    assert_eq!(explanation.code, "out-of-scope");
    // Alice is an admin; this token of hers is not.
    let lock = refusal(world.access.lock(&narrow, user("vic").into(), main_tenant(), None, None).await);
    assert!(matches!(lock, Err(Refusal::NotAllowed { .. })));
    let (other, _) = world.token("alice", "main", day).await;
    let revoked = refusal(world.access.revoke_token(&narrow, other, None).await);
    assert!(matches!(revoked, Err(Refusal::NotAllowed { .. })), "it ends no other token: {revoked:?}");
    world.access.revoke_token(&narrow, id, None).await.unwrap();
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn a_lock_that_holds_can_be_lengthened_and_is_shortened_by_nobody_who_locks_again() {
    let world = World::new().await;
    let (vic, now) = (world.login("vic").await, world.clock.now());
    let minutes = |count| now.checked_add(SignedDuration::from_mins(count)).ok();
    let lock = async |until| {
        let target = LockTarget::Role(role("visitor"));
        refusal(world.access.lock(Caller::Operator, target, main_tenant(), until, None).await)
    };
    lock(minutes(60)).await.unwrap();
    for shorter in [minutes(60), minutes(30)] {
        assert!(matches!(lock(shorter).await, Err(Refusal::LockUnchanged { .. })), "{shorter:?}");
    }
    lock(minutes(120)).await.unwrap();
    lock(None).await.unwrap();
    for shorter in [minutes(600), None] {
        assert!(matches!(lock(shorter).await, Err(Refusal::LockUnchanged { .. })), "{shorter:?}");
    }
    world.clock.forward(SignedDuration::from_hours(23));
    assert!(world.is_denied(&vic, "open"), "the lock without an end ended with the first one");
    assert_eq!(world.restarted(&world.log).await.state(), world.access.state());
}

#[tokio::test]
async fn after_records_were_lost_a_token_of_another_issuer_from_before_proves_nobody() {
    let world = world().await;
    let before = vouched("eve", 1, &["visitor"], &world);
    world.clock.forward(SignedDuration::from_secs(1));
    world.log.append(fact::Fact::LedgerResumed { tokens_kept: false }).await.unwrap();
    let again = world.restarted(&world.log).await;
    again.issuer_keys("corp".parse().unwrap(), vec![key(1)], Renewal::Published).await.unwrap();
    let now = world.clock.now();
    assert_eq!(again.vouched(before.clone(), now).map(drop), Err(AuthError::TokenTooOld));
    let undated = Vouched { issued: None, ..before.clone() };
    assert_eq!(again.vouched(undated, now).map(drop), Err(AuthError::TokenTooOld));
    world.clock.forward(SignedDuration::from_secs(1));
    let after = Vouched { issued: Some(world.clock.now()), ..before.clone() };
    assert!(again.vouched(after, world.clock.now()).is_ok());
    // A controller was asked just now.
    let proof = Outside { key: None, ..before.proof };
    assert!(again.vouched(Vouched { proof, issued: None, ..before }, world.clock.now()).is_ok());
}
