//! The guard's own nets, tried with models that the loader would refuse.

use casbin::{DefaultModel, Model as _};

use super::*;

const RULE: &str = "p, user:alice, main, tunnel:a*, connect, allow, -";

async fn court(matcher: &str) -> (Court, Vec<Arc<Rule>>) {
    let (_, text) = load::default_files()[0];
    let start = text.find("m = ").unwrap();
    let mut model = DefaultModel::from_str(&format!("{}m = {matcher}", &text[..start])).await.unwrap();
    assert!(model.get_mut_model().contains_key("m"));
    let (mut rows, mut faults) = (rows::Rows::default(), PolicyFaults::default());
    rows.read("policy.csv", RULE, &mut faults);
    assert_eq!(faults.count(), 0);
    (Court::build(&model, []).await.unwrap(), rows.rules)
}

async fn faults_of_self_test(matcher: &str) -> String {
    let tenant: Tenant = "main".parse().unwrap();
    let (court, rules) = court(matcher).await;
    let policy = Policy {
        digest: PolicyDigest([0; 32]),
        shards: HashMap::from([((tenant.clone(), Action::Connect), Shard::new(rules))]),
        courts: HashMap::from([(tenant, court)]),
        roles: BTreeMap::new(),
        workflows: BTreeMap::new(),
        reporting: Reporting::default(),
        conditions: BTreeMap::new(),
        memo: Memo::new(),
        rules: 1,
    };
    let mut faults = PolicyFaults::default();
    policy.self_test(&mut faults);
    faults.to_string()
}

#[tokio::test]
async fn a_panic_while_deciding_is_a_denial() {
    let (court, rules) = court("keyMatch(r.sub, p.obj)").await;
    let answer = court.ask(("tunnel:é", "main", "tunnel:abc", Action::Connect), &rules);
    assert!(matches!(answer, Err(EnforceError::Panicked)), "{answer:?}");
    // And the next decision on this thread sees nothing of it.
    let answer = court.ask(("tunnel:abc", "main", "tunnel:abc", Action::Connect), &rules).unwrap();
    assert_eq!(answer.matched, [0]);
}

#[tokio::test]
async fn an_error_while_deciding_is_a_denial() {
    let (court, rules) = court("noSuchFunction(r.sub)").await;
    let answer = court.ask(("user:alice", "main", "tunnel:abc", Action::Connect), &rules);
    assert!(matches!(answer, Err(EnforceError::Casbin(_))), "{answer:?}");
}

#[tokio::test]
async fn casbin_is_never_asked_without_rows() {
    // This matcher would say yes to an empty policy.
    let (court, rules) = court("r.sub != p.sub").await;
    assert!(court.ask(("user:bob", "main", "tunnel:abc", Action::Connect), &rules).unwrap().allowed);
    assert!(!court.ask(("user:bob", "main", "tunnel:abc", Action::Connect), &[]).unwrap().allowed);
}

#[tokio::test]
async fn what_is_remembered_has_a_bound_and_belongs_to_one_policy() {
    let build =
        || Policy::build_one("p, role:a, main, tunnel:*, connect, allow, -\ng, user:alice, role:a, main");
    let policy = build().await;
    let (alice, main): (Subject, Tenant) = ("user:alice".parse().unwrap(), "main".parse().unwrap());
    let matched = policy.matched(&alice, &[], &main, &"tunnel:a".parse().unwrap(), Action::Connect).unwrap();
    let again = policy.matched(&alice, &[], &main, &"tunnel:a".parse().unwrap(), Action::Connect).unwrap();
    assert!(Arc::ptr_eq(&matched, &again));
    // What no rule speaks of takes no place.
    let before = policy.memo.len();
    let _ = policy.matched(
        &"user:eve".parse().unwrap(),
        &[],
        &main,
        &"tunnel:a".parse().unwrap(),
        Action::Connect,
    );
    assert_eq!(policy.memo.len(), before);
    for n in 0..memo::MOST + memo::MOST / 4 {
        let question = (
            Principal::Person(alice.clone()),
            main.clone(),
            format!("tunnel:t{n}").parse().unwrap(),
            Action::Read,
        );
        policy.memo.keep(question, &matched);
    }
    assert!(policy.memo.len() <= memo::MOST);
    assert_eq!(build().await.memo.len(), 0);
}

#[tokio::test]
async fn the_self_test_finds_enforcers_that_answer_wrongly() {
    let good = "r.dom == p.dom && r.act == p.act && objectMatch(r.obj, p.obj) && g(r.sub, p.sub, r.dom)";
    assert!(faults_of_self_test(good).await.contains("0 faults"));
    for (matcher, part) in [
        ("objectMatch(r.obj, p.obj)", "takes it for a rule about everyone"),
        ("r.dom == p.dom && objectMatch(r.obj, p.obj)", "takes it for a rule about everyone"),
        ("g(r.sub, p.sub, r.dom) && objectMatch(r.obj, p.obj)", "takes it for a rule about everyone"),
        ("r.sub == p.obj", "doesn't see this rule"),
        ("noSuchFunction(r.sub)", "couldn't decide"),
    ] {
        let told = faults_of_self_test(matcher).await;
        assert!(told.contains("policy.csv:1: self-test") && told.contains(part), "{matcher}: {told}");
    }
}
