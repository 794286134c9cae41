//! The ledger's decisions, decided again.

use std::path::Path;

use sallyport_audit::testing::{PlainVault, SoftwareSigner};
use sallyport_audit::{Kind, Ledger, LedgerOptions};

use super::*;
use crate::access::policy::conditions::Transport;

async fn record(ledger: &Ledger, access: &Access, who: &Identity, tunnel: &str, context: &Context) {
    let decision = access.authorize(who, &object(tunnel), Action::Connect, context);
    let kind =
        if matches!(decision, Decision::Allowed(_)) { Kind::SessionOpened } else { Kind::AccessDecided };
    let draft = decision.explanation().draft(kind);
    let draft = match context.source {
        Some(source) => draft.source(source.to_string()),
        None => draft,
    };
    // As `TlsFacts::note` does it.
    let draft = match &context.transport {
        Some(tls) => draft.detail("tls_group", tls.group.as_ref()).detail("tls_suite", tls.suite.as_ref()),
        None => draft,
    };
    ledger.append(draft).await.unwrap();
}

const ROWS: &str = "p, role:visitor, main, tunnel:lan, connect, allow, -, office\np, role:visitor, main, tunnel:pq, connect, allow, -, pq\n";
const CONDITIONS: &str =
    "[condition.office]\nnetworks = [\"192.0.2.0/24\"]\n[condition.pq]\ntransport = \"post-quantum\"\n";

fn write(directory: &Path, more: &str) {
    write_policy(directory, &format!("{TEAM}{ROWS}{more}"), WORKFLOWS);
    std::fs::write(directory.join("conditions.toml"), CONDITIONS).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_differs_under_the_same_policy_and_a_planted_change_is_found() {
    let (directory, policies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(policies.path(), "");
    let options = LedgerOptions::new(directory.path(), "sallyport.test/ledger", "node-1");
    let ledger = Ledger::open(
        options,
        Box::new(SoftwareSigner::new("sallyport.test/ledger", [7; 32])),
        Arc::new(PlainVault),
    )
    .unwrap()
    .0;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let access_options = AccessOptions {
        policy_directory: policies.path().to_owned(),
        issuer: ISSUER.to_owned(),
        tenant: main_tenant(),
        policy_change: PolicyChange::Reload,
        index: None,
    };
    let access = Access::open(access_options, Arc::new(ledger.clone()), MemoryKeys::new(), clock.clone())
        .await
        .unwrap();
    let mut people = Vec::new();
    for name in ["vic", "anna"] {
        let life = SignedDuration::from_hours(1);
        let (_, text) = access
            .issue_token(Caller::Operator, user(name), main_tenant(), life, Scope::whole())
            .await
            .unwrap();
        people.push(access.authenticate(&text, clock.now()).unwrap());
    }
    let (vic, anna) = (&people[0], &people[1]);
    let here = || Context::at(clock.now()).from_source("192.0.2.7:4000".parse().unwrap());
    for tunnel in ["open", "demo", "vault", "nowhere", "lan", "pq"] {
        record(&ledger, &access, vic, tunnel, &here()).await;
    }
    record(
        &ledger,
        &access,
        vic,
        "lan",
        &Context::at(clock.now()).from_source("198.51.100.1:1".parse().unwrap()),
    )
    .await;
    // What TLS agreed is told by the record, so the condition on it is decided again.
    let hybrid = Transport { group: "X25519MLKEM768".into(), suite: "TLS13_AES_256_GCM_SHA384".into() };
    record(&ledger, &access, vic, "pq", &here().over(hybrid)).await;
    // State is folded up to each record: the same question needs an approval, is allowed, and needs one again.
    let request = access.request(vic, ask("demo", 10)).await.unwrap();
    let Approved::Granted(grant) = access.approve(anna, request, None, None).await.unwrap() else { panic!() };
    record(&ledger, &access, vic, "demo", &here()).await;
    access.revoke(anna, grant, None).await.unwrap();
    record(&ledger, &access, vic, "demo", &here()).await;
    access.lock(Caller::Operator, user("vic").into(), main_tenant(), None, None).await.unwrap();
    record(&ledger, &access, vic, "open", &here()).await;
    access.unlock(Caller::Operator, user("vic").into(), main_tenant(), None).await.unwrap();
    record(&ledger, &access, vic, "open", &here()).await;
    access.close().await;

    let reader = ledger.reader();
    let again = |policy: &Policy| replay_ledger(&reader, policy, None).unwrap();
    let same = again(&Policy::load(policies.path()).await.unwrap());
    assert_eq!((same.decided, same.same, same.different), (11, 11, 0), "{same:#?}");
    assert_eq!(same.skipped.values().sum::<u64>(), 1, "{:?}", same.skipped);

    write(policies.path(), "p, role:visitor, main, tunnel:open, connect, deny, -\n");
    let planted = again(&Policy::load(policies.path()).await.unwrap());
    // Twice open; the third time the person was locked, and is denied either way.
    assert_eq!((planted.decided, planted.different), (11, 2), "{planted:#?}");
    for differs in &planted.differences {
        assert_eq!(
            (differs.object.as_str(), differs.then.as_str(), differs.now.as_str()),
            ("tunnel:open", "allowed", "denied")
        );
        assert_eq!(differs.rules.len(), 1);
        assert_ne!(differs.under, planted.policy);
    }
    let later =
        replay_ledger(&reader, &Policy::load(policies.path()).await.unwrap(), Some(clock.now())).unwrap();
    assert_eq!(later.decided, 0);
    ledger.close().await.unwrap();
}
