//! A large journal is opened from its recent part: what is found then, and what is found later.

use super::*;
use crate::journal::{Files, Frame, FrameKind, SegmentHeader, frame};
use crate::ledger::Lending;
use crate::testing::JournalBuilder;

/// Many small segments, of which opening reads as few as it may.
fn sparing(directory: &Path) -> LedgerOptions {
    LedgerOptions { segment_bytes: 20_000, reread_bytes: 0, ..options(directory) }
}

/// A ledger of so many segments that most are old.
async fn long() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = try_open(sparing(directory.path())).unwrap();
    for n in 0..200 {
        ledger.append(draft(n)).await.unwrap();
    }
    ledger.close().await.unwrap();
    directory
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    Files::new(directory).segments().unwrap().into_iter().map(|segment| segment.path).collect()
}

fn reread_all(directory: &Path, until: Seq) -> Result<(), LedgerError> {
    reread(directory, ORIGIN, &signer().verifier(), until)
}

#[tokio::test]
async fn a_long_journal_is_opened_from_its_recent_part_and_goes_on_as_if_all_had_been_read() {
    let directory = long().await;
    let (ledger, opened) = try_open(sparing(directory.path())).unwrap();
    assert!(opened.checked_from > Seq::new(20), "{opened:?}");
    assert_eq!((opened.records, &opened.store), (201, &StoreState::Current));
    assert_eq!(numbers(&ledger), (0..200).collect::<Vec<_>>());
    assert_eq!(ledger.append(draft(200)).await.unwrap().seq, Seq::new(201));
    reread_all(directory.path(), opened.checked_from).unwrap();
    ledger.close().await.unwrap();
    assert_verified(directory.path());
    let (ledger, opened) = try_open(options(directory.path())).unwrap();
    assert_eq!((opened.checked_from, opened.records), (Seq::ZERO, 202), "what fits the bound is read whole");
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_byte_changed_inside_an_old_segment_is_found_when_that_is_read_again() {
    let directory = long().await;
    let old = &segments(directory.path())[1];
    let mut bytes = std::fs::read(old).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(old, bytes).unwrap();
    let (ledger, opened) = try_open(sparing(directory.path())).unwrap();
    let error = reread_all(directory.path(), opened.checked_from).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    ledger.close().await.unwrap();
    assert_ne!(check(directory.path()).overall(), Overall::Verified);
    let error = refused(options(directory.path()));
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}

#[test]
fn whichever_byte_of_an_old_segment_is_changed_reading_it_again_finds_damage() {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", signer().verifier().to_string())
        .detail("format", 1)]);
    for n in 0..3 {
        journal.rotate();
        journal.group([draft(2 * n), draft(2 * n + 1)]).group([draft(2 * n)]);
    }
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    std::fs::create_dir(files.journal()).unwrap();
    for (name, bytes) in &journal.segments {
        std::fs::write(files.journal().join(name), bytes).unwrap();
    }
    let all = files.segments().unwrap();
    let until = all[3].first;
    reread_all(directory.path(), until).unwrap();
    for old in &all[..3] {
        let whole = std::fs::read(&old.path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&old.path, changed).unwrap();
            let error = reread_all(directory.path(), until).unwrap_err();
            assert!(matches!(error, LedgerError::Damaged { .. }), "{} byte {at}: {error}", old.name());
        }
        std::fs::write(&old.path, whole).unwrap();
    }
}

async fn append(ledger: &Ledger, numbers: std::ops::Range<u64>) {
    for n in numbers {
        ledger.append(draft(n)).await.unwrap();
    }
}

fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [8; 32])
}

fn open_by(options: LedgerOptions, by: SoftwareSigner) -> Result<(Ledger, Opened), LedgerError> {
    Ledger::open(options, Box::new(by), Arc::new(PlainVault))
}

#[tokio::test]
async fn a_ledger_whose_key_was_replaced_is_opened_from_its_recent_part() {
    // In the recent part, before it, and as its last word.
    for behind in [20, 200, 0] {
        let directory = long().await;
        let (ledger, _) = try_open(sparing(directory.path())).unwrap();
        ledger.hand_over(Box::new(successor())).await.unwrap();
        append(&ledger, 200..200 + behind).await;
        ledger.close().await.unwrap();
        let (ledger, opened) = open_by(sparing(directory.path()), successor()).unwrap();
        assert_eq!(opened.read, opened.records - opened.checked_from.get());
        assert!(opened.read < 80 && opened.checked_from > Seq::new(100), "{behind}: {opened:?}");
        append(&ledger, 400..401).await;
        reread(directory.path(), ORIGIN, &successor().verifier(), opened.checked_from).unwrap();
        ledger.close().await.unwrap();
        assert_verified(directory.path());
        let error = refused(sparing(directory.path()));
        assert!(matches!(error, LedgerError::ForeignKey { .. }), "the replaced key opens nothing: {error}");
    }
}

#[tokio::test]
async fn a_ledger_that_a_lent_key_signed_is_opened_from_its_recent_part() {
    let hour = std::time::Duration::from_hours(1);
    let lending = Some(Lending { lifetime: hour, heads: 100_000, own_every: hour });
    let directory = tempfile::tempdir().unwrap();
    let options = LedgerOptions { lending, ..sparing(directory.path()) };
    let (ledger, _) = try_open(options.clone()).unwrap();
    append(&ledger, 0..200).await;
    // What a process that is killed here leaves behind: the end stands under the lent key alone.
    let killed = tempfile::tempdir().unwrap();
    copy(directory.path(), killed.path());
    ledger.close().await.unwrap();
    let (ledger, opened) = try_open(options).unwrap();
    assert!(opened.read < 80, "{opened:?}");
    append(&ledger, 200..201).await;
    ledger.close().await.unwrap();
    assert_verified(directory.path());
    let (ledger, opened) = try_open(sparing(killed.path())).unwrap();
    assert!(opened.records >= 201 && opened.checked_from == Seq::ZERO, "who lent must be read: {opened:?}");
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn an_end_that_a_stranger_signed_is_refused_wherever_reading_begins() {
    let directory = long().await;
    let (ledger, opened) = try_open(sparing(directory.path())).unwrap();
    ledger.close().await.unwrap();
    let path = segments(directory.path()).pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let stranger = SoftwareSigner::new(ORIGIN, [66; 32]);
    // The last group once more, under the same words and a stranger's hand, in his name and in ours.
    let note = Files::new(directory.path()).read_head().unwrap().unwrap();
    let crate::journal::head::HeadFile::Head { checkpoint, note, .. } = crate::journal::head::read(&note)
    else {
        panic!("a head file")
    };
    let note = note.to_string();
    let his = stranger.sign_checkpoint(&checkpoint);
    let signature = his.signatures()[0].signature.clone().try_into().unwrap();
    let in_our_name =
        crate::note::SignedNote::new(checkpoint.text(), &signer().verifier(), &signature).to_string();
    for forged in [his.to_string(), in_our_name] {
        let mut at = 0;
        let mut last = 0;
        while let Some(found) = Frame::read(&bytes, at).unwrap() {
            last = at;
            at += found.bytes.len();
        }
        let mut group = bytes[last..].to_vec();
        let place = group.len() - note.len();
        group.truncate(place);
        group.extend_from_slice(forged.as_bytes());
        frame::close(FrameKind::Group, &mut group).unwrap();
        std::fs::write(&path, [&bytes[..last], &group].concat()).unwrap();
        let head = Files::new(directory.path()).head();
        let mut slots = crate::journal::head::slot(&forged).unwrap();
        slots.resize(crate::journal::head::FILE_BYTES, 0);
        std::fs::write(&head, slots).unwrap();
        let error = refused(sparing(directory.path()));
        assert!(matches!(error, LedgerError::ForeignKey { .. }), "{error}");
    }
    assert!(opened.checked_from > Seq::ZERO);
}

#[tokio::test]
async fn an_old_segment_that_is_missing_cut_longer_or_exchanged_is_refused_at_once() {
    type Change = fn(&[PathBuf]);
    let changes: [(&str, Change); 5] = [
        ("missing", |segments| std::fs::remove_file(&segments[1]).unwrap()),
        ("the first missing", |segments| std::fs::remove_file(&segments[0]).unwrap()),
        ("cut", |segments| {
            let bytes = std::fs::read(&segments[1]).unwrap();
            std::fs::write(&segments[1], &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("longer", |segments| {
            let bytes = std::fs::read(&segments[1]).unwrap();
            std::fs::write(&segments[1], [bytes, vec![0]].concat()).unwrap();
        }),
        ("exchanged", |segments| {
            std::fs::copy(&segments[2], &segments[1]).unwrap();
        }),
    ];
    let whole = long().await;
    for (name, change) in changes {
        let directory = tempfile::tempdir().unwrap();
        copy(whole.path(), directory.path());
        change(&segments(directory.path()));
        let error = refused(sparing(directory.path()));
        assert!(matches!(error, LedgerError::Damaged { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_recent_segment_with_another_beginning_is_not_believed() {
    let directory = long().await;
    let (ledger, opened) = try_open(sparing(directory.path())).unwrap();
    ledger.close().await.unwrap();
    let path = Files::new(directory.path()).segment(opened.checked_from);
    let bytes = std::fs::read(&path).unwrap();
    let frame_bytes = Frame::read(&bytes, 0).unwrap().unwrap().bytes.to_vec();
    let header = SegmentHeader::parse(&frame_bytes).unwrap();
    // Our signature over the old edge, and another edge: every changed bit of it must be noticed.
    for peak in 0..header.peaks.len() {
        let mut forged = header.clone();
        forged.peaks[peak] = Digest::leaf(b"another");
        let mut frame_bytes = forged.to_frame().unwrap();
        frame::close(FrameKind::Segment, &mut frame_bytes).unwrap();
        let rest = &bytes[frame_bytes.len()..];
        std::fs::write(&path, [frame_bytes.as_slice(), rest].concat()).unwrap();
        let error = refused(sparing(directory.path()));
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_journal_whose_recent_segments_are_gone_is_behind_its_head_file() {
    let directory = long().await;
    let all = segments(directory.path());
    for segment in &all[all.len() / 2..] {
        std::fs::remove_file(segment).unwrap();
    }
    let error = refused(sparing(directory.path()));
    assert!(matches!(error, LedgerError::Behind { .. }), "{error}");
}
