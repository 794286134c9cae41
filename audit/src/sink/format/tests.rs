//! What is sent, read back by a parser that somebody else wrote.

use std::collections::BTreeMap;

use proptest::prelude::*;
use syslog_rfc5424::parse_message;

use super::*;
use crate::{
    Digest, Kind, Outcome,
    commitment::Personal,
    keys::KeyId,
    record::{Record, Seq},
    sidecar::Values,
};

const PLACE: &str = "sallyport@32473";
const WHO: &str = "who@32473";

fn format() -> Format {
    Format {
        origin: "sallyport.example/ledger".to_owned(),
        sink: SinkName::parse("siem").unwrap(),
        facility: Facility::LOG_AUDIT,
        enterprise: 32_473,
        process: Some(4711),
        personal: PersonalView::Values,
        shape: Shape::Record,
    }
}

fn entry(
    kind: Kind,
    result: Outcome,
    node: &str,
    personal: BTreeMap<Personal, String>,
    remark: &str,
) -> Entry {
    let commitments =
        personal.iter().map(|(&field, value)| (field, Digest::of(&[value.as_bytes()]))).collect();
    let record = Record {
        v: 1,
        seq: Seq::new(7),
        time: "2026-03-04T05:06:07.123456999Z".parse().unwrap(),
        prev: Digest::leaf(b"before"),
        kind,
        result,
        action: Some("connect".to_owned()),
        object: Some("tunnel:demo".to_owned()),
        session: None,
        grant: None,
        policy: None,
        correlation: None,
        node: node.to_owned(),
        personal: commitments,
        details: [("note".to_owned(), remark.into())].into_iter().collect(),
    };
    {
        let bytes = record.to_bytes().unwrap();
        Entry::new(record, bytes, Values::readable(personal))
    }
}

fn text(message: Vec<u8>) -> String {
    String::from_utf8(message).unwrap()
}

#[test]
fn a_message_is_what_the_guide_shows() {
    let personal = BTreeMap::from([(Personal::Subject, "user:alice".to_owned())]);
    let entry = entry(Kind::SessionOpened, Outcome::Success, "gw-1", personal, "x");
    let (leaf, prev) = (entry.digest(), entry.record.prev);
    let json = text(entry.bytes.clone());
    let expected = format!(
        "<110>1 2026-03-04T05:06:07.123456Z gw-1 sallyport 4711 session.opened \
         [sallyport@32473 origin=\"sallyport.example/ledger\" seq=\"7\" leaf=\"{leaf}\" prev=\"{prev}\" \
         sink=\"siem\" sinkseq=\"3\" result=\"success\"][who@32473 subject=\"user:alice\"] {json}"
    );
    assert_eq!(text(format().message(&entry, 3)), expected);
}

#[test]
fn a_frame_counts_octets_not_characters() {
    let mut out = Vec::new();
    frame(&mut out, "\u{fc}".as_bytes());
    frame(&mut out, b"ab");
    assert_eq!(out, "2 \u{fc}2 ab".as_bytes());
}

#[test]
fn commitments_only_means_that_no_personal_element_is_sent() {
    let personal = BTreeMap::from([(Personal::Subject, "user:alice".to_owned())]);
    let entry = entry(Kind::SessionOpened, Outcome::Success, "gw-1", personal, "x");
    let format = Format { personal: PersonalView::Commitments, ..format() };
    assert!(!text(format.message(&entry, 1)).contains("alice"));
}

#[test]
fn a_personal_value_that_cannot_be_read_is_named_not_left_out_in_silence() {
    let personal =
        BTreeMap::from([(Personal::Subject, "user:alice".to_owned()), (Personal::Path, "/x".to_owned())]);
    let mut entry = entry(Kind::SessionOpened, Outcome::Success, "gw-1", personal, "x");
    entry.personal.set(Personal::Subject, Value::Unreadable { why: "the token is away".to_owned() });
    let message = parse_message(text(format().message(&entry, 1))).unwrap();
    assert_eq!(message.sd.find_tuple(WHO, "erased"), None);
    assert_eq!(message.sd.find_tuple(WHO, "withheld"), Some(&"subject".to_owned()));
    assert_eq!(message.sd.find_tuple(WHO, "path"), Some(&"/x".to_owned()));
}

#[test]
fn an_erased_value_is_told_apart_from_one_that_cannot_be_read() {
    let personal = BTreeMap::from([(Personal::Subject, "user:alice".to_owned())]);
    let mut entry = entry(Kind::SessionOpened, Outcome::Success, "gw-1", personal, "x");
    entry.personal.set(Personal::Subject, Value::Erased { key: KeyId::from_bytes([1; 16]) });
    let message = parse_message(text(format().message(&entry, 1))).unwrap();
    assert_eq!(message.sd.find_tuple(WHO, "erased"), Some(&"subject".to_owned()));
    assert_eq!(message.sd.find_tuple(WHO, "withheld"), None);
}

#[test]
fn a_value_cannot_break_out_of_its_parameter() {
    let hostile = "x\"][who@32473 subject=\"user:root\"] {\"kind\":\"forged\"}";
    let personal = BTreeMap::from([(Personal::Agent, hostile.to_owned())]);
    let entry = entry(Kind::HttpRequest, Outcome::Success, "gw-1", personal, "x");
    let message = parse_message(text(format().message(&entry, 1))).unwrap();
    assert_eq!(message.sd.find_tuple(WHO, "agent"), Some(&hostile.to_owned()));
    assert_eq!(message.sd.find_tuple(WHO, "subject"), None);
    assert_eq!(message.msg.as_bytes(), entry.bytes);
}

#[test]
fn a_refusal_is_a_warning_a_failure_an_error_and_a_lost_token_critical() {
    assert_eq!(severity(Kind::SessionOpened, Outcome::Success), 6);
    assert_eq!(severity(Kind::GrantIssued, Outcome::Success), 5);
    assert_eq!(severity(Kind::AccessDecided, Outcome::Denied), 4);
    assert_eq!(severity(Kind::SinkFailed, Outcome::Failure), 3);
    assert_eq!(severity(Kind::HsmDown, Outcome::Failure), 2);
}

#[test]
fn every_kind_fits_the_msgid_field() {
    for kind in Kind::ALL {
        assert!(
            kind.as_str().len() <= 32 && kind.as_str().bytes().all(|byte| byte.is_ascii_graphic()),
            "{kind}"
        );
    }
}

proptest! {
    #[test]
    fn a_foreign_parser_reads_back_what_was_sent(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        result in prop::sample::select(vec![Outcome::Success, Outcome::Denied, Outcome::Failure]),
        node in any::<String>(),
        values in prop::collection::btree_map(prop::sample::select(Personal::ALL.to_vec()), any::<String>(), 0..6),
        remark in any::<String>(),
        sequence in 1_u64..,
    ) {
        let entry = entry(kind, result, &node, values.clone(), &remark);
        let sent = text(format().message(&entry, sequence));
        let message = parse_message(&sent).unwrap();
        prop_assert_eq!(message.facility as u8, 13);
        prop_assert_eq!(message.severity as u8, severity(kind, result));
        prop_assert_eq!(message.timestamp_nanos, Some(123_456_000));
        prop_assert_eq!(message.appname.as_deref(), Some("sallyport"));
        prop_assert_eq!(message.msgid.as_deref(), Some(kind.as_str()));
        prop_assert!(message.hostname.is_none_or(|host| host.len() <= 255 && host.bytes().all(|b| b.is_ascii_graphic())));
        prop_assert_eq!(message.msg.as_bytes(), entry.bytes.as_slice());
        let place = |name| message.sd.find_tuple(PLACE, name).cloned();
        prop_assert_eq!(place("leaf"), Some(Digest::leaf(message.msg.as_bytes()).to_string()));
        prop_assert_eq!(place("prev"), Some(entry.record.prev.to_string()));
        prop_assert_eq!(place("seq"), Some("7".to_owned()));
        prop_assert_eq!(place("sinkseq"), Some(sequence.to_string()));
        for (field, value) in &values {
            let read = message.sd.find_tuple(WHO, field.as_str()).unwrap();
            prop_assert!(!read.chars().any(char::is_control), "a control character in {:?}", read);
            if !value.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
                prop_assert_eq!(read, value);
            }
        }
    }

    #[test]
    fn a_pointer_is_a_message_too(octets in any::<usize>()) {
        let entry = entry(Kind::AdminCalled, Outcome::Success, "gw-1", BTreeMap::new(), "x");
        let sent = text(format().pointer(&entry, 1, octets));
        prop_assert!(sent.len() < super::super::options::LEAST_MAX_MESSAGE);
        // A message may end after the structured data (RFC 5424 section 6); this parser wants the space.
        let message = parse_message(format!("{sent} ")).unwrap();
        prop_assert_eq!(message.sd.find_tuple(PLACE, "oversize"), Some(&octets.to_string()));
        prop_assert_eq!(message.msg, "");
    }
}
