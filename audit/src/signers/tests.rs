use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::testing::SoftwareSigner;

const ORIGIN: &str = "gateway.example.org/ledger";

/// Keys 1 to 9 are of the ledger's name, from 10 on they are delegates.
fn key(seed: u8) -> SoftwareSigner {
    let name = if seed < 10 { ORIGIN.to_owned() } else { format!("{ORIGIN}{DELEGATE_SUFFIX}") };
    SoftwareSigner::new(&name, [seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).verifier()
}

fn publics(seeds: &[u8]) -> Vec<PublicKey> {
    seeds.iter().map(|seed| public(*seed)).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

/// A head over `size` records, signed by all of `by`.
fn note(size: u64, by: &[u8]) -> SignedNote {
    let head =
        Checkpoint { origin: ORIGIN.to_owned(), size, root: Digest::of(&[b"root", &size.to_be_bytes()]) };
    let mut notes = by.iter().map(|seed| key(*seed).sign_checkpoint(&head));
    let mut note = notes.next().unwrap();
    notes.for_each(|other| other.signatures().iter().for_each(|line| note.add(line.clone())));
    note
}

fn plain(second: i64) -> News {
    News { last_time: Some(at(second)), ..News::default() }
}

fn began(seed: u8) -> News {
    News { began_with: Some(public(seed)), ..plain(0) }
}

fn rotation(old: u8, new: u8, second: i64) -> News {
    News { rotation: Some(Rotation { old: public(old), new: public(new) }), ..plain(second) }
}

fn delegation(seed: u8, second: i64, until: i64, heads: u64) -> News {
    let delegation = Delegation { key: public(seed), not_after: at(until), heads };
    News { delegation: Some(delegation), ..plain(second) }
}

/// A ledger that began with key 1 and was handed to key 2 by its record 2, as it looks to holders of `given`.
fn rotated(given: &[u8]) -> Signers {
    let mut signers = Signers::new(&publics(given));
    signers.head(1, &note(1, &[1]), &began(1)).unwrap();
    signers.head(2, &note(2, &[1]), &plain(1)).unwrap();
    signers.head(3, &note(3, &[1, 2]), &rotation(1, 2, 2)).unwrap();
    signers.head(4, &note(4, &[2]), &plain(3)).unwrap();
    signers
}

/// A ledger of key 1 that has lent signing to key 10 for two heads until second 100.
fn lent() -> Signers {
    let mut signers = Signers::new(&publics(&[1]));
    signers.head(1, &note(1, &[1]), &began(1)).unwrap();
    signers.head(2, &note(2, &[1]), &delegation(10, 1, 100, 2)).unwrap();
    signers
}

#[test]
fn a_rotation_is_followed_from_the_old_key_from_the_new_one_and_from_both() {
    for given in [&[1][..], &[2], &[1, 2], &[2, 1], &[1, 7], &[7, 2]] {
        assert!(rotated(given).is_anchored(), "{given:?}");
    }
    assert!(!rotated(&[7]).is_anchored(), "neither key was given");
}

#[test]
fn a_retired_key_signs_no_later_head_whoever_trusts_it() {
    for given in [&[1][..], &[2], &[1, 2]] {
        let refused = rotated(given).head(5, &note(5, &[1]), &plain(4)).unwrap_err();
        assert!(matches!(refused, Refused::Retired { until: 3, .. }), "{given:?}: {refused}");
    }
}

#[test]
fn a_new_key_signs_no_head_before_its_rotation() {
    let mut signers = Signers::new(&publics(&[1, 2]));
    signers.head(1, &note(1, &[1]), &began(1)).unwrap();
    assert!(matches!(signers.head(2, &note(2, &[2]), &plain(1)), Err(Refused::Signature(_))));
}

#[test]
fn a_rotation_that_one_of_the_two_keys_has_not_signed_is_refused() {
    for (by, missing) in [(&[2][..], 1), (&[1], 2), (&[3], 1), (&[2, 3], 1)] {
        let mut signers = Signers::new(&publics(&[1, 2]));
        signers.head(1, &note(1, &[1]), &began(1)).unwrap();
        let refused = signers.head(2, &note(2, by), &rotation(1, 2, 1)).unwrap_err();
        assert_eq!(refused, Refused::RotationHalfSigned { key: name(&public(missing)) }, "{by:?}");
        assert_eq!(signers.own().len(), 1, "the key in office stays");
    }
}

#[test]
fn a_rotation_of_another_key_or_back_to_an_old_one_is_refused() {
    let mut signers = rotated(&[1]);
    let other = signers.head(5, &note(5, &[2, 3]), &rotation(1, 3, 4)).unwrap_err();
    assert!(matches!(other, Refused::RotationOfAnother { .. }), "{other}");
    for (by, back) in [(&[2, 1][..], 1), (&[2], 2)] {
        let refused = signers.head(5, &note(5, by), &rotation(2, back, 4)).unwrap_err();
        assert_eq!(refused, Refused::Reused { key: name(&public(back)) });
    }
}

#[test]
fn a_delegated_key_signs_within_its_bounds_and_not_beyond() {
    let mut signers = lent();
    assert_eq!(signers.head(3, &note(3, &[10]), &plain(50)), Ok(By::Delegate));
    assert!(matches!(signers.clone().head(4, &note(4, &[10]), &plain(101)), Err(Refused::Expired { .. })));
    assert_eq!(signers.head(4, &note(4, &[10]), &plain(100)), Ok(By::Delegate));
    assert!(matches!(signers.clone().head(5, &note(5, &[10]), &plain(100)), Err(Refused::Overused { .. })));
    assert_eq!(signers.head(5, &note(5, &[1]), &plain(100)), Ok(By::Own));
}

#[test]
fn a_delegated_key_neither_lends_on_nor_replaces_the_key_that_lent_to_it() {
    let refused = lent().head(3, &note(3, &[10]), &delegation(11, 2, 90, 2)).unwrap_err();
    assert_eq!(refused, Refused::DelegationNotOwn);
    let refused = lent().head(3, &note(3, &[10, 2]), &rotation(1, 2, 2)).unwrap_err();
    assert!(matches!(refused, Refused::RotationHalfSigned { .. }));
}

#[test]
fn a_delegated_key_ends_with_the_next_one_and_with_the_key_that_lent_to_it() {
    let mut renewed = lent();
    renewed.head(3, &note(3, &[1]), &delegation(11, 2, 90, 2)).unwrap();
    assert!(matches!(renewed.head(4, &note(4, &[10]), &plain(3)), Err(Refused::Retired { until: 3, .. })));
    assert_eq!(renewed.head(4, &note(4, &[11]), &plain(3)), Ok(By::Delegate));
    let mut replaced = lent();
    replaced.head(3, &note(3, &[1, 2]), &rotation(1, 2, 2)).unwrap();
    assert!(matches!(replaced.head(4, &note(4, &[10]), &plain(3)), Err(Refused::Retired { .. })));
}

#[test]
fn a_delegated_key_is_known_by_its_name() {
    let mut signers = Signers::new(&publics(&[1]));
    signers.head(1, &note(1, &[1]), &began(1)).unwrap();
    let refused = signers.head(2, &note(2, &[1]), &delegation(3, 1, 90, 2)).unwrap_err();
    assert!(matches!(refused, Refused::DelegateName { .. }), "{refused}");
}

#[test]
fn the_share_of_the_own_key_and_the_longest_stretch_without_it_are_counted() {
    let mut signers = lent();
    signers.head(3, &note(3, &[10]), &plain(20)).unwrap();
    signers.head(4, &note(4, &[10]), &plain(30)).unwrap();
    signers.head(5, &note(5, &[1]), &plain(41)).unwrap();
    let Share { own, delegated, longest_heads, longest_secs, behind, .. } = signers.share().clone();
    assert_eq!((own, delegated, longest_heads, longest_secs, behind), (3, 2, 2, 40, 0));
}

#[test]
fn heads_that_lie_elsewhere_are_believed_by_the_key_that_was_in_office_at_their_size() {
    for given in [&[1][..], &[2], &[1, 2]] {
        let signers = rotated(given);
        for (size, by, good) in [(2, 1, true), (3, 1, true), (4, 1, false), (3, 2, true), (4, 2, true)] {
            assert_eq!(signers.statement(size, &note(size, &[by])).is_ok(), good, "{given:?} {size} {by}");
        }
        // A given key may have signed what this copy does not know of; a learned one not before its time.
        assert!(signers.statement(2, &note(2, &[2])).is_err(), "{given:?}");
    }
    assert!(rotated(&[7]).statement(4, &note(4, &[2])).is_err(), "nothing leads from the given key to it");
}

#[test]
fn a_check_that_goes_on_from_a_kept_state_judges_as_one_that_read_everything() {
    let state = serde_json::to_string(&rotated(&[1]).state()).unwrap();
    let state: SignersState = serde_json::from_str(&state).unwrap();
    for given in [&[1][..], &[2]] {
        let mut signers = Signers::resume(&publics(given), &state, 4);
        assert!(signers.is_anchored());
        assert!(matches!(signers.head(5, &note(5, &[1]), &plain(5)), Err(Refused::Retired { .. })));
        assert_eq!(signers.head(5, &note(5, &[2]), &plain(5)), Ok(By::Own));
    }
    assert!(!Signers::resume(&publics(&[7]), &state, 4).is_anchored());
}

/// What a writer, honest or not, may put into the next group, and who signs it.
#[derive(Clone, Debug)]
enum Deed {
    Plain,
    Rotate { old: u8, new: u8 },
    Lend { to: u8, secs: i64, heads: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => Just(Deed::Plain),
        1 => (1_u8..5, 1_u8..5).prop_map(|(old, new)| Deed::Rotate { old, new }),
        2 => (10_u8..13, 0_i64..20, 1_u64..4).prop_map(|(to, secs, heads)| Deed::Lend { to, secs, heads }),
    ]
}

/// The rules once more, as naively as they can be said.
#[derive(Default)]
struct Model {
    office: u8,
    former: Vec<u8>,
    lent: Option<(u8, i64, u64)>,
}

impl Model {
    fn accepts(&mut self, deed: &Deed, by: &[u8], now: i64) -> bool {
        let own = by.contains(&self.office);
        let delegate =
            self.lent.is_some_and(|(key, end, heads)| by.contains(&key) && now <= end && heads > 0);
        let good = match deed {
            Deed::Plain => own || delegate,
            Deed::Rotate { old, new } => {
                own && *old == self.office
                    && *new != self.office
                    && !self.former.contains(new)
                    && by.contains(new)
            }
            Deed::Lend { .. } => own,
        };
        if !good {
            return false;
        }
        if !own && let Some((_, _, heads)) = &mut self.lent {
            *heads -= 1;
        }
        match deed {
            Deed::Plain => {}
            Deed::Rotate { new, .. } => {
                self.former.push(self.office);
                self.office = *new;
                self.lent = None;
            }
            Deed::Lend { to, secs, heads } => self.lent = Some((*to, now + secs, *heads)),
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_history_of_keys_is_judged_as_the_rules_say(
        deeds in prop::collection::vec((deed(), prop::collection::btree_set(prop_oneof![1_u8..5, 10_u8..13], 1..4)), 1..20),
        given in prop::collection::btree_set(1_u8..5, 1..4),
    ) {
        let given: Vec<u8> = given.into_iter().collect();
        let mut signers = Signers::new(&publics(&given));
        let mut model = Model { office: 1, ..Model::default() };
        signers.head(1, &note(1, &[1]), &began(1)).unwrap();
        let (mut size, mut now) = (1, 0);
        for (deed, by) in deeds {
            now += 3;
            let by: Vec<u8> = by.into_iter().collect();
            let news = match &deed {
                Deed::Plain => plain(now),
                Deed::Rotate { old, new } => rotation(*old, *new, now),
                Deed::Lend { to, secs, heads } => delegation(*to, now, now + secs, *heads),
            };
            let judged = signers.head(size + 1, &note(size + 1, &by), &news);
            prop_assert_eq!(judged.is_ok(), model.accepts(&deed, &by, now), "{:?} by {:?}: {:?}", deed, by, judged);
            size += u64::from(judged.is_ok());
        }
        let own: Vec<_> = model.former.iter().chain([&model.office]).copied().collect();
        prop_assert_eq!(signers.own().iter().map(|tenure| tenure.key.clone()).collect::<Vec<_>>(), publics(&own));
        prop_assert_eq!(signers.is_anchored(), own.iter().any(|key| given.contains(key)));
    }
}

#[test]
fn a_lent_key_that_records_under_one_head_name_has_signed_what_was_lost() {
    let lent = Delegation { key: public(10), not_after: at(100), heads: 2 };
    let mut journal = crate::testing::JournalBuilder::new(ORIGIN, key(1));
    journal.group([
        crate::Draft::new(crate::Kind::LedgerCreated, crate::record::Outcome::Success)
            .detail("key", public(1).to_string()),
        Delegation { not_after: journal.time + SignedDuration::from_secs(60), ..lent }.draft(),
    ]);
    let mut signers = Signers::new(&publics(&[1]));
    for record in journal.records() {
        signers.covered(&crate::record::RecordReader::default().read(&record).unwrap());
    }
    assert!(signers.in_its_time(5, &note(5, &[10]), true).is_ok());
    assert!(signers.in_its_time(2, &note(2, &[10]), true).is_err(), "not before it was lent to");
    assert!(signers.in_its_time(5, &note(5, &[11]), true).is_err());
}
