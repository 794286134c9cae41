//! Settings that are wrong: every fault at once, with its key and what would be right.

use super::world::World;

#[test]
fn three_faults_are_reported_together_and_nothing_starts() {
    let world = World::with().prepare();
    let file = world.state().join("sallyport.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("[limits]", "[limits]\nidel_secs = 5");
    std::fs::write(&file, text).unwrap();
    let refused = world.refuses_to_start(&["gateway.listen=everywhere", "tunnels.max_per_user=0"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    for part in [
        "3 faults",
        "gateway.listen: `everywhere`",
        "tunnels.max_per_user: 0",
        "did you mean `limits.idle_secs`?",
        "hint:",
    ] {
        assert!(refused.err.contains(part), "no `{part}` in: {}", refused.err);
    }
    let checked = world.daemon(&["check-config"]);
    assert_eq!(checked.code, 2);
    assert!(checked.err.contains("1 fault:"), "{}", checked.err);
}

#[test]
fn a_configuration_that_is_not_there_or_is_no_toml_says_what_to_do() {
    let world = World::with().prepare();
    let file = world.state().join("sallyport.toml");
    std::fs::write(&file, "[gateway\nlisten = 1").unwrap();
    let broken = world.refuses_to_start(&[]);
    assert_eq!(broken.code, 2, "{}", broken.err);
    assert!(broken.err.contains("not valid TOML") && broken.err.contains("line 1"), "{}", broken.err);
    std::fs::remove_file(&file).unwrap();
    let missing = world.refuses_to_start(&[]);
    assert_eq!(missing.code, 2, "{}", missing.err);
    assert!(missing.err.contains("sallyportd init"), "{}", missing.err);
}

#[test]
fn a_policy_with_faults_keeps_the_gateway_from_starting_and_every_fault_is_named() {
    let world =
        World::with().policy("p, visitor, main, tunnel:*, connect, allow, -").policy("q, x").prepare();
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("policy.csv") && refused.err.contains("hint:"), "{}", refused.err);
    assert!(
        refused.err.contains("2 faults") && refused.err.contains("\"visitor\" is not a person"),
        "{}",
        refused.err
    );
    assert_eq!(refused.err.matches("policy.csv:").count(), 2, "each with its line: {}", refused.err);
}

#[test]
fn a_policy_with_faults_is_refused_on_reload_and_the_old_one_stays_in_force() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let file = world.state().join("policies/policy.csv");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}p, nobody\n")).unwrap();
    let reload =
        || world.curl("/api/v1/policy/reload").by(&world, "admin").args(&["--request", "POST"]).run();
    let refused = reload();
    assert_eq!((refused.status, refused.problem().as_str()), (422, "policy-faults"));
    world.record("policy.refused", |_| true);
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);

    // A change that takes leave away ends what stands on it.
    let mut download = world.visit("open-demo", "/stream").by(&world, "visitor").start();
    download.line("a first tick", |line| line.starts_with("tick").then_some(()));
    std::fs::write(&file, good.replace("p, role:visitor, main, tunnel:open-*, connect, allow, -", ""))
        .unwrap();
    assert_eq!(reload().status, 200);
    assert!(!download.wait().success());
    let closed = world.record("session.closed", |record| record["details"]["reason"] == "permit-died");
    assert_eq!(closed["details"]["cause"], "policy-changed");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 403);
}
