//! A policy with a fault is told whole and used not at all.

use std::fmt::Write as _;

use super::*;

async fn faults_of(rows: &str) -> String {
    policy(rows, WORKFLOWS).await.unwrap_err().to_string()
}

const GOOD: &str = "p, role:a, main, tunnel:demo, connect, allow, -\ng, user:alice, role:a, main\n";

#[tokio::test]
async fn the_files_that_come_with_the_program_are_a_good_policy() {
    let policy = Policy::build(&policy::load::Sources::new(default_files())).await.unwrap();
    let main = main_tenant();
    let rule = |who: &str, on: &str, action| policy.rule(&user(who), &main, &on.parse().unwrap(), action);
    let policy::Ruling::Allow { workflows, .. } = rule("visitor", "tunnel:demo", Action::Connect) else {
        panic!()
    };
    assert_eq!(workflows.iter().map(WorkflowName::as_str).collect::<Vec<_>>(), ["owner-approves"]);
    let allowed =
        |who: &str, on: &str, action| policy.allows(&user(who), &main, &on.parse().unwrap(), action);
    assert!(allowed("publisher", "tunnel:demo", Action::Publish));
    assert!(allowed("admin", "tunnel:demo", Action::Approve));
    assert!(allowed("admin", "gateway:tokens", Action::Admin));
    assert!(allowed("anonymous", "tunnel:public-site", Action::Connect));
    for (who, on, action) in [
        ("admin", "tunnel:demo", Action::Connect),
        ("publisher", "tunnel:demo", Action::Connect),
        ("visitor", "tunnel:demo", Action::Publish),
        ("visitor", "tunnel:demo", Action::Approve),
        ("visitor", "tunnel:other", Action::Connect),
        ("anonymous", "tunnel:demo", Action::Connect),
        ("publisher", "gateway:tokens", Action::Admin),
        ("nobody", "tunnel:demo", Action::Connect),
    ] {
        assert!(!allowed(who, on, action), "{who} {on} {action}");
    }
}

#[tokio::test]
async fn all_faults_are_told_at_once_with_file_and_line() {
    let told = faults_of(
        "p, role:a, main, tunnel:demo, connect, allow, -\n\
         p, Role:A, Main, tunnel:**, Connect, Allow, No_Such\n\
         p, role:a, main, tunnel:demo, connect, allow, absent\n\
         g, user:alice, role:typo, main\n",
    )
    .await;
    for part in [
        "policy.csv:2: \"Role:A\"",
        "policy.csv:2: \"Main\"",
        "policy.csv:2: \"tunnel:**\"",
        "policy.csv:2: \"Connect\"",
        "policy.csv:2: the effect \"Allow\"",
        "policy.csv:2: \"No_Such\"",
        "policy.csv:3: workflow absent isn't in",
        "policy.csv:4: no rule, role or workflow of main speaks of role:typo",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[tokio::test]
async fn a_rule_that_could_never_do_what_it_says_is_a_fault() {
    for (row, part) in [
        ("p, role:a, main, tunnel:demo, admin, allow, -", "means nothing"),
        ("p, role:a, main, gateway:tokens, connect, allow, -", "means nothing"),
        ("p, role:a, main, tunnel:demo, connect, deny, one", "nothing lifts a deny"),
        ("p, role:a, main, tunnel:x, publish, allow, one", "only `connect` can need an approval"),
        ("p, user:anonymous, main, tunnel:x, connect, allow, one", "user:anonymous can't need an approval"),
        ("g, user:anonymous, role:a, main", "user:anonymous can't have a role"),
        ("p, role:a, main, tunnel:demo, connect, allow, -", "the same rule stands in policy.csv:1"),
        ("g, user:alice, role:a, main", "stands twice"),
        ("g, user:alice, role:a, elsewhere", "no rule speaks of tenant elsewhere"),
        ("g, role:a, role:b, main\ng, role:b, role:a, main", "ring of roles"),
        (
            "p, role:a, main, tunnel:x, connect, allow, one",
            "can never be satisfied in main: 1 more of role:admin",
        ),
    ] {
        let told = faults_of(&format!("{GOOD}{row}\n")).await;
        assert!(told.contains(part), "{row}: {told}");
    }
}

#[tokio::test]
async fn a_workflow_that_one_person_alone_would_have_to_complete_is_a_fault() {
    // Sam has both roles, and counts once.
    let rows = "p, role:visitor, main, tunnel:vault, connect, allow, both\n\
                p, role:admin, main, tunnel:*, approve, allow, -\n\
                g, user:sam, role:security, main\ng, user:sam, role:admin, main\n";
    assert!(faults_of(rows).await.contains("workflow both can never be satisfied"));
    let with_another = format!("{rows}g, user:alice, role:admin, main\n");
    policy(&with_another, WORKFLOWS).await.unwrap();
}

#[tokio::test]
async fn a_file_of_a_million_faults_is_reported_in_bounds() {
    let faults = policy(&"nonsense\n".repeat(1_000_000), "").await.unwrap_err();
    assert!(faults.count() >= 1_000_000);
    assert_eq!(faults.faults().len(), 100);
    assert!(faults.to_string().len() < 20_000);
}

#[tokio::test]
async fn a_file_that_is_no_text_or_missing_is_a_fault_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let told = Policy::load(directory.path()).await.unwrap_err().to_string();
    for part in
        ["model.conf: the file is missing", "approvals.toml: the file is missing", "there is no policy file"]
    {
        assert!(told.contains(part), "{told}");
    }
    write_policy(directory.path(), GOOD, WORKFLOWS);
    std::fs::write(directory.path().join("more.csv"), [0xff, 0xfe]).unwrap();
    let told = Policy::load(directory.path()).await.unwrap_err().to_string();
    assert!(told.contains("more.csv: it isn't UTF-8"), "{told}");
    let told = Policy::load(&directory.path().join("absent")).await.unwrap_err().to_string();
    assert!(told.contains("can't be read"), "{told}");
}

#[tokio::test]
async fn the_digest_covers_every_file_and_its_name() {
    let files = default_files();
    let digest = |files: &[(&str, &str)]| policy::load::Sources::new(files.iter().copied()).digest();
    let base = digest(&files);
    for i in 0..files.len() {
        let mut changed = files.map(|(name, text)| (name, text.to_owned()));
        changed[i].1.push('\n');
        assert_ne!(digest(&changed.each_ref().map(|(name, text)| (*name, text.as_str()))), base);
    }
    let mut renamed = files;
    renamed[2].0 = "other.csv";
    assert_ne!(digest(&renamed), base);
    // Moving text from one file to the next is a change, too.
    assert_ne!(digest(&[("a.csv", "xy"), ("b.csv", "")]), digest(&[("a.csv", "x"), ("b.csv", "y")]));
}

#[tokio::test]
async fn several_rules_that_match_add_their_demands() {
    // A wide rule without a workflow is no way around a narrow one with a workflow, in either order.
    let base = "p, role:admin, main, tunnel:*, approve, allow, -\ng, user:alice, role:admin, main\ng, user:vic, role:visitor, main\n";
    let wide = "p, role:visitor, main, tunnel:*, connect, allow, -\n";
    let narrow = "p, role:visitor, main, tunnel:demo, connect, allow, one\n";
    for rows in [format!("{base}{wide}{narrow}"), format!("{base}{narrow}{wide}")] {
        let policy = policy(&rows, WORKFLOWS).await.unwrap();
        assert!(!policy.allows(&user("vic"), &main_tenant(), &object("demo"), Action::Connect));
        assert!(policy.allows(&user("vic"), &main_tenant(), &object("else"), Action::Connect));
    }
}

#[tokio::test]
async fn one_deny_outweighs_every_allow_and_is_named() {
    let rows = "p, role:a, main, tunnel:*, connect, allow, -\np, user:alice, main, tunnel:demo, connect, deny, -\ng, user:alice, role:a, main\ng, user:bob, role:a, main\n";
    let policy = policy(rows, "").await.unwrap();
    let policy::Ruling::Deny { rule: Some(rule), .. } =
        policy.rule(&user("alice"), &main_tenant(), &object("demo"), Action::Connect)
    else {
        panic!("the deny rule should decide");
    };
    assert_eq!(rule.place.to_string(), "policy.csv:2");
    assert!(policy.allows(&user("bob"), &main_tenant(), &object("demo"), Action::Connect));
}

#[tokio::test]
async fn ten_thousand_rules_are_loaded_and_decided_in_their_small_shards() {
    let mut rows = String::new();
    for tenant in 0..100 {
        for n in 0..100 {
            writeln!(rows, "p, user:u{n}, t{tenant}, tunnel:n{n}, connect, allow, -").unwrap();
        }
    }
    let policy = policy(&rows, "").await.unwrap();
    assert_eq!(policy.rule_count(), 10_000);
    let tenant = "t42".parse().unwrap();
    assert!(policy.allows(&user("u7"), &tenant, &object("n7"), Action::Connect));
    assert!(!policy.allows(&user("u7"), &tenant, &object("n8"), Action::Connect));
}
