//! Each built-in rule finds what it is for, and nothing in what is ordinary.

use std::collections::BTreeMap;

use super::*;
use crate::{Digest, Draft, Entry, Kind, Outcome, Record, Seq, commitment::Personal, sidecar::Values};

/// A Wednesday at noon, UTC.
const NOON: i64 = 1_790_164_800;

struct World {
    watch: Watch,
    seq: u64,
    now: i64,
}

impl World {
    fn new() -> Self {
        Self::with(BUILT_IN)
    }

    fn with(rules: &str) -> Self {
        Self { watch: Watch::new(&Rules::parse(rules).unwrap()), seq: 0, now: NOON }
    }

    fn after(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    fn see(&mut self, draft: Draft) -> Vec<Raised> {
        let entry = self.entry(draft);
        self.watch.see(&entry)
    }

    fn entry(&mut self, draft: Draft) -> Entry {
        let personal: BTreeMap<Personal, String> = draft.personal.clone();
        let record = Record {
            v: 1,
            seq: Seq::new(self.seq),
            time: jiff::Timestamp::from_second(self.now).unwrap(),
            prev: Digest::ZERO,
            kind: draft.kind,
            result: draft.result,
            action: draft.action,
            object: draft.object,
            session: draft.session,
            grant: draft.grant,
            policy: draft.policy,
            correlation: draft.correlation,
            node: "n".to_owned(),
            personal: personal.keys().map(|field| (*field, Digest::ZERO)).collect(),
            details: draft.details,
        };
        self.seq += 1;
        Entry::new(record, Vec::new(), Values::readable(personal))
    }

    fn names(&mut self, draft: Draft) -> Vec<String> {
        self.see(draft).into_iter().map(|raised| raised.rule).collect()
    }
}

fn draft(kind: Kind, result: Outcome) -> Draft {
    Draft::new(kind, result).subject("user:alice").source("203.0.113.7:1000")
}

fn done(kind: Kind) -> Draft {
    draft(kind, Outcome::Success)
}

#[test]
fn failures_from_one_address_are_found_whichever_port_they_come_from_and_not_found_again_at_once() {
    let mut world = World::new();
    let failed =
        |port: u16| Draft::new(Kind::AuthFailed, Outcome::Denied).source(format!("203.0.113.7:{port}"));
    for port in 0..9 {
        assert!(world.after(10).names(failed(1000 + port)).is_empty());
    }
    let raised = world.after(10).see(failed(2000));
    assert_eq!(raised.len(), 1);
    assert_eq!(
        (raised[0].rule.as_str(), raised[0].count, raised[0].severity),
        ("repeated-failures", 10, "high")
    );
    assert_eq!(raised[0].records, (0..10).collect::<Vec<_>>());
    for port in 0..30 {
        assert!(world.after(1).names(failed(port)).is_empty(), "quiet for an hour");
    }
    world.after(3600);
    for port in 0..9 {
        assert!(world.after(1).names(failed(port)).is_empty());
    }
    assert_eq!(world.names(failed(1)), ["repeated-failures"]);
}

#[test]
fn failures_that_are_far_apart_or_from_many_addresses_are_ordinary() {
    let mut world = World::new();
    for n in 0..40 {
        let slow = Draft::new(Kind::AuthFailed, Outcome::Denied).source("203.0.113.7:1");
        assert!(world.after(40).names(slow).is_empty());
        let other = Draft::new(Kind::AuthFailed, Outcome::Denied).source(format!("198.51.100.{n}:1"));
        assert!(world.names(other).is_empty());
    }
}

#[test]
fn denials_of_one_person_are_found_and_those_that_an_approval_would_end_are_ordinary() {
    let refused = |needs: bool| draft(Kind::AccessDecided, Outcome::Denied).detail("needs_approval", needs);
    let mut world = World::new();
    for _ in 0..60 {
        assert!(world.after(1).names(refused(true)).is_empty(), "somebody waits for an answer");
    }
    for _ in 0..19 {
        assert!(world.after(1).names(refused(false)).is_empty());
    }
    assert_eq!(world.after(1).names(refused(false)), ["repeated-denials"]);
    // Records of calls say nothing of approvals.
    let mut world = World::new();
    let called = || draft(Kind::AdminCalled, Outcome::Denied);
    let raised = (0..20).map(|_| world.after(1).names(called())).last().unwrap();
    assert_eq!(raised, ["repeated-denials"]);
}

#[test]
fn whoever_has_a_network_of_ipv6_is_one_source_whichever_address_of_it_they_take() {
    let failed = |source: String| Draft::new(Kind::AuthFailed, Outcome::Denied).source(source);
    let mut world = World::new();
    let raised = (0..10).map(|n| world.after(1).names(failed(format!("[2001:db8:1:2:{n}::{n}]:1")))).last();
    assert_eq!(raised.unwrap(), ["repeated-failures"]);
    let mut world = World::new();
    for n in 0..30 {
        assert!(
            world.after(1).names(failed(format!("[2001:db8:1:{n}::1]:1"))).is_empty(),
            "others' networks"
        );
    }
    // An address of IPv4 is the same one, however a socket spells it.
    let mut world = World::new();
    let spelled = |n: u16| if n.is_multiple_of(2) { "203.0.113.7:1" } else { "[::ffff:203.0.113.7]:1" };
    let raised = (0..10).map(|n| world.after(1).names(failed(spelled(n).to_owned()))).last();
    assert_eq!(raised.unwrap(), ["repeated-failures"]);
    // One person whose device changes its address within its network.
    let mut world = World::new();
    for n in 0..9 {
        let opened = Draft::new(Kind::SessionOpened, Outcome::Success).subject("user:alice");
        assert!(world.names(opened.source(format!("[2001:db8:1:2::{n}]:1"))).is_empty());
    }
}

#[test]
fn visitors_without_an_identity_are_put_together_by_where_they_come_from() {
    let visit = |kind, result, n: u8| {
        Draft::new(kind, result).subject("user:anonymous").source(format!("203.0.113.{n}:1"))
    };
    let denied = |n: u8| visit(Kind::AccessDecided, Outcome::Denied, n);
    let mut world = World::new();
    for n in 0..100 {
        assert!(world.after(1).names(denied(n)).is_empty(), "each is somebody else");
    }
    let raised = (0..19).map(|_| world.after(1).names(denied(7))).last();
    assert_eq!(raised.unwrap(), ["repeated-denials"]);
    // None of them is one person in many places, or one who comes back.
    let mut world = World::new();
    for n in 0..30 {
        assert!(world.names(visit(Kind::SessionOpened, Outcome::Success, n)).is_empty());
    }
    world.after(200 * 86_400);
    assert!(world.names(visit(Kind::SessionOpened, Outcome::Success, 1)).is_empty());
    // Nobody who is nowhere is nobody that anything can be told of.
    let nowhere = || Draft::new(Kind::AccessDecided, Outcome::Denied).subject("user:anonymous");
    assert!((0..60).all(|_| world.names(nowhere()).is_empty()));
}

#[test]
fn one_person_at_three_addresses_at_once_is_found() {
    let mut world = World::new();
    let from =
        |source: &str| Draft::new(Kind::SessionOpened, Outcome::Success).subject("user:alice").source(source);
    assert!(world.names(from("203.0.113.7:1")).is_empty());
    assert!(world.names(from("203.0.113.7:2")).is_empty(), "the same address");
    assert!(world.names(from("198.51.100.1:1")).is_empty());
    assert_eq!(world.names(from("192.0.2.1:1")), ["impossible-reuse"]);
}

#[test]
fn one_record_is_enough_for_what_must_never_happen() {
    let refused = |kind, refusal: &str| draft(kind, Outcome::Denied).detail("refusal", refusal);
    let loaded = |change: &str| done(Kind::PolicyLoaded).detail("change", change);
    let cases: Vec<(&str, Draft)> = vec![
        ("self-approval", refused(Kind::AccessApproved, "own-request")),
        ("self-approval", refused(Kind::GlassReviewed, "own-request")),
        ("self-approval", refused(Kind::ReviewDecided, "own-item")),
        ("self-approval", refused(Kind::PolicyApproved, "own-proposal")),
        ("self-approval", refused(Kind::AccessUnlocked, "own-lock")),
        ("policy-loosened", loaded("looser")),
        ("policy-loosened", loaded("unclear")),
        ("break-glass", done(Kind::GlassBroken)),
        ("revoked-credential", draft(Kind::AuthFailed, Outcome::Denied).detail("reason", "token-revoked")),
        ("ledger-trouble", Draft::new(Kind::LedgerResumed, Outcome::Success)),
        ("ledger-trouble", Draft::new(Kind::ClockJumped, Outcome::Success)),
        ("ledger-damaged", Draft::new(Kind::LedgerScrubbed, Outcome::Failure)),
        ("hsm-trouble", Draft::new(Kind::HsmDown, Outcome::Failure)),
        ("slow-kill", done(Kind::SessionClosed).detail("last_byte_after_us", 100_001)),
        ("sink-trouble", Draft::new(Kind::SinkLate, Outcome::Failure).object("sink:soc")),
    ];
    for (rule, draft) in cases {
        assert_eq!(World::new().names(draft), [rule]);
    }
    for ordinary in [
        draft(Kind::AccessApproved, Outcome::Denied).detail("refusal", "not-approver"),
        draft(Kind::PolicyApproved, Outcome::Denied).detail("refusal", "not-allowed"),
        loaded("first"),
        loaded("same"),
        loaded("tighter"),
        draft(Kind::GlassBroken, Outcome::Denied).detail("refusal", "no-rule"),
        done(Kind::SessionClosed).detail("last_byte_after_us", 100_000),
        done(Kind::SessionClosed),
        Draft::new(Kind::LedgerScrubbed, Outcome::Success),
        Draft::new(Kind::HsmUp, Outcome::Success),
    ] {
        assert!(World::new().names(ordinary).is_empty());
    }
}

#[test]
fn hours_are_those_of_the_days_that_are_named() {
    let approved = || done(Kind::AccessApproved);
    assert!(World::new().names(approved()).is_empty(), "Wednesday at noon");
    assert_eq!(World::new().after(10 * 3600).names(approved()), ["out-of-hours"], "at 22:00");
    assert_eq!(World::new().after(3 * 86_400).names(approved()), ["out-of-hours"], "on Saturday");
    let night = "[[rule]]\nname = \"night\"\nsays = \"x\"\nseverity = \"low\"\nkinds = [\"admin.called\"]\n\
                 outside = { from = \"22:00\", to = \"06:00\" }\n";
    assert!(World::with(night).after(11 * 3600).names(done(Kind::AdminCalled)).is_empty(), "over midnight");
    assert_eq!(World::with(night).names(done(Kind::AdminCalled)), ["night"]);
}

#[test]
fn somebody_who_was_away_for_long_is_found_when_they_wake() {
    let mut world = World::new();
    assert!(world.names(done(Kind::SessionOpened)).is_empty(), "nobody is known yet");
    assert!(world.after(89 * 86_400).names(done(Kind::SessionOpened)).is_empty());
    assert_eq!(world.after(90 * 86_400).names(done(Kind::SessionOpened)), ["dormant-account"]);
    assert!(world.after(60).names(done(Kind::SessionOpened)).is_empty());
    // Of somebody else nothing was seen in all that time.
    let other = Draft::new(Kind::SessionOpened, Outcome::Success).subject("user:bob").source("192.0.2.1:1");
    assert_eq!(world.names(other), ["dormant-account"]);
}

#[test]
fn a_number_that_grew_is_found_and_one_that_fell_or_stayed_is_not() {
    let mut world = World::with(
        "[[rule]]\nname = \"grew\"\nsays = \"x\"\nseverity = \"low\"\nkinds = [\"policy.loaded\"]\n\
         grew = \"rules\"\nquiet_secs = 0\n",
    );
    let loaded = |rules: u64| done(Kind::PolicyLoaded).detail("rules", rules);
    assert!(world.names(loaded(5)).is_empty());
    assert!(world.names(loaded(5)).is_empty());
    assert!(world.names(loaded(4)).is_empty());
    assert_eq!(world.names(loaded(6)), ["grew"]);
}

#[test]
fn what_the_operator_does_out_of_hours_is_found_too_and_not_again_at_once() {
    let night = 10 * 3600;
    let by_operator = |kind| Draft::new(kind, Outcome::Success).detail("by", "operator");
    let loaded = |change: &str| by_operator(Kind::PolicyLoaded).detail("change", change);
    let mut world = World::new();
    world.after(night);
    assert_eq!(world.names(by_operator(Kind::TokenIssued)), ["out-of-hours"]);
    assert!(world.names(by_operator(Kind::TokenIssued)).is_empty(), "quiet for an hour");
    assert_eq!(world.names(done(Kind::TokenIssued)), ["out-of-hours"], "of somebody else it is told");
    assert_eq!(world.names(loaded("tighter")), ["policy-out-of-hours"]);
    assert!(world.names(loaded("same")).is_empty(), "a start at night is no change");
    assert!(World::new().names(by_operator(Kind::TokenIssued)).is_empty(), "at noon");
    // Somebody whose name can't be read any more is not the operator.
    let nobody = Draft::new(Kind::TokenIssued, Outcome::Success).target("user:bob");
    assert!(World::new().after(night).names(nobody).is_empty());
}

#[test]
fn who_is_remembered_from_before_a_start_is_judged_by_that() {
    const DAY: i64 = 86_400;
    let seen = |days: i64, who: &str| {
        let mut world = World::new();
        world.watch.recall_since(NOON - 90 * DAY);
        world.after(-days * DAY);
        let entry = world.entry(Draft::new(Kind::SessionOpened, Outcome::Success).subject("user:alice"));
        world.watch.recall(&entry);
        world.after(days * DAY);
        world.names(Draft::new(Kind::SessionOpened, Outcome::Success).subject(who))
    };
    assert!(seen(10, "user:alice").is_empty());
    assert_eq!(seen(90, "user:alice"), ["dormant-account"]);
    assert_eq!(seen(10, "user:bob"), ["dormant-account"], "nothing of them for as long as is remembered");
}

#[test]
fn a_detection_raises_none_and_its_record_says_why() {
    let all = "[[rule]]\nname = \"all\"\nsays = \"x\"\nseverity = \"low\"\nkinds = [\"detection\", \"hsm.down\"]\nquiet_secs = 0\n";
    let mut world = World::with(all);
    let raised = world.see(Draft::new(Kind::HsmDown, Outcome::Failure).object("gateway:hsm"));
    let record = raised[0].draft();
    assert_eq!(
        (record.kind, &record.details["rule"], &record.details["records"]),
        (Kind::DetectionRaised, &"all".into(), &vec![0].into())
    );
    assert!(world.see(record).is_empty());
}

#[test]
fn a_message_that_told_of_a_detection_raises_none_and_any_other_message_may() {
    let all = "[[rule]]\nname = \"all\"\nsays = \"x\"\nseverity = \"low\"\nkinds = [\"notification\"]\nquiet_secs = 0\n";
    let mut world = World::with(all);
    let told = |event: &str| Draft::new(Kind::NotificationFailed, Outcome::Failure).detail("event", event);
    assert!(world.names(told("detection")).is_empty());
    assert_eq!(world.names(told("request")), ["all"]);
}

#[test]
fn rules_that_make_no_sense_are_refused_with_their_name() {
    let base = "name = \"x\"\nsays = \"y\"\nseverity = \"low\"\n";
    for (what, text) in [
        ("no kind", format!("[[rule]]\n{base}kinds = []")),
        ("unknown kind", format!("[[rule]]\n{base}kinds = [\"session.imagined\"]")),
        ("only its own", format!("[[rule]]\n{base}kinds = [\"detection.raised\"]")),
        ("unknown key", format!("[[rule]]\n{base}kinds = [\"session\"]\ncounts = 3")),
        ("count without by", format!("[[rule]]\n{base}kinds = [\"session\"]\ncount = 3")),
        ("count of none", format!("[[rule]]\n{base}kinds = [\"session\"]\nby = \"subject\"\ncount = 0")),
        (
            "a count beyond memory",
            format!("[[rule]]\n{base}kinds = [\"session\"]\nby = \"subject\"\ncount = 1001"),
        ),
        (
            "no day",
            format!(
                "[[rule]]\n{base}kinds = [\"session\"]\noutside = {{ from = \"1:00\", to = \"2:00\", days = [\"x\"] }}"
            ),
        ),
        (
            "no time",
            format!(
                "[[rule]]\n{base}kinds = [\"session\"]\noutside = {{ from = \"25:00\", to = \"02:00\" }}"
            ),
        ),
        ("twice", format!("[[rule]]\n{base}kinds = [\"session\"]\n[[rule]]\n{base}kinds = [\"session\"]")),
        ("no severity", "[[rule]]\nname = \"x\"\nsays = \"y\"\nkinds = [\"session\"]".to_owned()),
        ("no TOML", "[[rule".to_owned()),
    ] {
        assert!(Rules::parse(&text).is_err(), "{what}");
    }
    assert!(Rules::parse("").unwrap().names().next().is_none());
}

#[test]
fn memory_is_bounded_however_many_addresses_there_are() {
    let mut world = World::new();
    for n in 0..30_000_u32 {
        let source = format!("{}:1", std::net::Ipv4Addr::from(n));
        world.after(1).see(Draft::new(Kind::AuthFailed, Outcome::Denied).source(source));
    }
    assert!(world.watch.kept() <= 10_000);
}
