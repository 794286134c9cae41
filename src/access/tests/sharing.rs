//! Sharing a tunnel: never more than one holds, never before it is accepted, never longer than what it rests on.

use super::*;
use crate::access::share::ShareRole::{Admin, Editor, Owner, Viewer};
use crate::access::state::ShareStatus;

/// Olga owns the shop by policy. Who has no rule there has nothing there.
const SHOP: &str = "
p, role:tunnel-owner, main, tunnel:*, read, allow, -
p, role:tunnel-owner, main, tunnel:*, write, allow, -
p, role:tunnel-owner, main, tunnel:*, delete, allow, -
p, role:tunnel-owner, main, tunnel:*, share, allow, -
p, role:tunnel-owner, main, tunnel:*, connect, allow, -
p, role:tunnel-admin, main, tunnel:*, read, allow, -
p, role:tunnel-admin, main, tunnel:*, write, allow, -
p, role:tunnel-admin, main, tunnel:*, share, allow, -
p, role:tunnel-admin, main, tunnel:*, connect, allow, -
p, role:tunnel-editor, main, tunnel:*, read, allow, -
p, role:tunnel-editor, main, tunnel:*, write, allow, -
p, role:tunnel-editor, main, tunnel:*, connect, allow, -
p, role:tunnel-viewer, main, tunnel:*, read, allow, -
p, role:tunnel-viewer, main, tunnel:*, connect, allow, -
p, role:shopkeeper, main, tunnel:shop, read, allow, -
p, role:shopkeeper, main, tunnel:shop, write, allow, -
p, role:shopkeeper, main, tunnel:shop, delete, allow, -
p, role:shopkeeper, main, tunnel:shop, share, allow, -
p, role:shopkeeper, main, tunnel:shop, connect, allow, -
p, role:sharer, main, tunnel:*, share, allow, -
g, user:olga, role:shopkeeper, main
g, user:sid, role:sharer, main
";

async fn world() -> World {
    World::with(&format!("{TEAM}{SHOP}"), WORKFLOWS).await
}

impl World {
    async fn offer(&self, by: &Identity, to: &str, role: ShareRole) -> Result<ShareId, Refusal> {
        self.offer_on("shop", by, to, role, None).await
    }

    async fn offer_on(
        &self,
        tunnel: &str,
        by: &Identity,
        to: &str,
        role: ShareRole,
        until: Option<Timestamp>,
    ) -> Result<ShareId, Refusal> {
        refusal(self.access.share(by, (main_tenant(), object(tunnel)), user(to), role, until).await)
    }

    async fn accept(&self, who: &Identity, share: ShareId) -> Result<(), Refusal> {
        refusal(self.access.accept_share(who, share).await)
    }

    /// A share that is in force.
    async fn shared(&self, by: &Identity, to: &Identity, role: ShareRole) -> ShareId {
        let name = to.subject().as_str().trim_start_matches("user:");
        let share = self.offer(by, name, role).await.unwrap();
        self.accept(to, share).await.unwrap();
        share
    }

    fn may(&self, who: &Identity, action: Action) -> bool {
        matches!(self.access.authorize(who, &object("shop"), action, &self.context()), Decision::Allowed(_))
    }
}

#[tokio::test]
async fn an_offer_gives_nothing_before_the_person_and_nobody_else_has_accepted_it() {
    let world = world().await;
    let (olga, bob, eve) = (world.login("olga").await, world.login("bob").await, world.login("eve").await);
    let share = world.offer(&olga, "bob", Viewer).await.unwrap();
    assert!(world.is_denied(&bob, "shop"));
    for other in [&eve, &olga] {
        assert_eq!(world.accept(other, share).await, Err(Refusal::NoSuchShare { share }));
    }
    world.accept(&bob, share).await.unwrap();
    assert_eq!(world.accept(&bob, share).await, Err(Refusal::NotOffered { share }));
    let permit = world.permit(&bob, "shop");
    assert_eq!(permit.explanation().shares, [share]);
    assert!(
        world.may(&bob, Action::Read) && !world.may(&bob, Action::Write) && !world.may(&bob, Action::Share)
    );
    // On that tunnel alone, and in that tenant alone.
    assert!(world.is_denied(&bob, "other-shop"));
    assert!(world.is_denied(&world.login_to("bob", "other").await, "shop"));
    assert!(world.is_denied(&eve, "shop"));
}

#[tokio::test]
async fn an_offer_that_isnt_accepted_in_time_is_over() {
    let world = world().await;
    let (olga, bob) =
        (world.login("olga").await, world.token("bob", "main", SignedDuration::from_hours(1_000)).await);
    let share = world.offer(&olga, "bob", Viewer).await.unwrap();
    world.clock.forward(SignedDuration::from_hours(7 * 24));
    let bob = world.access.authenticate(&bob.1, world.clock.now()).unwrap();
    assert_eq!(world.accept(&bob, share).await, Err(Refusal::NotOffered { share }));
    assert!(world.is_denied(&bob, "shop"));
    let status = world.access.state().share(share).unwrap().status.clone();
    assert!(matches!(status, ShareStatus::Ended { cause: share::ShareEnd::Expired, .. }), "{status:?}");
}

#[tokio::test]
async fn only_who_holds_share_may_share_and_never_more_than_they_hold() {
    let world = world().await;
    let (olga, bob, sid) = (world.login("olga").await, world.login("bob").await, world.login("sid").await);
    assert!(matches!(world.offer(&bob, "eve", Viewer).await, Err(Refusal::NotAllowed { .. })));
    // Sid may share, and holds nothing else.
    assert!(matches!(
        world.offer(&sid, "eve", Viewer).await,
        Err(Refusal::MoreThanOwn { action: Action::Read, .. })
    ));
    assert_eq!(world.offer(&olga, "olga", Viewer).await, Err(Refusal::OwnShare));
    // An admin of the tunnel can't make owners: they may not delete it.
    let bobs = world.shared(&olga, &bob, Admin).await;
    let more = Refusal::MoreThanOwn { role: Owner, action: Action::Delete };
    assert_eq!(world.offer(&bob, "eve", Owner).await, Err(more.clone()));
    world.offer(&bob, "eve", Editor).await.unwrap();
    // Nor end what stands above them; whoever gave it can, and the person.
    let carol = world.login("carol").await;
    let owners = world.shared(&olga, &carol, Owner).await;
    assert_eq!(refusal(world.access.end_share(&bob, owners, None).await), Err(more));
    world.access.end_share(&olga, bobs, None).await.unwrap();
    assert_eq!(
        refusal(world.access.end_share(&olga, bobs, None).await),
        Err(Refusal::ShareEnded { share: bobs })
    );
    world.access.end_share(&carol, owners, None).await.unwrap();
}

#[tokio::test]
async fn nobody_shares_what_they_need_an_approval_for() {
    let rows = format!(
        "{TEAM}{SHOP}p, user:vic, main, tunnel:demo, share, allow, -\np, user:vic, main, tunnel:demo, read, allow, -\n"
    );
    let world = World::with(&rows, WORKFLOWS).await;
    let vic = world.login("vic").await;
    world.granted(&vic, 20).await;
    assert!(matches!(world.connect(&vic, "demo"), Decision::Allowed(_)), "by a grant");
    // A grant is for its holder: while it lasts Vic may go in, and still not pass it on.
    let more = Refusal::MoreThanOwn { role: Viewer, action: Action::Connect };
    assert_eq!(world.offer_on("demo", &vic, "bob", Viewer, None).await, Err(more));
}

#[tokio::test]
async fn a_share_is_no_way_around_a_deny_rule_or_an_approval() {
    let rows = format!(
        "{TEAM}{SHOP}p, user:dan, main, tunnel:shop, connect, deny, -\np, user:ann, main, tunnel:shop, connect, allow, one\n"
    );
    let world = World::with(&rows, WORKFLOWS).await;
    let (olga, dan, ann) = (world.login("olga").await, world.login("dan").await, world.login("ann").await);
    world.shared(&olga, &dan, Viewer).await;
    world.shared(&olga, &ann, Viewer).await;
    assert!(world.is_denied(&dan, "shop"));
    assert!(matches!(world.connect(&ann, "shop"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn what_a_share_gives_only_with_an_approval_is_asked_for_approved_and_ends_with_the_share() {
    let (outright, asked) = (
        "p, role:tunnel-viewer, main, tunnel:*, connect, allow, -",
        "p, role:tunnel-viewer, main, tunnel:*, connect, allow, one",
    );
    let world = World::with(&format!("{TEAM}{SHOP}").replace(outright, asked), WORKFLOWS).await;
    let (olga, bob, anna) = (world.login("olga").await, world.login("bob").await, world.login("anna").await);
    let share = world.shared(&olga, &bob, Viewer).await;
    assert!(matches!(world.connect(&bob, "shop"), Decision::NeedsApproval { .. }));
    let request = world.ask(&bob, "shop", 20).await;
    let view = world.access.find_request(anna.clone(), request).expect("an approver sees it");
    assert_eq!(view.eligible, [user("alice"), user("anna"), user("sam")]);
    assert_eq!(view.waits_for.len(), 1);
    let Ok(Approved::Granted(grant)) = world.approve(&anna, request).await else { panic!() };
    let permit = world.permit(&bob, "shop");
    assert_eq!((permit.grant(), permit.explanation().shares.as_slice()), (Some(grant), &[share][..]));
    world.access.end_share(&olga, share, None).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
    assert!(world.is_denied(&bob, "shop"), "the grant alone is nothing");

    // What waits when the share ends can't be approved any more.
    let carol = world.login("carol").await;
    let share = world.shared(&olga, &carol, Viewer).await;
    let request = world.ask(&carol, "shop", 20).await;
    world.access.end_share(&olga, share, None).await.unwrap();
    assert!(matches!(world.approve(&anna, request).await, Err(Refusal::PolicyChanged { .. })));
}

#[tokio::test]
async fn what_a_share_rests_on_takes_it_along_and_cuts_what_is_open() {
    let world = world().await;
    let (olga, bob, carol) =
        (world.login("olga").await, world.login("bob").await, world.login("carol").await);
    // Olga → Bob → Carol.
    let bobs = world.shared(&olga, &bob, Admin).await;
    let carols = world.shared(&bob, &carol, Viewer).await;
    let permit = world.permit(&carol, "shop");
    assert_eq!(permit.explanation().shares, [carols, bobs]);
    world.access.end_share(&olga, bobs, Some("left the team".parse().unwrap())).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
    assert!(world.is_denied(&carol, "shop"));
    assert!(!world.access.shares(&carol, None, false)[0].backed);

    // A locked giver, and one who has lost the right, give nothing either.
    let dora = world.login("dora").await;
    world.shared(&olga, &dora, Viewer).await;
    let permit = world.permit(&dora, "shop");
    world.access.lock(Caller::Operator, user("olga").into(), main_tenant(), None, None).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
    assert!(world.is_denied(&dora, "shop"));
    world.access.unlock(Caller::Operator, user("olga").into(), main_tenant(), None).await.unwrap();
    let permit = world.permit(&dora, "shop");
    let rows =
        format!("{TEAM}{SHOP}").replace("p, role:shopkeeper, main, tunnel:shop, share, allow, -\n", "");
    write_policy(world.directory.path(), &rows, WORKFLOWS);
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::PolicyChanged);
    assert!(world.is_denied(&dora, "shop"));
}

#[tokio::test]
async fn a_ring_of_shares_holds_nothing_up() {
    let world = world().await;
    let (olga, bob, carol) =
        (world.login("olga").await, world.login("bob").await, world.login("carol").await);
    let bobs = world.shared(&olga, &bob, Admin).await;
    let carols = world.shared(&bob, &carol, Admin).await;
    world.access.end_share(&olga, bobs, None).await.unwrap();
    // Carol holds nothing any more, so she can't give it back to Bob; nor could an offer made before.
    assert!(matches!(world.offer(&carol, "bob", Admin).await, Err(Refusal::NotAllowed { .. })));
    let bobs = world.shared(&olga, &bob, Admin).await;
    assert!(world.may(&carol, Action::Connect), "what she was given rests on Bob's again");
    world.access.end_share(&bob, carols, None).await.unwrap();
    world.access.end_share(&bob, bobs, None).await.unwrap();
    assert!(world.is_denied(&bob, "shop"));
}

#[tokio::test]
async fn a_share_ends_by_its_time_and_cuts_what_is_open() {
    let world = world().await;
    let (olga, bob) = (world.login("olga").await, world.login("bob").await);
    let until = world.clock.now().checked_add(SignedDuration::from_mins(30)).unwrap();
    for bad in
        [world.clock.now(), world.clock.now().checked_add(SignedDuration::from_hours(24 * 401)).unwrap()]
    {
        let refused = world.offer_on("shop", &olga, "bob", Viewer, Some(bad)).await;
        assert_eq!(refused, Err(Refusal::ShareTime { most: 400 }));
    }
    let share = world.offer_on("shop", &olga, "bob", Viewer, Some(until)).await.unwrap();
    assert_eq!(
        world.offer(&olga, "bob", Editor).await,
        Err(Refusal::ShareExists { share }),
        "one share for each person and tunnel"
    );
    world.accept(&bob, share).await.unwrap();
    let permit = world.permit(&bob, "shop");
    assert_eq!(permit.ends(), Some(until));
    world.clock.forward(SignedDuration::from_mins(30));
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
    assert!(world.is_denied(&bob, "shop"));
}

#[tokio::test]
async fn deleting_a_tunnel_ends_all_that_stands_on_its_name() {
    let rows = format!("{TEAM}{SHOP}p, role:visitor, main, tunnel:shop, connect, allow, one\n");
    let world = World::with(&rows, WORKFLOWS).await;
    let (olga, bob, vic) = (world.login("olga").await, world.login("bob").await, world.login("vic").await);
    let share = world.shared(&olga, &bob, Viewer).await;
    let request = world.ask(&vic, "shop", 20).await;
    let Ok(Approved::Granted(grant)) = world.approve(&world.login("anna").await, request).await else {
        panic!()
    };
    let val = world.login("val").await;
    let (waiting, elsewhere) = (world.ask(&val, "shop", 20).await, world.ask(&val, "demo", 20).await);
    let permits = [world.permit(&bob, "shop"), world.permit(&vic, "shop"), world.permit(&olga, "shop")];
    let why = || "sold".parse::<Reason>().unwrap();
    let refused = world.access.delete_tunnel(&bob, object("shop"), why()).await;
    assert!(matches!(refusal(refused), Err(Refusal::NotAllowed { .. })));
    world.access.describe_tunnel(&olga, object("shop"), "the shop".parse().unwrap()).await.unwrap();
    assert!(
        refusal(world.access.describe_tunnel(&bob, object("shop"), why()).await).is_err(),
        "a viewer writes nothing"
    );
    assert_eq!(world.access.tunnel_description(&main_tenant(), &object("shop")).as_deref(), Some("the shop"));
    world.access.delete_tunnel(&olga, object("shop"), why()).await.unwrap();
    for permit in &permits {
        ended(permit).await;
    }
    assert!(!world.access.state().share(share).unwrap().is_standing());
    assert!(matches!(world.access.state().grant(grant).unwrap().status, GrantStatus::Revoked { .. }));
    assert_eq!(world.access.tunnel_description(&main_tenant(), &object("shop")), None);
    // What waited for it waits no longer, and its requester is told who ended it, and why.
    let state = world.access.state();
    let of = |request| state.request(request).unwrap().status.clone();
    assert!(
        matches!(of(waiting), RequestStatus::Rejected { by, reason: Some(reason), .. } if by == user("olga") && reason == why())
    );
    assert_eq!(of(elsewhere), RequestStatus::Pending);
    assert!(!world.access.stands_on(&main_tenant(), &object("shop")));
}

#[tokio::test]
async fn a_share_a_grant_a_request_or_words_stand_on_a_name_that_nobody_publishes() {
    let rows = format!("{TEAM}{SHOP}p, role:visitor, main, tunnel:shop, connect, allow, one\n");
    let world = World::with(&rows, WORKFLOWS).await;
    let (olga, vic) = (world.login("olga").await, world.login("vic").await);
    let stands = |tenant: &str| world.access.stands_on(&tenant.parse().unwrap(), &object("shop"));
    let delete = || world.access.delete_tunnel(&olga, object("shop"), "sold".parse().unwrap());
    assert!(!stands("main"));
    let request = world.ask(&vic, "shop", 20).await;
    assert!(stands("main") && !stands("other"));
    world.approve(&world.login("anna").await, request).await.unwrap();
    assert!(stands("main"), "a grant and no share");
    delete().await.unwrap();
    assert!(!stands("main"));
    world.offer(&olga, "bob", Viewer).await.unwrap();
    assert!(stands("main"));
    delete().await.unwrap();
    world.access.describe_tunnel(&olga, object("shop"), "the shop".parse().unwrap()).await.unwrap();
    assert!(stands("main"));
    delete().await.unwrap();
    assert!(!stands("main"));
}

#[tokio::test]
async fn shares_are_what_the_ledger_says_after_a_restart() {
    let mut world = world().await;
    let (olga, bob, carol) =
        (world.login("olga").await, world.login("bob").await, world.login("carol").await);
    world.shared(&olga, &bob, Editor).await;
    let offered = world.offer(&olga, "carol", Viewer).await.unwrap();
    world.access.close().await;
    let before = world.access.state();
    world.access = world.restarted(&world.log).await;
    assert_eq!(world.access.state().shares().collect::<Vec<_>>(), before.shares().collect::<Vec<_>>());
    assert!(world.may(&bob, Action::Write) && world.is_denied(&carol, "shop"));
    world.accept(&carol, offered).await.unwrap();
    assert!(world.may(&carol, Action::Connect));
}

#[tokio::test]
async fn a_narrowed_token_takes_and_ends_none_of_its_persons_shares_elsewhere() {
    let world = world().await;
    let (olga, bob) = (world.login("olga").await, world.login("bob").await);
    let given = world.shared(&olga, &bob, Viewer).await;
    let offered = world.offer(&olga, "eve", Viewer).await.unwrap();
    let (at, elsewhere) = (["tunnel:shop", "connect"], ["tunnel:demo", "connect"]);
    let end = async |who: &Identity, share| refusal(world.access.end_share(who, share, None).await);

    let eves = world.login_for("eve", &elsewhere).await;
    assert_eq!(world.accept(&eves, offered).await, Err(Refusal::NoSuchShare { share: offered }));
    let bobs = world.login_for("bob", &elsewhere).await;
    assert!(end(&bobs, given).await.is_err());
    let olgas = world.login_for("olga", &at).await;
    assert!(end(&olgas, given).await.is_err(), "it is for using the shop, not for sharing it");
    assert!(world.may(&bob, Action::Connect));

    let eves = world.login_for("eve", &at).await;
    world.accept(&eves, offered).await.unwrap();
    end(&world.login_for("bob", &at).await, given).await.unwrap();
    end(&olga, offered).await.unwrap();
}

#[tokio::test]
async fn what_policy_gives_no_meaning_is_not_shared_and_a_tunnel_has_a_bounded_number_of_shares() {
    let bare = World::new().await;
    let place = || (main_tenant(), object("shop"));
    let offered = bare.access.share(Caller::Operator, place(), user("bob"), Editor, None).await;
    assert_eq!(refusal(offered).unwrap_err(), Refusal::EmptyRole { role: Editor });

    let world = world().await;
    let offer = async |name: String| {
        refusal(world.access.share(Caller::Operator, place(), user(&name), Viewer, None).await)
    };
    let mut last = None;
    for number in 0..1_000 {
        last = Some(offer(format!("p{number}")).await.unwrap());
    }
    assert_eq!(offer("bob".to_owned()).await, Err(Refusal::TooManyShares { standing: 1_000 }));
    refusal(world.access.end_share(Caller::Operator, last.unwrap(), None).await).unwrap();
    offer("bob".to_owned()).await.unwrap();
}
