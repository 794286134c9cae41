//! Every kind of record in every format, read by parsers and schemas that somebody else wrote; and one record of each format
//! as it has always been written.

use std::{fmt::Write as _, path::Path, process::Command};

use sallyport_audit::{
    Digest, Draft, Entry, Kind, Outcome, Personal, Record, Seq,
    reconcile::Item,
    sidecar::Values,
    sink::{Facility, PersonalView, Shape, SinkName, format::Format},
};
use serde_json::{Value, json};

use crate::source::{NASTY, ORIGIN};

pub(crate) fn format(shape: Shape, personal: PersonalView) -> Format {
    Format {
        origin: ORIGIN.to_owned(),
        sink: SinkName::parse("siem").unwrap(),
        facility: Facility::LOG_AUDIT,
        enterprise: 32_473,
        process: Some(4711),
        personal,
        shape,
    }
}

pub(crate) fn entry(seq: u64, draft: Draft) -> Entry {
    let record = Record {
        v: 1,
        seq: Seq::new(seq),
        time: "2026-03-04T05:06:07.123456789Z".parse().unwrap(),
        prev: if seq == 0 { Digest::ZERO } else { Digest::leaf(b"before") },
        kind: draft.kind,
        result: draft.result,
        action: draft.action,
        object: draft.object,
        session: draft.session,
        grant: draft.grant,
        policy: draft.policy,
        correlation: draft.correlation,
        node: "gw-1".to_owned(),
        personal: draft
            .personal
            .iter()
            .map(|(&field, value)| (field, Digest::of(&[value.as_bytes()])))
            .collect(),
        details: draft.details,
    };
    {
        let bytes = record.to_bytes().unwrap();
        Entry::new(record, bytes, Values::readable(draft.personal))
    }
}

pub(crate) fn full(kind: Kind, result: Outcome, nasty: usize) -> Draft {
    let (path, note) = NASTY[nasty % NASTY.len()];
    let mut draft = Draft::new(kind, result)
        .action("connect")
        .object("tunnel:demo")
        .session("sess-1")
        .grant("grant-1")
        .policy("p")
        .correlation("c-1")
        .subject("user:alice")
        .target(format!("user:{note}"))
        .source("203.0.113.7:443")
        .agent("Mozilla/5.0 (a=b; c|d)")
        .path(path)
        .detail("note", note)
        .detail("status", 200);
    draft.personal.insert(Personal::Reason, note.to_owned());
    draft
}

/// Asks the foreign readers; what they find wrong.
pub(crate) fn foreign(items: &[Value]) -> String {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = home.join("target/siem-formats/bin/python");
    assert!(python.exists(), "run `scripts/prepare test` first: it installs the parsers");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("items");
    let mut text = String::new();
    for item in items {
        writeln!(text, "{item}").unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let output =
        Command::new(python).arg(home.join("tests/tools/siem_formats.py")).arg(&file).output().unwrap();
    let problems = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(output.status.success(), problems.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    problems
}

pub(crate) fn item(format: &Format, entry: &Entry, oversize: Option<usize>) -> Value {
    json!({
        "shape": format.shape.as_str(),
        "kind": entry.record.kind.as_str(),
        "seq": entry.record.seq.get(),
        "leaf": entry.digest().to_string(),
        "prev": entry.record.prev.to_string(),
        "pointer": oversize.is_some(),
        "text": String::from_utf8(format.write(entry, 3, oversize, false)).unwrap(),
    })
}

#[test]
fn every_kind_and_result_in_every_format_is_read_by_others_whatever_its_values_hold() {
    let mut items = Vec::new();
    for (at, kind) in Kind::ALL.iter().enumerate() {
        for (result, more) in [(Outcome::Success, 0), (Outcome::Denied, 3), (Outcome::Failure, 5)] {
            let rich = entry(at as u64, full(*kind, result, at + more));
            let bare = entry(1, Draft::new(*kind, result));
            for shape in Shape::ALL {
                for personal in [PersonalView::Values, PersonalView::Commitments] {
                    items.push(item(&format(*shape, personal), &rich, None));
                }
                items.push(item(&format(*shape, PersonalView::Values), &bare, None));
                if *shape != Shape::Record {
                    items.push(item(&format(*shape, PersonalView::Values), &rich, Some(99_999)));
                }
            }
        }
    }
    assert_eq!(foreign(&items), "");
}

#[test]
fn a_control_that_failed_and_an_item_of_a_review_are_findings_that_say_so() {
    let ocsf = |draft: Draft| -> Value {
        let text = format(Shape::Ocsf, PersonalView::Values).write(&entry(7, draft), 3, None, false);
        serde_json::from_slice(&text).unwrap()
    };
    for (result, status, status_id) in [(Outcome::Success, "Pass", 1), (Outcome::Failure, "Fail", 3)] {
        let tried = ocsf(Draft::new(Kind::CanaryTried, result).detail("control", "self-approval"));
        assert_eq!((&tried["class_uid"], &tried["type_uid"]), (&json!(2003), &json!(200_301)));
        assert_eq!(
            tried["compliance"],
            json!({ "control": "self-approval", "status": status, "status_id": status_id })
        );
        assert_eq!((&tried["status_id"], &tried["status_detail"]), (&json!(1), &json!(result.as_str())));
    }
    let item = ocsf(Draft::new(Kind::ReviewItem, Outcome::Success).target("user:bob"));
    assert_eq!((&item["class_uid"], &item["user"]["name"]), (&json!(2008), &json!("user:bob")));
    assert_eq!(item["access_analysis_result"]["accessors"][0]["name"], "user:bob");
}

#[test]
fn the_foreign_readers_do_find_what_is_wrong() {
    let entry = entry(7, full(Kind::SessionOpened, Outcome::Success, 0));
    for shape in [Shape::Cef, Shape::Leef, Shape::Ecs, Shape::Ocsf, Shape::Json] {
        let good = item(&format(shape, PersonalView::Values), &entry, None);
        let mut changed = good.clone();
        let text = good["text"].as_str().unwrap().replace("tunnel:demo", "tunnel:other");
        changed["text"] =
            if shape == Shape::Json { text.replace("\"seq\":7", "\"seq\":8") } else { text }.into();
        assert_ne!(foreign(&[changed]), "", "{}", shape.as_str());
        assert_eq!(foreign(&[good]), "", "{}", shape.as_str());
    }
}

#[test]
fn what_was_sent_in_any_format_is_found_again_in_what_comes_back() {
    for (at, kind) in Kind::ALL.iter().enumerate() {
        let entry = entry(at as u64, full(*kind, Outcome::Success, at));
        for shape in Shape::ALL {
            let format = format(*shape, PersonalView::Values);
            for syslog in [false, true] {
                let text = String::from_utf8(format.write(&entry, 3, None, syslog)).unwrap();
                let found = Item::read(&Value::String(text.clone()));
                let found = found.unwrap_or_else(|| panic!("{} {kind} {syslog}: {text}", shape.as_str()));
                assert_eq!(
                    found.text.map(|text| Digest::leaf(&text)),
                    Some(entry.digest()),
                    "{} {kind} {syslog}: {text}",
                    shape.as_str()
                );
                let wrapped = json!({ "_index": "x", "_source": { "message": text } });
                assert!(Item::read(&wrapped).is_some_and(|item| item.text.is_some()));
                if syslog || *shape != Shape::Record {
                    assert_eq!((found.sinkseq, found.origin.as_deref()), (Some(3), Some(ORIGIN)), "{text}");
                }
            }
            // A pointer brings number and hash.
            if *shape != Shape::Record {
                let text = String::from_utf8(format.write(&entry, 3, Some(99_999), false)).unwrap();
                let found = Item::read(&Value::String(text)).unwrap();
                assert_eq!(
                    (found.seq, found.leaf, found.text, found.pointer),
                    (Some(at as u64), Some(entry.digest()), None, true),
                    "{}",
                    shape.as_str()
                );
            }
        }
    }
}

#[test]
fn each_format_is_written_as_it_has_always_been() {
    let entry = entry(7, full(Kind::SessionOpened, Outcome::Success, 2));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/siem/golden");
    for shape in Shape::ALL {
        let text = format(*shape, PersonalView::Values).write(&entry, 3, None, true);
        let text = String::from_utf8(text).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let path = folder.join(format!("{}.txt", shape.as_str()));
        if std::env::var_os("SALLYPORT_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            text,
            golden,
            "{}: a change of format is a change of docs/siem and of golden files",
            path.display()
        );
    }
}
