//! Every way in which a copy can differ from the ledger has its word.

use serde_json::{Value, json};

use super::*;
use crate::{Digest, Draft, Kind, Outcome, Record, Seq, filter::Filter};

const ORIGIN: &str = "a.example/ledger";

/// Records as a ledger would hold them, every third a heartbeat.
pub(super) fn ledger(count: u64) -> (Population, Vec<Vec<u8>>) {
    let mut population = Population::new(ORIGIN);
    let mut bytes: Vec<Vec<u8>> = Vec::new();
    for seq in 0..count {
        let kind = if seq % 3 == 2 { Kind::GatewayHeartbeat } else { Kind::SessionOpened };
        let draft = Draft::new(kind, Outcome::Success).detail("note", format!("=|\\\"]\u{e9} {seq}"));
        let record = Record {
            v: 1,
            seq: Seq::new(seq),
            time: jiff::Timestamp::from_second(1_790_000_000 + i64::try_from(seq).unwrap()).unwrap(),
            prev: bytes.last().map_or(Digest::ZERO, |bytes| Digest::leaf(bytes)),
            kind: draft.kind,
            result: draft.result,
            action: None,
            object: None,
            session: None,
            grant: None,
            policy: None,
            correlation: None,
            node: "n".to_owned(),
            personal: std::collections::BTreeMap::new(),
            details: draft.details,
        };
        let text = record.to_bytes().unwrap();
        population.add(&record, &text);
        bytes.push(text);
    }
    (population, bytes)
}

fn row(bytes: &[u8], sinkseq: u64) -> Value {
    let record: Value = serde_json::from_slice(bytes).unwrap();
    json!({
        "origin": ORIGIN, "seq": record["seq"], "leaf": Digest::leaf(bytes).to_string(),
        "sink": "soc", "sinkseq": sinkseq, "record": record,
    })
}

pub(super) fn rows(bytes: &[Vec<u8>]) -> Vec<Value> {
    bytes.iter().zip(1..).map(|(bytes, sinkseq)| row(bytes, sinkseq)).collect()
}

pub(super) fn answer(population: &Population, rows: &[Value]) -> Reconciled {
    let mut reconciler = Reconciler::new(population.clone(), None);
    for row in rows {
        reconciler.row(Item::read(row).as_ref());
    }
    // Nothing was added to the ledger meanwhile.
    reconciler.read_on(|_| Ok::<(), ()>(())).unwrap();
    reconciler.finish(0, Some(population.end()), None)
}

#[test]
fn a_whole_copy_is_contiguous_in_whatever_form_it_comes() {
    let (population, bytes) = ledger(9);
    let plain = rows(&bytes);
    let forms: Vec<(&str, Vec<Value>)> = vec![
        ("as sent", plain.clone()),
        ("Elastic", plain.iter().map(|row| json!({ "_id": "x", "_source": row })).collect()),
        (
            "Splunk",
            plain
                .iter()
                .map(|row| json!({ "preview": false, "result": { "_raw": row.to_string() } }))
                .collect(),
        ),
        ("the record alone", bytes.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect()),
        (
            "a text",
            bytes
                .iter()
                .map(|bytes| json!({ "event.original": std::str::from_utf8(bytes).unwrap() }))
                .collect(),
        ),
        ("newest first", plain.iter().rev().cloned().collect()),
    ];
    for (form, rows) in forms {
        let answer = answer(&population, &rows);
        assert!(answer.contiguous, "{form}: {answer:?}");
        assert_eq!((answer.proved, answer.missing), (9, 0), "{form}");
    }
}

#[test]
fn each_difference_has_its_word() {
    let (population, bytes) = ledger(9);
    let good = rows(&bytes);
    let change = |at: usize, change: &dyn Fn(&mut Value)| {
        let mut rows = good.clone();
        change(&mut rows[at]);
        rows
    };
    let cases: Vec<(&str, Vec<Value>, &[&str])> = vec![
        ("one is missing", [&good[..4], &good[5..]].concat(), &["gap"]),
        ("the first is missing", good[1..].to_vec(), &["gap"]),
        ("the last is missing", good[..8].to_vec(), &["gap"]),
        ("two are exchanged", [&good[..3], &good[4..5], &good[3..4], &good[5..]].concat(), &["reordered"]),
        (
            "a detail is changed",
            change(4, &|row| row["record"]["details"]["note"] = "x".into()),
            &["altered"],
        ),
        ("the result is changed", change(4, &|row| row["record"]["result"] = "denied".into()), &["altered"]),
        ("a field is added", change(4, &|row| row["record"]["grant"] = "grant-1".into()), &["altered"]),
        (
            "the time is changed",
            change(4, &|row| row["record"]["time"] = "2026-01-01T00:00:00.000000000Z".into()),
            &["altered"],
        ),
        ("the number beside it is changed", change(4, &|row| row["seq"] = 5.into()), &["altered"]),
        (
            "the hash beside it is changed",
            change(4, &|row| row["leaf"] = Digest::leaf(b"x").to_string().into()),
            &["altered"],
        ),
        (
            "the number in it is changed",
            change(4, &|row| {
                row["record"]["seq"] = 700.into();
                row["seq"] = 700.into();
            }),
            &["gap", "foreign"],
        ),
        (
            "it is of another ledger",
            change(4, &|row| row["origin"] = "b.example/ledger".into()),
            &["gap", "foreign"],
        ),
        (
            "the record is taken out, its hash stays",
            change(4, &|row| {
                row.as_object_mut().unwrap().remove("record");
            }),
            &["unproved"],
        ),
        (
            "the record and the hash are taken out",
            change(4, &|row| {
                row.as_object_mut().unwrap().remove("record");
                row.as_object_mut().unwrap().remove("leaf");
            }),
            &["altered"],
        ),
        ("one is there twice", [&good[..5], &good[4..]].concat(), &["contiguous"]),
        ("nothing is there", Vec::new(), &["gap"]),
    ];
    for (case, rows, verdict) in cases {
        let answer = answer(&population, &rows);
        assert_eq!(answer.verdict, verdict, "{case}: {answer:?}");
    }
    let twice = answer(&population, &[&good[..5], &good[4..]].concat());
    assert_eq!(twice.duplicates, 1);
}

#[test]
fn every_single_byte_that_is_changed_is_seen() {
    let (population, bytes) = ledger(3);
    let good: Vec<String> = rows(&bytes)
        .iter()
        .map(|row| {
            // As text, so that every byte of the record can be changed.
            row["record"].to_string()
        })
        .collect();
    for at in 0..bytes[1].len() {
        let mut changed = bytes[1].clone();
        changed[at] ^= 1;
        let Ok(text) = String::from_utf8(changed) else { continue };
        let rows = [
            json!({ "msg": good[0], "seq": 0, "sinkseq": 1 }),
            json!({ "msg": text, "seq": 1, "leaf": Digest::leaf(&bytes[1]).to_string(), "sinkseq": 2 }),
            json!({ "msg": good[2], "seq": 2, "sinkseq": 3 }),
        ];
        let answer = answer(&population, &rows);
        // A text that is no JSON any more is not found at all: the claim stays, and that isn't enough.
        assert!(!answer.contiguous, "byte {at}: {answer:?}");
    }
}

#[test]
fn what_the_filter_leaves_out_is_no_gap_and_what_it_lets_pass_is() {
    let (population, bytes) = ledger(9);
    let filter = Filter::parse("session").unwrap();
    let sent: Vec<Value> =
        rows(&bytes).into_iter().filter(|row| row["record"]["kind"] == "session.opened").collect();
    let finish = |rows: &[Value]| {
        let mut reconciler = Reconciler::new(population.clone(), Some("soc"));
        for row in rows {
            reconciler.row(Item::read(row).as_ref());
        }
        reconciler.finish(0, Some(9), Some(&filter))
    };
    let whole = finish(&sent);
    assert!(whole.contiguous && whole.left_out == 3, "{whole:?}");
    let holed = finish(&sent[1..]);
    assert_eq!((holed.verdict, holed.gaps), (vec!["gap"], vec![(0, 0)]));
}

#[test]
fn rows_of_another_sink_do_not_fill_a_gap() {
    let (population, bytes) = ledger(4);
    let mut rows = rows(&bytes);
    rows[2]["sink"] = "other".into();
    let mut reconciler = Reconciler::new(population, Some("soc"));
    for row in &rows {
        reconciler.row(Item::read(row).as_ref());
    }
    assert_eq!(reconciler.finish(0, None, None).gaps, [(2, 2)]);
}

#[test]
fn how_far_a_copy_must_reach_is_what_the_last_receipt_says() {
    let (mut population, mut bytes) = ledger(4);
    let mut record = Record::parse(&bytes[3]).unwrap();
    record.seq = Seq::new(4);
    record.prev = Digest::leaf(&bytes[3]);
    record.kind = Kind::SinkDelivered;
    record.object = Some("sink:soc".to_owned());
    record.details.insert("next".to_owned(), 4.into());
    let text = record.to_bytes().unwrap();
    population.add(&record, &text);
    bytes.push(text);
    let mut reconciler = Reconciler::new(population, None);
    for row in &rows(&bytes[..3]) {
        reconciler.row(Item::read(row).as_ref());
    }
    let answer = reconciler.finish(0, None, None);
    assert_eq!((answer.gaps, answer.upto), (vec![(3, 3)], 4));
}

#[test]
fn rows_that_hold_nothing_of_ours_are_counted_and_no_crash() {
    let (population, _) = ledger(2);
    let deep = (0..200).fold(json!("x"), |inner, _| json!([inner]));
    for row in [json!(null), json!("{"), json!({ "seq": 1 }), json!({ "seq": -1, "leaf": "zz" }), deep] {
        let mut reconciler = Reconciler::new(population.clone(), None);
        reconciler.row(Item::read(&row).as_ref());
        assert_eq!(reconciler.finish(0, None, None).unreadable, 1, "{row}");
    }
}

#[test]
fn rows_newer_than_what_was_read_are_compared_once_the_ledger_was_read_on_and_foreign_only_if_it_has_none_of_them()
 {
    let (population, bytes) = ledger(9);
    let (earlier, _) = ledger(5);
    let mut rows = rows(&bytes);
    let run = |rows: &[Value], read: Option<&Population>| {
        let mut reconciler = Reconciler::new(earlier.clone(), None);
        for row in rows {
            reconciler.row(Item::read(row).as_ref());
        }
        let ahead = reconciler.ahead();
        if let Some(all) = read {
            let read = |population: &mut Population| {
                *population = all.clone();
                Ok::<_, ()>(())
            };
            reconciler.read_on(read).unwrap();
        }
        (ahead, reconciler.finish(0, None, None))
    };
    let (ahead, unread) = run(&rows, None);
    assert_eq!((ahead, unread.newer, unread.foreign, unread.upto), (Some((5, 8)), 4, 0, 5));
    assert_eq!((unread.verdict, unread.proved), (vec!["contiguous"], 5), "as far as was read");
    let whole = run(&rows, Some(&population)).1;
    assert_eq!((whole.verdict, whole.proved, whole.newer, whole.reordered), (vec!["contiguous"], 9, 0, 0));
    let newest_first: Vec<Value> = rows.iter().rev().cloned().collect();
    let turned = run(&newest_first, Some(&population)).1;
    assert!(turned.contiguous && turned.newest_first, "a row's place is where it stood: {turned:?}");

    // What was altered is found there too, and what was taken out; and a ledger that was cut short has none of them.
    rows[7]["record"]["details"]["note"] = "other".into();
    rows.remove(6);
    let found = run(&rows, Some(&population)).1;
    assert_eq!((found.verdict, found.gaps), (vec!["altered", "gap"], vec![(6, 6)]));
    let cut = run(&rows, Some(&earlier)).1;
    assert_eq!((cut.verdict, cut.foreign, cut.newer), (vec!["foreign"], 3, 0));
}

/// Adds what a sink says of itself behind the others.
fn say(population: &mut Population, bytes: &mut Vec<Vec<u8>>, kind: Kind, details: &Value) {
    let mut record = Record::parse(bytes.last().unwrap()).unwrap();
    record.seq = Seq::new(bytes.len() as u64);
    record.prev = Digest::leaf(bytes.last().unwrap());
    (record.kind, record.object) = (kind, Some("sink:soc".to_owned()));
    record.details = details.as_object().unwrap().clone();
    let text = record.to_bytes().unwrap();
    population.add(&record, &text);
    bytes.push(text);
}

fn compared(population: &Population, rows: &[Value]) -> Reconciled {
    let mut reconciler = Reconciler::new(population.clone(), Some("soc"));
    for row in rows {
        reconciler.row(Item::read(row).as_ref());
    }
    reconciler.finish(0, Some(population.end()), None)
}

#[test]
fn a_filter_that_changed_holds_for_the_records_of_its_time_and_for_no_others() {
    // Of nine records, every third is a heartbeat.
    for says_from in [true, false] {
        let (mut population, mut bytes) = ledger(9);
        say(
            &mut population,
            &mut bytes,
            Kind::SinkDelivered,
            &json!({ "filter": "session", "from": 0, "next": 3 }),
        );
        // Started again at 3, without a filter, and seen at 6.
        let mut now = json!({ "filter": "all", "from": 3, "next": 6 });
        if !says_from {
            now.as_object_mut().unwrap().remove("from");
        }
        say(&mut population, &mut bytes, Kind::SinkConnected, &now);
        let went = |seq: u64| seq != 2;
        let sent: Vec<Value> =
            rows(&bytes).into_iter().filter(|row| went(row["record"]["seq"].as_u64().unwrap())).collect();
        let whole = compared(&population, &sent);
        assert!(whole.contiguous && whole.left_out == 1, "{says_from}: {whole:?}");
        // A heartbeat after the change must be there, a session before it too.
        for (missing, is_sure) in [(1, true), (5, says_from), (8, true)] {
            let holed: Vec<Value> =
                sent.iter().filter(|row| row["record"]["seq"] != missing).cloned().collect();
            let answer = compared(&population, &holed);
            assert_eq!(answer.contiguous, !is_sure, "{says_from} {missing}: {answer:?}");
        }
    }
}

#[test]
fn a_filter_that_became_narrower_makes_no_gap_and_is_told() {
    let (mut population, mut bytes) = ledger(9);
    say(&mut population, &mut bytes, Kind::SinkConnected, &json!({ "filter": "all", "from": 0, "next": 2 }));
    say(
        &mut population,
        &mut bytes,
        Kind::SinkFailed,
        &json!({ "filter": "session,sink", "from": 6, "next": 6 }),
    );
    say(
        &mut population,
        &mut bytes,
        Kind::SinkConnected,
        &json!({ "filter": "session,sink", "from": 6, "next": 8 }),
    );
    let sent: Vec<Value> = rows(&bytes).into_iter().filter(|row| row["record"]["seq"] != 8).collect();
    let whole = compared(&population, &sent);
    assert!(whole.contiguous && whole.left_out == 1, "{whole:?}");
    assert_eq!(whole.filter, "all; from 6 on session,sink");
    let holed: Vec<Value> = sent.iter().filter(|row| row["record"]["seq"] != 5).cloned().collect();
    assert_eq!(compared(&population, &holed).gaps, [(5, 5)], "that heartbeat was sent");
}

#[test]
fn a_sink_that_was_set_back_sent_all_again_by_its_new_filter() {
    let (mut population, mut bytes) = ledger(9);
    say(
        &mut population,
        &mut bytes,
        Kind::SinkConnected,
        &json!({ "filter": "session", "from": 0, "next": 9 }),
    );
    say(&mut population, &mut bytes, Kind::SinkConnected, &json!({ "filter": "all", "from": 0, "next": 10 }));
    let holed: Vec<Value> = rows(&bytes).into_iter().filter(|row| row["record"]["seq"] != 2).collect();
    assert_eq!(compared(&population, &holed).gaps, [(2, 2)]);
}

#[test]
fn a_pointer_stands_for_its_record_only_if_the_ledger_says_that_it_was_too_large() {
    let (mut population, mut bytes) = ledger(9);
    for (record, pointer) in [(4, true), (6, false)] {
        let details = json!({ "record": record, "octets": 70_000, "pointer": pointer });
        say(&mut population, &mut bytes, Kind::SinkQuarantined, &details);
    }
    let told = compared(&population, &stripped(&bytes, 4));
    assert_eq!((told.verdict, told.claimed, told.pointers), (vec!["contiguous"], 1, 1));
    for (at, why) in [(5, "nothing is said of it"), (6, "the receiver refused it, and it went whole")] {
        let made_up = compared(&population, &stripped(&bytes, at));
        assert_eq!((made_up.verdict, made_up.claimed, made_up.pointers), (vec!["unproved"], 1, 0), "{why}");
    }
    let about_a_sink = compared(&population, &stripped(&bytes, 9));
    assert_eq!(about_a_sink.verdict, ["contiguous"], "the ledger says nothing of such a one");
}

/// Rows, in one of which a pointer takes the record's place.
fn stripped(bytes: &[Vec<u8>], at: usize) -> Vec<Value> {
    let mut rows = rows(bytes);
    let row = rows[at].as_object_mut().unwrap();
    row.remove("record");
    row.insert("oversize".to_owned(), 70_000.into());
    rows
}

#[test]
fn a_pointer_of_one_sink_is_none_of_another() {
    let (mut population, mut bytes) = ledger(9);
    say(&mut population, &mut bytes, Kind::SinkQuarantined, &json!({ "record": 4, "pointer": true }));
    let mut rows = stripped(&bytes, 4);
    for named in [true, false] {
        for (sink, verdict) in [("soc", "contiguous"), ("other", "unproved")] {
            for row in &mut rows {
                row["sink"] = if named { sink.into() } else { Value::Null };
            }
            let mut reconciler = Reconciler::new(population.clone(), (!named).then_some(sink));
            for row in &rows {
                reconciler.row(Item::read(row).as_ref());
            }
            let answer = reconciler.finish(0, Some(population.end()), None);
            assert_eq!(answer.verdict, [verdict], "{sink}, named in rows: {named}");
        }
    }
}

#[test]
fn what_the_ledger_says_of_a_pointer_counts_also_if_it_is_read_after_the_row() {
    let (earlier, mut bytes) = ledger(9);
    let mut population = earlier.clone();
    say(&mut population, &mut bytes, Kind::SinkQuarantined, &json!({ "record": 4, "pointer": true }));
    let mut reconciler = Reconciler::new(earlier, None);
    for row in stripped(&bytes, 4) {
        reconciler.row(Item::read(&row).as_ref());
    }
    let read = |later: &mut Population| {
        *later = population.clone();
        Ok::<_, ()>(())
    };
    reconciler.read_on(read).unwrap();
    assert_eq!(reconciler.finish(0, None, None).verdict, ["contiguous"]);
}

/// Twenty records, of which all but every fourth of the first ten were pruned; and what was sent of them before that.
fn pruned() -> (Population, Vec<Value>) {
    let (mut whole, mut bytes) = ledger(19);
    let root = Digest::leaf(b"x").to_string();
    say(&mut whole, &mut bytes, Kind::RetentionPruned, &json!({ "size": 10, "root": root, "digest": root }));
    let mut population = Population::new(ORIGIN);
    for (seq, bytes) in bytes.iter().enumerate().filter(|(seq, _)| *seq >= 10 || seq % 4 == 0) {
        population.add(&Record::parse(bytes).unwrap(), bytes);
        assert_eq!(population.end(), seq as u64 + 1, "behind the last number, however many are there");
    }
    (population, rows(&bytes))
}

#[test]
fn on_a_pruned_ledger_a_gap_is_found_and_what_was_pruned_is_none() {
    let (population, sent) = pruned();
    let whole = compared(&population, &sent);
    assert_eq!((whole.verdict, whole.proved, whole.upto), (vec!["contiguous"], 13, 20));
    assert_eq!((whole.pruned, whole.pruned_rows), (7, 7), "they can't be compared any more, and it is said");
    // With the receiver's own retention.
    let newer = compared(&population, &[&sent[..1], &sent[4..]].concat());
    assert_eq!((newer.verdict, newer.pruned_rows), (vec!["contiguous"], 4));
    for missing in [0, 4, 8, 10, 15, 19] {
        let holed = compared(&population, &[&sent[..missing], &sent[missing + 1..]].concat());
        assert_eq!((holed.verdict, holed.gaps), (vec!["gap"], vec![(missing as u64, missing as u64)]));
    }
}

#[test]
fn a_number_that_the_ledger_lost_without_saying_so_is_no_pruned_one() {
    let (population, bytes) = ledger(9);
    let mut holed = Population::new(ORIGIN);
    for bytes in bytes.iter().enumerate().filter(|(seq, _)| *seq != 4).map(|(_, bytes)| bytes) {
        holed.add(&Record::parse(bytes).unwrap(), bytes);
    }
    let answer = compared(&holed, &rows(&bytes));
    assert_eq!((answer.verdict, answer.gaps, answer.pruned), (vec!["gap", "foreign"], vec![(4, 4)], 0));
    assert!(compared(&population, &rows(&bytes)).contiguous);
}
