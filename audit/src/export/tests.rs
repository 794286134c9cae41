//! What an export shows, and what nobody can do to one unseen.

use proptest::prelude::*;

use super::*;
use crate::kind::Kind;
use crate::note::PublicKey;
use crate::record::{Draft, Outcome, Seq};
use crate::testing::{JournalBuilder, SoftwareSigner};

const ORIGIN: &str = "example.org/ledger";

fn keys() -> Vec<PublicKey> {
    vec![SoftwareSigner::new(ORIGIN, [1; 32]).verifier()]
}

/// Ten records; every third is a session.
fn export(selection: &Selection) -> String {
    let mut journal = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [1; 32]));
    journal.group((0..10).map(|n| {
        let kind = if n % 3 == 0 { Kind::SessionOpened } else { Kind::GatewayHeartbeat };
        Draft::new(kind, Outcome::Success).detail("n", n)
    }));
    let mut out = Vec::new();
    let mut exporter = Exporter::new(&mut out, &journal.note, selection).unwrap();
    for (record, seq) in journal.records().iter().zip(0..) {
        exporter.record(Seq::new(seq), record, Digest::leaf(record)).unwrap();
    }
    exporter.finish().unwrap();
    String::from_utf8(out).unwrap()
}

fn sessions() -> Selection {
    Selection { kinds: vec![Kind::SessionOpened], ..Selection::default() }
}

fn fault(text: &str) -> Fault {
    match check(text.as_bytes(), &keys()) {
        Err(ExportError::Bad { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_filtered_export_shows_what_fits_and_states_what_was_left_out() {
    let text = export(&sessions());
    let checked = check(text.as_bytes(), &keys()).unwrap();
    assert_eq!((checked.size, checked.shown, checked.left_out), (10, 4, 6));
    assert!(checked.not_proved.iter().any(|line| line.contains("6 records which were left out")));
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"omitted\"")).count(), 5);
}

#[test]
fn an_export_of_a_range_leaves_nothing_out_in_it() {
    let range = Selection { from: Seq::new(3), to: Some(Seq::new(6)), ..Selection::default() };
    let text = export(&range);
    let checked = check(text.as_bytes(), &keys()).unwrap();
    assert_eq!((checked.shown, checked.left_out), (4, 0));

    // The same lines with a record hidden as if a filter had taken it.
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|line| line.contains("\"seq\":4")).unwrap();
    let root = Digest::leaf(lines[at].as_bytes());
    lines[at] = format!("{{\"omitted\":{{\"count\":1,\"first\":4,\"root\":\"{root}\"}}}}");
    assert_eq!(fault(&(lines.join("\n") + "\n")), Fault::LeftOut { first: Seq::new(4) });
}

#[test]
fn a_line_removed_doubled_or_moved_is_a_gap() {
    let text = export(&sessions());
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    for at in 1..lines.len() {
        let mut removed = lines.clone();
        removed.remove(at);
        assert!(matches!(fault(&removed.concat()), Fault::Gap { .. } | Fault::CutShort { .. }), "line {at}");
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        assert!(matches!(fault(&doubled.concat()), Fault::Gap { .. } | Fault::TooMany { .. }), "line {at}");
        if at > 1 {
            let mut moved = lines.clone();
            moved.swap(at, at - 1);
            assert!(matches!(fault(&moved.concat()), Fault::Gap { .. }), "line {at}");
        }
    }
}

#[test]
fn a_changed_record_and_a_changed_run_do_not_lead_to_the_signed_root() {
    let text = export(&sessions());
    assert_eq!(fault(&text.replace("{\"n\":3}", "{\"n\":4}")), Fault::OtherRoot);
    let everything = export(&Selection::default());
    assert_eq!(fault(&everything.replace("{\"n\":3}", "{\"n\":4}")), Fault::Unlinked { seq: Seq::new(4) });
    let at = text.find("\"root\":\"").unwrap() + 8;
    let other = if text[at..].starts_with('0') { "1" } else { "0" };
    assert_eq!(fault(&format!("{}{other}{}", &text[..at], &text[at + 1..])), Fault::OtherRoot);
}

#[test]
fn a_selection_that_the_records_do_not_fit_is_noticed() {
    let text = export(&sessions()).replacen("session.opened", "session.closed", 1);
    assert_eq!(fault(&text), Fault::NotSelected { seq: Seq::ZERO });
}

#[test]
fn an_export_under_another_key_or_in_a_later_format_is_refused_in_words() {
    let text = export(&sessions());
    let stranger = SoftwareSigner::new(ORIGIN, [2; 32]).verifier();
    let refused = |keys: &[PublicKey]| check(text.as_bytes(), keys).unwrap_err().to_string();
    assert!(refused(&[stranger]).contains("not signed by a given key"));
    assert!(refused(&[]).contains("no public key"));
    assert_eq!(fault(&text.replace("\"format\":1", "\"format\":2")), Fault::Version { found: 2 });
    assert_eq!(fault(""), Fault::Empty);
    let nothing = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [1; 32]));
    let note = nothing.signer.sign_checkpoint(&nothing.chain.checkpoint(ORIGIN)).to_string();
    let mut out = Vec::new();
    Exporter::new(&mut out, &note, &Selection::default()).unwrap().finish().unwrap();
    assert_eq!(fault(&String::from_utf8(out).unwrap()), Fault::Empty);
    assert_eq!(fault(text.trim_end()), Fault::Unfinished);
}

proptest! {
    #[test]
    fn no_change_of_one_byte_goes_unseen_in_what_is_shown(at in 0_usize..4000, to in any::<u8>()) {
        let text = export(&sessions());
        let mut bytes = text.clone().into_bytes();
        let Some(byte) = bytes.get_mut(at) else { return Ok(()) };
        *byte = to;
        if check(bytes.as_slice(), &keys()).is_ok() {
            let records = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').skip(1)
                .filter(|line| !line.starts_with(b"{\"omitted\"")).map(<[u8]>::to_vec).collect::<Vec<_>>();
            prop_assert_eq!(records(&bytes), records(text.as_bytes()));
        }
    }

    #[test]
    fn no_bytes_make_the_export_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(bytes.as_slice(), &keys());
    }
}

#[test]
fn an_export_that_shows_how_its_signer_was_replaced_is_refused() {
    let (old, new) = (SoftwareSigner::new(ORIGIN, [1; 32]), SoftwareSigner::new(ORIGIN, [2; 32]));
    let plain = || Draft::new(Kind::GatewayHeartbeat, Outcome::Success);
    let all = Selection::default();
    let export = |journal: &JournalBuilder| {
        let mut out = Vec::new();
        let mut exporter = Exporter::new(&mut out, &journal.note, &all).unwrap();
        for (record, seq) in journal.records().iter().zip(0..) {
            exporter.record(Seq::new(seq), record, Digest::leaf(record)).unwrap();
        }
        exporter.finish().unwrap();
        out
    };
    let both = [old.verifier(), new.verifier()];
    let mut journal = JournalBuilder::new(ORIGIN, old.clone());
    journal.group([plain()]);
    journal.hand_over(new);
    // The head over the rotation itself is good for whoever knows either key.
    assert!(check(export(&journal).as_slice(), &both[..1]).is_ok());
    let mut forged = journal.clone();
    journal.group([plain()]);
    assert!(check(export(&journal).as_slice(), &both).is_ok());
    forged.signer = old;
    forged.group([plain()]);
    for keys in [&both[..1], &both] {
        let refused = check(export(&forged).as_slice(), keys);
        assert!(matches!(refused, Err(ExportError::Bad { fault: Fault::Retired { .. }, .. })), "{refused:?}");
    }
}

#[test]
fn a_selection_that_is_long_to_compare_is_refused() {
    use crate::selection::MAX_ENTRIES;
    let with = |entries: usize| Selection {
        kinds: vec![Kind::SessionOpened],
        objects: (0..entries).map(|n| n.to_string()).collect(),
        ..Selection::default()
    };
    assert!(matches!(fault(&export(&with(MAX_ENTRIES + 1))), Fault::Selection(_)));
    assert!(check(export(&with(MAX_ENTRIES)).as_bytes(), &keys()).is_ok());
}
