//! Breaking the glass: at once, loud, and not twice without a review.

use super::*;

const GLASS: &str = r#"
[workflow.guarded]
max_minutes = 60
excludes = ["reports"]
break_glass = { roles = ["role:oncall"], max_minutes = 30 }
[[workflow.guarded.step]]
role = "role:admin"
people = 1
[[workflow.guarded.step]]
role = "role:security"
people = 1
[reports.main]
"user:anna" = "user:vic"
"#;

async fn world() -> World {
    let rows =
        TEAM.replace("main, tunnel:demo, connect, allow, one", "main, tunnel:demo, connect, allow, guarded");
    let rows = format!("{rows}g, user:vic, role:oncall, main\ng, user:alice, role:oncall, main\n");
    World::with(&rows, &format!("{WORKFLOWS}{GLASS}")).await
}

impl World {
    async fn smash(&self, who: &Identity, minutes: u32) -> Result<GrantId, Refusal> {
        refusal(
            self.access
                .break_glass(who, object("demo"), minutes, "the database is on fire".parse().unwrap())
                .await,
        )
    }

    async fn judge_glass(&self, who: &Identity, grant: GrantId, verdict: Verdict) -> Result<(), Refusal> {
        refusal(self.access.review_glass(who, grant, verdict, "looked at the logs".parse().unwrap()).await)
    }
}

#[tokio::test]
async fn whom_the_workflow_names_gets_in_at_once_and_everyone_skipped_is_told_before() {
    let world = world().await;
    let vic = world.login("vic").await;
    let grant = world.smash(&vic, 30).await.unwrap();
    let permit = world.permit(&vic, "demo");
    assert_eq!(permit.grant(), Some(grant));
    let facts = world.log.facts();
    let told: Vec<Subject> = facts
        .iter()
        .filter_map(|fact| match fact {
            fact::Fact::GlassTold { approver, .. } => Some(approver.clone()),
            _ => None,
        })
        .collect();
    // Anna reports to Vic: she couldn't have been asked.
    assert_eq!(told, [user("alice"), user("sam"), user("sue")]);
    assert!(
        matches!(facts.last(), Some(fact::Fact::GlassBroken { skipped: 3, .. })),
        "told before the grant exists"
    );
    let sue = world.access.broken_glass(&world.login("sue").await, true);
    assert!(sue.len() == 1 && sue[0].told && sue[0].grant.id == grant);
    assert!(world.access.broken_glass(&world.login("val").await, false).is_empty());
}

#[tokio::test]
async fn nobody_else_breaks_it_and_not_for_longer_than_the_workflow_says() {
    let world = world().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    assert!(matches!(world.smash(&val, 10).await, Err(Refusal::NotAllowed { .. })));
    assert_eq!(world.smash(&vic, 31).await, Err(Refusal::Minutes { asked: 31, most: 30 }));
    // A workflow that says nothing of it lets nobody.
    let vault = world.access.break_glass(&vic, object("vault"), 5, "fire".parse().unwrap()).await;
    assert!(matches!(refusal(vault), Err(Refusal::NotAllowed { .. })));
    world.access.lock(Caller::Operator, user("vic").into(), main_tenant(), None, None).await.unwrap();
    assert!(matches!(world.smash(&vic, 10).await, Err(Refusal::Standing(_))));
}

#[tokio::test]
async fn the_next_time_waits_for_a_review_by_somebody_else_even_after_a_restart() {
    let mut world = world().await;
    let (vic, alice) = (world.login("vic").await, world.login("alice").await);
    let grant = world.smash(&vic, 10).await.unwrap();
    world.clock.forward(SignedDuration::from_mins(11));
    assert_eq!(world.smash(&vic, 10).await, Err(Refusal::GlassUnreviewed { grant }));
    world.access.close().await;
    let before = world.access.state();
    world.access = world.restarted(&world.log).await;
    assert_eq!(world.access.state().grants().collect::<Vec<_>>(), before.grants().collect::<Vec<_>>());
    assert_eq!(world.smash(&vic, 10).await, Err(Refusal::GlassUnreviewed { grant }));
    // Another one's is no hindrance.
    let other = world.smash(&alice, 10).await.unwrap();
    let request = world.access.state().grant(grant).unwrap().request;
    assert_eq!(
        world.judge_glass(&vic, grant, Verdict::Justified).await,
        Err(Refusal::OwnRequest { request })
    );
    let anna = world.login("anna").await;
    assert!(matches!(
        world.judge_glass(&anna, grant, Verdict::Justified).await,
        Err(Refusal::TooNear { .. })
    ));
    let val = world.login("val").await;
    assert!(matches!(
        world.judge_glass(&val, grant, Verdict::Justified).await,
        Err(Refusal::NotAllowed { .. })
    ));
    world.judge_glass(&alice, grant, Verdict::Justified).await.unwrap();
    assert_eq!(
        world.judge_glass(&alice, grant, Verdict::Justified).await,
        Err(Refusal::GlassReviewed { grant })
    );
    assert_eq!(
        world.smash(&alice, 5).await,
        Err(Refusal::NotNeeded { action: Action::Connect, object: object("demo") })
    );
    world.smash(&vic, 10).await.unwrap();
    world.judge_glass(&anna, other, Verdict::Justified).await.unwrap();
}

#[tokio::test]
async fn a_verdict_of_unjustified_ends_what_is_left_and_cuts_what_stands_on_it() {
    let world = world().await;
    let vic = world.login("vic").await;
    let grant = world.smash(&vic, 30).await.unwrap();
    let permit = world.permit(&vic, "demo");
    world.judge_glass(&world.login("sue").await, grant, Verdict::Unjustified).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::GrantRevoked);
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn what_was_asked_for_already_is_settled_by_it_and_what_cant_be_recorded_opens_nothing() {
    let world = world().await;
    let vic = world.login("vic").await;
    let request = world.ask(&vic, "demo", 20).await;
    world.log.set_broken(true);
    let reason = "the database is on fire".parse().unwrap();
    assert!(world.access.break_glass(&vic, object("demo"), 10, reason).await.is_err());
    assert!(matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }));
    world.log.set_broken(false);
    let grant = world.smash(&vic, 10).await.unwrap();
    assert_eq!(world.access.state().request(request).unwrap().status, RequestStatus::Granted { grant });
}
