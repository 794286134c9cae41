//! The further terms of a workflow: refusals, time to answer, escalation, nearness, first use, renewal.

use super::*;

/// WORKFLOWS, and with them what a test is about, in force for the demo tunnel.
async fn world(terms: &str) -> World {
    let workflows = format!("{WORKFLOWS}\n[workflow.tried]\nmax_minutes = 60\n{terms}");
    World::with(
        &TEAM.replace("main, tunnel:demo, connect, allow, one", "main, tunnel:demo, connect, allow, tried"),
        &workflows,
    )
    .await
}

const ADMIN: &str = "[[workflow.tried.step]]\nrole = \"role:admin\"\npeople = 1\n";

impl World {
    async fn reject(&self, who: &Identity, request: RequestId) -> Result<(), Refusal> {
        refusal(self.access.reject(who, request, None).await)
    }

    fn state_of(&self, request: RequestId) -> &'static str {
        self.access.state().request(request).unwrap().status.as_str()
    }

    /// Waits until the owner has done what time has made due.
    async fn due(&self) {
        let unknown = GrantId::new(start(), [0; 10]);
        for _ in 0..2 {
            let _ = self.access.revoke(Caller::Operator, unknown, None).await;
        }
    }

    fn minutes(&self, minutes: i64) {
        self.clock.forward(SignedDuration::from_mins(minutes));
    }
}

#[tokio::test]
async fn a_request_ends_only_when_as_many_people_refuse_as_the_workflow_wants() {
    let world = world(&format!("denials = 2\n{ADMIN}")).await;
    let (vic, anna, alice) =
        (world.login("vic").await, world.login("anna").await, world.login("alice").await);
    let request = world.ask(&vic, "demo", 20).await;
    world.reject(&anna, request).await.unwrap();
    assert_eq!(
        world.reject(&anna, request).await,
        Err(Refusal::AlreadyDenied { request }),
        "one person, one voice"
    );
    assert_eq!(world.approve(&anna, request).await, Err(Refusal::AlreadyDenied { request }));
    assert_eq!(world.state_of(request), "pending");
    assert!(!world.access.find_request(&alice, request).unwrap().eligible.contains(&user("anna")));
    world.reject(&alice, request).await.unwrap();
    assert_eq!(world.state_of(request), "rejected");
    assert_eq!(world.access.state().request(request).unwrap().denials.len(), 2);
}

#[tokio::test]
async fn whoever_refuses_after_approving_has_taken_the_approval_back() {
    let world = world("denials = 2\n[[workflow.tried.step]]\nrole = \"role:admin\"\npeople = 2\n").await;
    let (vic, anna, alice) =
        (world.login("vic").await, world.login("anna").await, world.login("alice").await);
    let request = world.ask(&vic, "demo", 20).await;
    assert_eq!(world.approve(&anna, request).await, Ok(Approved::Counted));
    world.reject(&anna, request).await.unwrap();
    assert_eq!(world.approve(&alice, request).await, Ok(Approved::Counted));
    let sam = world.login("sam").await;
    assert!(matches!(world.approve(&sam, request).await, Ok(Approved::Granted(_))), "two others are enough");
}

#[tokio::test]
async fn a_request_that_nobody_answers_in_time_expires_and_grants_nothing_later() {
    let world = world(&format!("answer_within_minutes = 30\n{ADMIN}")).await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let request = world.ask(&vic, "demo", 20).await;
    world.minutes(30);
    assert_eq!(world.approve(&anna, request).await, Err(Refusal::NotPending { request, state: "expired" }));
    world.due().await;
    assert_eq!(world.state_of(request), "expired");
    assert_eq!(world.access.state().next_end(), None);
    // The way is free for another one.
    world.ask(&vic, "demo", 20).await;
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_put_before_further_people_by_a_record() {
    let step = "[[workflow.tried.step]]\nrole = \"role:admin\"\npeople = 1\nalso = [\"role:security\"]\nafter_minutes = 15\n";
    let world = world(step).await;
    let (vic, sue) = (world.login("vic").await, world.login("sue").await);
    let request = world.ask(&vic, "demo", 20).await;
    assert!(world.access.find_request(&sue, request).is_none());
    assert!(matches!(world.approve(&sue, request).await, Err(Refusal::NotEligible { .. })));
    world.minutes(15);
    world.due().await;
    let escalated = fact::Fact::Escalated {
        request,
        tenant: main_tenant(),
        object: object("demo"),
        requester: user("vic"),
        roles: vec![role("security")],
    };
    assert_eq!(world.log.facts().iter().filter(|fact| **fact == escalated).count(), 1);
    assert!(world.access.find_request(&sue, request).unwrap().eligible.contains(&user("sue")));
    assert!(matches!(world.approve(&sue, request).await, Ok(Approved::Granted(_))));
}

#[tokio::test]
async fn nobody_decides_for_their_boss_or_for_those_below_them_where_that_is_excluded() {
    let lines = "[reports.main]\n\"user:anna\" = \"user:vic\"\n\"user:vic\" = \"user:sam\"\n";
    let world = world(&format!("excludes = [\"reports\", \"managers\"]\n{ADMIN}{lines}")).await;
    let vic = world.login("vic").await;
    let request = world.ask(&vic, "demo", 20).await;
    for near in ["anna", "sam"] {
        let near = world.login(near).await;
        let too_near = Err(Refusal::TooNear { request, requester: user("vic") });
        assert_eq!(world.approve(&near, request).await.map(drop), too_near);
        assert_eq!(world.reject(&near, request).await, too_near);
        assert!(world.access.find_request(&near, request).is_none(), "nor are they asked");
    }
    let alice = world.login("alice").await;
    assert_eq!(world.access.find_request(&alice, request).unwrap().eligible, [user("alice")]);
    assert!(matches!(world.approve(&alice, request).await, Ok(Approved::Granted(_))));
    // The same people decide for others.
    let request = world.ask(&world.login("val").await, "demo", 20).await;
    assert!(matches!(world.approve(&world.login("anna").await, request).await, Ok(Approved::Granted(_))));
}

#[tokio::test]
async fn an_approval_doesnt_count_once_a_new_policy_says_that_its_giver_is_too_near() {
    let terms = |excludes: &str| {
        format!(
            "{WORKFLOWS}\n[workflow.tried]\nmax_minutes = 60\n{excludes}\n[[workflow.tried.step]]\nrole = \"role:admin\"\npeople = 2\n[reports.main]\n\"user:anna\" = \"user:vic\"\n"
        )
    };
    let rows =
        TEAM.replace("main, tunnel:demo, connect, allow, one", "main, tunnel:demo, connect, allow, tried");
    let world = World::with(&rows, &terms("")).await;
    let vic = world.login("vic").await;
    let request = world.ask(&vic, "demo", 20).await;
    assert_eq!(world.approve(&world.login("anna").await, request).await, Ok(Approved::Counted));
    write_policy(world.directory.path(), &rows, &terms("excludes = [\"reports\"]"));
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(world.approve(&world.login("alice").await, request).await, Ok(Approved::Counted));
    assert!(matches!(world.approve(&world.login("sam").await, request).await, Ok(Approved::Granted(_))));
}

fn first_use() -> String {
    format!("clock = \"first-use\"\nuse_within_minutes = 60\n{ADMIN}")
}

async fn waiting_grant(world: &World, vic: &Identity) -> GrantId {
    let request = world.ask(vic, "demo", 20).await;
    match world.approve(&world.login("anna").await, request).await {
        Ok(Approved::Granted(grant)) => grant,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_grants_time_runs_from_its_first_use_which_is_recorded_before_anybody_is_let_in() {
    let world = world(&first_use()).await;
    let vic = world.login("vic").await;
    let grant = waiting_grant(&world, &vic).await;
    assert!(
        matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }),
        "a question begins nothing"
    );
    world.minutes(50);
    let (demo, connect) = (object("demo"), Action::Connect);
    world.log.set_broken(true);
    let unrecorded = world.access.admit(&vic, &demo, connect, &world.context()).await;
    assert!(matches!(unrecorded, Decision::Denied { .. }));
    world.log.set_broken(false);
    let Decision::Allowed(permit) = world.access.admit(&vic, &demo, connect, &world.context()).await else {
        panic!("not let in")
    };
    assert!(
        matches!(world.log.facts().last(), Some(fact::Fact::GrantBegun { grant: begun, .. }) if *begun == grant)
    );
    assert_eq!(permit.ends(), world.clock.now().checked_add(SignedDuration::from_mins(20)).ok());
    // A second use begins nothing anew, not even after a restart.
    world.minutes(5);
    let again = world.access.admit(&vic, &demo, connect, &world.context()).await;
    assert!(matches!(&again, Decision::Allowed(again) if again.ends() == permit.ends()));
    world.access.close().await;
    let restarted = world.restarted(&world.log).await;
    assert_eq!(restarted.state(), world.access.state());
    world.minutes(15);
    let over = restarted.admit(&vic, &demo, connect, &world.context()).await;
    assert!(matches!(over, Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn a_grant_that_isnt_used_first_in_time_ends_unused() {
    let world = world(&first_use()).await;
    let vic = world.login("vic").await;
    let grant = waiting_grant(&world, &vic).await;
    world.minutes(60);
    world.due().await;
    assert!(matches!(world.access.state().grant(grant).unwrap().status, GrantStatus::Expired { .. }));
    let late = world.access.admit(&vic, &object("demo"), Action::Connect, &world.context()).await;
    assert!(matches!(late, Decision::NeedsApproval { .. }));
}

#[tokio::test]
async fn a_revoked_grant_that_waits_is_never_begun() {
    let world = world(&first_use()).await;
    let vic = world.login("vic").await;
    let grant = waiting_grant(&world, &vic).await;
    world.access.revoke(Caller::Operator, grant, None).await.unwrap();
    let refused = world.access.admit(&vic, &object("demo"), Action::Connect, &world.context()).await;
    assert!(matches!(refused, Decision::NeedsApproval { .. }));
    assert!(!world.log.facts().iter().any(|fact| matches!(fact, fact::Fact::GrantBegun { .. })));
}

#[tokio::test]
async fn a_renewal_is_a_new_request_that_needs_its_own_quorum_and_names_the_old_grant() {
    let world = World::new().await;
    let (vic, val) = (world.login("vic").await, world.login("val").await);
    let grant = world.granted(&vic, 20).await;
    let renewal = |minutes| Ask { renews: Some(grant), ..ask("demo", minutes) };
    assert!(matches!(
        refusal(world.access.request(&vic, ask("demo", 20)).await),
        Err(Refusal::NotNeeded { .. })
    ));
    assert_eq!(
        refusal(world.access.request(&val, renewal(20)).await),
        Err(Refusal::NoSuchGrant { grant }),
        "nobody renews what is another person's"
    );
    let request = world.access.request(&vic, renewal(40)).await.unwrap();
    assert_eq!(world.access.state().request(request).unwrap().renews, Some(grant));
    world.minutes(10);
    assert!(matches!(world.approve(&world.login("anna").await, request).await, Ok(Approved::Granted(_))));
    // The one that lasts longer is what new sessions rest on.
    let end = world.clock.now().checked_add(SignedDuration::from_mins(40)).ok();
    assert_eq!(world.permit(&vic, "demo").ends(), end);
}

/// The clock of these tests begins on a Saturday at 12:00.
const CONDITIONS: &str = r#"
[condition.early]
days = ["sat"]
from = "08:00"
until = "12:30"

[condition.here]
networks = ["10.0.0.0/8"]
"#;

async fn world_with_conditions() -> World {
    let world = World::new().await;
    std::fs::write(world.directory.path().join("conditions.toml"), CONDITIONS).unwrap();
    world.access.reload_policy(Caller::Operator).await.unwrap();
    world
}

fn only_if(conditions: &[&str]) -> Limits {
    Limits { conditions: conditions.iter().map(|name| name.parse().unwrap()).collect(), ..Limits::default() }
}

#[tokio::test]
async fn an_approver_binds_the_grant_to_conditions_which_cut_what_is_open_when_they_end() {
    let world = world_with_conditions().await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let request = world.ask(&vic, "demo", 60).await;
    let approved = world.access.approve_within(&anna, request, only_if(&["early", "here"]), None).await;
    let Approved::Granted(grant) = approved.unwrap() else { panic!("one is enough") };
    assert_eq!(world.access.state().grant(grant).unwrap().conditions.len(), 2);
    let from = |source: &str| {
        let context = world.context().from_source(source.parse().unwrap());
        world.access.authorize(&vic, &object("demo"), Action::Connect, &context)
    };
    assert!(matches!(from("192.0.2.1:9"), Decision::NeedsApproval { .. }));
    assert!(
        matches!(world.connect(&vic, "demo"), Decision::NeedsApproval { .. }),
        "what can't be told helps nobody"
    );
    let Decision::Allowed(permit) = from("10.1.2.3:9") else { panic!("in the window, from the network") };
    assert_eq!(permit.ends(), world.clock.now().checked_add(SignedDuration::from_mins(30)).ok());
    world.minutes(30);
    ended(&permit).await;
    assert!(
        matches!(from("10.1.2.3:9"), Decision::NeedsApproval { .. }),
        "the grant is live, its window is shut"
    );
}

#[tokio::test]
async fn conditions_of_all_approvers_count_together_and_must_be_known_to_the_policy() {
    let world = world_with_conditions().await;
    let (vic, alice, sue) = (world.login("vic").await, world.login("alice").await, world.login("sue").await);
    let request = world.ask(&vic, "vault", 20).await;
    let unknown = world.access.approve_within(&alice, request, only_if(&["nowhere"]), None).await;
    assert!(matches!(refusal(unknown), Err(Refusal::NoSuchCondition { .. })));
    let many: Vec<&str> = std::iter::repeat_n("early", 9).collect();
    let many = world.access.approve_within(&alice, request, only_if(&many), None).await;
    assert!(matches!(refusal(many), Err(Refusal::TooManyConditions { .. })));
    world.access.approve_within(&alice, request, only_if(&["early"]), None).await.unwrap();
    let last = world.access.approve_within(&sue, request, only_if(&["!here"]), None).await.unwrap();
    let Approved::Granted(grant) = last else { panic!("both steps hold") };
    let shown: Vec<String> =
        world.access.state().grant(grant).unwrap().conditions.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["early", "!here"]);
    // A policy that knows a condition no longer shuts the grant.
    let outside = world.context().from_source("192.0.2.1:9".parse().unwrap());
    let vault = object("vault");
    let enter = || world.access.authorize(&vic, &vault, Action::Connect, &outside);
    let Decision::Allowed(permit) = enter() else { panic!("outside the network, in the window") };
    std::fs::write(
        world.directory.path().join("conditions.toml"),
        "[condition.here]\nnetworks = [\"10.0.0.0/8\"]\n",
    )
    .unwrap();
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(ended(&permit).await.cause, Cause::PolicyChanged);
    assert!(matches!(enter(), Decision::NeedsApproval { .. }));
}
