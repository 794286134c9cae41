//! Every policy that comes with the program is loaded and asked what its own text promises.
//!
//! A directory of `policies/examples` holds the files of a policy and `expect.txt`, one question a line:
//! `WHO TENANT ACTION OBJECT allow|deny|needs WORKFLOW[+WORKFLOW…]`.

use super::policy::{Ruling, load::Sources};
use super::*;

#[tokio::test]
async fn every_example_is_a_good_policy_and_does_what_it_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&examples).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        seen += 1;
        let name = directory.display();
        let policy = match Policy::load(&directory).await {
            Ok(policy) => policy,
            Err(faults) => panic!("{name}: {faults}"),
        };
        let questions = std::fs::read_to_string(directory.join("expect.txt")).unwrap();
        let mut asked = 0;
        for line in questions.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [who, tenant, action, on, answer @ ..] = words.as_slice() else { panic!("{name}: {line}") };
            let (who, tenant) = (who.parse().unwrap(), tenant.parse().unwrap());
            let ruling = policy.rule(&who, &tenant, &on.parse().unwrap(), action.parse().unwrap());
            let found = match ruling {
                Ruling::Deny { .. } => "deny".to_owned(),
                Ruling::Allow { workflows, .. } if workflows.is_empty() => "allow".to_owned(),
                Ruling::Allow { workflows, .. } => {
                    let names: Vec<&str> = workflows.iter().map(WorkflowName::as_str).collect();
                    format!("needs {}", names.join("+"))
                }
            };
            assert_eq!(found, answer.join(" "), "{name}: {line}");
            asked += 1;
        }
        assert!(asked >= 5, "{name}: expect.txt asks too little");
    }
    assert!(seen >= 3, "the examples are gone");
}

#[tokio::test]
async fn the_policy_on_disk_is_the_one_that_is_compiled_in() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    assert_eq!(Sources::read(&directory).unwrap(), Sources::new(default_files()));
}
