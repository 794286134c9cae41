use super::*;
use crate::journal::records::Records;
use crate::kind::Kind;
use crate::record::{Draft, Outcome};
use crate::testing::{JournalBuilder, SoftwareSigner};

fn ledger() -> (tempfile::TempDir, Files) {
    let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
    let draft = |n: u64| {
        Draft::new(Kind::SessionOpened, Outcome::Success).subject(format!("user:{n}")).detail("n", n)
    };
    for group in 0..12_u64 {
        journal.group((0..=group % 3).map(|n| draft(group * 10 + n)));
        if group % 4 == 3 {
            journal.rotate();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path());
    std::fs::create_dir(files.journal()).unwrap();
    for (name, bytes) in &journal.segments {
        std::fs::write(files.journal().join(name), bytes).unwrap();
    }
    (directory, files)
}

type Line = (Seq, Vec<u8>, Vec<u8>, Place, Place);

fn all(files: &Files, start: Option<Place>, from: u64) -> (Vec<Line>, Read) {
    let mut found = Vec::new();
    let read = read(files, start, Seq::new(from), &mut |one| {
        found.push((one.seq, one.record.to_vec(), one.sealed.to_vec(), one.at, one.group));
        ControlFlow::Continue(())
    });
    (found, read.unwrap())
}

#[test]
fn every_record_is_found_from_any_number_and_from_the_place_of_any_group() {
    let (_keep, files) = ledger();
    let (everything, end) = all(&files, None, 0);
    assert_eq!(everything.len(), 24);
    assert_eq!(end.end, ScanEnd::Complete);
    for from in 0..24 {
        assert_eq!(all(&files, None, from as u64).0, everything[from..]);
        let group = everything[from].4;
        assert_eq!(all(&files, Some(group), from as u64).0, everything[from..], "{group:?}");
    }
    let (nothing, again) = all(&files, end.place, 24);
    assert!(nothing.is_empty());
    assert_eq!(again.end, ScanEnd::Complete);
}

#[test]
fn a_record_is_read_again_at_its_place_with_what_lies_beside_it() {
    let (_keep, files) = ledger();
    let mut records = Records::new(&files);
    for (_, record, sealed, at, _) in all(&files, None, 0).0.into_iter().rev() {
        assert_eq!(records.at(at).unwrap(), (record, sealed));
    }
    let beyond = Place { segment: Seq::ZERO, offset: 1 << 29 };
    assert!(records.at(beyond).is_err());
    assert!(records.at(Place { segment: Seq::new(7), offset: 0 }).is_err());
}

#[test]
fn reading_ends_where_the_whole_file_in_memory_would_end_it() {
    let (_keep, files) = ledger();
    let last = files.segments().unwrap().pop().unwrap();
    let first = files.segments().unwrap().remove(0);
    let whole = std::fs::read(&first.path).unwrap();
    for cut in (1..whole.len()).step_by(7) {
        std::fs::write(&first.path, &whole[..cut]).unwrap();
        let (_, read) = all(&files, None, 0);
        let at_frame = matches!(Frame::read(&whole[..cut], 0), Ok(Some(_)));
        let damaged = matches!(read.end, ScanEnd::Damaged { .. });
        assert!(damaged || at_frame, "cut at {cut}: {read:?}");
    }
    std::fs::write(&first.path, &whole).unwrap();
    let mut grown = std::fs::read(&last.path).unwrap();
    grown.extend_from_slice(b"SPG1");
    std::fs::write(&last.path, grown).unwrap();
    assert_eq!(all(&files, None, 0).1.end, ScanEnd::Unfinished { bytes: 4 });
}
