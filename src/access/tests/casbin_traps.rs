//! The ten ways in which bare casbin 2.20 gives a wrong or dangerous answer, each beside what the guard does.
//!
//! The first half of each test keeps the library's behaviour on record: should a later version mend it, the test says so.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use casbin::function_map::OperatorFunction;
use casbin::{
    CachedEnforcer, CoreApi as _, DefaultModel, EnforceContext, Enforcer, MgmtApi as _, StringAdapter,
};

use super::*;

const BARE: &str = "
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
";

async fn bare(model: &str, rows: &str) -> Enforcer {
    let model = DefaultModel::from_str(model).await.unwrap();
    Enforcer::new(model, StringAdapter::new(rows.to_owned())).await.unwrap()
}

fn guarded_model(from: &str, to: &str) -> String {
    let ours = default_files()[0].1;
    assert!(ours.contains(from), "the model has no {from:?}");
    ours.replace(from, to)
}

const ONE_RULE: &str = "p, user:alice, main, tunnel:demo, connect, allow, -";

fn asks(policy: &Policy, who: &str, tunnel: &str) -> bool {
    policy.allows(&user(who), &main_tenant(), &object(tunnel), Action::Connect)
}

#[tokio::test]
async fn trap_1_an_empty_policy_allows_but_ours_is_never_used() {
    let lax = BARE.replace("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act", "r.sub != p.sub");
    let lax = lax.replace(
        "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
        "some(where (p.eft == allow))",
    );
    assert!(bare(&lax, "").await.enforce(("mallory", "vault", "read")).unwrap());
    // So does an effect that only looks for a deny, under any matcher and to whatever no rule speaks of.
    let only_deny = "!some(where (p.eft == deny))";
    let lax = BARE.replace("some(where (p.eft == allow)) && !some(where (p.eft == deny))", only_deny);
    for rows in ["", "p, alice, vault, read, allow\n"] {
        assert!(bare(&lax, rows).await.enforce(("mallory", "vault", "read")).unwrap());
    }

    let changed = guarded_model("some(where (p.eft == allow)) && ", "");
    assert!(policy_with_model(&changed, ONE_RULE, "").await.is_err());
    for empty in ["", "# only a comment\n", "g, user:alice, role:admin, main"] {
        let faults = policy(empty, "").await.unwrap_err();
        assert!(faults.count() > 0, "{empty:?}");
    }
    // What has rules for one action has none for another: then there is nothing to ask, and the answer is no.
    let ours = policy(ONE_RULE, "").await.unwrap();
    assert!(!ours.allows(&user("alice"), &main_tenant(), &object("demo"), Action::Publish));
    assert!(!ours.allows(&user("alice"), &"other".parse().unwrap(), &object("demo"), Action::Connect));
}

#[tokio::test]
async fn trap_2_a_reload_that_fails_leaves_no_rules_but_ours_keeps_the_policy_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.csv");
    std::fs::write(&path, "p, alice, vault, read, allow\n").unwrap();
    let text: &'static str = String::leak(path.display().to_string());
    let mut enforcer = Enforcer::new(DefaultModel::from_str(BARE).await.unwrap(), text).await.unwrap();
    assert_eq!(enforcer.get_all_policy().len(), 1);
    std::fs::remove_file(&path).unwrap();
    assert!(enforcer.load_policy().await.is_err());
    assert_eq!(enforcer.get_all_policy().len(), 0);

    let world = World::new().await;
    let visitor = world.login("vic").await;
    let permit = world.permit(&visitor, "open");
    let before = world.access.policy_digest();
    std::fs::remove_file(world.directory.path().join("policy.csv")).unwrap();
    assert!(matches!(world.access.reload_policy(Caller::Operator).await, Err(AccessError::Policy(_))));
    assert_eq!(world.access.policy_digest(), before);
    assert!(permit.is_alive());
    assert!(matches!(world.connect(&visitor, "open"), Decision::Allowed(_)));
    assert!(matches!(world.log.facts().last(), Some(fact::Fact::PolicyRefused { .. })));
}

#[tokio::test]
async fn trap_3_a_mistyped_deny_vanishes_but_ours_is_a_fault() {
    let rows = "p, alice, vault, read, allow\np, alice, vault, read, Deny\n";
    assert!(bare(BARE, rows).await.enforce(("alice", "vault", "read")).unwrap());

    for effect in ["Deny", "DENY", "denied", "", "allow ed", "permit"] {
        let rows = format!("{ONE_RULE}\np, user:alice, main, tunnel:demo, connect, {effect}, -");
        let faults = policy(&rows, "").await.unwrap_err();
        assert!(faults.to_string().contains("policy.csv:2: the effect"), "{faults}");
    }
}

#[tokio::test]
async fn trap_4_a_user_named_like_a_role_has_it_but_ours_are_two_kinds() {
    assert!(bare(BARE, "p, admin, vault, read, allow\n").await.enforce(("admin", "vault", "read")).unwrap());

    let ours = policy("p, role:admin, main, tunnel:demo, connect, allow, -", "").await.unwrap();
    assert!(!asks(&ours, "admin", "demo"));
    for rows in [
        "p, admin, main, tunnel:demo, connect, allow, -",
        "g, alice, role:admin, main",
        "g, user:a, admin, main",
    ] {
        assert!(policy(&format!("{ONE_RULE}\n{rows}"), "").await.is_err(), "{rows}");
    }
    assert!("role:admin".parse::<Subject>().is_err());
}

#[tokio::test]
async fn trap_5_a_request_makes_casbin_panic_but_ours_never_does() {
    let model = BARE.replace("r.obj == p.obj", "keyMatch(r.obj, p.obj)");
    let enforcer = bare(&model, "p, alice, /a*, read, allow\n").await;
    assert!(catch_unwind(AssertUnwindSafe(|| enforcer.enforce(("alice", "/é", "read")))).is_err());
    // So does an effect that it doesn't know, at the first decision and not when it is loaded.
    let effect = BARE.replace("!some(where (p.eft == deny))", "!some(where (p.eft == never))");
    let enforcer = bare(&effect, "p, alice, vault, read, allow\n").await;
    assert!(catch_unwind(AssertUnwindSafe(|| enforcer.enforce(("alice", "vault", "read")))).is_err());
    let changed = guarded_model("!some(where (p.eft == deny))", "!some(where (p.eft == never))");
    assert!(policy_with_model(&changed, ONE_RULE, "").await.is_err());

    // Such a model isn't accepted, such an object has no type, and the function that matches is total.
    let with_key_match = guarded_model("objectMatch(r.obj, p.obj)", "keyMatch(r.obj, p.obj)");
    assert!(policy_with_model(&with_key_match, ONE_RULE, "").await.is_err());
    assert!("tunnel:é".parse::<Object>().is_err());
    assert!(!object::matches("/é", "/a*"));
    assert!(object::matches("tunnel:é", "tunnel:*"));
}

#[tokio::test]
async fn trap_5b_a_bad_pattern_fails_at_load_and_not_at_a_decision() {
    let model = BARE.replace("r.obj == p.obj", "regexMatch(r.obj, p.obj)");
    let enforcer = bare(&model, "p, alice, [, read, allow\n").await;
    assert!(catch_unwind(AssertUnwindSafe(|| enforcer.enforce(("alice", "a", "read")))).is_err());
    // `ipMatch` and `globMatch` panic over a bad network or glob where casbin is built with them. Here it is not, and they
    // are functions that it doesn't know. Either way it loads such rows, and there is no answer.
    for (function, pattern) in [("ipMatch", "192.0.2.0/99"), ("globMatch", "[")] {
        let model = BARE.replace("r.obj == p.obj", &format!("{function}(r.obj, p.obj)"));
        let enforcer = bare(&model, &format!("p, alice, {pattern}, read, allow\n")).await;
        let answer = catch_unwind(AssertUnwindSafe(|| enforcer.enforce(("alice", "192.0.2.1", "read"))));
        assert!(!matches!(answer, Ok(Ok(_))), "{function}");
        let ours = guarded_model("objectMatch(r.obj, p.obj)", &format!("{function}(r.obj, p.obj)"));
        assert!(policy_with_model(&ours, ONE_RULE, "").await.is_err(), "{function}");
    }

    let faults = policy("p, user:alice, main, tunnel:[, connect, allow, -", "").await.unwrap_err();
    assert!(faults.to_string().contains("policy.csv:1: "), "{faults}");
}

#[tokio::test]
async fn trap_6_a_dot_and_a_missing_anchor_match_too_much_but_ours_match_what_is_written() {
    let model = BARE.replace("r.obj == p.obj", "keyMatch2(r.obj, p.obj)");
    let enforcer = bare(&model, "p, alice, /api.v1/x, read, allow\n").await;
    assert!(enforcer.enforce(("alice", "/apiXv1/x", "read")).unwrap());
    let enforcer = bare(&model, "p, alice, /public/*, read, allow\n").await;
    assert!(enforcer.enforce(("alice", "/public/../vault", "read")).unwrap());
    let model = BARE.replace("r.obj == p.obj", "regexMatch(r.obj, p.obj)");
    let enforcer = bare(&model, "p, alice, demo, read, allow\n").await;
    assert!(enforcer.enforce(("alice", "not-the-demo-at-all", "read")).unwrap());

    let ours = policy(ONE_RULE, "").await.unwrap();
    assert!(asks(&ours, "alice", "demo"));
    for other in ["demo2", "a-demo", "demo-x", "dem0"] {
        assert!(!asks(&ours, "alice", other), "{other}");
    }
    assert!("tunnel:a.b".parse::<object::Pattern>().is_err());
    for dots in ["tunnel:..", "tunnel:demo/../vault", "tunnel:../vault"] {
        assert!(dots.parse::<Object>().is_err() && dots.parse::<object::Pattern>().is_err(), "{dots}");
    }
}

#[tokio::test]
async fn trap_7_a_role_ten_links_away_is_lost_but_ours_is_a_fault() {
    let chain = |prefix: &str, last: usize, tail: &str| -> String {
        let mut rows = format!("g, {prefix}alice, role:1{tail}\n");
        for n in 1..last {
            writeln!(rows, "g, role:{n}, role:{}{tail}", n + 1).unwrap();
        }
        rows
    };
    let rows = format!(
        "p, user:alice, vault, read, allow\np, role:10, vault, read, deny\n{}",
        chain("user:", 10, "")
    );
    // The deny ten links away is silently lost.
    assert!(bare(BARE, &rows).await.enforce(("user:alice", "vault", "read")).unwrap());

    let far = |last: usize| {
        let deny = format!("p, role:{last}, main, tunnel:demo, connect, deny, -");
        format!("{ONE_RULE}\n{deny}\n{}", chain("user:", last, ", main"))
    };
    let faults = policy(&far(10), "").await.unwrap_err();
    assert!(faults.to_string().contains("10 links"), "{faults}");
    // As far as we let it go, casbin sees it.
    assert!(!asks(&policy(&far(9), "").await.unwrap(), "alice", "demo"));
}

#[tokio::test]
async fn trap_8_a_cached_answer_outlives_its_time_but_ours_asks_each_time() {
    // Who is on duty changes between two questions; the cached enforcer still says what it said first.
    static ON_DUTY: AtomicBool = AtomicBool::new(true);
    let matcher = "g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act && on_duty()";
    let timed = BARE.replace("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act", matcher);
    let rows = "p, alice, vault, read, allow\n";
    let mut plain = bare(&timed, rows).await;
    let model = DefaultModel::from_str(&timed).await.unwrap();
    let mut cached = CachedEnforcer::new(model, StringAdapter::new(rows.to_owned())).await.unwrap();
    let on_duty = OperatorFunction::Arg0(|| ON_DUTY.load(Ordering::Relaxed).into());
    plain.add_function("on_duty", on_duty);
    cached.add_function("on_duty", on_duty);
    let asked = ("alice", "vault", "read");
    assert!(plain.enforce(asked).unwrap() && cached.enforce(asked).unwrap());
    ON_DUTY.store(false, Ordering::Relaxed);
    assert!(!plain.enforce(asked).unwrap());
    assert!(cached.enforce(asked).unwrap());

    // Nor does it look at which matcher is meant: the yes of the first is given for the second, which says no.
    let two = BARE.replace("[matchers]", "[matchers]\nm2 = r.sub != r.sub");
    let second = || EnforceContext {
        r_type: "r".to_owned(),
        p_type: "p".to_owned(),
        e_type: "e".to_owned(),
        m_type: "m2".to_owned(),
    };
    let model = DefaultModel::from_str(&two).await.unwrap();
    let cached = CachedEnforcer::new(model, StringAdapter::new(rows.to_owned())).await.unwrap();
    assert!(cached.enforce(asked).unwrap());
    assert!(!bare(&two, rows).await.enforce_with_context(second(), asked).unwrap());
    assert!(cached.enforce_with_context(second(), asked).unwrap());
    let changed = guarded_model("m = ", "m2 = r.sub != r.sub\nm = ");
    assert!(policy_with_model(&changed, ONE_RULE, "").await.is_err());

    let world = World::new().await;
    let visitor = world.login("vic").await;
    world.granted(&visitor, 1).await;
    assert!(matches!(world.connect(&visitor, "demo"), Decision::Allowed(_)));
    world.clock.forward(SignedDuration::from_secs(59));
    assert!(matches!(world.connect(&visitor, "demo"), Decision::Allowed(_)));
    world.clock.forward(SignedDuration::from_secs(1));
    assert!(matches!(world.connect(&visitor, "demo"), Decision::NeedsApproval { .. }));

    // What we remember is which rows match, never whether they hold: a window closes between two questions.
    let files = [
        default_files()[0],
        ("approvals.toml", ""),
        ("conditions.toml", "[condition.hours]\nfrom = \"08:00\"\nuntil = \"18:00\"\n"),
        ("policy.csv", "p, user:alice, main, tunnel:demo, connect, allow, -, hours"),
    ];
    let ours = Policy::build(&policy::load::Sources::new(files)).await.unwrap();
    let allowed = |at: &str| {
        let at = policy::conditions::Circumstances::at(at.parse().unwrap());
        let ruling = ours.rule_at(&user("alice"), &[], &main_tenant(), &object("demo"), Action::Connect, &at);
        matches!(ruling, policy::Ruling::Allow { .. })
    };
    assert!(
        allowed("2026-11-27T17:59:59Z")
            && !allowed("2026-11-27T18:00:00Z")
            && allowed("2026-11-28T08:00:00Z")
    );
}

#[tokio::test]
async fn trap_9_short_and_unknown_rows_are_dropped_but_ours_are_faults_with_their_lines() {
    let rows = "p, alice, vault, read, allow\nq, alice, other, read, deny\nd, x\n";
    let enforcer = bare(BARE, rows).await;
    assert_eq!(enforcer.get_all_policy().len(), 1);
    let long = "p, alice, vault, read, allow, extra\n";
    assert!(bare(BARE, long).await.enforce(("alice", "vault", "read")).is_err());

    let rows = format!(
        "{ONE_RULE}\np, user:alice, main, tunnel:demo, connect, allow\nq, user:alice\n{ONE_RULE}, -, extra\ng, user:alice, role:x\n\"p\", user:a, main, tunnel:demo, connect, allow, -"
    );
    let faults = policy(&rows, "").await.unwrap_err();
    let lines: Vec<u32> = faults.faults().iter().map(|fault| fault.place.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn trap_9b_a_number_in_the_matcher_overflows_without_a_word_but_ours_knows_no_numbers() {
    let model = BARE.replace("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act", "2147483647 + 1 > 0");
    let enforcer = bare(&model, "p, alice, vault, read, allow\n").await;
    // Wrong in a release, a panic in a debug build; never the yes that arithmetic would have.
    let answer = catch_unwind(AssertUnwindSafe(|| enforcer.enforce(("alice", "vault", "read"))));
    assert!(!matches!(answer, Ok(Ok(true))));

    // A time in seconds after 2038 is a matcher that can't be used at all.
    let model = BARE.replace("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act", "2147483648 > 0");
    let built = match DefaultModel::from_str(&model).await {
        Ok(model) => {
            Enforcer::new(model, StringAdapter::new("p, alice, vault, read, allow\n".to_owned())).await
        }
        Err(error) => Err(error),
    };
    assert!(built.and_then(|enforcer| enforcer.enforce(("alice", "vault", "read"))).is_err());

    let changed = guarded_model("r.dom == p.dom", "r.dom == p.dom && 2147483647 + 1 > 0");
    assert!(policy_with_model(&changed, ONE_RULE, "").await.is_err());
    // Times are values of their own type: past the end of 32 bits, windows go on.
    let late: Timestamp = "2040-06-01T10:00:00Z".parse().unwrap();
    let files = [
        default_files()[0],
        ("approvals.toml", ""),
        ("conditions.toml", "[condition.hours]\nfrom = \"08:00\"\nuntil = \"18:00\"\n"),
        ("policy.csv", "p, user:alice, main, tunnel:demo, connect, allow, -, hours"),
    ];
    let ours = Policy::build(&policy::load::Sources::new(files)).await.unwrap();
    let at = policy::conditions::Circumstances::at(late);
    let ruling = ours.rule_at(&user("alice"), &[], &main_tenant(), &object("demo"), Action::Connect, &at);
    assert!(matches!(ruling, policy::Ruling::Allow { .. }));
}

#[tokio::test]
async fn trap_10_a_matcher_with_an_unknown_function_fails_late_but_ours_is_refused() {
    let model = BARE.replace("r.obj == p.obj", "noSuchFunction(r.obj, p.obj)");
    let mut enforcer = bare(&model, "p, alice, vault, read, allow\n").await;
    assert!(enforcer.enforce(("alice", "vault", "read")).is_err());
    enforcer.enable_enforce(false);
    assert!(enforcer.enforce(("mallory", "vault", "read")).unwrap());

    for (from, to) in [
        ("objectMatch(r.obj, p.obj)", "noSuchFunction(r.obj, p.obj)"),
        ("r.dom == p.dom && ", ""),
        ("r.dom == p.dom", "r.dom == p.dom || true"),
        ("g(r.sub, p.sub, r.dom)", "r.sub != p.sub"),
        ("&& !some(where (p.eft == deny))", ""),
        ("r = sub, dom, obj, act", "r = sub, obj, act"),
        ("g = _, _, _", "g = _, _"),
        ("e = ", "e2 = true\ne = "),
        ("m = ", "m2 = true\nm = "),
        ("p = sub, dom, obj, act, eft, approval", "p = sub, dom, obj, act, approval"),
    ] {
        let changed = guarded_model(from, to);
        assert!(policy_with_model(&changed, ONE_RULE, "").await.is_err(), "{from} -> {to}");
    }
    assert!(policy_with_model("", ONE_RULE, "").await.is_err());
    assert!(policy_with_model("nonsense", ONE_RULE, "").await.is_err());
}
