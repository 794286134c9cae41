//! The rules that retention must never break, over many ledgers, policies and holds.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::kind::Kind;
use crate::prefix::Piece;
use crate::record::{Draft, Outcome, Record, Seq};
use crate::selection::Selection;
use crate::testing::{JournalBuilder, SoftwareSigner};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn later(time: Timestamp, days: u32) -> Timestamp {
    time.checked_add(DAY * i32::try_from(days).unwrap()).unwrap()
}

/// One record a day, of these kinds.
fn ledger(kinds: &[Kind]) -> Vec<Vec<u8>> {
    let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)]);
    for (kind, n) in kinds.iter().zip(0..) {
        journal.time = later(journal.time, 1);
        journal.group([Draft::new(*kind, Outcome::Success).object(format!("tunnel:{}", n % 5))]);
    }
    journal.records()
}

fn hold_on(selection: &Selection) -> Holds {
    let draft = held_draft("case-1", "a court asked", selection, &Holds::default()).unwrap();
    let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
    journal.group([draft]);
    let mut holds = Holds::default();
    journal.records().iter().for_each(|record| holds.apply(&Record::parse(record).unwrap()));
    holds
}

fn plan(records: &[Vec<u8>], planner: &mut Planner<'_>, boundaries: &[u64]) -> Vec<Option<Stay>> {
    let mut verdicts = Vec::new();
    for (bytes, seq) in records.iter().zip(0..) {
        let seq = Seq::new(seq);
        verdicts.push(planner.verdict(seq, bytes));
        planner.push(Piece::Record { seq, bytes, sealed: b"" });
        if boundaries.contains(&seq.next().get()) {
            planner.boundary();
        }
    }
    verdicts
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    proptest::collection::vec(proptest::sample::select(Kind::ALL.to_vec()), 1..120)
}

proptest! {
    #[test]
    fn nothing_under_hold_needed_or_younger_than_every_rule_asks_ever_goes(
        kinds in kinds(), minimum in 1_u32..100, http in 0_u32..200, now in 0_u32..400, from in 0_u64..100,
        to in 0_u64..120, object in 0_u32..5, unread in 0_u64..200, boundaries in proptest::collection::vec(1_u64..120, 0..6)
    ) {
        let records = ledger(&kinds);
        let policy = Policy::new([], minimum, &[format!("http.request={http}")]).unwrap();
        let selection = Selection {
            from: Seq::new(from), to: Some(Seq::new(to)), objects: vec![format!("tunnel:{object}")], ..Selection::default()
        };
        let holds = hold_on(&selection);
        let start = Record::parse(&records[0]).unwrap().time;
        let now = later(start, now);
        let mut planner = Planner::new(&policy, &holds, now, unread);
        let verdicts = plan(&records, &mut planner, &boundaries);
        let plan = planner.finish();
        let mut going = 0;
        for (bytes, verdict) in records.iter().zip(&verdicts) {
            let record = Record::parse(bytes).unwrap();
            if verdict.is_some() || record.seq.get() >= plan.size {
                continue;
            }
            going += 1;
            prop_assert!(!selection.matches(&record));
            prop_assert!(!is_needed(record.kind) && record.seq != Seq::ZERO);
            prop_assert!(record.seq.get() < unread);
            let days = minimum.max(if record.kind == Kind::HttpRequest { http } else { 0 });
            prop_assert!(later(record.time, days) < now);
        }
        prop_assert_eq!(going, plan.go.records);
        let staying: u64 = plan.stay.values().map(|tally| tally.records).sum();
        prop_assert_eq!(staying + plan.go.records, records.len() as u64, "every record is accounted for");
        prop_assert!(plan.size == 0 || boundaries.contains(&plan.size), "pruning ends where a segment does");
    }

    #[test]
    fn the_longest_rule_that_applies_wins(minimum in 0_u32..3000, own in 0_u32..3000) {
        let policy = Policy::new(Framework::ALL, minimum, &[format!("http.request={own}")]).unwrap();
        let asked = [Framework::Hipaa.days(), minimum, own].into_iter().max().unwrap();
        prop_assert_eq!(policy.longest(Kind::HttpRequest).0, asked);
        prop_assert_eq!(policy.longest(Kind::SessionOpened).0, Framework::Hipaa.days().max(minimum));
    }
}

#[test]
fn the_frameworks_ask_for_what_their_texts_say() {
    let days = |framework| Policy::new([framework], 0, &[]).unwrap().longest(Kind::HttpRequest).0;
    assert!(days(Framework::Pci) >= 365 && days(Framework::Soc2) >= 365);
    assert!(days(Framework::Hipaa) >= 6 * 365 + 2, "six years with their leap days");
}

#[test]
fn rules_that_keep_nothing_or_cannot_be_read_are_refused() {
    assert_eq!(Policy::new([], 0, &[]), Err(PolicyError::Nothing));
    for rule in ["http.request", "http.request=x", "no.kind=3", "http.request=99999999"] {
        assert!(matches!(Policy::new([], 1, &[rule.to_owned()]), Err(PolicyError::Rule { .. })), "{rule}");
    }
    assert!("sox".parse::<Framework>().is_err());
}

#[test]
fn rules_have_one_digest_however_they_were_given() {
    let one =
        Policy::new([Framework::Pci, Framework::Hipaa], 5, &["http.request=9".into(), "hsm.up=8".into()]);
    let two =
        Policy::new([Framework::Hipaa, Framework::Pci], 5, &["hsm.up = 8".into(), "http.request = 9".into()]);
    assert_eq!(one.unwrap().digest(), two.unwrap().digest());
}

fn record_of(draft: Draft) -> Record {
    let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
    journal.group([draft]);
    Record::parse(&journal.records()[0]).unwrap()
}

#[test]
fn a_hold_that_cannot_be_read_holds_everything() {
    let mut holds = Holds::default();
    holds.apply(&record_of(
        Draft::new(Kind::RetentionHeld, Outcome::Success).detail("hold", "odd").detail("selection", "all"),
    ));
    assert_eq!(holds.on(&record_of(Draft::new(Kind::HttpRequest, Outcome::Success))).unwrap().name, "odd");
}

#[test]
fn a_hold_is_lifted_by_its_name_and_a_second_one_of_that_name_cannot_narrow_it() {
    let wide = Selection::default();
    let mut holds = hold_on(&wide);
    assert!(matches!(held_draft("case-1", "why", &wide, &holds), Err(HoldError::Exists { .. })));
    // Placed all the same, by a program that did not ask.
    let narrow = Selection { sessions: vec!["none".to_owned()], ..Selection::default() };
    holds.apply(&record_of(held_draft("case-1", "why", &narrow, &Holds::default()).unwrap()));
    let request = record_of(Draft::new(Kind::HttpRequest, Outcome::Success));
    assert!(holds.on(&request).is_some());
    assert!(matches!(released_draft("case-2", "over", &holds), Err(HoldError::Unknown { .. })));
    assert!(matches!(released_draft("case-1", " ", &holds), Err(HoldError::Reason)));
    holds.apply(&record_of(released_draft("case-1", "over", &holds).unwrap()));
    assert_eq!(holds.iter().count(), 0);
    assert!(matches!(held_draft("user:a b", "why", &wide, &holds), Err(HoldError::Name { .. })));
}

#[test]
fn a_record_that_cannot_be_read_stays() {
    let policy = Policy::new([], 1, &[]).unwrap();
    let holds = Holds::default();
    let planner = Planner::new(&policy, &holds, Timestamp::MAX, u64::MAX);
    assert_eq!(planner.verdict(Seq::new(1), b"{}"), Some(Stay::Unreadable));
}

#[test]
fn who_placed_a_hold_and_why_stands_in_the_record_only_as_a_commitment() {
    let draft =
        held_draft("case-1", "Jane Roe against us", &Selection::default(), &Holds::default()).unwrap();
    let text = serde_json::to_string(&record_of(draft.subject("user:admin"))).unwrap();
    assert!(!text.contains("Roe") && !text.contains("admin") && text.contains("case-1"));
}
