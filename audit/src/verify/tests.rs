use super::*;
use crate::digest::Digest;
use crate::journal::{Frame, Group};
use crate::kind::Kind;
use crate::record::{Draft, Outcome, Seq};
use crate::testing::{JournalBuilder, SoftwareSigner};

const ORIGIN: &str = "gateway.example.org/ledger";

fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

fn draft(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").detail("n", n)
}

fn created(signer: &SoftwareSigner) -> Draft {
    Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", signer.verifier().to_string())
        .detail("format", 1)
}

/// Ten records in four groups and two segments.
fn sample() -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([created(&signer())]).group((1..4).map(draft)).rotate();
    journal.group((4..9).map(draft));
    journal.group([Draft::new(Kind::GatewayStopped, Outcome::Success)]);
    journal
}

fn trust() -> Trust {
    Trust { keys: vec![signer().verifier()], ..Trust::default() }
}

fn check_with(segments: &[(String, Vec<u8>)], head: Option<&[u8]>, trust: &Trust) -> Verdict {
    let segments =
        segments.iter().map(|(name, bytes)| Ok(Segment { name: name.clone(), bytes: bytes.clone() }));
    verify(segments, head, trust)
}

fn check(journal: &JournalBuilder) -> Verdict {
    check_with(&journal.segments, Some(&journal.head_file()), &trust())
}

/// Which record each byte of a segment belongs to: `None` for frames, heads and sealed values.
fn owners(bytes: &[u8]) -> Vec<Option<Seq>> {
    let mut owners = vec![None; bytes.len()];
    let mut at = 0;
    while let Ok(Some(frame)) = Frame::read(bytes, at) {
        if let Ok(group) = Group::parse(frame.bytes) {
            for (seq, ..) in group.records() {
                for byte in group.record_range(seq).unwrap() {
                    owners[at + byte] = Some(seq);
                }
            }
        }
        at += frame.bytes.len();
    }
    owners
}

#[test]
fn a_good_ledger_passes_in_every_part_that_was_asked() {
    let verdict = check(&sample());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert_eq!(verdict.ledger.records, 10);
    assert_eq!(verdict.freshness.state, State::NotEvaluated);
    assert!(verdict.completeness.sentence.contains("stopped on purpose"));
    assert!(!verdict.not_proved.is_empty());
}

#[test]
fn every_byte_of_the_journal_matters_and_the_changed_record_is_named() {
    let journal = sample();
    for (number, (_, bytes)) in journal.segments.iter().enumerate() {
        for (at, owner) in owners(bytes).into_iter().enumerate() {
            let mask = 1 << (at % 8);
            let mut segments = journal.segments.clone();
            segments[number].1[at] ^= mask;
            let verdict = check_with(&segments, Some(&journal.head_file()), &trust());
            assert_eq!(verdict.overall(), Overall::Broken, "byte {at} ^ {mask:#x}: {verdict:#?}");
            let named = verdict.first_break.expect("a record is named").seq;
            if let Some(owner) = owner {
                assert_eq!(named, owner, "byte {at} ^ {mask:#x} of segment {number}");
            }
        }
    }
}

/// The records of a journal, as they could be taken out, changed and put back by whoever has the disk.
#[derive(Clone)]
struct Loose {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    notes: Vec<String>,
    /// How many records each group has.
    sizes: Vec<usize>,
}

impl Loose {
    /// The sample in one segment, so that headers need no change.
    fn sample() -> (JournalBuilder, Self) {
        let mut journal = JournalBuilder::new(ORIGIN, signer());
        journal.group([created(&signer())]).group((1..4).map(draft)).group((4..9).map(draft));
        let mut loose = Self { records: Vec::new(), notes: Vec::new(), sizes: Vec::new() };
        let bytes = &journal.segments[0].1;
        let mut at = Frame::read(bytes, 0).unwrap().unwrap().bytes.len();
        while let Some(frame) = Frame::read(bytes, at).unwrap() {
            let group = Group::parse(frame.bytes).unwrap();
            loose.sizes.push(usize::try_from(group.count()).unwrap());
            loose
                .records
                .extend(group.records().map(|(_, record, sealed)| (record.to_vec(), sealed.to_vec())));
            loose.notes.push(String::from_utf8(group.note().to_vec()).unwrap());
            at += frame.bytes.len();
        }
        (journal, loose)
    }

    /// Writes it all with right checksums, as a forger would.
    fn bind(&self) -> Vec<(String, Vec<u8>)> {
        let chain = crate::chain::Chain::genesis();
        let mut bytes = crate::journal::SegmentHeader::new(ORIGIN, &chain, "").to_frame().unwrap();
        let (mut records, mut first) = (self.records.iter(), 0);
        for (size, note) in self.sizes.iter().zip(&self.notes) {
            let mut group = crate::journal::GroupWriter::new(Seq::new(first), 0);
            for (record, sealed) in records.by_ref().take(*size) {
                group.record(|out| out.extend_from_slice(record)).unwrap();
                group.seal(sealed);
                first += 1;
            }
            if let Some(group) = group.finish(note) {
                bytes.extend_from_slice(group.frame());
            }
        }
        vec![("00000000000000000000.seg".to_owned(), bytes)]
    }
}

/// Checks what a forger made of the sample, and gives back which record is named.
fn forged(change: impl FnOnce(&mut Loose)) -> (Seq, Verdict) {
    let (journal, mut loose) = Loose::sample();
    let good = check_with(&loose.bind(), Some(&journal.head_file()), &trust());
    assert_eq!(good.overall(), Overall::Verified, "{good:#?}");
    change(&mut loose);
    let verdict = check_with(&loose.bind(), Some(&journal.head_file()), &trust());
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:#?}");
    (verdict.first_break.clone().expect("a record is named").seq, verdict)
}

fn rewrite(record: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(record.clone()).unwrap();
    let changed = text.replace(from, to);
    assert_ne!(changed, text);
    *record = changed.into_bytes();
}

#[test]
fn a_record_rewritten_with_right_checksums_is_named_wherever_it_stands() {
    for n in 1..9 {
        let (named, _) = forged(|loose| rewrite(&mut loose.records[n].0, "success", "denied"));
        assert_eq!(named, Seq::new(n as u64), "record {n}");
    }
}

#[test]
fn two_rewritten_records_are_found_and_the_first_is_named() {
    let (named, _) = forged(|loose| {
        rewrite(&mut loose.records[5].0, "success", "denied");
        rewrite(&mut loose.records[7].0, "success", "denied");
    });
    assert_eq!(named, Seq::new(5));
}

#[test]
fn a_rewritten_link_is_found_at_the_record_that_has_it() {
    for n in 2..9_u64 {
        let index = usize::try_from(n).unwrap();
        let (named, _) = forged(|loose| {
            let prev = Digest::leaf(&loose.records[index - 1].0).to_string();
            rewrite(&mut loose.records[index].0, &prev, &Digest::leaf(b"other").to_string());
        });
        assert_eq!(named, Seq::new(n), "record {n}");
    }
}

#[test]
fn a_removed_swapped_doubled_or_inserted_record_is_found() {
    let (named, _) = forged(|loose| {
        loose.records.remove(5);
        loose.sizes[2] -= 1;
    });
    assert_eq!(named, Seq::new(5));
    let (named, _) = forged(|loose| loose.records.swap(5, 6));
    assert_eq!(named, Seq::new(5));
    let (named, _) = forged(|loose| {
        loose.records.insert(6, loose.records[5].clone());
        loose.sizes[2] += 1;
    });
    assert_eq!(named, Seq::new(6));
    let (named, _) = forged(|loose| {
        let mut record = loose.records[5].clone();
        rewrite(&mut record.0, "\"seq\":5", "\"seq\":6");
        loose.records.insert(6, record);
        loose.sizes[2] += 1;
    });
    assert_eq!(named, Seq::new(6));
}

#[test]
fn a_removed_group_is_found() {
    let (named, _) = forged(|loose| {
        loose.records.drain(1..4);
        loose.sizes.remove(1);
        loose.notes.remove(1);
    });
    assert_eq!(named, Seq::new(1));
}

#[test]
fn a_later_format_is_believed_only_under_a_signed_head() {
    let (named, _) = forged(|loose| rewrite(&mut loose.records[5].0, "\"v\":1", "\"v\":2"));
    assert_eq!(named, Seq::new(5));

    // The same record, written by a program that may.
    let (mut journal, loose) = Loose::sample();
    let mut later = loose.clone();
    later.sizes.truncate(2);
    later.notes.truncate(1);
    later.records.truncate(4);
    rewrite(&mut later.records[3].0, "\"v\":1", "\"v\":2,\"zone\":\"x\"");
    journal.chain = crate::chain::Chain::genesis();
    for (record, _) in &later.records {
        journal.chain.extend(Digest::leaf(record));
    }
    later.notes.push(journal.signer.sign_checkpoint(&journal.chain.checkpoint(ORIGIN)).to_string());
    let verdict = check_with(&later.bind(), None, &trust());
    assert_eq!(verdict.overall(), Overall::NotEvaluated, "{verdict:#?}");
    assert!(verdict.integrity.sentence.contains("format 2"), "{}", verdict.integrity.sentence);
}

#[test]
fn a_ledger_signed_again_with_another_key_is_not_authentic() {
    let (journal, mut loose) = Loose::sample();
    let thief = SoftwareSigner::new(ORIGIN, [66; 32]);
    rewrite(&mut loose.records[8].0, "success", "denied");
    for note in &mut loose.notes {
        let (checkpoint, _) = Checkpoint::from_note(note).unwrap();
        *note = thief.sign_checkpoint(&checkpoint).to_string();
    }
    let mut chain = crate::chain::Chain::genesis();
    for (record, _) in &loose.records {
        chain.extend(Digest::leaf(record));
    }
    *loose.notes.last_mut().unwrap() = thief.sign_checkpoint(&chain.checkpoint(ORIGIN)).to_string();
    let verdict = check_with(&loose.bind(), Some(&journal.head_file()), &trust());
    assert_eq!(verdict.authenticity.state, State::Fail);
    assert_eq!(verdict.overall(), Overall::Broken);
    assert_eq!(verdict.first_break.unwrap().seq, Seq::ZERO);
    // And with the thief's own key, the head file and record 0 tell.
    let verdict = check_with(
        &loose.bind(),
        Some(&journal.head_file()),
        &Trust { keys: vec![thief.verifier()], ..trust() },
    );
    assert_eq!(verdict.overall(), Overall::Broken);
    assert_eq!(verdict.key_trust.state, State::Fail);
}

#[test]
fn a_ledger_cut_short_at_a_group_does_not_fit_its_head_file_or_checkpoint() {
    let (journal, loose) = Loose::sample();
    let mut cut = loose.clone();
    cut.sizes.truncate(2);
    let verdict = check_with(&cut.bind(), Some(&journal.head_file()), &trust());
    assert_eq!(verdict.completeness.state, State::Fail, "{verdict:#?}");
    assert_eq!(verdict.integrity.state, State::Pass);
    assert_eq!(verdict.first_break.unwrap().seq, Seq::new(4));

    let with_checkpoint = Trust { checkpoint: Some(journal.note.clone()), ..trust() };
    let verdict = check_with(&cut.bind(), None, &with_checkpoint);
    assert_eq!(verdict.overall(), Overall::Broken);
    let verdict = check_with(&loose.bind(), None, &with_checkpoint);
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");

    // Without either, nobody can tell, and it does not pass.
    let verdict = check_with(&cut.bind(), None, &trust());
    assert_eq!(verdict.overall(), Overall::NotEvaluated);
}

#[test]
fn a_journal_cut_anywhere_never_passes() {
    let journal = sample();
    for number in 0..journal.segments.len() {
        let whole = &journal.segments[number].1;
        for length in (0..whole.len()).step_by(7) {
            let mut segments = journal.segments[..=number].to_vec();
            segments[number].1.truncate(length);
            let verdict = check_with(&segments, Some(&journal.head_file()), &trust());
            assert_eq!(verdict.overall(), Overall::Broken, "segment {number} cut to {length}: {verdict:#?}");
        }
    }
}

#[test]
fn a_checkpoint_inside_a_group_is_compared_too() {
    let journal = sample();
    let mut partly = crate::chain::Chain::genesis();
    let (_, loose) = Loose::sample();
    for (record, _) in loose.records.iter().take(3) {
        partly.extend(Digest::leaf(record));
    }
    let checkpoint = partly.checkpoint(ORIGIN);
    let good = Trust { checkpoint: Some(signer().sign_checkpoint(&checkpoint).to_string()), ..trust() };
    assert_eq!(check_with(&journal.segments, None, &good).overall(), Overall::Verified);
    let other = Checkpoint { root: Digest::leaf(b"another history"), ..checkpoint };
    let forked = Trust { checkpoint: Some(signer().sign_checkpoint(&other).to_string()), ..trust() };
    assert_eq!(check_with(&journal.segments, None, &forked).completeness.state, State::Fail);
}

#[test]
fn a_checkpoint_of_another_ledger_or_key_or_of_nothing_never_helps() {
    let journal = sample();
    let of = |origin: &str, signer: &SoftwareSigner| {
        signer.sign_checkpoint(&journal.chain.checkpoint(origin)).to_string()
    };
    let stranger = SoftwareSigner::new(ORIGIN, [66; 32]);
    for (checkpoint, expected) in [
        (of("other.example.org/ledger", &signer()), Overall::Broken),
        (of(ORIGIN, &stranger), Overall::Broken),
        ("not a note".to_owned(), Overall::NotEvaluated),
    ] {
        let given = Trust { checkpoint: Some(checkpoint), ..trust() };
        assert_eq!(check_with(&journal.segments, Some(&journal.head_file()), &given).overall(), expected);
    }
}

#[test]
fn empty_unsigned_and_keyless_never_pass() {
    let nothing: &[(String, Vec<u8>)] = &[];
    assert_eq!(check_with(nothing, None, &trust()).overall(), Overall::NotEvaluated);
    let empty = JournalBuilder::new(ORIGIN, signer());
    assert_eq!(check_with(&empty.segments, None, &trust()).overall(), Overall::NotEvaluated);
    let blank = vec![0; crate::journal::head::FILE_BYTES];
    assert_eq!(check_with(&empty.segments, Some(&blank), &trust()).overall(), Overall::NotEvaluated);
    // A journal that was emptied although its head file knows of records.
    let verdict = check_with(nothing, Some(&sample().head_file()), &trust());
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:#?}");
    let keyless = check_with(&sample().segments, Some(&sample().head_file()), &Trust::default());
    assert_eq!(keyless.overall(), Overall::NotEvaluated);

    let (_, mut unsigned) = Loose::sample();
    for note in &mut unsigned.notes {
        note.clear();
    }
    assert_eq!(check_with(&unsigned.bind(), None, &trust()).overall(), Overall::Broken);
}

#[test]
fn a_ledger_that_began_under_another_key_or_name_is_not_trusted() {
    let other = SoftwareSigner::new(ORIGIN, [66; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([created(&other)]);
    assert_eq!(check(&journal).key_trust.state, State::Fail);
    let mut journal = JournalBuilder::new("other.example.org", signer());
    journal.group([created(&signer())]);
    assert_eq!(check(&journal).key_trust.state, State::Fail);
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([draft(1)]);
    assert_eq!(check(&journal).key_trust.state, State::Fail);
}

#[test]
fn segments_of_two_ledgers_or_in_a_wrong_order_do_not_pass() {
    let journal = sample();
    let mut other = JournalBuilder::new("other.example.org", signer());
    other.group([created(&signer())]).group((1..4).map(draft)).rotate();
    other.group((4..9).map(draft));
    let mixed = [journal.segments[0].clone(), other.segments[1].clone()];
    assert_eq!(check_with(&mixed, None, &trust()).overall(), Overall::Broken);
    let swapped = [journal.segments[1].clone(), journal.segments[0].clone()];
    assert_eq!(check_with(&swapped, None, &trust()).overall(), Overall::Broken);
    let missing = [journal.segments[1].clone()];
    let verdict = check_with(&missing, Some(&journal.head_file()), &trust());
    assert_eq!(verdict.overall(), Overall::Broken);
    assert_eq!(verdict.first_break.unwrap().seq, Seq::ZERO);
}

#[test]
fn an_unfinished_group_of_a_live_ledger_is_said_and_does_not_break_it() {
    let mut journal = sample();
    let head = journal.head_file();
    let complete = journal.segments[1].1.len();
    journal.group([draft(99)]);
    journal.segments[1].1.truncate(complete + 40);
    let verdict = check_with(&journal.segments, Some(&head), &trust());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert_eq!(verdict.ledger.unfinished_bytes, 40);
    assert!(verdict.completeness.sentence.contains("unfinished"));
}

#[test]
fn time_that_runs_backwards_must_say_so() {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([created(&signer()), draft(1)]);
    let back = journal.time.saturating_sub(SignedDuration::from_hours(1)).unwrap();
    let mut silent = JournalBuilder::new(ORIGIN, signer());
    silent.group([created(&signer()), draft(1)]);
    silent.time = back;
    silent.group([draft(2)]);
    let verdict = check(&silent);
    assert_eq!(verdict.clock.state, State::Fail);
    assert_eq!(verdict.overall(), Overall::Broken);

    journal.time = back;
    journal.group([Draft::new(Kind::ClockJumped, Outcome::Success), draft(2)]);
    let verdict = check(&journal);
    assert_eq!((verdict.clock.state, verdict.overall()), (State::Pass, Overall::Verified));
    assert!(verdict.clock.sentence.contains("1 place"), "{}", verdict.clock.sentence);
}

#[test]
fn freshness_is_judged_only_against_a_limit() {
    let journal = sample();
    let now = journal.time.saturating_add(SignedDuration::from_mins(10)).unwrap();
    let asked = |minutes: Option<i64>| Trust {
        now: Some(now),
        max_age: minutes.map(SignedDuration::from_mins),
        ..trust()
    };
    let state =
        |trust: &Trust| check_with(&journal.segments, Some(&journal.head_file()), trust).freshness.state;
    assert_eq!(state(&asked(None)), State::NotEvaluated);
    assert_eq!(state(&asked(Some(11))), State::Pass);
    assert_eq!(state(&asked(Some(9))), State::Fail);
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_pass() {
    let journal = sample();
    let first = Segment { name: journal.segments[0].0.clone(), bytes: journal.segments[0].1.clone() };
    let lost = Unreadable { name: "x".to_owned(), reason: "input/output error".to_owned() };
    let verdict = verify([Ok(first), Err(lost)], Some(&journal.head_file()), &trust());
    assert_eq!(verdict.overall(), Overall::NotEvaluated);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn records_verify_however_they_are_grouped_and_any_flipped_bit_is_found(
        groups in proptest::collection::vec((1_u64..6, proptest::prelude::any::<bool>()), 1..8),
        segment in proptest::prelude::any::<proptest::sample::Index>(),
        byte in proptest::prelude::any::<proptest::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut journal = JournalBuilder::new(ORIGIN, signer());
        journal.group([created(&signer())]);
        for (records, rotate) in groups {
            if rotate {
                journal.rotate();
            }
            journal.group((0..records).map(draft));
        }
        proptest::prop_assert_eq!(check(&journal).overall(), Overall::Verified);
        let number = segment.index(journal.segments.len());
        let bytes = &mut journal.segments[number].1;
        let at = byte.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let verdict = check(&journal);
        proptest::prop_assert_eq!(verdict.overall(), Overall::Broken);
        proptest::prop_assert!(verdict.first_break.is_some());
    }

    #[test]
    fn no_bytes_make_the_verifier_panic_or_pass(
        journal in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        head in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
    ) {
        let segments = [("00000000000000000000.seg".to_owned(), journal)];
        let verdict = check_with(&segments, Some(&head), &trust());
        proptest::prop_assert_ne!(verdict.overall(), Overall::Verified);
    }
}

#[test]
fn what_lies_beside_a_ledger_without_its_head_file_passes_only_if_it_covers_all() {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([created(&signer())]).group((1..3).map(draft));
    let kept = journal.note.clone();
    journal.group([draft(3)]);
    let (last, cut) = (journal.note.clone(), journal.segments.clone());
    let beside = |note: &str, second: bool| {
        let (cosigned, witnessed) = if second { (None, Some(note)) } else { (Some(note), None) };
        Trust { cosigned: cosigned.map(str::to_owned), witnessed: witnessed.map(str::to_owned), ..trust() }
    };
    let garbage = vec![7; crate::journal::head::FILE_BYTES];
    for second in [false, true] {
        for head in [None, Some(&garbage[..])] {
            let verdict = check_with(&cut, head, &beside(&kept, second));
            assert_eq!(verdict.overall(), Overall::NotEvaluated, "{verdict:#?}");
            assert!(
                verdict.completeness.sentence.contains("head file beside it is missing") || head.is_some()
            );
            let verdict = check_with(&cut, head, &beside(&last, second));
            assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
        }
        let verdict = check_with(&cut, Some(&journal.head_file()), &beside(&kept, second));
        assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    }
}

#[test]
fn an_earlier_check_does_not_stand_in_for_a_missing_head_file() {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([created(&signer())]);
    let since = |journal: &JournalBuilder, head: Option<&[u8]>, since: Option<&Verified>| {
        let segments = journal.segments.clone().into_iter();
        let segments = segments.map(|(name, bytes)| Ok(Segment { name, bytes }));
        verify_since(segments, head, &trust(), since, &mut |_| {})
    };
    let (_, state) = since(&journal, Some(&journal.head_file()), None);
    assert_eq!(since(&journal, None, state.as_ref()).0.overall(), Overall::Verified, "nothing was added");
    journal.group((1..3).map(draft));
    let (verdict, _) = since(&journal, None, state.as_ref());
    assert_eq!(verdict.overall(), Overall::NotEvaluated, "{verdict:#?}");
    assert!(verdict.completeness.sentence.contains("head file beside it is missing"), "{verdict:#?}");
    let (verdict, _) = since(&journal, Some(&journal.head_file()), state.as_ref());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
}
