//! Every policy that comes with the program is checked, and asked what its own tests say.

use super::policy::load::Sources;
use super::policy::oracle::Oracle;
use super::policy::{lint, trial};
use super::*;

#[tokio::test]
async fn every_example_is_a_good_policy_and_passes_its_own_tests() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&examples).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        seen += 1;
        let name = directory.display();
        let sources = Sources::read(&directory).unwrap();
        let (policy, findings) = lint::check(&sources, start()).await;
        assert!(findings.is_empty(), "{name}: {findings:#?}");
        let (policy, oracle) = (policy.unwrap(), Oracle::build(&sources).await.unwrap());
        let text = std::fs::read_to_string(directory.join(trial::TESTS_FILE)).unwrap();
        let trials = trial::read(&text, start()).unwrap();
        assert!(trials.len() >= 12, "{name}: it asks too little");
        for outcome in trials.iter().map(|trial| trial.run(&policy, &oracle)) {
            assert!(outcome.passed, "{name}: {outcome:#?}");
        }
    }
    assert!(seen >= 3, "the examples are gone");
}

#[tokio::test]
async fn a_test_that_fails_names_the_rule_that_decided() {
    let policy = policy("p, role:a, main, tunnel:*, connect, allow, -\ng, user:alice, role:a, main\n", "")
        .await
        .unwrap();
    let sources = Sources::new([
        default_files()[0],
        ("approvals.toml", ""),
        ("policy.csv", "p, role:a, main, tunnel:*, connect, allow, -\ng, user:alice, role:a, main\n"),
    ]);
    let oracle = Oracle::build(&sources).await.unwrap();
    let test = |more: &str| {
        let text = format!(
            "[defaults]\ntenant = \"main\"\n\n[[test]]\nname = \"x\"\nwho = \"user:alice\"\naction = \"connect\"\nobject = \"tunnel:demo\"\n{more}\n"
        );
        trial::read(&text, start()).unwrap()[0].run(&policy, &oracle)
    };
    assert!(test("expect = \"allow\"\nrule = \"policy.csv:1\"").passed);
    let failed = test("expect = \"deny\"");
    assert!(!failed.passed);
    assert_eq!((failed.line, failed.found.as_str()), (4, "allow"));
    assert_eq!(failed.rules, ["policy.csv:1: p, role:a, main, tunnel:*, connect, allow, -"]);
    assert!(!test("expect = \"allow\"\nrule = \"policy.csv:2\"").passed);
    assert!(!test("expect = \"allow\"\ncondition = \"hours\"").passed);
    assert!(!test("expect = \"needs one\"").passed);
}

#[tokio::test]
async fn a_file_of_tests_that_is_wrong_is_told_with_lines() {
    let told = trial::read(
        "[[test]]\nwho = \"user:alice\"\naction = \"connect\"\nobject = \"tunnel:demo\"\nexpect = \"allow\"\n\n\
         [[test]]\ntenant = \"main\"\nwho = \"alice\"\naction = \"connect\"\nobject = \"tunnel:demo\"\nexpect = \"yes\"\n",
        start(),
    );
    let told = told.unwrap_err().join("\n");
    assert!(told.contains("tests.toml:1: tenant: name it"), "{told}");
    assert!(told.contains("tests.toml:7: who: "), "{told}");
    assert!(trial::read("", start()).is_err());
    assert!(trial::read("[[test]]\nwhom = \"user:a\"\n", start()).unwrap_err()[0].starts_with("tests.toml:"));
}

#[tokio::test]
async fn the_policy_on_disk_is_the_one_that_is_compiled_in() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    assert_eq!(Sources::read(&directory).unwrap(), Sources::new(default_files()));
}
