use proptest::prelude::*;
use serde_json::json;

use super::*;

fn sample() -> Record {
    Record {
        v: FORMAT_VERSION,
        seq: Seq::new(7),
        time: "2026-03-01T10:00:00.000000001Z".parse().unwrap(),
        prev: Digest::leaf(b"before"),
        kind: Kind::SessionOpened,
        result: Outcome::Success,
        action: Some("connect".to_owned()),
        object: Some("tunnel:demo".to_owned()),
        session: Some("sess-1".to_owned()),
        grant: None,
        policy: None,
        correlation: None,
        node: "gw-1".to_owned(),
        personal: BTreeMap::from([
            (Personal::Subject, Digest::leaf(b"a")),
            (Personal::Agent, Digest::leaf(b"b")),
        ]),
        details: json!({"b": 1, "a": ["x", null, true]}).as_object().unwrap().clone(),
    }
}

#[test]
fn a_record_reads_back_from_its_own_bytes() {
    let record = sample();
    assert_eq!(Record::parse(&record.to_bytes().unwrap()), Ok(record));
}

#[test]
fn time_is_written_with_nine_digits_whatever_it_is() {
    assert_eq!(time_text("2026-03-01T10:00:00Z".parse().unwrap()), "2026-03-01T10:00:00.000000000Z");
}

#[test]
fn another_spelling_of_the_same_content_is_refused() {
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    let respelled = [
        text.replace("\"seq\":7", "\"seq\": 7"),
        text.replace("tunnel:demo", "tunnel\\u003ademo"),
        text.replace(".000000001Z", ".000000001+00:00"),
        text.replace("{\"a\":[\"x\",null,true],\"b\":1}", "{\"b\":1,\"a\":[\"x\",null,true]}"),
        text.replace("\"b\":1", "\"b\":1,\"b\":1"),
        text.replace("\"node\"", "\"grant\":null,\"node\""),
        format!("{text}\n"),
    ];
    for other in respelled {
        assert_ne!(other, text);
        let refused = Record::parse(other.as_bytes()).unwrap_err();
        assert!(
            matches!(refused, RecordError::NotCanonical | RecordError::Malformed { .. }),
            "{other}: {refused}"
        );
    }
}

#[test]
fn unknown_keys_unknown_kinds_and_missing_fields_are_refused() {
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    for other in [
        text.replace("\"v\":1", "\"v\":1,\"w\":1"),
        text.replace("session.opened", "session.imagined"),
        text.replace("\"node\":\"gw-1\",", ""),
        text.replace("\"agent\"", "\"agency\""),
        text.replace("success", "Success"),
    ] {
        assert_ne!(other, text);
        assert!(matches!(Record::parse(other.as_bytes()), Err(RecordError::Malformed { .. })), "{other}");
    }
}

#[test]
fn a_record_of_a_later_format_is_refused_with_its_version_even_if_it_has_new_fields() {
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    let later = text.replace("\"v\":1", "\"v\":2,\"zone\":\"x\"");
    let refused = Record::parse(later.as_bytes()).unwrap_err();
    assert_eq!(refused, RecordError::Version { found: 2 });
    assert!(refused.to_string().contains("format 2"));
}

#[test]
fn numbers_that_readers_disagree_about_are_refused_both_ways() {
    for number in [json!(1.5), json!(u64::MAX), json!(MAX_INTEGER + 1), json!(-MAX_INTEGER - 1)] {
        let mut record = sample();
        record.details.insert("n".to_owned(), number);
        assert!(matches!(record.to_bytes(), Err(RecordError::Number { .. })));
    }
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    for number in ["1.0", "1e2", "-0", "9007199254740993"] {
        let other = text.replace("\"b\":1", &format!("\"b\":{number}"));
        assert!(Record::parse(other.as_bytes()).is_err(), "{number}");
    }
}

#[test]
fn details_nested_too_deeply_and_records_too_long_are_refused() {
    let mut deep = json!(1);
    for _ in 0..MAX_DETAIL_DEPTH {
        deep = json!([deep]);
    }
    let mut record = sample();
    record.details.insert("deep".to_owned(), deep);
    assert_eq!(record.to_bytes(), Err(RecordError::TooDeep));

    let mut record = sample();
    record.details.insert("long".to_owned(), json!("x".repeat(MAX_RECORD_BYTES)));
    assert!(matches!(record.to_bytes(), Err(RecordError::TooLarge { .. })));
    let draft = Draft::new(Kind::AdminCalled, Outcome::Success).detail("long", "x".repeat(MAX_RECORD_BYTES));
    assert!(matches!(Prepared::new(draft, "gw", [0; 32]), Err(RecordError::TooLarge { .. })));
    let draft = Draft::new(Kind::HttpRequest, Outcome::Success).path("/".repeat(MAX_PERSONAL_BYTES + 1));
    assert!(matches!(Prepared::new(draft, "gw", [0; 32]), Err(RecordError::PersonalTooLarge { .. })));
}

#[test]
fn no_personal_value_stands_in_the_record() {
    let draft = Draft::new(Kind::AuthFailed, Outcome::Denied)
        .subject("user:alice")
        .source("203.0.113.7:443")
        .agent("curl/8")
        .path("/secret")
        .target("user:bob")
        .reason("because");
    let prepared = Prepared::new(draft, "gw-1", [3; 32]).unwrap();
    let mut bytes = Vec::new();
    prepared.write(Seq::ZERO, &time_text(Timestamp::UNIX_EPOCH), Digest::ZERO, &mut bytes);
    let text = String::from_utf8(bytes.clone()).unwrap();
    for value in ["alice", "203.0.113.7", "curl", "secret", "bob", "because"] {
        assert!(!text.contains(value), "{value} in {text}");
    }
    assert_eq!(Record::parse(&bytes).unwrap().personal.len(), 6);
}

/// Text with all that needs care: quotes, controls, characters beyond the first plane.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just('"'), Just('\\'), Just('\u{7f}'), Just('\u{2028}'), Just('😀'), any::<char>()],
        0..12,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-MAX_INTEGER..=MAX_INTEGER).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let texts = (
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(text()),
    );
    let personal =
        proptest::collection::btree_map(proptest::sample::select(Personal::ALL.to_vec()), text(), 0..6);
    let details = proptest::collection::btree_map(text(), value(), 0..5);
    (proptest::sample::select(Kind::ALL.to_vec()), texts, personal, details).prop_map(
        |(kind, (action, object, session, grant, policy), personal, details)| Draft {
            kind,
            result: Outcome::Denied,
            action,
            object,
            session,
            grant,
            policy,
            correlation: None,
            details: details.into_iter().collect(),
            personal,
        },
    )
}

proptest! {
    #[test]
    fn every_draft_becomes_exactly_the_bytes_that_the_canonicalizer_gives(
        draft in draft(), seq in 0_u64..1 << 53, node in text(), seconds in -10_000_000_000_i64..10_000_000_000
    ) {
        let time = Timestamp::from_second(seconds).unwrap();
        let prepared = Prepared::new(draft, &node, [9; 32]).unwrap();
        let mut bytes = Vec::new();
        prepared.write(Seq::new(seq), &time_text(time), Digest::leaf(b"p"), &mut bytes);
        let record = Record::parse(&bytes).unwrap();
        prop_assert_eq!(serde_json_canonicalizer::to_vec(&record).unwrap(), bytes);
        prop_assert_eq!(record.seq.get(), seq);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Record::parse(&bytes);
    }
}

/// A record's bytes with something about them changed, by which most are no records any more.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let pieces = proptest::sample::select(vec![
        "",
        " ",
        "0",
        "-0",
        "1.0",
        "1e3",
        "9007199254740992",
        "-9007199254740991",
        "null",
        "{}",
        "[]",
        "[[[[[[[[[1]]]]]]]]]",
        "\"",
        "\\",
        "\\u0041",
        "\\/",
        "\\u001f",
        "\\n",
        "\u{7f}",
        "\u{e000}",
        "😀",
        ",",
        "\"v\":1",
        "\"v\":2",
        "\"seq\":1,",
        "\"a\":1,",
        "\"\u{e000}\":1,\"😀\":2",
        "\"😀\":2,\"\u{e000}\":1",
        "T",
        "+00:00",
        "0000",
        "ABC",
        "}",
    ]);
    let change = (any::<proptest::sample::Index>(), 0_usize..4, pieces);
    (draft(), proptest::collection::vec(change, 0..3)).prop_map(|(draft, changes)| {
        let mut bytes = Vec::new();
        let time = time_text(Timestamp::UNIX_EPOCH);
        Prepared::new(draft, "gw-1", [9; 32]).unwrap().write(
            Seq::new(7),
            &time,
            Digest::leaf(b"p"),
            &mut bytes,
        );
        for (at, remove, insert) in changes {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + remove);
            bytes.splice(at..end, insert.bytes());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_reader_accepts_and_refuses_what_the_slow_one_does(bytes in changed()) {
        let slow = crate::testing::read_slowly(&bytes);
        let fast = Record::parse(&bytes);
        prop_assert_eq!(fast.as_ref().ok(), slow.as_ref().ok());
        if let Err(RecordError::Version { found }) = slow {
            prop_assert_eq!(fast, Err(RecordError::Version { found }));
        }
    }
}

#[test]
fn keys_in_details_stand_in_the_order_of_their_utf16_code_units() {
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    // By code points U+E000 would come first, by code units U+1F600 does.
    let right = text.replace("\"b\":1", "\"😀\":1,\"\u{e000}\":1");
    let wrong = text.replace("\"b\":1", "\"\u{e000}\":1,\"😀\":1");
    assert!(Record::parse(right.as_bytes()).is_ok());
    assert_eq!(Record::parse(wrong.as_bytes()), Err(RecordError::NotCanonical));
}

#[test]
fn one_reader_reads_many_records_without_mixing_them() {
    let mut reader = RecordReader::default();
    let long = sample();
    let short = Record { details: Map::new(), action: None, ..sample() };
    for record in [&long, &short, &long] {
        let bytes = record.to_bytes().unwrap();
        assert!(reader.read(b"{\"action\":1}").is_err());
        assert_eq!(reader.read(&bytes).unwrap().to_record(), *record);
    }
}

#[test]
fn a_number_that_canonical_json_would_round_is_refused() {
    let last = Record { seq: Seq::new(MAX_INTEGER.unsigned_abs()), ..sample() };
    assert!(Record::parse(&last.to_bytes().unwrap()).is_ok());
    let beyond = Record { seq: last.seq.next(), ..sample() };
    assert_eq!(Record::parse(&beyond.to_bytes().unwrap()), Err(RecordError::NotCanonical));
}
