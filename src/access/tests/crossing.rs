//! Nothing crosses tenants: whoever may do everything in one does nothing in another, whatever they know of it.

use super::*;
use crate::access::share::ShareRole;

/// Mallory may do in `other` all that anybody may; Vic is of both.
const OTHER: &str = "
p, role:shopkeeper, main, tunnel:*, share, allow, -
p, role:shopkeeper, main, tunnel:*, write, allow, -
p, role:shopkeeper, main, tunnel:*, read, allow, -
p, role:shopkeeper, main, tunnel:*, connect, allow, -
g, user:olga, role:shopkeeper, main
g, user:vic, role:oncall, main
p, role:tunnel-viewer, main, tunnel:*, read, allow, -
p, role:tunnel-viewer, main, tunnel:*, connect, allow, -
p, role:all, other, tunnel:*, read, allow, -
p, role:all, other, tunnel:*, write, allow, -
p, role:all, other, tunnel:*, delete, allow, -
p, role:all, other, tunnel:*, share, allow, -
p, role:all, other, tunnel:*, connect, allow, -
p, role:all, other, tunnel:*, approve, allow, -
p, role:all, other, tunnel:*, audit, allow, -
p, role:all, other, gateway:*, erase, allow, -
p, role:all, other, gateway:tokens, admin, allow, -
p, role:tunnel-viewer, other, tunnel:*, read, allow, -
g, user:mallory, role:all, other
g, user:mallory, role:security, other
g, user:mallory, role:oncall, other
p, role:security, other, tunnel:*, audit, allow, -
p, role:oncall, other, tunnel:*, audit, allow, -
";

const GLASS: &str = "
[workflow.guarded]
max_minutes = 60
break_glass = { roles = [\"role:oncall\"], max_minutes = 30 }
[[workflow.guarded.step]]
role = \"role:admin\"
people = 1
";

async fn world() -> (World, Identity) {
    let guarded = "p, role:visitor, main, tunnel:safe, connect, allow, guarded\n";
    let world = World::with(&format!("{TEAM}{guarded}{OTHER}"), &format!("{WORKFLOWS}{GLASS}")).await;
    let mallory = world.login_to("mallory", "other").await;
    (world, mallory)
}

fn why() -> Reason {
    "because".parse().unwrap()
}

/// Whether nothing has changed but what stands in the ledger of the attempts.
fn untouched(world: &World, before: &state::State) {
    assert_eq!(world.access.state(), *before);
}

#[tokio::test]
async fn what_waits_is_shared_or_was_broken_in_one_tenant_is_nothing_to_another() {
    let (world, mallory) = world().await;
    let (vic, olga) = (world.login("vic").await, world.login("olga").await);
    let request = world.ask(&vic, "demo", 20).await;
    let place = || (main_tenant(), object("shop"));
    let offer = |to: &str| world.access.share(&olga, place(), user(to), ShareRole::Viewer, None);
    let (offered, taken) = (offer("bob").await.unwrap(), offer("val").await.unwrap());
    world.access.accept_share(&world.login("val").await, taken).await.unwrap();
    // Offered to a name that is somebody in the other tenant too.
    let to_mallory = offer("mallory").await.unwrap();
    let broken = world.access.break_glass(&vic, object("safe"), 10, why()).await.unwrap();
    world.access.describe_tunnel(&olga, object("shop"), "the shop".parse().unwrap()).await.unwrap();
    let vic_there = world.login_to("vic", "other").await;
    let before = world.access.state();

    for who in [&mallory, &vic_there] {
        let withdrawn = refusal(world.access.withdraw(who, request, None).await);
        assert_eq!(withdrawn, Err(Refusal::NoSuchRequest { request }));
        let begun = refusal(world.access.run(who, decide::Command::Begin { grant: broken }).await);
        assert_eq!(begun.map(drop), Err(Refusal::NoSuchGrant { grant: broken }));
        let ended = refusal(world.access.revoke(who, broken, None).await);
        assert_eq!(ended, Err(Refusal::NoSuchGrant { grant: broken }));
    }
    let reviewed = world.access.review_glass(&mallory, broken, Verdict::Unjustified, why()).await;
    assert_eq!(refusal(reviewed), Err(Refusal::NoSuchGrant { grant: broken }));
    assert!(world.access.broken_glass(&mallory, true).is_empty());
    let there = world.access.share(&mallory, place(), user("eve"), ShareRole::Viewer, None).await;
    assert!(matches!(refusal(there), Err(Refusal::OtherTenant { .. })));
    for share in [offered, to_mallory] {
        let accepted = refusal(world.access.accept_share(&mallory, share).await);
        assert_eq!(accepted, Err(Refusal::NoSuchShare { share }));
    }
    for share in [offered, taken, to_mallory] {
        let ended = refusal(world.access.end_share(&mallory, share, None).await);
        assert_eq!(ended, Err(Refusal::NoSuchShare { share }));
    }
    assert!(world.access.shares(&mallory, None, true).is_empty());
    untouched(&world, &before);

    // A tunnel of the same name is another one there: what is said of it and done to it leaves this one alone.
    assert!(matches!(
        refusal(world.access.break_glass(&mallory, object("safe"), 10, why()).await),
        Err(Refusal::NotNeeded { .. })
    ));
    world.access.describe_tunnel(&mallory, object("shop"), "mine".parse().unwrap()).await.unwrap();
    for name in ["shop", "demo", "safe"] {
        world.access.delete_tunnel(&mallory, object(name), why()).await.unwrap();
    }
    assert_eq!(world.access.tunnel_description(&main_tenant(), &object("shop")).as_deref(), Some("the shop"));
    untouched(&world, &before);
}

#[tokio::test]
async fn what_proves_people_of_one_tenant_is_revoked_and_erased_by_nobody_of_another() {
    let (world, mallory) = world().await;
    let day = SignedDuration::from_hours(24);
    let (_, join) =
        world.access.issue_join_token(Caller::Operator, user("vic"), main_tenant(), day).await.unwrap();
    let device = DeviceId::from_bytes([1; 16]);
    let keys = DeviceKeys { ed25519: Arc::from([1; 32]), ml_dsa: Arc::from(vec![1; 1_952]) };
    world.access.enroll(&join, device, keys, world.clock.now()).await.unwrap();
    let anna = world.login("anna").await;
    let key = signed_approvals::Authenticator::new(1);
    let passkey = signed_approvals::enroll(&world, &anna, &key).await.unwrap();
    let (token, _) = world.token("vic", "main", day).await;
    let certificate = CertificateId::from_sha256([1; 32]);
    let before = world.access.state();

    let access = &world.access;
    let refused = |result: Result<(), AccessError>| refusal(result).unwrap_err();
    assert_eq!(refused(access.revoke_device(&mallory, device, None).await), Refusal::NoSuchDevice { device });
    assert_eq!(
        refused(access.revoke_passkey(&mallory, passkey, None).await),
        Refusal::NoSuchPasskey { passkey }
    );
    assert_eq!(refused(access.revoke_token(&mallory, token, None).await), Refusal::NoSuchToken { token });
    let revoked = access.revoke_certificate(&mallory, certificate, main_tenant(), None).await;
    assert!(matches!(refused(revoked), Refusal::OtherTenant { .. }));
    let lock = LockTarget::Device(device);
    let locked = access.lock(&mallory, lock.clone(), main_tenant(), None, None).await;
    assert!(matches!(refused(locked), Refusal::OtherTenant { .. }));
    let locked = access.lock(&mallory, lock, "other".parse().unwrap(), None, None).await;
    assert_eq!(refused(locked), Refusal::NoSuchDevice { device });
    for name in ["vic", "anna"] {
        let erased = refused(access.end_all_of(&mallory, user(name), why()).await);
        assert_eq!(erased, Refusal::ElsewhereToo { subject: user(name) });
    }
    assert!(access.devices(&mallory).is_empty());
    untouched(&world, &before);
}

#[tokio::test]
async fn a_certificate_that_one_tenant_revokes_is_neither_refused_in_another_nor_shown_there() {
    let (world, mallory) = world().await;
    let (access, id) = (&world.access, CertificateId::from_sha256([1; 32]));
    let now = world.clock.now();
    let day = SignedDuration::from_hours(24);
    let (not_before, not_after) = (now.saturating_sub(day).unwrap(), now.saturating_add(day).unwrap());
    let certificate = Certificate { id, subject: user("vic"), not_before, not_after };
    let shows = |tenant: &Tenant| access.authenticate_certificate(&certificate, tenant, now);
    let (here, there) = (main_tenant(), "other".parse().unwrap());
    let permit = world.permit(&shows(&here).unwrap(), "open");

    access.revoke_certificate(&mallory, id, Tenant::clone(&there), None).await.unwrap();
    assert_eq!(shows(&there), Err(AuthError::CertificateRevoked));
    assert!(shows(&here).is_ok() && permit.is_alive(), "an admin of another tenant ended it");
    let other = CertificateId::from_sha256([2; 32]);
    access.revoke_certificate(Caller::Operator, other, here, None).await.unwrap();
    let listed =
        |who: Caller| access.revoked_certificates(who).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(listed((&mallory).into()), [id]);
    assert_eq!(listed(Caller::Operator).len(), 2);
}

#[tokio::test]
async fn a_review_of_one_tenant_is_decided_and_ended_by_nobody_of_another() {
    let (world, mallory) = world().await;
    let vic = world.login("vic").await;
    world.granted(&vic, 60).await;
    let deadline = world.clock.now().checked_add(SignedDuration::from_hours(24)).unwrap();
    let alice = world.login("alice").await;
    // Mallory is one of security, too: of the other tenant.
    let review = world.access.start_review(&alice, main_tenant(), role("security"), deadline).await.unwrap();
    let before = world.access.state();
    let items = before.review(review).unwrap().items.len();
    for item in 1..=u32::try_from(items).unwrap() {
        for keep in [true, false] {
            let decided = world.access.decide_review(&mallory, review, item, keep, why()).await;
            assert_eq!(refusal(decided), Err(Refusal::NoSuchReview { review }));
        }
    }
    assert_eq!(
        refusal(world.access.close_review(&mallory, review).await),
        Err(Refusal::NoSuchReview { review })
    );
    untouched(&world, &before);
}

#[tokio::test]
async fn what_all_tenants_have_in_common_is_run_from_the_gateways_own_alone() {
    let (world, mallory) = world().await;
    let (digest, before) = (world.access.policy_digest(), world.access.state());
    let rows = std::fs::read_to_string(world.directory.path().join("policy.csv")).unwrap();
    let takeover =
        format!("{rows}p, role:all, main, tunnel:*, connect, allow, -\ng, user:mallory, role:all, main\n");
    write_policy(world.directory.path(), &takeover, &format!("{WORKFLOWS}{GLASS}"));
    let reloaded = refusal(world.access.reload_policy(&mallory).await);
    assert!(matches!(reloaded, Err(Refusal::OtherTenant { .. })), "{reloaded:?}");
    let proposed = refusal(world.access.propose_policy(&mallory, why()).await);
    assert!(matches!(proposed, Err(Refusal::OtherTenant { .. })));
    let approved = refusal(world.access.approve_policy(&mallory, digest, None).await);
    assert!(matches!(approved, Err(Refusal::OtherTenant { .. })), "{approved:?}");
    let replaced = world.access.replace_token_key(&mallory, MemoryKeys::new(), false, None).await;
    assert!(matches!(refusal(replaced), Err(Refusal::OtherTenant { .. })));
    assert_eq!(world.access.policy_digest(), digest);
    untouched(&world, &before);
    let attempts = world.log.facts();
    let attempts = attempts.iter().filter(|fact| matches!(fact, fact::Fact::Refused(_)));
    assert_eq!(attempts.count(), 4, "each is recorded");
    world.access.reload_policy(&world.login("alice").await).await.unwrap();
}
