//! Access reviews: a frozen population, decisions by others, and an end for what nobody vouches for.

use std::fmt::Write as _;

use super::*;
use crate::access::share::ShareRole;
use crate::access::state::{Holding, ReviewItem, digest};

async fn world() -> World {
    let rows = "
p, role:tunnel-viewer, main, tunnel:*, connect, allow, -
g, user:rita, role:reviewer, main
g, user:rob, role:reviewer, main
p, role:reviewer, main, tunnel:*, audit, allow, -
";
    World::with(&format!("{TEAM}{rows}"), WORKFLOWS).await
}

impl World {
    async fn review(&self, days: i64) -> ReviewId {
        let deadline = self.clock.now().checked_add(SignedDuration::from_hours(24 * days)).unwrap();
        let alice = self.login("alice").await;
        self.access.start_review(&alice, main_tenant(), role("reviewer"), deadline).await.unwrap()
    }

    async fn decide(&self, who: &Identity, review: ReviewId, item: u32, keep: bool) -> Result<(), Refusal> {
        refusal(self.access.decide_review(who, review, item, keep, "looked at it".parse().unwrap()).await)
    }

    async fn operators_share(&self, to: &str) -> ShareId {
        let place = (main_tenant(), object("shop"));
        let share =
            self.access.share(Caller::Operator, place, user(to), ShareRole::Viewer, None).await.unwrap();
        self.access.accept_share(&self.login(to).await, share).await.unwrap();
        share
    }

    fn item(&self, review: ReviewId, wanted: &Holding) -> u32 {
        let state = self.access.state();
        let items = &state.review(review).unwrap().items;
        items.iter().find(|item| item.holding == *wanted).unwrap().number
    }
}

#[tokio::test]
async fn the_population_is_frozen_and_its_digest_can_be_made_again_from_the_records() {
    let mut world = world().await;
    let vic = world.login("vic").await;
    let grant = world.granted(&vic, 60).await;
    let share = world.operators_share("bob").await;
    let review = world.review(14).await;
    let (val, later) = (world.login("val").await, world.operators_share("eve").await);
    world.granted(&val, 60).await;
    let items = world.access.state().review(review).unwrap().items.clone();
    let holds = |what: &Holding| items.iter().any(|item| item.holding == *what);
    assert!(holds(&Holding::Grant(grant)) && holds(&Holding::Share(share)) && !holds(&Holding::Share(later)));
    let roles = items.iter().filter(|item| matches!(item.holding, Holding::Role(_))).count();
    let recorded = world.log.facts().into_iter().filter(|fact| matches!(fact, fact::Fact::ReviewItem { .. }));
    assert!(
        roles > 5 && recorded.count() == roles,
        "every role of every person of the tenant, each a record"
    );
    assert!(!items.iter().any(|item| item.subject == user("mallory")), "of another tenant");
    assert_eq!(world.access.state().review(review).unwrap().digest, digest(&items));
    let swapped: Vec<ReviewItem> = items.iter().rev().cloned().collect();
    assert_ne!(digest(&swapped), digest(&items));
    // A later policy and a restart change nothing in it.
    write_policy(world.directory.path(), &TEAM.replace("g, user:val, role:visitor, main\n", ""), WORKFLOWS);
    world.access.close().await;
    world.access = world.restarted(&world.log).await;
    assert_eq!(world.access.state().review(review).unwrap().items, items);
}

#[tokio::test]
async fn a_reviewer_decides_for_others_once_and_with_the_time_it_took() {
    let world = world().await;
    let vic = world.login("vic").await;
    let (grant, share) = (world.granted(&vic, 60).await, world.operators_share("rita").await);
    let review = world.review(14).await;
    let (rita, rob) = (world.login("rita").await, world.login("rob").await);
    let (first, second) =
        (world.item(review, &Holding::Grant(grant)), world.item(review, &Holding::Share(share)));
    assert!(matches!(world.decide(&vic, review, first, true).await, Err(Refusal::NoReviewer { .. })));
    assert_eq!(
        world.decide(&rita, review, second, true).await,
        Err(Refusal::OwnItem { review, item: second }),
        "nobody reviews themselves"
    );
    assert_eq!(
        world.decide(&rita, review, 9_999, true).await,
        Err(Refusal::NoSuchItem { review, item: 9_999 })
    );
    world.clock.forward(SignedDuration::from_secs(90));
    let permit = world.permit(&vic, "demo");
    world.decide(&rita, review, first, false).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::GrantRevoked);
    assert_eq!(
        world.decide(&rob, review, first, true).await,
        Err(Refusal::ItemDecided { review, item: first })
    );
    world.clock.forward(SignedDuration::from_secs(5));
    world.decide(&rob, review, second, true).await.unwrap();
    let took = |item| {
        world.access.state().review(review).unwrap().item(item).unwrap().decision.clone().unwrap().took
    };
    assert_eq!((took(first), took(second)), (90, 95));
    world.clock.forward(SignedDuration::from_secs(2));
    let another = |item: &&ReviewItem| ![first, second].contains(&item.number) && item.subject != user("rob");
    let third = world.access.state().review(review).unwrap().items.iter().find(another).unwrap().number;
    world.decide(&rob, review, third, true).await.unwrap();
    assert_eq!(took(third), 2, "since the same reviewer's decision before it");
}

#[tokio::test]
async fn what_nobody_has_reviewed_ends_at_the_deadline_and_what_was_kept_stays() {
    let world = world().await;
    let kept = world.operators_share("bob").await;
    let forgotten = world.operators_share("carol").await;
    let review = world.review(1).await;
    let later = world.operators_share("dora").await;
    world
        .decide(&world.login("rita").await, review, world.item(review, &Holding::Share(kept)), true)
        .await
        .unwrap();
    let carol = world.login("carol").await;
    let permit = world.permit(&carol, "shop");
    world.clock.forward(SignedDuration::from_hours(24));
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
    let state = world.access.state();
    let stands = |share| state.share(share).unwrap().is_standing();
    assert!(stands(kept) && stands(later) && !stands(forgotten));
    world.access.revoke(Caller::Operator, GrantId::new(start(), [0; 10]), None).await.unwrap_err();
    assert!(world.access.state().review(review).unwrap().end.is_some());
    let facts = world.log.facts();
    let closed = facts.iter().find_map(|fact| match fact {
        fact::Fact::ReviewClosed { kept, revoked, unreviewed, by: None, .. } => {
            Some((*kept, *revoked, *unreviewed))
        }
        _ => None,
    });
    let all = u32::try_from(world.access.state().review(review).unwrap().items.len()).unwrap();
    assert_eq!(closed, Some((1, 0, all - 1)));
}

#[tokio::test]
async fn what_two_reviews_or_a_review_and_its_own_time_end_at_once_is_recorded_as_ended_once() {
    let world = world().await;
    let share = world.operators_share("bob").await;
    for _ in 0..2 {
        world.review(1).await;
    }
    // Its hour is over just when both reviews are.
    world.clock.forward(SignedDuration::from_hours(23));
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let request = world.ask(&vic, "demo", 60).await;
    let Ok(Approved::Granted(short)) = world.approve(&anna, request).await else { panic!() };
    let deadline = world.clock.now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let alice = world.login("alice").await;
    world.access.start_review(&alice, main_tenant(), role("reviewer"), deadline).await.unwrap();
    let permit = world.permit(&world.login("bob").await, "shop");
    world.clock.forward(SignedDuration::from_hours(1));
    assert_eq!(ended(&permit).await.cause, Cause::ShareEnded);
    world.access.revoke(Caller::Operator, GrantId::new(start(), [0; 10]), None).await.unwrap_err();
    let facts = world.log.facts();
    let closed = facts.iter().filter(|fact| matches!(fact, fact::Fact::ReviewClosed { .. })).count();
    assert_eq!(closed, 3);
    let ends = |fact: &&fact::Fact| match fact {
        fact::Fact::GrantExpired { grant, .. } | fact::Fact::GrantRevoked { grant, .. } => *grant == short,
        _ => false,
    };
    assert_eq!(facts.iter().filter(ends).count(), 1);
    let ends =
        |fact: &&fact::Fact| matches!(fact, fact::Fact::ShareEnded { share: over, .. } if *over == share);
    assert_eq!(facts.iter().filter(ends).count(), 1);
}

#[tokio::test]
async fn a_role_that_was_to_be_taken_away_is_shown_as_held_until_the_policy_has_it_no_longer() {
    let world = world().await;
    let review = world.review(14).await;
    let state = world.access.state();
    let items = &state.review(review).unwrap().items;
    let item = items.iter().find(|item| item.subject == user("val")).unwrap().number;
    let rita = world.login("rita").await;
    world.decide(&rita, review, item, false).await.unwrap();
    let held = |world: &World| {
        let reviews = world.access.reviews(&rita);
        reviews[0].items.iter().find(|view| view.item.number == item).unwrap().held
    };
    assert!(held(&world));
    let rows = std::fs::read_to_string(world.directory.path().join("policy.csv")).unwrap();
    write_policy(world.directory.path(), &rows.replace("g, user:val, role:visitor, main\n", ""), WORKFLOWS);
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert!(!held(&world));
}

#[tokio::test]
async fn only_who_administers_people_begins_one_and_only_those_concerned_see_or_close_it() {
    let world = world().await;
    let (rita, vic, mallory) =
        (world.login("rita").await, world.login("vic").await, world.login_to("mallory", "other").await);
    let deadline = world.clock.now().checked_add(SignedDuration::from_hours(24)).unwrap();
    let start = |who: &Identity, role: Role, deadline| {
        world.access.start_review(who.clone(), main_tenant(), role, deadline)
    };
    assert!(matches!(
        refusal(start(&rita, role("reviewer"), deadline).await),
        Err(Refusal::NotAllowed { .. })
    ));
    assert!(matches!(
        refusal(start(&mallory, role("reviewer"), deadline).await),
        Err(Refusal::OtherTenant { .. })
    ));
    let alice = world.login("alice").await;
    assert!(matches!(
        refusal(start(&alice, role("nobody"), deadline).await),
        Err(Refusal::NoReviewers { .. })
    ));
    let past = refusal(start(&alice, role("reviewer"), world.clock.now()).await);
    assert!(matches!(past, Err(Refusal::ReviewTime { .. })));
    let share = world.operators_share("bob").await;
    let review = world.review(1).await;
    assert_eq!((world.access.reviews(&vic).len(), world.access.reviews(&mallory).len()), (0, 0));
    assert_eq!((world.access.reviews(&rita).len(), world.access.reviews(&alice).len()), (1, 1));
    let close = |who: &Identity| world.access.close_review(who.clone(), review);
    assert!(matches!(refusal(close(&vic).await), Err(Refusal::NotAllowed { .. })));
    assert!(matches!(refusal(close(&mallory).await), Err(Refusal::NoSuchReview { .. })));
    close(&rita).await.unwrap();
    assert!(!world.access.state().share(share).unwrap().is_standing());
    assert_eq!(refusal(close(&rita).await), Err(Refusal::ReviewOver { review }));
    assert_eq!(world.decide(&rita, review, 1, true).await, Err(Refusal::ReviewOver { review }));
}

#[tokio::test]
async fn a_token_that_was_narrowed_to_a_tunnel_neither_decides_in_a_review_nor_closes_it() {
    let world = world().await;
    let share = world.operators_share("bob").await;
    let review = world.review(1).await;
    let item = world.item(review, &Holding::Share(share));
    let narrow = world.login_for("rita", &["tunnel:demo", "connect"]).await;
    for keep in [true, false] {
        let refused = world.decide(&narrow, review, item, keep).await;
        assert!(matches!(refused, Err(Refusal::NotAllowed { .. })), "{refused:?}");
    }
    let refused = refusal(world.access.close_review(narrow, review).await);
    assert!(matches!(refused, Err(Refusal::NotAllowed { .. })), "{refused:?}");
    assert!(world.access.state().share(share).unwrap().is_standing());
    world.decide(&world.login("rita").await, review, item, true).await.unwrap();
}

#[tokio::test]
async fn so_many_reviews_are_open_at_a_time_and_no_more() {
    let world = world().await;
    for _ in 0..8 {
        world.review(7).await;
    }
    let deadline = world.clock.now().checked_add(SignedDuration::from_hours(24)).unwrap();
    let one_more =
        world.access.start_review(Caller::Operator, main_tenant(), role("reviewer"), deadline).await;
    assert_eq!(refusal(one_more).unwrap_err(), Refusal::TooManyReviews { open: 8 });
}

#[tokio::test]
async fn a_review_is_of_thousands_of_roles_but_not_of_more_items_than_anybody_looks_at() {
    let of = async |people: usize| {
        let mut rows =
            "g, user:rita, role:reviewer, main\np, role:reviewer, main, tunnel:*, audit, allow, -\n"
                .to_owned();
        for role in 0..100 {
            writeln!(rows, "p, role:r{role}, main, tunnel:t{role}, read, allow, -").unwrap();
            for person in 0..people {
                writeln!(rows, "g, user:p{person}, role:r{role}, main").unwrap();
            }
        }
        let world = World::with(&rows, WORKFLOWS).await;
        let deadline = world.clock.now().checked_add(SignedDuration::from_hours(24)).unwrap();
        let begun =
            world.access.start_review(Caller::Operator, main_tenant(), role("reviewer"), deadline).await;
        refusal(begun).map(|review| world.access.state().review(review).unwrap().items.len())
    };
    assert_eq!(of(20).await, Ok(2_001), "each role of each of them, and the reviewer's");
    assert_eq!(of(50).await, Err(Refusal::ReviewTooLarge { roles: 5_001, items: 5_001 }));
}
