//! Ledgers that lost records and went on: what is declared must fit, and nothing else may change a ledger's name.

use sallyport_audit::epoch::{Cause, Resumed};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::{Overall, Trust};
use sallyport_audit::{Checkpoint, Digest, Draft, Kind, Outcome};
use serde_json::{Value, json};

use crate::Score;
use crate::ledger::{Hand, ORIGIN, Sample, canonical, genuine, overall, stranger, trust};

/// How many records the first epoch kept, and how many it had.
const KEPT: usize = 4;
const LOST: u64 = 9;

fn lost_head(origin: &str, size: u64, root: Digest) -> String {
    genuine().sign_checkpoint(&Checkpoint { origin: origin.to_owned(), size, root }).to_string()
}

fn declared(first: u64) -> Resumed {
    Resumed {
        epoch: 2,
        origin: format!("{ORIGIN}#2"),
        origin_before: ORIGIN.to_owned(),
        cause: Cause::EndMissing,
        first,
        at_least: LOST - first,
        lost_head: Some(lost_head(ORIGIN, LOST, Digest::leaf(b"lost"))),
        set_aside: "set-aside/epoch-2".to_owned(),
        tokens_kept: false,
        key: None,
    }
}

fn created(origin: &str) -> Draft {
    Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", origin)
        .detail("key", genuine().verifier().to_string())
        .detail("format", 1)
}

fn visit(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success).detail("n", n)
}

/// Four records, a gap, and three more.
fn resumed() -> Sample {
    let mut journal = JournalBuilder::new(ORIGIN, genuine());
    journal.group([created(ORIGIN)]).group([visit(1), visit(2), visit(3)]);
    journal.resume(&format!("{ORIGIN}#2"));
    journal.group([declared(KEPT as u64).draft(), visit(5)]).group([visit(6)]);
    Sample::of(&journal)
}

/// Nothing was kept.
fn begun_anew() -> Sample {
    let origin = format!("{ORIGIN}#2");
    let mut journal = JournalBuilder::new(&origin, genuine());
    journal.group([created(&origin), declared(0).draft(), visit(2)]);
    Sample::of(&journal)
}

pub(crate) fn good() -> Vec<(&'static str, Sample)> {
    vec![
        ("an epoch that declares what is missing", resumed()),
        ("a ledger of which nothing was kept, and which says so", begun_anew()),
    ]
}

/// A key that came into office by a record that is lost.
fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [41; 32])
}

/// Four records, a gap that holds the handover, and three more under the other key.
fn handover_lost(change: impl Fn(Resumed) -> Resumed, by: &[&SoftwareSigner]) -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, genuine());
    journal.group([created(ORIGIN)]).group([visit(1), visit(2), visit(3)]);
    journal.resume(&format!("{ORIGIN}#2"));
    let head = Checkpoint { origin: ORIGIN.to_owned(), size: LOST, root: Digest::leaf(b"lost") };
    let lost_head = Some(successor().sign_checkpoint(&head).to_string());
    let resumed = Resumed { key: Some(successor().verifier()), lost_head, ..declared(KEPT as u64) };
    journal.group_by([change(resumed).draft(), visit(5)], by);
    journal.signer = successor();
    journal.group([visit(6)]);
    journal
}

fn under_another_key(score: &mut Score) {
    let class = "a ledger that goes on under a key whose record is lost";
    let other = SoftwareSigner::new(ORIGIN, [42; 32]);
    let same = |resumed: Resumed| resumed;
    let mut handed_on = handover_lost(same, &[&successor()]);
    handed_on.hand_over(other.clone()).group([visit(8)]);
    let by_old = Resumed { key: Some(genuine().verifier()), ..declared(KEPT as u64) };
    let none = |resumed: Resumed| Resumed { key: None, ..resumed };
    let stranger_named = |resumed: Resumed| Resumed { key: Some(stranger().verifier()), ..resumed };
    let mut old_again = handover_lost(same, &[&successor()]);
    old_again.group_by([visit(8)], &[&genuine()]);
    let good = handover_lost(same, &[&successor()]);
    let cases: Vec<(&str, &JournalBuilder, Vec<SoftwareSigner>, bool)> = vec![
        ("both keys given", &good, vec![genuine(), successor()], true),
        ("the later key given", &good, vec![successor()], true),
        ("the earlier key given", &good, vec![genuine()], false),
        ("neither key given", &good, vec![stranger()], false),
        ("handed on, the last key given", &handed_on, vec![other.clone()], true),
        ("handed on, the middle key given", &handed_on, vec![successor()], true),
        ("handed on, the first key given", &handed_on, vec![genuine()], false),
        ("the earlier key signs once more", &old_again, vec![genuine(), successor()], false),
    ];
    let mut all: Vec<(String, JournalBuilder, Vec<SoftwareSigner>, bool)> = cases
        .into_iter()
        .map(|(what, journal, keys, good)| (what.to_owned(), journal.clone(), keys, good))
        .collect();
    let both = || vec![genuine(), successor()];
    for (what, journal) in [
        ("signed by the earlier key alone", handover_lost(same, &[&genuine()])),
        ("signed by a stranger", handover_lost(same, &[&stranger()])),
        ("the key not named", handover_lost(none, &[&successor()])),
        ("a stranger's key named", handover_lost(stranger_named, &[&successor()])),
        ("the key in office named", handover_lost(move |_| by_old.clone(), &[&genuine()])),
        ("a stranger's key named and signing", handover_lost(stranger_named, &[&stranger()])),
    ] {
        all.push((what.to_owned(), journal, both(), false));
    }
    for (what, journal, keys, good) in all {
        let sample = Sample::of(&journal);
        let (segments, head) = (sample.bind(), sample.head.as_deref());
        let keys: Vec<_> = keys.iter().map(SoftwareSigner::verifier).collect();
        let accept_epoch = crate::ledger::declared(&segments, &keys);
        let trust = Trust { keys: keys.clone(), accept_epoch, ..Trust::default() };
        let said = overall(&segments, head, &trust);
        score.second.keep_for(&keys, format!("{class}: {what}"), &segments, head, said);
        if good {
            assert_eq!(said, Overall::Verified, "{what}");
        } else {
            score.count(class, || what, said != Overall::Verified);
        }
    }
}

pub(crate) fn run(score: &mut Score) {
    under_another_key(score);
    not_accepted(score);
    declarations(score);
    undeclared(score);
    checkpoints(score);
}

fn not_accepted(score: &mut Score) {
    for (what, sample) in good() {
        for accept_epoch in [None, Some("2".to_owned())] {
            let trust = Trust { accept_epoch, ..trust() };
            let (segments, head) = (sample.bind(), sample.head.as_deref());
            let class = "a declared gap that the auditor has not accepted";
            score.files(class, || what.to_owned(), &segments, head, &trust);
        }
    }
}

/// Every statement of the declaration made false, by whoever has the ledger's key.
fn declarations(score: &mut Score) {
    let set = |path: &'static str, value: Value| (format!("{path} made {value}"), path, Some(value));
    let gone = |path: &'static str| (format!("{path} taken away"), path, None);
    let by_a_stranger = stranger()
        .sign_checkpoint(&Checkpoint { origin: ORIGIN.to_owned(), size: LOST, root: Digest::ZERO })
        .to_string();
    let changes = [
        set("/epoch", json!(1)),
        set("/epoch", json!(3)),
        set("/epoch", json!(-2)),
        set("/epoch", json!("2")),
        gone("/epoch"),
        set("/origin", json!(ORIGIN)),
        set("/origin", json!(format!("{ORIGIN}#3"))),
        set("/origin", json!("another.example.org#2")),
        gone("/origin"),
        set("/origin_before", json!(format!("{ORIGIN}#2"))),
        set("/origin_before", json!("another.example.org")),
        gone("/origin_before"),
        set("/cause", json!("bad luck")),
        gone("/cause"),
        set("/missing/first", json!(3)),
        set("/missing/first", json!(5)),
        gone("/missing/first"),
        set("/missing/at_least", json!(0)),
        set("/missing/at_least", json!(4)),
        set("/missing/at_least", json!(6)),
        set("/missing/at_least", json!(10)),
        gone("/missing/at_least"),
        gone("/missing"),
        gone("/lost_head"),
        set("/lost_head", json!("")),
        set("/lost_head", json!(7)),
        set("/lost_head", json!(by_a_stranger)),
        set("/lost_head", json!(lost_head(ORIGIN, LOST + 1, Digest::ZERO))),
        set("/lost_head", json!(lost_head(&format!("{ORIGIN}#2"), LOST, Digest::ZERO))),
        set("/lost_head", json!(lost_head("another.example.org", LOST, Digest::ZERO))),
        gone("/set_aside"),
        set("/tokens", json!("some")),
        gone("/tokens"),
    ];
    let class = "a false declaration of what is missing, signed with the ledger's own key";
    for (sample, index) in [(resumed(), KEPT), (begun_anew(), 1)] {
        for (what, path, value) in &changes {
            let mut record: Value = serde_json::from_slice(&sample.piece(index).record).unwrap();
            let whole = format!("/details{path}");
            let (parent, key) = whole.rsplit_once('/').unwrap();
            let parent = record.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            let before = parent.get(key).cloned();
            match value {
                Some(value) => drop(parent.insert(key.to_owned(), value.clone())),
                None => drop(parent.remove(key)),
            }
            if before == *value {
                continue;
            }
            let mut forged = sample.clone();
            forged.piece_mut(index).record = canonical(&record);
            forged.relink(index + 1, Hand::Own);
            score.always(class, &format!("record {index}: {what}"), &forged);
        }
    }
}

/// The name changes without a record that says so in its place.
fn undeclared(score: &mut Score) {
    let class = "an epoch that no record declares, signed with the ledger's own key";
    let with = |edit: &dyn Fn(&mut Sample)| {
        let mut sample = resumed();
        edit(&mut sample);
        sample.relink(0, Hand::Own);
        sample
    };
    let heartbeat = |sample: &mut Sample, index: usize| {
        let mut record: Value = serde_json::from_slice(&sample.piece(index).record).unwrap();
        record["kind"] = json!("gateway.heartbeat");
        sample.piece_mut(index).record = canonical(&record);
    };
    for (what, sample) in [
        ("the declaration made a heartbeat", with(&|s| heartbeat(s, KEPT))),
        ("the declaration removed", with(&|s| drop(s.files[1].groups[0].pieces.remove(0)))),
        ("the declaration second in its segment", with(&|s| s.files[1].groups[0].pieces.swap(0, 1))),
        (
            "the declaration twice",
            with(&|s| {
                let twice = s.files[1].groups[0].pieces[0].clone();
                s.files[1].groups[1].pieces.push(twice);
            }),
        ),
        ("declared, and the name kept", with(&|s| ORIGIN.clone_into(&mut s.files[1].header.origin))),
        ("another number", with(&|s| s.files[1].header.origin = format!("{ORIGIN}#3"))),
        ("another ledger", with(&|s| "another.example.org#2".clone_into(&mut s.files[1].header.origin))),
        ("from the beginning", with(&|s| s.files[0].header.origin = format!("{ORIGIN}#2"))),
        (
            "back to the first",
            with(&|s| {
                let mut third = s.files[0].clone();
                third.groups.remove(0);
                s.files.push(third);
            }),
        ),
    ] {
        score.always(class, what, &sample);
    }
    let mut plain = Sample::genuine();
    plain.files[2].header.origin = format!("{ORIGIN}#2");
    plain.relink(0, Hand::Own);
    score.always(class, "a whole ledger renamed from its third segment on", &plain);
    let class = "an epoch begun by somebody without the key";
    for hand in [Hand::Kept, Hand::Stranger] {
        let mut forged = resumed();
        forged.relink(KEPT, hand);
        if matches!(hand, Hand::Stranger) {
            score.always(class, "all heads signed by a stranger", &forged);
        }
        let mut cut = resumed();
        cut.piece_mut(KEPT).record.truncate(40);
        cut.relink(KEPT + 1, hand);
        score.always(class, "the declaration cut off", &cut);
    }
}

/// Heads of the lost end that the declaration does not explain.
fn checkpoints(score: &mut Score) {
    let sample = resumed();
    let class = "a head of what was lost that contradicts the declaration";
    let second = format!("{ORIGIN}#2");
    for (what, note) in [
        ("more was lost", lost_head(ORIGIN, LOST + 1, Digest::leaf(b"lost"))),
        ("much more was lost", lost_head(ORIGIN, u64::MAX, Digest::leaf(b"lost"))),
        ("another head over as many", lost_head(ORIGIN, LOST, Digest::ZERO)),
        ("another history of what was kept", lost_head(ORIGIN, KEPT as u64, Digest::ZERO)),
        ("the second epoch was longer", lost_head(&second, LOST, Digest::ZERO)),
        ("the second epoch had another beginning", lost_head(&second, 2, Digest::ZERO)),
        ("there was a third epoch", lost_head(&format!("{ORIGIN}#3"), 3, Digest::ZERO)),
    ] {
        let trust = Trust { checkpoint: Some(note), ..trust() };
        let (segments, head) = (sample.bind(), sample.head.as_deref());
        score.files(class, || what.to_owned(), &segments, head, &trust);
    }
}
