use jiff::Timestamp;

use super::*;
use crate::keys::Owner;
use crate::kind::Kind;
use crate::record::{Draft, Outcome, Prepared, Seq};
use crate::testing::{ErasingVault, PlainVault};

fn time() -> Timestamp {
    "2026-03-04T23:59:59Z".parse().unwrap()
}

/// The record of a draft, and what lies beside it.
fn sealed(vault: &dyn Vault, draft: Draft) -> (Record, Digest, Vec<u8>) {
    let prepared = Prepared::new(draft, "gw-1", [3; 32]).unwrap();
    let mut bytes = Vec::new();
    prepared.write(Seq::ZERO, &crate::record::time_text(time()), Digest::ZERO, &mut bytes);
    let leaf = Digest::leaf(&bytes);
    let beside = prepared.sidecar().unwrap().seal(vault, leaf, time()).unwrap();
    (Record::parse(&bytes).unwrap(), leaf, beside)
}

fn approval() -> Draft {
    Draft::new(Kind::AccessApproved, Outcome::Success)
        .subject("user:bob")
        .target("user:alice")
        .reason("because")
}

fn person(name: &str) -> Owner {
    Owner::Person(name.to_owned())
}

fn owners(draft: Draft) -> Vec<Owner> {
    Prepared::new(draft, "gw-1", [3; 32]).unwrap().sidecar().unwrap().owners(time()).collect()
}

#[test]
fn what_is_sealed_is_read_back() {
    let (record, leaf, beside) = sealed(&PlainVault, approval());
    let values = Values::open(&PlainVault, &record, leaf, &beside);
    assert_eq!(values.text(Personal::Subject), Some("user:bob"));
    assert_eq!(values.text(Personal::Target), Some("user:alice"));
    assert_eq!(values.text(Personal::Reason), Some("because"));
    assert_eq!(values.get(Personal::Path), None);
}

#[test]
fn each_value_is_sealed_under_the_key_of_whom_it_is_about() {
    let draft = || Draft::new(Kind::AdminCalled, Outcome::Success);
    let today = Owner::Day(jiff::civil::date(2026, 3, 4));
    assert_eq!(owners(approval()), [person("user:bob"), person("user:alice")]);
    assert_eq!(owners(draft().subject("user:bob").path("/x")), [person("user:bob")]);
    // What an operator, who has no name, says of somebody belongs to them.
    assert_eq!(owners(draft().target("user:alice").reason("left the company")), [person("user:alice")]);
    assert_eq!(owners(draft().subject("user:bob").target("user:bob")), [person("user:bob")]);
    assert_eq!(owners(draft().source("203.0.113.7:443")), std::slice::from_ref(&today));
    assert_eq!(owners(draft().subject(ANONYMOUS).source("203.0.113.7:443")), [today]);
}

#[test]
fn erasing_one_person_leaves_the_others_values_readable() {
    let vault = ErasingVault::default();
    let (record, leaf, beside) = sealed(&vault, approval());
    let key = vault.erase(&person("user:alice"));
    let values = Values::open(&vault, &record, leaf, &beside);
    assert_eq!(values.get(Personal::Target), Some(&Value::Erased { key }));
    assert_eq!(values.text(Personal::Subject), Some("user:bob"));
    assert_eq!(values.text(Personal::Reason), Some("because"));
}

#[test]
fn the_seed_that_stays_readable_does_not_open_the_salt_of_an_erased_value() {
    let (record, leaf, beside) = sealed(&PlainVault, approval());
    let parts = parts(&beside).unwrap();
    let plaintext = PlainVault.open(parts[0].key, &aad(leaf, parts[0].fields), parts[0].bytes).unwrap();
    let seed: &[u8; 32] = plaintext.first_chunk().unwrap();
    let guess = commit(Personal::Target, &Salt::derive(seed, Personal::Target), "user:alice");
    assert_ne!(record.personal[&Personal::Target], guess);
}

#[test]
fn a_value_that_cannot_be_opened_is_unreadable_and_not_erased() {
    let vault = ErasingVault::default();
    let (record, leaf, beside) = sealed(&vault, approval());
    vault.away.store(true, std::sync::atomic::Ordering::SeqCst);
    let values = Values::open(&vault, &record, leaf, &beside);
    assert_eq!(values.iter().count(), 3);
    assert!(values.iter().all(|(_, value)| matches!(value, Value::Unreadable { .. })));
    let nothing = Values::open(&PlainVault, &record, leaf, &[]);
    assert!(nothing.iter().all(|(_, value)| matches!(value, Value::Unreadable { .. })));
}

#[test]
fn nobody_can_pass_off_damage_as_an_erasure() {
    let vault = ErasingVault::default();
    let (record, leaf, beside) = sealed(&vault, approval());
    let erased = vault.erase(&person("user:mallory"));
    let mut forged = beside.clone();
    forged[3..19].copy_from_slice(erased.as_bytes());
    let values = Values::open(&vault, &record, leaf, &forged);
    assert!(matches!(values.get(Personal::Subject), Some(Value::Unreadable { .. })));
    // Nor can one part's erasure be made to speak for the other's fields.
    vault.erase(&person("user:bob"));
    let mut forged = beside;
    forged[2] = 0xff;
    let values = Values::open(&vault, &record, leaf, &forged);
    assert_eq!(values.text(Personal::Target), Some("user:alice"));
    assert!(matches!(values.get(Personal::Subject), Some(Value::Unreadable { .. })));
}

#[test]
fn every_changed_byte_leaves_the_value_as_it_was_or_unreadable() {
    let (record, leaf, beside) = sealed(&PlainVault, approval());
    let whole = Values::open(&PlainVault, &record, leaf, &beside);
    for index in 0..beside.len() {
        let mut changed = beside.clone();
        changed[index] ^= 1;
        for (field, value) in Values::open(&PlainVault, &record, leaf, &changed).iter() {
            let same = Some(value) == whole.get(field);
            assert!(same || matches!(value, Value::Unreadable { .. }), "byte {index}, {field}");
        }
        let cut = Values::open(&PlainVault, &record, leaf, &beside[..index]);
        assert!(cut.iter().all(|(_, value)| matches!(value, Value::Unreadable { .. })), "byte {index}");
    }
}
