//! What a fuzzer does with each reader of bytes that somebody else may have written.
//!
//! One function a reader. None may panic, whatever the bytes; where a format has one spelling, what was read
//! and written again must be the same bytes; where there is a slower reader, both must agree. The fuzz
//! targets in `fuzz/` call these functions, and a plain test runs the committed corpus through all of them.

#![expect(clippy::missing_panics_doc, reason = "a broken rule must stop the fuzzer, and that is all they do")]

mod seeds;

use std::io::BufReader;

use crate::checkpoint::Checkpoint;
use crate::export;
use crate::journal::head::{self, HeadFile};
use crate::journal::{Frame, FrameKind, Group, SegmentHeader, frame};
use crate::note::{CosignerKey, PublicKey, SignedNote};
use crate::proof::Proof;
use crate::record::{Record, RecordError};
use crate::testing::{JournalBuilder, SoftwareCosigner, SoftwareSigner, read_slowly};
use crate::tiles;
use crate::verify::{Overall, Segment, Trust, Verified, verify, verify_since};
use crate::witness::Request;

pub use seeds::seeds;

/// A reader under a name, which is that of its fuzz target and its folder of the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("bundle", bundle),
    ("export", export),
    ("group", group),
    ("head_file", head_file),
    ("journal", journal),
    ("key", key),
    ("note", note),
    ("proof", proof),
    ("record", record),
    ("segment_header", segment_header),
    ("state", state),
    ("witness_request", witness_request),
];

const ORIGIN: &str = "gateway.example.org/ledger";

fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

fn cosigner() -> SoftwareCosigner {
    SoftwareCosigner::new(ORIGIN, [8; 32])
}

/// A record: the reader of the ledger and the slow one agree, and its bytes are the only ones for it.
pub fn record(bytes: &[u8]) {
    let fast = Record::parse(bytes);
    let slow = read_slowly(bytes);
    assert_eq!(fast.as_ref().ok(), slow.as_ref().ok(), "{fast:?} {slow:?}");
    match (fast, slow) {
        (Ok(record), _) => assert_eq!(record.to_bytes().as_deref(), Ok(bytes)),
        (Err(fast), Err(slow @ RecordError::Version { .. })) => assert_eq!(fast, slow),
        _ => {}
    }
}

/// A signed note: head, cosignatures, and all.
pub fn note(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(note) = SignedNote::parse(text) {
        assert_eq!(note.to_string(), text, "a note has one spelling");
        let _either = note.verify(&signer().verifier());
    }
    if let Ok((checkpoint, note)) = Checkpoint::from_note(text) {
        assert_eq!(checkpoint.text(), note.text());
        let _either = cosigner().verifier().verify(&checkpoint, &note);
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text(), text, "a checkpoint has one spelling");
    }
}

/// A public key, of either kind.
pub fn key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = PublicKey::parse(text) {
        assert_eq!(key.to_string(), text, "a key has one spelling");
    }
    if let Ok(key) = CosignerKey::parse(text) {
        assert_eq!(key.to_string(), text, "a key has one spelling");
    }
}

/// A proof of one record.
pub fn proof(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(proof) = Proof::parse(text) {
        assert_eq!(proof.to_string(), text, "a proof has one spelling");
        let _either = proof.check(None, &[signer().verifier()]);
    }
}

/// A bundle of a tile tree.
pub fn bundle(bytes: &[u8]) {
    if let Some(records) = tiles::records(bytes) {
        let length = |record: &[u8]| u16::try_from(record.len()).unwrap_or_default().to_be_bytes();
        let again: Vec<u8> =
            records.iter().flat_map(|record| [&length(record)[..], record].concat()).collect();
        assert_eq!(again, bytes);
    }
}

/// An export, whole.
pub fn export(bytes: &[u8]) {
    let _either = export::check(BufReader::new(bytes), &[signer().verifier()]);
}

/// Frames as they lie in a file, and a ledger of one such file.
pub fn journal(bytes: &[u8]) {
    let mut offset = 0;
    while let Ok(Some(frame)) = Frame::read(bytes, offset) {
        offset += frame.bytes.len();
    }
    let segment = Segment { name: format!("{:020}.seg", 0), bytes: bytes.to_vec() };
    let trust = Trust { keys: vec![signer().verifier()], ..Trust::default() };
    let verdict = verify([Ok(segment)], None, &trust);
    // Without a head file or checkpoint nobody knows how long it must be.
    assert_ne!(verdict.overall(), Overall::Verified);
}

/// The body of a group, under right checksums and behind a right header.
pub fn group(body: &[u8]) {
    let mut bytes = JournalBuilder::new(ORIGIN, signer()).segments.swap_remove(0).1;
    let mut frame = Vec::new();
    frame::open(&mut frame);
    frame.extend_from_slice(body);
    if frame::close(FrameKind::Group, &mut frame).is_none() {
        return;
    }
    if let Ok(group) = Group::parse(frame.as_slice()) {
        assert_eq!(group.records().count() as u64, group.count());
        assert!(group.record(group.end()).is_none());
    }
    bytes.extend_from_slice(&frame);
    journal(&bytes);
}

/// The body of a segment's header, under right checksums.
pub fn segment_header(body: &[u8]) {
    let mut frame = Vec::new();
    frame::open(&mut frame);
    frame.extend_from_slice(body);
    if frame::close(FrameKind::Segment, &mut frame).is_none() {
        return;
    }
    if let Ok(header) = SegmentHeader::parse(&frame) {
        assert_eq!(header.to_frame().as_deref(), Some(frame.as_slice()));
    }
}

/// A head file.
pub fn head_file(bytes: &[u8]) {
    let _either = head::read(bytes);
    // And one whose first slot has right checksums.
    if let Some(text) = std::str::from_utf8(bytes).ok()
        && let Some(mut file) = head::slot(text)
    {
        file.resize(head::FILE_BYTES, 0);
        let good = Checkpoint::from_note(text).is_ok();
        assert_eq!(matches!(head::read(&file), HeadFile::Head { .. }), good);
    }
}

/// The state of an earlier verification.
pub fn state(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(state) = Verified::parse(text) {
        assert_eq!(Verified::parse(&state.to_text()).as_ref(), Ok(&state));
        let trust = Trust { keys: vec![signer().verifier()], ..Trust::default() };
        let (verdict, _) = verify_since([], None, &trust, Some(&state), &mut |_| {});
        assert_ne!(verdict.overall(), Overall::Verified, "there is no journal");
    }
}

/// What a witness is asked.
pub fn witness_request(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(request) = Request::parse(text) {
        assert_eq!(request.to_string(), text, "a request has one spelling");
        let _either = request.decide(&[signer().verifier()], None);
    }
}
