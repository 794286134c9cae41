//! What was asked, who decided, and what changed by it.

use sallyport_audit::{Draft, Kind};

use super::made::{Made, denied, done};

fn about(kind: Kind, request: &str) -> Draft {
    done(kind).correlation(request).object("tunnel:demo")
}

fn asked(request: &str) -> Draft {
    about(Kind::AccessRequested, request).action("connect").detail("workflows", vec!["managers"])
}

#[test]
fn a_request_stands_in_every_period_in_which_it_was_open_and_its_answer_counts_in_the_one_it_was_given_in() {
    let approved = |request: &str| about(Kind::AccessApproved, request);
    let granted = |request: &str| about(Kind::GrantIssued, request).grant(format!("grant-of-{request}"));
    let rejected = |request: &str| about(Kind::AccessRejected, request).detail("wanted", 2);
    let made = Made::ledger()
        .at("01-20T10:00:00")
        .then(asked("req-a-over"))
        .then(approved("req-a-over"))
        .then(granted("req-a-over"))
        .at("01-31T23:00:00")
        .then(asked("req-b-across"))
        .then(asked("req-c-half-approved"))
        .then(approved("req-c-half-approved"))
        .then(asked("req-d-half-rejected"))
        .then(rejected("req-d-half-rejected"))
        .then(asked("req-e-open"))
        .at("02-01T01:00:00")
        .then(approved("req-b-across"))
        .then(granted("req-b-across"))
        .then(granted("req-c-half-approved"))
        .then(rejected("req-d-half-rejected"))
        .at("02-10T10:00:00")
        .then(asked("req-f-quick"))
        .then(approved("req-f-quick"))
        .then(granted("req-f-quick"))
        .then(asked("req-g-expired"))
        .then(asked("req-h-withdrawn"))
        .then(about(Kind::AccessWithdrawn, "req-h-withdrawn"))
        .then(denied(Kind::AccessApproved).correlation("req-g-expired").detail("refusal", "own-request"))
        .at("02-11T10:00:00")
        .then(about(Kind::AccessEscalated, "req-g-expired"))
        .then(about(Kind::AccessExpired, "req-g-expired"))
        .at("02-28T23:59:00")
        .then(asked("req-i-answered-later"))
        .at("03-01T00:01:00")
        .then(approved("req-i-answered-later"))
        .then(granted("req-i-answered-later"));
    let requests = made.table("requests");
    assert_eq!(
        [requests.column("request"), requests.column("answer")],
        [
            [
                "req-b-across",
                "req-c-half-approved",
                "req-d-half-rejected",
                "req-e-open",
                "req-f-quick",
                "req-g-expired",
                "req-h-withdrawn",
                "req-i-answered-later",
            ],
            [
                "granted",
                "granted",
                "rejected",
                "open",
                "granted",
                "not answered in time",
                "withdrawn",
                "open",
            ],
        ]
    );
    for (name, count) in [
        ("requests", "8"),
        ("of them from before the period", "4"),
        ("granted", "3"),
        ("rejected", "1"),
        ("withdrawn", "1"),
        ("not answered in time", "1"),
        ("open", "2"),
        ("middle time to the first answer", "7200 s"),
    ] {
        assert_eq!(requests.figure(name), count, "{name}");
    }
    // The first answers of the two halves were given within seconds too, and are January's.
    assert_eq!(requests.found(), [("quick", 1)]);
    assert_eq!(
        requests.row("req-b-across", ["workflows", "seconds to the first answer", "grant"]),
        ["managers", "7200", "grant-of-req-b-across"]
    );
    assert_eq!(requests.row("req-g-expired", ["approvals", "escalated"]), ["0", "yes"]);
}

#[test]
fn no_request_outlives_a_loss_of_records() {
    let resumed = || done(Kind::LedgerResumed).detail("tokens", "kept");
    let made = Made::ledger()
        .at("01-20T10:00:00")
        .then(asked("req-a-lapsed-before"))
        .then(resumed())
        .then(asked("req-b-across"))
        .at("02-10T10:00:00")
        .then(asked("req-c"))
        .then(resumed())
        .then(asked("req-d-open"));
    let requests = made.table("requests");
    assert_eq!(requests.column("request"), ["req-b-across", "req-c", "req-d-open"]);
    let lapsed = "ended by a loss of records";
    assert_eq!(requests.column("answer"), [lapsed, lapsed, "open"]);
    assert_eq!([requests.figure(lapsed), requests.figure("open")], ["2", "1"]);
    assert_eq!(requests.column("answered")[2], "");
}

fn loaded(policy: &str, previous: Option<&str>) -> Draft {
    let draft = done(Kind::PolicyLoaded).policy(policy).detail("rules", 3);
    match previous {
        Some(previous) => draft.detail("previous", previous),
        None => draft,
    }
}

fn agreed(kind: Kind, policy: &str) -> Draft {
    done(kind).policy(policy).subject("user:bob")
}

/// A gateway that is started again and again, under a policy that two people agreed on in January.
fn restarted() -> Made {
    Made::ledger()
        .at("01-10T10:00:00")
        .then(loaded("p1", None))
        .then(agreed(Kind::PolicyProposed, "p2"))
        .then(loaded("p1", Some("p1")))
        .then(agreed(Kind::PolicyApproved, "p2"))
        .at("02-02T10:00:00")
        .then(loaded("p2", Some("p1")))
        .at("02-03T10:00:00")
        .then(loaded("p2", Some("p2")))
        .at("02-04T10:00:00")
        .then(loaded("p2", Some("p2")))
}

#[test]
fn a_start_takes_no_policy_into_use_that_was_in_force_and_an_approval_of_before_the_period_counts() {
    let duties = restarted().table("duties");
    assert_eq!(duties.figure("policies taken into use"), "1");
    assert_eq!(duties.found(), []);
    let changed = restarted().then(loaded("p3", Some("p2"))).then(loaded("p3", Some("p3")));
    let duties = changed.table("duties");
    assert_eq!(duties.figure("policies taken into use"), "2");
    assert_eq!(duties.found(), [("unapproved", 1)]);
}

#[test]
fn an_approval_is_for_the_next_load_and_for_no_later_one() {
    // p2 was approved once, then taken back; who loads it again has nobody's word for it.
    let again = || restarted().then(loaded("p1", Some("p2"))).then(loaded("p2", Some("p1")));
    for table in ["duties", "changes"] {
        assert_eq!(again().table(table).found(), [("unapproved", 2)], "{table}");
        // Nor after a load of something else, also before the period.
        let spent = Made::ledger()
            .at("01-10T10:00:00")
            .then(loaded("p1", None))
            .then(agreed(Kind::PolicyProposed, "p2"))
            .then(agreed(Kind::PolicyApproved, "p2"))
            .then(loaded("p1", Some("p1")))
            .at("02-10T10:00:00")
            .then(loaded("p2", Some("p1")));
        assert_eq!(spent.table(table).found(), [("unapproved", 1)], "{table}");
    }
    let changes = again().table("changes");
    assert_eq!(
        [changes.column("proposed in"), changes.column("approved in")],
        [["2", "", ""], ["4", "", ""]]
    );
}

#[test]
fn who_may_not_do_both_is_counted_by_refusal_within_the_period() {
    let own = |code: &str| denied(Kind::AccessApproved).correlation("req-1").detail("refusal", code);
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(own("own-request"))
        .then(denied(Kind::PolicyApproved).detail("refusal", "own-proposal"))
        .at("02-10T10:00:00")
        .then(own("own-request"))
        .then(own("own-request"))
        .then(own("not-eligible"))
        .then(denied(Kind::ReviewDecided).detail("refusal", "own-item"))
        .then(about(Kind::AccessApproved, "req-1"))
        .then(about(Kind::GrantIssued, "req-1").grant("grant-1").detail("approvals", 1))
        .then(about(Kind::GrantIssued, "req-2").grant("grant-2").detail("approvals", 0));
    let duties = made.table("duties");
    let attempts = |row: &str| duties.row(row, ["attempts"]);
    assert_eq!(duties.figure("attempts to act on one's own behalf, refused"), "3");
    assert_eq!(duties.figure("requests approved by somebody"), "1");
    assert_eq!(duties.figure("grants issued"), "2");
    assert_eq!(duties.found(), [("without", 1)]);
    assert_eq!(
        [attempts("approve it"), attempts("approve"), attempts("review that access")].concat(),
        ["2", "1", "1"]
    );
    let refusals = duties.column("refusal");
    let proposal = refusals.iter().position(|code| code == "own-proposal").unwrap();
    assert_eq!(duties.column("attempts")[proposal], "0", "that was in January");
}

#[test]
fn the_table_of_changes_says_what_was_before_and_who_agreed() {
    let config = |digest: &str| done(Kind::ConfigLoaded).detail("sha256", digest);
    let started =
        |version: &str| done(Kind::GatewayStarted).detail("version", version).detail("binary_sha256", "b1");
    let made = Made::ledger()
        .at("01-05T10:00:00")
        .then(started("1.0"))
        .then(config("c1"))
        .then(loaded("p1", None))
        .then(agreed(Kind::PolicyProposed, "p2"))
        .at("02-05T10:00:00")
        .then(started("1.0"))
        .then(config("c1"))
        .then(loaded("p1", Some("p1")))
        .then(agreed(Kind::PolicyApproved, "p2"))
        .then(loaded("p2", Some("p1")))
        .at("02-06T10:00:00")
        .then(started("1.1"))
        .then(config("c2"))
        .then(loaded("p3", Some("p2")));
    let changes = made.table("changes");
    assert_eq!(changes.column("what"), ["policy", "program", "configuration", "policy"]);
    assert_eq!(changes.column("before"), ["p1", "1.0 b1", "c1", "p2"]);
    assert_eq!(changes.column("after"), ["p2", "1.1 b1", "c2", "p3"]);
    assert_eq!(changes.column("proposed in"), ["4", "", "", ""]);
    assert_eq!(changes.column("approved in"), ["8", "", "", ""]);
    assert_eq!(changes.figure("changes"), "4");
    assert_eq!(changes.figure("changes of policy"), "2");
    assert_eq!(changes.figure("starts of the gateway"), "2");
    assert_eq!(changes.found(), [("unapproved", 1)]);
}

#[test]
fn broken_glass_is_an_exception_in_every_period_until_somebody_reviewed_it() {
    let glass = |kind, grant: &str| done(kind).grant(grant).object("tunnel:demo");
    let broken = |grant: &str| {
        glass(Kind::GlassBroken, grant)
            .subject("user:alice")
            .detail("skipped", 2)
            .detail("ends", "2026-02-20T00:00:00Z")
    };
    let reviewed = |grant: &str, verdict: &str| glass(Kind::GlassReviewed, grant).detail("verdict", verdict);
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(broken("glass-a-over"))
        .then(reviewed("glass-a-over", "unjustified"))
        .at("01-31T10:00:00")
        .then(glass(Kind::GlassTold, "glass-b-across").target("user:bob"))
        .then(glass(Kind::GlassTold, "glass-b-across").target("user:carol"))
        .then(broken("glass-b-across"))
        .then(broken("glass-c-forgotten"))
        .at("02-01T10:00:01")
        .then(reviewed("glass-b-across", "justified"))
        .at("02-10T10:00:00")
        .then(broken("glass-d-wrong"))
        .then(broken("glass-e-late"))
        .at("02-10T10:01:00")
        .then(reviewed("glass-d-wrong", "unjustified"))
        .at("03-01T10:00:00")
        .then(reviewed("glass-e-late", "justified"));
    let glass = made.table("glass");
    assert_eq!(
        glass.column("grant"),
        ["glass-b-across", "glass-c-forgotten", "glass-d-wrong", "glass-e-late"]
    );
    for (name, count) in [("times", "4"), ("of them from before the period", "2"), ("reviewed", "2")] {
        assert_eq!(glass.figure(name), count, "{name}");
    }
    assert_eq!(glass.found(), [("unreviewed", 2), ("unjustified", 1)]);
    assert_eq!(
        glass.row("glass-b-across", ["approvers skipped", "approvers told", "seconds to review", "verdict"]),
        ["2", "2", "86400", "justified"]
    );
}
