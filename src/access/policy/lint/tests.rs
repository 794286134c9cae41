//! What `policy check` finds.

use super::*;
use crate::access::policy::load::default_files;

const GOOD: &str = "p, role:a, main, tunnel:demo, connect, allow, -\ng, user:alice, role:a, main\n";

async fn found(rows: &str, workflows: &str, conditions: &str) -> Vec<String> {
    let files = [
        default_files()[0],
        ("approvals.toml", workflows),
        ("conditions.toml", conditions),
        ("policy.csv", rows),
    ];
    let now = "2026-11-28T12:00:00Z".parse().unwrap();
    let (_, findings) = check(&Sources::new(files), now).await;
    findings.iter().map(|f| format!("{} {:?} {}: {}", f.place, f.severity, f.code, f.what)).collect()
}

#[tokio::test]
async fn a_good_policy_has_no_finding() {
    assert_eq!(found(GOOD, "", "").await, Vec::<String>::new());
}

#[tokio::test]
async fn each_thing_is_found_with_its_line() {
    let hours = "[condition.hours]\ndays = [\"mon\"]\n";
    let workflow =
        "\n[workflow.one]\nmax_minutes = 5\n[[workflow.one.step]]\nrole = \"role:b\"\npeople = 1\n";
    for (rows, workflows, conditions, expected) in [
        (
            "p, role:ghost, main, tunnel:x, read, allow, -",
            "",
            "",
            "policy.csv:3 Warning unknown-role: nobody in main has role:ghost",
        ),
        (
            "p, role:a, main, gateway:*, admin, allow, -",
            "",
            "",
            "policy.csv:3 Warning wildcard-admin: the wildcard gateway:*",
        ),
        (
            "p, user:anonymous, main, tunnel:x, publish, allow, -",
            "",
            "",
            "policy.csv:3 Error anonymous-power",
        ),
        (
            "p, role:a, main, tunnel:*, connect, deny, -",
            "",
            "",
            "policy.csv:1 Warning shadowed-by-deny: policy.csv:3 denies",
        ),
        (
            "p, user:alice, main, tunnel:demo, connect, allow, -",
            "",
            "",
            "policy.csv:3 Warning shadowed: policy.csv:1 allows all",
        ),
        (
            "p, role:a, main, tunnel:d*, connect, allow, -",
            "",
            "",
            "policy.csv:1 Warning shadowed: policy.csv:3 allows all",
        ),
        (
            "p, role:a, main, tunnel:demo, connect, allow, -, hours",
            "",
            hours,
            "policy.csv:3 Warning shadowed: policy.csv:1 allows all of it whatever",
        ),
        (
            "p, role:a, main, tunnel:demo, connect, allow, one, hours\ng, user:bob, role:b, main",
            workflow,
            hours,
            "policy.csv:3 Warning approval-avoidable: where hours doesn't hold, policy.csv:1",
        ),
        ("", workflow, "", "approvals.toml:2 Warning unused-workflow"),
        ("", "", hours, "conditions.toml:1 Warning unused-condition"),
        (
            "p, role:a, main, tunnel:x, read, allow, -, past",
            "",
            "[condition.past]\nbefore = \"2026-01-01T00:00:00Z\"\n",
            "conditions.toml:1 Warning condition-over",
        ),
        (
            "p, role:a, main, tunnel:x, connect, allow, nowhere",
            "",
            "",
            "policy.csv:3 Error fault: workflow nowhere",
        ),
        ("g, user:bob, role:typo, main", "", "", "policy.csv:3 Error fault: no rule, role or workflow"),
        (
            "p, role:a, main, tunnel:x, connect, allow, one",
            workflow,
            "",
            "policy.csv:3 Error fault: workflow one can never be satisfied",
        ),
        (
            "p, role:a, main, tunnel:x, connect, allow, one\ng, user:bob, role:b, main",
            workflow,
            "",
            "policy.csv:3 Error nobody-approves: workflow one can't be completed here",
        ),
        (
            "p, role:a, main, tunnel:x, connect, allow, one\ng, user:bob, role:b, main\np, role:b, main, tunnel:y*, approve, allow, -",
            workflow,
            "",
            "policy.csv:3 Error nobody-approves",
        ),
        (
            "",
            "[workflow.one]\nmax_minutes = 0\n",
            "",
            "approvals.toml:2 Error fault: workflow.one.max_minutes",
        ),
    ] {
        let found = found(&format!("{GOOD}{rows}\n"), workflows, conditions).await;
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[tokio::test]
async fn a_workflow_that_somebody_can_complete_on_some_object_of_its_rule_is_not_found() {
    let workflow = "[workflow.one]\nmax_minutes = 5\n[[workflow.one.step]]\nrole = \"role:b\"\npeople = 1\n";
    for approve in ["tunnel:*", "tunnel:x-1"] {
        let rows = format!(
            "{GOOD}p, role:a, main, tunnel:x-*, connect, allow, one\ng, user:bob, role:b, main\np, role:b, main, {approve}, approve, allow, -\n"
        );
        assert_eq!(found(&rows, workflow, "").await, Vec::<String>::new(), "{approve}");
    }
}

#[tokio::test]
async fn what_only_looks_alike_is_not_found() {
    let hours = "[condition.hours]\ndays = [\"mon\"]\n";
    for rows in [
        // Another tenant, another action, another person.
        "p, role:a, other, tunnel:*, connect, deny, -\ng, user:alice, role:a, other",
        "p, role:a, main, tunnel:*, read, deny, -",
        "p, user:bob, main, tunnel:*, connect, deny, -",
        // Narrower in one direction.
        "p, role:a, main, tunnel:demo*, read, allow, -\np, role:a, main, tunnel:*demo, read, allow, -",
        // A deny that holds sometimes takes only sometimes.
        "p, role:a, main, tunnel:*, connect, deny, -, hours",
    ] {
        let found = found(&format!("{GOOD}{rows}\n"), "", hours).await;
        assert!(found.iter().all(|line| line.contains("unused-condition")), "{rows}\n{found:#?}");
    }
}
