use super::*;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::record::{Draft, Outcome, Record};
use crate::record::{Prepared, time_text};
use crate::testing::SoftwareSigner;

const ORIGIN: &str = "gateway.example.org/ledger";

fn made(seq: u64, draft: Draft) -> Record {
    let mut bytes = Vec::new();
    let time = time_text(jiff::Timestamp::UNIX_EPOCH);
    Prepared::new(draft, "gw-1", [0; 32]).unwrap().write(Seq::new(seq), &time, Digest::ZERO, &mut bytes);
    Record::parse(&bytes).unwrap()
}

fn lost_head(origin: &str, size: u64) -> String {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let head = Checkpoint { origin: origin.to_owned(), size, root: Digest::ZERO };
    signer.sign_checkpoint(&head).to_string()
}

trait Take {
    fn take(&mut self, record: Record) -> Result<(), String>;
}

impl Take for Epochs {
    fn take(&mut self, record: Record) -> Result<(), String> {
        self.record(record.seq, record.kind, || record.details)
    }
}

/// Epoch 2, begun at record 5, with three records known to be missing.
fn second() -> Resumed {
    Resumed {
        epoch: 2,
        origin: name(ORIGIN, 2),
        origin_before: ORIGIN.to_owned(),
        cause: Cause::EndMissing,
        first: 5,
        at_least: 3,
        lost_head: Some(lost_head(ORIGIN, 8)),
        set_aside: "set-aside/epoch-2".to_owned(),
        tokens_kept: false,
        key: None,
    }
}

/// A ledger of five records of the first epoch, and a segment that begins `origin`.
fn before(origin: &str) -> Epochs {
    let mut epochs = Epochs::default();
    epochs.header(ORIGIN, Seq::ZERO).unwrap();
    epochs.header(origin, Seq::new(5)).unwrap();
    epochs
}

#[test]
fn the_name_of_an_epoch_reads_back_and_other_names_are_of_the_first() {
    for number in [1, 2, 3, 10, u64::MAX] {
        assert_eq!(split(&name(ORIGIN, number)), (ORIGIN, number));
    }
    for other in ["a#1", "a#0", "a#02", "a#", "a#x", "a#+2", "a"] {
        assert_eq!(split(other), (other, 1), "{other}");
    }
}

#[test]
fn what_is_declared_reads_back_from_its_record() {
    for resumed in [second(), Resumed { lost_head: None, at_least: 0, tokens_kept: true, ..second() }] {
        assert_eq!(Resumed::of(&made(5, resumed.draft())), Some(resumed));
    }
}

#[test]
fn an_epoch_begins_with_a_record_that_fits_what_it_stands_on() {
    let mut epochs = before(&name(ORIGIN, 2));
    assert!(epochs.awaits(Seq::new(5)));
    epochs.take(made(5, second().draft())).unwrap();
    assert_eq!(epochs.origin(), Some(name(ORIGIN, 2).as_str()));
    assert_eq!([1, 5, 6].map(|size| epochs.at(size).unwrap().number), [1, 1, 2]);
    assert!(epochs.head(ORIGIN).is_err(), "no head of the old epoch after that");
}

#[test]
fn a_declaration_that_contradicts_what_it_stands_on_is_refused() {
    let third = |lost: Option<String>| Resumed {
        epoch: 3,
        origin: name(ORIGIN, 3),
        origin_before: name(ORIGIN, 2),
        lost_head: lost,
        ..second()
    };
    let good = second();
    for (what, begun, bad) in [
        ("another number", 2, Resumed { epoch: 3, ..good.clone() }),
        ("another name", 2, Resumed { origin: name("other", 2), ..good.clone() }),
        ("another name before", 2, Resumed { origin_before: "other".to_owned(), ..good.clone() }),
        ("the first missing record", 2, Resumed { first: 4, at_least: 4, ..good.clone() }),
        ("more is missing than the lost head shows", 2, Resumed { at_least: 4, ..good.clone() }),
        ("less is missing than the lost head shows", 2, Resumed { at_least: 2, ..good.clone() }),
        ("no lost head for what is missing", 2, Resumed { lost_head: None, ..good.clone() }),
        (
            "a lost head of another ledger",
            2,
            Resumed { lost_head: Some(lost_head("other", 8)), ..good.clone() },
        ),
        ("a lost head that is none", 2, Resumed { lost_head: Some("none".to_owned()), ..good.clone() }),
        ("an epoch skipped without proof", 3, Resumed { at_least: 0, ..third(None) }),
        ("an epoch skipped with a head of the one before", 3, third(Some(lost_head(ORIGIN, 8)))),
        ("a segment of another epoch", 3, good.clone()),
    ] {
        let mut epochs = before(&name(ORIGIN, begun));
        assert!(epochs.take(made(5, bad.draft())).is_err(), "{what}");
    }
    let skipped = third(Some(lost_head(&name(ORIGIN, 2), 8)));
    before(&name(ORIGIN, 3)).take(made(5, skipped.draft())).unwrap();
}

#[test]
fn an_origin_changes_nowhere_else_and_a_declaration_stands_nowhere_else() {
    let heartbeat = || made(5, Draft::new(Kind::GatewayHeartbeat, Outcome::Success));
    assert!(before(&name(ORIGIN, 2)).take(heartbeat()).is_err(), "undeclared");
    assert!(before(ORIGIN).take(made(5, second().draft())).is_err(), "declared without a segment");
    assert!(
        before(&name(ORIGIN, 2)).header(&name(ORIGIN, 2), Seq::new(5)).is_err(),
        "a segment without record"
    );
    let mut epochs = before(&name(ORIGIN, 2));
    epochs.take(made(5, second().draft())).unwrap();
    for back in [ORIGIN, "other", &name("other", 3)] {
        assert!(epochs.clone().header(back, Seq::new(6)).is_err(), "{back}");
    }
}

#[test]
fn a_ledger_of_which_nothing_was_kept_says_so_in_its_second_record() {
    let anew = Resumed { first: 0, at_least: 8, ..second() };
    let created = made(0, Draft::new(Kind::LedgerCreated, Outcome::Success));
    let begun = || {
        let mut epochs = Epochs::default();
        epochs.header(&name(ORIGIN, 2), Seq::ZERO).unwrap();
        epochs.take(created.clone()).unwrap();
        epochs
    };
    begun().take(made(1, anew.draft())).unwrap();
    assert!(begun().take(made(1, Draft::new(Kind::GatewayHeartbeat, Outcome::Success))).is_err());
    assert!(begun().take(made(1, second().draft())).is_err());
}
