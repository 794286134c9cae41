use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;

/// Three records that fit: a request, an enrolment, and the approval that the enrolled key has signed.
struct Story {
    request: Record,
    enrolment: Record,
    approval: Record,
}

fn record(seq: u64, kind: Kind, details: &serde_json::Value) -> Record {
    Record {
        v: 1,
        seq: Seq::new(seq),
        time: jiff::Timestamp::UNIX_EPOCH,
        prev: Digest::ZERO,
        kind,
        result: Outcome::Success,
        action: None,
        object: None,
        session: None,
        grant: None,
        policy: None,
        correlation: Some("req-1".to_owned()),
        node: "gw-1".to_owned(),
        personal: std::collections::BTreeMap::new(),
        details: details.as_object().unwrap().clone(),
    }
}

fn leaf(record: &Record) -> Digest {
    Digest::leaf(&record.to_bytes().unwrap())
}

impl Story {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let request = record(3, Kind::AccessRequested, &json!({ "minutes": 30 }));
        let approver = ApproverId::new([9; 32]);
        let enrolment = record(
            5,
            Kind::PasskeyEnrolled,
            &json!({
                "passkey": "passkey-1", "approver": approver.text(), "credential": "AQ", "algorithm": "EdDSA",
                "key": URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()), "rp_id": "gateway.example",
                "origin": "https://gateway.example", "counter": 4,
            }),
        );
        let conditions = ["office".to_owned()];
        let agreed = Agreed {
            request: leaf(&request),
            approver: &approver,
            minutes: Some(10),
            conditions: &conditions,
            once: true,
        };
        let client_data = json!({
            "type": "webauthn.get", "challenge": URL_SAFE_NO_PAD.encode(agreed.challenge()),
            "origin": "https://gateway.example", "crossOrigin": false,
        });
        let client_data = client_data.to_string();
        let data = [&Sha256::digest("gateway.example")[..], &[0x05], &[0, 0, 0, 5]].concat();
        let signature = key.sign(&[&data[..], &Sha256::digest(&client_data)[..]].concat());
        let approval = record(
            9,
            Kind::AccessApproved,
            &json!({
                "passkey": "passkey-1", "minutes": 10, "conditions": ["office"], "once": true,
                "client_data": URL_SAFE_NO_PAD.encode(client_data),
                "authenticator_data": URL_SAFE_NO_PAD.encode(data),
                "signature": URL_SAFE_NO_PAD.encode(signature.to_bytes()),
            }),
        );
        Self { request, enrolment, approval }
    }

    fn check_with(&self, more: &[Record]) -> Result<SignedApproval, RecordFault> {
        let mut records = ApprovalRecords::new(Wanted::new(self.approval.clone())?);
        let mut all: Vec<&Record> = [&self.request, &self.enrolment, &self.approval].into_iter().collect();
        all.extend(more);
        all.sort_by_key(|record| record.seq);
        for record in all {
            records.see(record, &record.to_bytes().unwrap());
        }
        records.check()
    }

    fn check(&self) -> Result<SignedApproval, RecordFault> {
        self.check_with(&[])
    }
}

#[test]
fn three_records_that_fit_are_a_signed_approval() {
    let found = Story::new().check().unwrap();
    assert_eq!((found.records.request, found.records.enrolment), (Seq::new(3), Seq::new(5)));
    assert_eq!((found.minutes, found.once, found.counter), (Some(10), true, 5));
    assert_eq!(found.conditions, ["office"]);
}

#[test]
fn each_field_that_was_changed_afterwards_is_found() {
    let base64 = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let other = SigningKey::from_bytes(&[8; 32]);
    let changes: [(&str, &str, serde_json::Value); 17] = [
        ("request", "minutes", json!(31)),
        ("request", "ticket", json!("OPS-2")),
        ("enrolment", "passkey", json!("passkey-2")),
        ("enrolment", "approver", base64(&[1; 32])),
        ("enrolment", "algorithm", json!("ES256")),
        ("enrolment", "key", base64(other.verifying_key().as_bytes())),
        ("enrolment", "rp_id", json!("evil.example")),
        ("enrolment", "origin", json!("https://evil.example")),
        ("enrolment", "counter", json!(5)),
        ("approval", "passkey", json!("passkey-2")),
        ("approval", "minutes", json!(11)),
        ("approval", "minutes", serde_json::Value::Null),
        ("approval", "conditions", json!([])),
        ("approval", "once", json!(false)),
        ("approval", "client_data", base64(b"{}")),
        ("approval", "authenticator_data", base64(&[0; 37])),
        ("approval", "signature", base64(&[0; 64])),
    ];
    for (which, field, value) in changes {
        let mut story = Story::new();
        let record = match which {
            "request" => &mut story.request,
            "enrolment" => &mut story.enrolment,
            _ => &mut story.approval,
        };
        if value.is_null() {
            record.details.remove(field);
        } else {
            record.details.insert(field.to_owned(), value);
        }
        assert!(story.check().is_err(), "{which}.{field}");
    }
    // Who asks, what for and why are in the request's record too, as plain fields and commitments.
    let mut story = Story::new();
    story.request.object = Some("tunnel:vault".to_owned());
    assert_eq!(story.check(), Err(RecordFault::NotSigned(NotSigned::OtherChallenge)));
    let mut story = Story::new();
    story.approval.correlation = Some("req-2".to_owned());
    assert_eq!(story.check(), Err(RecordFault::Missing("the request")));
}

#[test]
fn a_condition_with_a_line_break_doesnt_pass_for_two() {
    let mut story = Story::new();
    story.approval.details.insert("conditions".to_owned(), json!(["office\ncondition night"]));
    assert_eq!(story.check(), Err(RecordFault::Unreadable("conditions")));
}

#[test]
fn what_was_revoked_before_or_used_beyond_it_before_signs_nothing() {
    let story = Story::new();
    let revoked = record(7, Kind::PasskeyRevoked, &json!({ "passkey": "passkey-1" }));
    assert_eq!(
        story.check_with(std::slice::from_ref(&revoked)),
        Err(RecordFault::Revoked { at: Seq::new(7) })
    );
    let later = Record { seq: Seq::new(10), ..revoked };
    assert!(story.check_with(&[later]).is_ok(), "what was signed before stays signed");
    let mut earlier = story.approval.clone();
    earlier.seq = Seq::new(7);
    earlier.correlation = Some("req-0".to_owned());
    assert_eq!(
        story.check_with(&[earlier]),
        Err(RecordFault::NotSigned(NotSigned::CounterBack)),
        "the same answer shown again"
    );
    let lost = |tokens: &str| record(7, Kind::LedgerResumed, &json!({ "tokens": tokens }));
    assert_eq!(story.check_with(&[lost("ended")]), Err(RecordFault::Revoked { at: Seq::new(7) }));
    assert!(story.check_with(&[lost("kept")]).is_ok());
    let of_others = record(7, Kind::PasskeyRevoked, &json!({ "passkey": "passkey-9" }));
    assert!(story.check_with(&[of_others]).is_ok());
}

#[test]
fn one_approvers_second_signature_on_a_request_is_none_whichever_passkey_it_is_by() {
    let story = Story::new();
    let at = Seq::new(7);
    let again = Record { seq: at, ..story.approval.clone() };
    assert_eq!(story.check_with(std::slice::from_ref(&again)), Err(RecordFault::Twice { at }));
    let enrolled = |passkey: &str, approver: u8| {
        let mut enrolled = Record { seq: Seq::new(6), ..story.enrolment.clone() };
        enrolled.details.insert("passkey".to_owned(), json!(passkey));
        enrolled.details.insert("approver".to_owned(), json!(ApproverId::new([approver; 32]).text()));
        enrolled
    };
    let mut with_another = again;
    with_another.details.insert("passkey".to_owned(), json!("passkey-2"));
    let pair = |approver| [enrolled("passkey-2", approver), with_another.clone()];
    assert_eq!(story.check_with(&pair(9)), Err(RecordFault::Twice { at }), "the same person's other key");
    assert!(story.check_with(&pair(8)).is_ok(), "somebody else's approval");
    let refused = Record { result: Outcome::Denied, ..with_another };
    assert!(story.check_with(&[enrolled("passkey-2", 9), refused]).is_ok());
}

#[test]
fn records_that_were_not_there_to_be_looked_at_are_counted() {
    let story = Story::new();
    assert_eq!(story.check().unwrap().unseen, 3, "6, 7 and 8, of which one may revoke the passkey");
    let between = |seq| record(seq, Kind::HttpRequest, &json!({}));
    let denied = Record { result: Outcome::Denied, ..between(7) };
    let found = story.check_with(&[between(6), denied, between(8), between(4)]).unwrap();
    assert_eq!(found.unseen, 0);
}

#[test]
fn a_record_that_is_no_signed_approval_is_told_as_that() {
    let story = Story::new();
    assert!(matches!(Wanted::new(story.request), Err(RecordFault::NoApproval)));
    let mut refused = story.approval.clone();
    refused.result = Outcome::Denied;
    assert!(matches!(Wanted::new(refused), Err(RecordFault::NoApproval)));
    let mut unsigned = story.approval;
    unsigned.details.remove("passkey");
    assert!(matches!(Wanted::new(unsigned), Err(RecordFault::Unsigned)));
}
