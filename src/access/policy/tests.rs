//! The guard's own nets, tried with models that the loader would refuse.

use casbin::{DefaultModel, Model as _};

use super::*;
use crate::access::object::Object;

const RULE: &str = "p, user:alice, main, tunnel:a*, connect, allow, -";

async fn shard(matcher: &str) -> Shard {
    let (_, text) = load::default_files()[0];
    let start = text.find("m = ").unwrap();
    let mut model = DefaultModel::from_str(&format!("{}m = {matcher}", &text[..start])).await.unwrap();
    assert!(model.get_mut_model().contains_key("m"));
    let (mut rows, mut faults) = (rows::Rows::default(), PolicyFaults::default());
    rows.read("policy.csv", RULE, &mut faults);
    assert_eq!(faults.count(), 0);
    Shard::build(&model, rows.rules).await.unwrap()
}

async fn faults_of_self_test(matcher: &str) -> String {
    let key = ("main".parse().unwrap(), Action::Connect);
    let policy = Policy {
        digest: PolicyDigest([0; 32]),
        shards: HashMap::from([(key, shard(matcher).await)]),
        roles: BTreeMap::new(),
        workflows: BTreeMap::new(),
        reporting: Reporting::default(),
        rules: 1,
    };
    let mut faults = PolicyFaults::default();
    policy.self_test(&mut faults);
    faults.to_string()
}

#[tokio::test]
async fn a_panic_while_deciding_is_a_denial() {
    let shard = shard("keyMatch(r.sub, p.obj)").await;
    let object: Object = "tunnel:abc".parse().unwrap();
    let answer = shard.decide("tunnel:é", "main", &object, Action::Connect);
    assert!(matches!(answer, Err(shard::EnforceError::Panicked)), "{answer:?}");
    // And the next decision on this thread sees nothing of it.
    let answer = shard.decide("tunnel:abc", "main", &object, Action::Connect).unwrap();
    assert_eq!(answer.rules.len(), 1);
}

#[tokio::test]
async fn an_error_while_deciding_is_a_denial() {
    let shard = shard("noSuchFunction(r.sub)").await;
    let answer = shard.decide("user:alice", "main", &"tunnel:abc".parse().unwrap(), Action::Connect);
    assert!(matches!(answer, Err(shard::EnforceError::Casbin(_))), "{answer:?}");
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
