//! A large journal is opened from its recent part: what is found then, and what is found later.

use super::*;
use crate::journal::{Files, Frame, FrameKind, SegmentHeader, frame};

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
