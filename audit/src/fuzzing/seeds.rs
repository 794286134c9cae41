//! Good examples of everything that is read, from one small ledger.

use super::{ORIGIN, cosigner, signer};
use crate::checkpoint::Checkpoint;
use crate::export;
use crate::journal::{Files, Frame, FrameKind, frame};
use crate::keys::Cosigner as _;
use crate::kind::Kind;
use crate::note::SignedNote;
use crate::proof::Proof;
use crate::record::{Draft, Outcome, Seq};
use crate::selection::Selection;
use crate::snapshot::{Shown, Snapshot};
use crate::testing::JournalBuilder;
use crate::verify::{Segment, Trust, verify_since};
use crate::witness::Request;

/// A good example for each target, from which a fuzzer can begin.
///
/// # Panics
/// If the examples cannot be made.
#[expect(clippy::expect_used, reason = "a seed that cannot be made is a mistake here")]
pub fn seeds(folder: &std::path::Path) -> Vec<(&'static str, Vec<u8>)> {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    let key = journal.signer.verifier().to_string();
    let draft = |n: u64| {
        Draft::new(Kind::SessionOpened, Outcome::Success)
            .subject("user:alice")
            .object("tunnel:\u{1f600} \"quoted\"")
            .session(format!("sess-{n}"))
            .detail("list", serde_json::json!([n, null, true, -1, {"\u{e000}": {}, "a\n": []}]))
    };
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", key.clone())
        .detail("format", 1)]);
    journal.group((1..4).map(draft));
    let (name, segment) = journal.segments.swap_remove(0);
    let files = Files::new(folder);
    std::fs::create_dir_all(files.journal()).expect("a folder");
    std::fs::write(files.journal().join(name), &segment).expect("a file");
    let snapshot = Snapshot::at(files, journal.note.clone()).expect("a ledger");
    journal.segments.push((format!("{:020}.seg", 0), segment.clone()));
    let records = journal.records();

    let mut seeds: Vec<(&'static str, Vec<u8>)> = Vec::new();
    seeds.extend(records.iter().map(|record| ("record", record.clone())));
    let mut cosigned = SignedNote::parse(&journal.note).expect("a note");
    let (head, _) = Checkpoint::from_note(&journal.note).expect("a head");
    let by = cosigner();
    let message = by.verifier().message(&head, 9);
    let signature = by.clone().sign(&message).expect("a signature");
    cosigned.add(by.verifier().line(9, &signature));
    for note in [journal.note.clone(), cosigned.to_string(), head.text()] {
        seeds.push(("head_file", note.clone().into_bytes()));
        seeds.push(("note", note.into_bytes()));
    }
    seeds.push(("key", key.into_bytes()));
    seeds.push(("key", by.verifier().to_string().into_bytes()));
    let (record, path) = snapshot.prove(Seq::new(2)).expect("a record");
    let proof = Proof { record: Some(record), index: Seq::new(2), path, note: journal.note.clone() };
    seeds.push(("proof", proof.to_string().into_bytes()));
    let bundle = records.iter().flat_map(|record| {
        [&u16::try_from(record.len()).unwrap_or_default().to_be_bytes()[..], record].concat()
    });
    seeds.push(("bundle", bundle.collect()));
    for selection in
        [Selection::default(), Selection { sessions: vec!["sess-2".into()], ..Selection::default() }]
    {
        let mut out = Vec::new();
        let mut writer =
            export::Exporter::new(&mut out, &journal.note, &selection).expect("a vector takes all");
        let mut take = |shown: Shown<'_>| match shown {
            Shown::Record { seq, bytes, leaf } => writer.record(seq, bytes, leaf),
            Shown::Omitted(_) => Ok(()),
        };
        snapshot.records(&mut take).expect("the records");
        writer.finish().expect("a vector takes all");
        seeds.push(("export", out));
    }
    let mut offset = 0;
    while let Some(frame) = Frame::read(&segment, offset).expect("a frame") {
        let target = if frame.kind == FrameKind::Segment { "segment_header" } else { "group" };
        seeds.push((target, frame.body().to_vec()));
        offset += frame.bytes.len();
    }
    journal.rotate();
    let later = journal.segments.pop().expect("a segment").1;
    seeds.push(("segment_header", later.get(frame::FRONT_BYTES..).unwrap_or_default().to_vec()));
    let segments = [Ok(Segment { name: format!("{:020}.seg", 0), bytes: segment.clone() })];
    let trust = Trust { keys: vec![signer().verifier()], ..Trust::default() };
    let head_file = journal.head_file();
    let (_, state) = verify_since(segments, Some(&head_file), &trust, None, &mut |_| {});
    seeds.push(("state", state.expect("a good ledger").to_text().into_bytes()));
    seeds.push(("head_file", head_file));
    seeds.push(("journal", segment));
    let request = Request { old: 0, proof: Vec::new(), note: journal.note.clone() };
    seeds.push(("witness_request", request.to_string().into_bytes()));
    let proof = snapshot.consistency(1).expect("a proof");
    let request = Request { old: 1, proof, note: journal.note.clone() };
    seeds.push(("witness_request", request.to_string().into_bytes()));
    seeds
}
