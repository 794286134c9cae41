use super::*;
use crate::kind::Kind;
use crate::record::{Draft, Outcome};
use crate::testing::{JournalBuilder, SoftwareSigner};
use crate::tree::PathBuilder;

const ORIGIN: &str = "gateway.example.org/ledger";

/// A disclosure of who opened the session in record 1, and the key to check it with.
fn disclosure() -> (Disclosure, PublicKey) {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    let opened =
        || Draft::new(Kind::SessionOpened, Outcome::Success).subject("user:alice").source("203.0.113.7:443");
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success), opened(), opened()]);
    let records = journal.records();
    let mut path = PathBuilder::inclusion(1, 3).unwrap();
    for record in &records {
        path.push(Digest::leaf(record));
    }
    let seed = Digest::of(&[&1_u64.to_be_bytes()]);
    let proof = Proof {
        record: Some(records[1].clone()),
        index: Seq::new(1),
        path: path.finish().unwrap(),
        note: journal.note.clone(),
    };
    let disclosure = Disclosure {
        seq: Seq::new(1),
        field: Personal::Subject,
        value: "user:alice".to_owned(),
        salt: Salt::derive(seed.as_bytes(), Personal::Subject),
        proof,
    };
    (disclosure, signer.verifier())
}

#[test]
fn a_disclosed_value_is_read_back_and_checks_against_its_record() {
    let (disclosure, key) = disclosure();
    let read = Disclosure::parse(&disclosure.to_json()).unwrap();
    assert_eq!(read, disclosure);
    assert_eq!(read.check(&[key]).unwrap().record.seq, Seq::new(1));
}

#[test]
fn the_other_values_of_the_record_stay_hidden() {
    let (disclosure, _) = disclosure();
    let text = disclosure.to_json();
    assert!(!text.contains("203.0.113.7"));
    let guess = commit(Personal::Source, &disclosure.salt, "203.0.113.7:443");
    let record = crate::record::Record::parse(disclosure.proof.record.as_deref().unwrap()).unwrap();
    assert_ne!(record.personal[&Personal::Source], guess, "this salt does not open the other field");
}

#[test]
fn a_changed_value_salt_field_number_record_path_or_head_is_refused() {
    let (good, key) = disclosure();
    let other = SoftwareSigner::new(ORIGIN, [8; 32]).verifier();
    let refused = |change: &dyn Fn(&mut Disclosure)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed.check(std::slice::from_ref(&key)).unwrap_err()
    };
    let value = Personal::Subject;
    assert_eq!(refused(&|d| d.value = "user:bob".to_owned()), DisclosureError::OtherValue { field: value });
    assert_eq!(
        refused(&|d| d.salt = Salt::from_bytes([0; 32])),
        DisclosureError::OtherValue { field: value }
    );
    assert_eq!(
        refused(&|d| d.field = Personal::Source),
        DisclosureError::OtherValue { field: Personal::Source }
    );
    assert_eq!(refused(&|d| d.field = Personal::Path), DisclosureError::NoField { field: Personal::Path });
    assert!(matches!(refused(&|d| d.seq = Seq::new(2)), DisclosureError::OtherRecord { .. }));
    assert!(matches!(refused(&|d| d.proof.index = Seq::new(2)), DisclosureError::Proof(_)));
    assert!(matches!(refused(&|d| d.proof.path[0] = Digest::ZERO), DisclosureError::Proof(_)));
    assert!(matches!(refused(&|d| d.proof.record = None), DisclosureError::Proof(_)));
    assert!(matches!(refused(&|d| d.proof.record.as_mut().unwrap()[20] ^= 1), DisclosureError::Proof(_)));
    assert!(matches!(
        refused(&|d| d.proof.note = d.proof.note.replace("\n3\n", "\n4\n")),
        DisclosureError::Proof(_)
    ));
    assert!(matches!(good.check(&[other]), Err(DisclosureError::Proof(ProofError::Authenticity(_)))));
    assert!(matches!(good.check(&[]), Err(DisclosureError::Proof(ProofError::NoKey))));
}

#[test]
fn a_file_with_another_format_or_with_more_in_it_is_no_disclosure() {
    let text = disclosure().0.to_json();
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        ("\"seq\": 1", "\"more\": 1, \"seq\": 1"),
        ("\"subject\"", "\"name\""),
        ("\"salt\": \"", "\"salt\": \"0"),
    ] {
        assert!(text.contains(from));
        let refused = Disclosure::parse(&text.replacen(from, to, 1));
        assert!(matches!(refused, Err(DisclosureError::Form(_))), "{to}");
    }
}

#[test]
fn a_salt_has_one_spelling() {
    let (disclosure, _) = disclosure();
    let text = disclosure.to_json();
    let salt = Digest::from_bytes(*disclosure.salt.expose_to_auditor()).to_string();
    for other in [salt.to_uppercase(), format!("0x{salt}"), salt[1..].to_owned()] {
        assert_ne!(other, salt);
        let refused = Disclosure::parse(&text.replace(&salt, &other)).unwrap_err();
        assert!(refused.to_string().contains("lower case"), "{refused}");
    }
}
