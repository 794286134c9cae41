//! What a table finds reaches the controls that it speaks against.

use sallyport_audit::Kind;
use sallyport_compliance::{Builtin, ControlReport, Framework, Report, Standing, ToExplain};

use super::made::{Made, done};

fn control<'a>(report: &'a Report, id: &str) -> &'a ControlReport {
    report.controls.iter().find(|control| control.id == id).unwrap()
}

#[test]
fn a_policy_that_nobody_else_approved_is_an_exception_of_the_control_for_changes() {
    let agreed = Made::ledger()
        .at("01-10T10:00:00")
        .then(done(Kind::PolicyLoaded).policy("p1"))
        .then(done(Kind::PolicyApproved).policy("p2").subject("user:bob"))
        .at("02-10T10:00:00")
        .then(done(Kind::PolicyLoaded).policy("p2").detail("previous", "p1"));
    let report = agreed.report();
    let changes = control(&report, "CC8.1");
    assert_eq!(changes.state, Standing::Evidence);
    assert_eq!(
        (changes.tables[0].table, changes.tables[0].rule, changes.tables[0].count),
        ("changes", "unapproved", 0)
    );
    let report = agreed.then(done(Kind::PolicyLoaded).policy("p3").detail("previous", "p2")).report();
    let changes = control(&report, "CC8.1");
    assert_eq!(changes.state, Standing::Exceptions { count: 1 });
    assert_eq!(changes.tables[0].count, 1);
    assert_eq!(
        report.to_explain,
        ToExplain { records: 0, findings: 2 },
        "changes and duties, and no single record"
    );
    let page = sallyport_compliance::html(&report).unwrap();
    assert!(page.contains("found by the table <a href=\"#sheet-changes\">changes</a>"));
}

#[test]
fn unreviewed_glass_of_last_month_and_a_silent_canary_are_exceptions_of_their_controls() {
    let glass = Made::ledger()
        .at("01-31T10:00:00")
        .then(done(Kind::GlassBroken).grant("grant-1").object("tunnel:demo"))
        .at("02-10T10:00:00")
        .then(done(Kind::GrantIssued).grant("grant-2").detail("approvals", 1))
        .report();
    assert_eq!(control(&glass, "CC6.3").state, Standing::Exceptions { count: 1 });

    let tried =
        |control: &str| done(Kind::CanaryTried).detail("control", control).detail("every_secs", 86_400 * 20);
    let all = ["self-approval", "expired-grant", "revoked-token", "altered-record"];
    let in_the_middle = |controls: &[&str]| {
        let ledger = Made::ledger().at("02-14T00:00:00");
        controls.iter().fold(ledger, |ledger, control| ledger.then(tried(control))).report()
    };
    assert_eq!(control(&in_the_middle(&all), "CC4.1").state, Standing::Evidence);
    let one_missing = in_the_middle(&all[1..]);
    assert_eq!(control(&one_missing, "CC4.1").state, Standing::Exceptions { count: 1 });
}

#[test]
fn a_rule_that_no_table_has_is_refused() {
    let source = Builtin::Soc2.source();
    for (good, bad) in
        [("\"changes.unapproved\"", "\"changes.unaproved\""), ("\"glass.unreviewed\"", "\"glass\"")]
    {
        let refused = Framework::parse(&source.replace(good, bad)).unwrap_err().to_string();
        assert!(refused.contains("is no rule of a table"), "{refused}");
    }
}

/// What was asked for by auditors; an entry may say that a gateway cannot show it, but none may be silent.
#[test]
fn no_control_that_a_gateway_touches_is_left_out() {
    let wanted = [
        (
            Builtin::Soc2,
            "CC2.1 CC4.1 CC6.1 CC6.2 CC6.3 CC6.6 CC6.7 CC6.8 CC7.1 CC7.2 CC7.3 CC7.4 CC7.5 CC8.1 CC9.2 A1.1 A1.2 A1.3 \
             C1.1 C1.2",
        ),
        (
            Builtin::Iso27001,
            "A.5.3 A.5.15 A.5.16 A.5.17 A.5.18 A.5.20 A.5.22 A.5.25 A.5.28 A.5.33 A.5.35 A.5.36 A.8.2 A.8.3 A.8.5 A.8.9 \
             A.8.15 A.8.16 A.8.17 A.8.18 A.8.20 A.8.21 A.8.22 A.8.24 A.8.32 A.8.34",
        ),
        (
            Builtin::Hipaa,
            "164.308(a)(1)(ii)(D) 164.308(a)(3) 164.308(a)(4) 164.308(a)(5)(ii)(C) 164.312(a)(2)(i) 164.312(a)(2)(ii) \
             164.312(a)(2)(iii) 164.312(a)(2)(iv) 164.312(b) 164.312(c)(1) 164.312(d) 164.312(e)(1) 164.316(b)(2)(i)",
        ),
        (
            Builtin::Pci,
            "3.7 7.2.1 7.2.2 7.2.3 7.2.4 7.2.5.1 7.3.1 8.2.1 8.2.2 8.2.4 8.2.5 8.2.6 8.2.7 8.2.8 8.3.4 8.4.1 8.4.2 8.4.3 \
             8.6 10.2.1.1 10.2.1.2 10.2.1.3 10.2.1.4 10.2.1.5 10.2.1.6 10.2.1.7 10.2.2 10.3.1 10.3.2 10.3.3 10.3.4 10.4.1 \
             10.4.3 10.5.1 10.6 10.7.2 10.7.3 12.3.3",
        ),
        (
            Builtin::Nist,
            "AC-2 AC-2(1) AC-2(3) AC-2(12) AC-3 AC-5 AC-6 AC-6(7) AC-6(9) AC-7 AC-12 AC-17(1) AU-2 AU-3 AU-4 AU-5 \
             AU-5(1) AU-6 AU-6(3) AU-7 AU-8 AU-9 AU-9(2) AU-9(3) AU-10 AU-11 AU-12 CA-7 CM-3 IA-2(1) IA-3 SC-8 SC-12 \
             SC-13",
        ),
    ];
    for (builtin, ids) in wanted {
        let framework = builtin.load().unwrap();
        let known: Vec<&str> = framework.controls.iter().flat_map(|control| control.id.split(", ")).collect();
        let silent: Vec<&str> = ids.split_whitespace().filter(|id| !known.contains(id)).collect();
        assert_eq!(silent, [] as [&str; 0], "{builtin}");
    }
}
