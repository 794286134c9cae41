//! Conditions in decisions, sessions and orders.

use super::fact::Fact;
use super::*;

const ROWS: &str = "
p, role:admin, main, gateway:*, admin, allow, -, office
p, role:admin, main, tunnel:*, approve, allow, -
p, role:staff, main, tunnel:desk, connect, allow, -, hours
p, role:staff, main, tunnel:lan, connect, allow, -, office
p, role:staff, main, tunnel:lab, connect, allow, -, own-device
p, role:staff, main, tunnel:vault, connect, allow, one, hours+office
p, role:staff, main, tunnel:both, connect, allow, -, hours
p, role:staff, main, tunnel:both, connect, allow, -, evening
p, role:staff, main, tunnel:open, connect, allow, -
p, role:staff, main, tunnel:open, connect, deny, -, !office
p, role:staff, main, tunnel:night, connect, allow, -
p, role:staff, main, tunnel:night, connect, deny, -, !hours
g, user:alice, role:admin, main
g, user:anna, role:admin, main
g, user:vic, role:staff, main
";

/// The tests begin on a Saturday at noon.
const CONDITIONS: &str = r#"
[condition.hours]
days = ["sat"]
from = "08:00"
until = "18:00"

[condition.evening]
days = ["sat"]
from = "18:00"
until = "20:00"

[condition.office]
networks = ["192.0.2.0/24"]

[condition.own-device]
device = "enrolled"
"#;

const WORKFLOW: &str =
    "[workflow.one]\nmax_minutes = 600\n[[workflow.one.step]]\nrole = \"role:admin\"\npeople = 1\n";

async fn world() -> World {
    World::with_conditions(ROWS, WORKFLOW, CONDITIONS).await
}

fn from(world: &World, source: &str) -> Context {
    world.context().from_source(format!("{source}:40000").parse().unwrap())
}

fn decide(world: &World, who: &Identity, tunnel: &str, context: &Context) -> Decision {
    world.access.authorize(who, &object(tunnel), Action::Connect, context)
}

const INSIDE: &str = "192.0.2.7";
const OUTSIDE: &str = "198.51.100.7";

#[tokio::test]
async fn a_window_that_closes_ends_the_sessions_that_it_allowed() {
    let world = world().await;
    let vic = world.login("vic").await;
    let permit = world.permit(&vic, "desk");
    assert_eq!(permit.ends(), Some("2026-11-21T18:00:00Z".parse().unwrap()));
    world.clock.forward(SignedDuration::from_secs(6 * 3600 - 1));
    assert!(permit.is_alive());
    world.clock.forward(SignedDuration::from_secs(1));
    assert_eq!(ended(&permit).await.cause, Cause::WindowClosed);
    let Decision::Denied { explanation } = world.connect(&vic, "desk") else { panic!() };
    assert_eq!(explanation.code, "condition");
    assert_eq!(explanation.conditions.len(), 1);
    assert_eq!(explanation.conditions[0].for_record(), "policy.csv:4 hours not met");
    assert!(explanation.why.contains("policy.csv:4 would allow it under hours"), "{}", explanation.why);
    assert!(explanation.why.contains("it is Sat 2026-11-21 18:00 in UTC"), "{}", explanation.why);
}

#[tokio::test]
async fn a_window_that_takes_over_from_another_ends_nothing() {
    let world = world().await;
    let vic = world.login("vic").await;
    assert_eq!(world.permit(&vic, "both").ends(), Some("2026-11-21T20:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn a_deny_that_begins_with_time_ends_sessions_too() {
    let world = world().await;
    let vic = world.login("vic").await;
    let permit = world.permit(&vic, "night");
    world.clock.forward(SignedDuration::from_hours(6));
    assert_eq!(ended(&permit).await.cause, Cause::WindowClosed);
    let Decision::Denied { explanation } = world.connect(&vic, "night") else { panic!() };
    assert_eq!(explanation.code, "deny-rule");
}

#[tokio::test]
async fn conditions_are_looked_at_afresh_for_every_decision() {
    let world = world().await;
    let vic = world.login("vic").await;
    for (source, allowed) in [(INSIDE, true), (OUTSIDE, false), (INSIDE, true), (OUTSIDE, false)] {
        let decision = decide(&world, &vic, "lan", &from(&world, source));
        assert_eq!(matches!(decision, Decision::Allowed(_)), allowed, "{source}");
    }
}

#[tokio::test]
async fn what_cant_be_told_never_helps() {
    let world = world().await;
    let vic = world.login("vic").await;
    // An allow rule doesn't speak, and a deny rule does.
    let Decision::Denied { explanation } = decide(&world, &vic, "lan", &world.context()) else { panic!() };
    assert_eq!((explanation.code, explanation.conditions[0].unknown), ("condition", true));
    let Decision::Denied { explanation } = decide(&world, &vic, "open", &world.context()) else { panic!() };
    assert_eq!(explanation.code, "deny-rule");
    assert!(matches!(decide(&world, &vic, "open", &from(&world, INSIDE)), Decision::Allowed(_)));
    assert!(matches!(decide(&world, &vic, "open", &from(&world, OUTSIDE)), Decision::Denied { .. }));
}

#[tokio::test]
async fn a_token_alone_is_no_device() {
    let world = world().await;
    let vic = world.login("vic").await;
    let Decision::Denied { explanation } = decide(&world, &vic, "lab", &from(&world, INSIDE)) else {
        panic!()
    };
    assert!(explanation.why.contains("no enrolled device"), "{}", explanation.why);
    let with_device = Identity { proof: Proof::Device(DeviceId::from_bytes([1; 16])), ..vic };
    let at = with_device.circumstances(world.clock.now());
    let ruling = world.access.policy().rule_at(
        &user("vic"),
        &[],
        &main_tenant(),
        &object("lab"),
        Action::Connect,
        &at,
    );
    assert!(matches!(ruling, policy::Ruling::Allow { .. }));
}

#[tokio::test]
async fn an_approval_is_needed_besides_the_conditions_and_doesnt_replace_them() {
    let world = world().await;
    let (vic, anna) = (world.login("vic").await, world.login("anna").await);
    let here = vic.met(&from(&world, INSIDE));
    // Who doesn't meet the conditions can't even ask.
    assert!(matches!(
        refusal(world.access.request(&vic, ask("vault", 600)).await),
        Err(Refusal::NotAllowed { .. })
    ));
    let request = world.access.request(&here, ask("vault", 600)).await.unwrap();
    assert!(matches!(world.approve(&anna, request).await.unwrap(), Approved::Granted(_)));
    let Decision::Allowed(permit) = decide(&world, &vic, "vault", &from(&world, INSIDE)) else { panic!() };
    // The grant lasts for ten hours; the window for six.
    assert_eq!(permit.ends(), Some("2026-11-21T18:00:00Z".parse().unwrap()));
    assert!(matches!(decide(&world, &vic, "vault", &from(&world, OUTSIDE)), Decision::Denied { .. }));
    world.clock.forward(SignedDuration::from_hours(6));
    assert_eq!(ended(&permit).await.cause, Cause::WindowClosed);
}

#[tokio::test]
async fn orders_are_held_to_conditions_as_sessions_are() {
    let world = world().await;
    let alice = world.login("alice").await;
    let lock = |by: Identity| world.access.lock(by, user("vic").into(), main_tenant(), None, None);
    assert!(matches!(refusal(lock(alice.clone()).await), Err(Refusal::NotAllowed { .. })));
    assert!(matches!(
        refusal(lock(alice.met(&from(&world, OUTSIDE))).await),
        Err(Refusal::NotAllowed { .. })
    ));
    lock(alice.met(&from(&world, INSIDE))).await.unwrap();
    assert!(matches!(world.log.facts().last(), Some(Fact::Locked { .. })));
}

#[tokio::test]
async fn a_policy_whose_window_closes_sooner_ends_sessions_that_would_outlive_it() {
    let world = world().await;
    let vic = world.login("vic").await;
    let (desk, night) = (world.permit(&vic, "desk"), world.permit(&vic, "both"));
    let file = world.directory.path().join("conditions.toml");
    std::fs::write(&file, CONDITIONS.replace("until = \"18:00\"", "until = \"17:00\"")).unwrap();
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert_eq!(ended(&desk).await.cause, Cause::PolicyChanged);
    assert_eq!(ended(&night).await.cause, Cause::PolicyChanged);
    assert_eq!(world.permit(&vic, "desk").ends(), Some("2026-11-21T17:00:00Z".parse().unwrap()));
    // And one that closes later ends nothing that is open.
    let desk = world.permit(&vic, "desk");
    std::fs::write(&file, CONDITIONS).unwrap();
    world.access.reload_policy(Caller::Operator).await.unwrap();
    assert!(desk.is_alive());
}

#[tokio::test]
async fn a_condition_that_isnt_there_and_a_list_that_is_wrong_are_faults_with_their_lines() {
    let build = |row: &str| {
        let rows =
            format!("p, role:a, main, tunnel:demo, connect, allow, -\ng, user:a, role:a, main\n{row}\n");
        async move {
            let files = [
                default_files()[0],
                ("approvals.toml", ""),
                ("conditions.toml", CONDITIONS),
                ("policy.csv", &rows),
            ];
            Policy::build(&policy::load::Sources::new(files))
                .await
                .map(drop)
                .map_err(|faults| faults.to_string())
        }
    };
    for (field, part) in [
        ("absent", "condition absent isn't in conditions.toml"),
        ("hours+hours", "stands twice"),
        ("hours+!hours", "stands twice"),
        ("hours+", "write `-` for none"),
        ("Hours", "write `-` for none"),
        ("!!hours", "write `-` for none"),
        ("", "write `-` for none"),
    ] {
        let told =
            build(&format!("p, role:a, main, tunnel:x, connect, allow, -, {field}")).await.unwrap_err();
        assert!(told.contains("policy.csv:3: ") && told.contains(part), "{field}: {told}");
    }
    build("p, role:a, main, tunnel:x, connect, allow, -, hours + !office").await.unwrap();
    build("p, role:a, main, tunnel:x, connect, allow, -, -").await.unwrap();
    // The same rule under two conditions is two rules; under the same, in another order, it is one.
    build("p, role:a, main, tunnel:x, connect, allow, -, hours\np, role:a, main, tunnel:x, connect, allow, -, office")
        .await
        .unwrap();
    let twice = "p, role:a, main, tunnel:x, connect, allow, -, hours+office\np, role:a, main, tunnel:x, connect, allow, -, office+hours";
    assert!(build(twice).await.unwrap_err().contains("policy.csv:4: the same rule stands in policy.csv:3"));
}
