use super::*;
use crate::journal::{Frame, Group};
use crate::record::{Draft, Outcome};
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
        let owners = owners(bytes);
        for at in 0..bytes.len() {
            let mask = 1 << (at % 8);
            let mut segments = journal.segments.clone();
            segments[number].1[at] ^= mask;
            let verdict = check_with(&segments, Some(&journal.head_file()), &trust());
            assert_eq!(verdict.overall(), Overall::Broken, "byte {at} ^ {mask:#x}: {verdict:#?}");
            let named = verdict.first_break.expect("a record is named").seq;
            if let Some(owner) = owners[at] {
                assert_eq!(named, owner, "byte {at} ^ {mask:#x} of segment {number}");
            }
        }
    }
}
