use super::*;

#[tokio::test]
async fn a_second_gateway_on_the_same_ledger_is_refused_with_the_directory_in_the_message() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let error = refused(options(directory.path()));
    assert!(matches!(error, LedgerError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&*directory.path().to_string_lossy()));
    assert!(error.hint().contains("other gateway"));
    ledger.append(draft(1)).await.unwrap();
    ledger.close().await.unwrap();
    open(directory.path()).0.close().await.unwrap();
}

#[tokio::test]
async fn a_ledger_of_another_name_or_key_is_refused() {
    let directory = filled(2).await;
    let other_name =
        LedgerOptions { origin: "other.example.org/ledger".to_owned(), ..options(directory.path()) };
    let error = refused(other_name);
    assert!(matches!(error, LedgerError::ForeignOrigin { .. }), "{error}");

    let stranger = SoftwareSigner::new(ORIGIN, [66; 32]);
    let error = Ledger::open(options(directory.path()), Box::new(stranger.clone()), Arc::new(PlainVault));
    let error = error.err().unwrap();
    assert!(matches!(error, LedgerError::ForeignKey { .. }), "{error}");
    // Also when the head file, which is looked at first, was made to fit.
    let (checkpoint, _) = crate::Checkpoint::from_note(&last_note(directory.path())).unwrap();
    let mut head = crate::journal::head::slot(&stranger.sign_checkpoint(&checkpoint).to_string()).unwrap();
    head.resize(crate::journal::head::FILE_BYTES, 0);
    std::fs::write(directory.path().join("head"), head).unwrap();
    let error =
        Ledger::open(options(directory.path()), Box::new(stranger), Arc::new(PlainVault)).err().unwrap();
    assert!(matches!(error, LedgerError::ForeignKey { .. }), "{error}");
}

fn last_note(directory: &Path) -> String {
    crate::journal::scan::last_note(&crate::journal::Files::new(directory)).unwrap().0.unwrap()
}

#[tokio::test]
async fn a_last_head_with_a_false_signature_is_refused() {
    let directory = filled(2).await;
    // A forger without the key: a new last group under a head with somebody's signature and our key's name.
    let path = first_segment(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let note = last_note(directory.path());
    let at = bytes.windows(note.len()).rposition(|window| window == note.as_bytes()).unwrap();
    let signature = at + note.len() - 10;
    bytes[signature] = if bytes[signature] == b'A' { b'B' } else { b'A' };
    let mut frame_at = 0;
    let last = loop {
        let frame = crate::journal::Frame::read(&bytes, frame_at).unwrap().unwrap();
        if frame_at + frame.bytes.len() == bytes.len() {
            break frame_at;
        }
        frame_at += frame.bytes.len();
    };
    crate::journal::frame::close(crate::journal::FrameKind::Group, &mut bytes[last..]).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = refused(options(directory.path()));
    assert!(matches!(error, LedgerError::ForeignKey { .. }), "{error}");
}

#[tokio::test]
async fn a_journal_that_is_behind_its_head_file_is_refused_as_a_rollback() {
    let directory = filled(3).await;
    let old = tempfile::tempdir().unwrap();
    copy(directory.path(), old.path());
    let (ledger, _) = open(directory.path());
    ledger.append(draft(4)).await.unwrap();
    ledger.close().await.unwrap();
    // A backup of the journal is restored, and the head file is not.
    std::fs::copy(first_segment(old.path()), first_segment(directory.path())).unwrap();
    let error = refused(options(directory.path()));
    assert!(matches!(error, LedgerError::Behind { journal: 4, known: 5, .. }), "{error}");
    assert!(error.to_string().contains("head"), "{error}");
    assert!(error.hint().contains("put the newer journal back"));
    // Nor does it help to restore the head file with it: the store remembers.
    std::fs::copy(old.path().join("head"), directory.path().join("head")).unwrap();
    let error = refused(options(directory.path()));
    assert!(matches!(&error, LedgerError::Behind { witness, .. } if witness.ends_with("store")), "{error}");
}

#[tokio::test]
async fn a_journal_that_is_gone_is_not_taken_for_a_new_ledger() {
    let directory = filled(3).await;
    std::fs::remove_dir_all(directory.path().join("journal")).unwrap();
    let error = refused(options(directory.path()));
    assert!(matches!(error, LedgerError::Behind { journal: 0, known: 4, .. }), "{error}");
}

#[tokio::test]
async fn a_journal_of_another_history_does_not_fit_the_head_file() {
    let (one, other) = (filled(3).await, filled(3).await);
    std::fs::copy(one.path().join("head"), other.path().join("head")).unwrap();
    let error = refused(options(other.path()));
    assert!(matches!(error, LedgerError::Forked { size: 4, .. }), "{error}");
}

#[tokio::test]
async fn a_lost_head_file_is_refused_with_the_way_out() {
    for (state, damage) in [
        ("missing", None),
        ("unreadable", Some(vec![9; crate::journal::head::FILE_BYTES])),
        ("blank", Some(vec![0; crate::journal::head::FILE_BYTES])),
    ] {
        let directory = filled(3).await;
        let head = directory.path().join("head");
        match &damage {
            None => std::fs::remove_file(&head).unwrap(),
            Some(bytes) => std::fs::write(&head, bytes).unwrap(),
        }
        let error = refused(options(directory.path()));
        assert!(matches!(&error, LedgerError::LostHead { state: found, .. } if *found == state), "{error}");
        assert!(error.hint().contains("auditctl recover"), "{}", error.hint());
    }
}

#[tokio::test]
async fn damage_before_the_end_is_refused_with_the_record_and_nothing_is_changed() {
    let directory = filled(4).await;
    let path = first_segment(directory.path());
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(23) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let error = refused(options(directory.path()));
        assert!(matches!(error, LedgerError::Damaged { .. }), "byte {at}: {error}");
        assert!(error.hint().contains("auditctl verify"));
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "byte {at}");
    }
    std::fs::write(&path, &whole).unwrap();
    open(directory.path()).0.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_segment_in_the_middle_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let small = LedgerOptions { segment_bytes: 1000, ..options(directory.path()) };
    let (ledger, _) = try_open(small.clone()).unwrap();
    for n in 0..10 {
        ledger.append(draft(n)).await.unwrap();
    }
    ledger.close().await.unwrap();
    let segments = crate::journal::Files::new(directory.path()).segments().unwrap();
    std::fs::remove_file(&segments[1].path).unwrap();
    let error = refused(small);
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused_and_not_taken_for_damage() {
    let directory = filled(1).await;
    let path = first_segment(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let header = crate::journal::Frame::read(&bytes, 0).unwrap().unwrap().bytes.len();
    bytes[crate::journal::frame::FRONT_BYTES] = 2;
    crate::journal::frame::close(crate::journal::FrameKind::Segment, &mut bytes[..header]).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = refused(options(directory.path()));
    assert!(matches!(error, LedgerError::Newer { .. }), "{error}");
}

#[test]
fn a_directory_that_cannot_be_one_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = refused(options(&path));
        assert!(matches!(error, LedgerError::Io { .. }), "{error}");
        assert!(error.to_string().contains("file"), "{error}");
        assert!(error.hint().contains("directory"), "{}", error.hint());
    }
    // As on a read-only file system, also for a test that runs as root: the lock's place is taken.
    let taken = directory.path().join("taken");
    std::fs::create_dir_all(taken.join("lock")).unwrap();
    let error = refused(options(&taken));
    assert!(error.to_string().contains("lock"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"not a directory");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_without_leave_to_write_is_refused_with_what_to_do() {
    // No user, root included, may make a directory there.
    let error = refused(options(Path::new("/proc/sys/sallyport-ledger")));
    assert!(matches!(error, LedgerError::Io { .. }), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn an_origin_or_key_name_that_cannot_be_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = refused(LedgerOptions { origin: "two\nlines".to_owned(), ..options(directory.path()) });
    assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
    let blanks = SoftwareSigner::new("a name with blanks", [7; 32]);
    let error = Ledger::open(options(directory.path()), Box::new(blanks), Arc::new(PlainVault));
    assert!(matches!(error, Err(LedgerError::Key(_))));
}
