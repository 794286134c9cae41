//! A pruned ledger before a forger: the tree alone would not notice a record that was replaced by its hash.
//!
//! Its key was replaced, and it lost records once, both in the part that was pruned.

use sallyport_audit::epoch::{Cause, Resumed};
use sallyport_audit::journal::head;
use sallyport_audit::prefix::{NAME, Piece, PrefixWriter, Written};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::Overall;
use sallyport_audit::{Checkpoint, Digest, Draft, Kind, Outcome, Seq};

use crate::ledger::{ORIGIN, genuine, overall, stranger, trust};
use crate::records::{fields, spellings};
use crate::{Score, Segments};

/// How many records are before the prefix's end.
const SIZE: u64 = 17;

/// The record that hands the ledger over, and the one that begins its second epoch.
const HANDED: u64 = 9;
const RESUMED: u64 = 13;

pub(crate) fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [21; 32])
}

fn stays(seq: u64) -> bool {
    seq.is_multiple_of(4) || [7, HANDED, RESUMED].contains(&seq)
}

struct Ledger {
    journal: JournalBuilder,
    /// The heads that stay within the prefix.
    heads: Vec<String>,
    /// What stood before the end of the prefix.
    before: Segments,
    /// The head over exactly that.
    note: String,
    written: Written,
}

impl Ledger {
    /// Twenty records, of which the first seventeen are a pruned beginning; the eighteenth declares it.
    fn genuine() -> Self {
        Self::declared(declares)
    }

    fn declared(declare: impl Fn(&Written, String) -> Draft) -> Self {
        Self::made(|head| head, declare)
    }

    /// `handed` changes the head over the handover before all else is written.
    fn made(handed: impl Fn(String) -> String, declare: impl Fn(&Written, String) -> Draft) -> Self {
        let mut journal = JournalBuilder::new(ORIGIN, genuine());
        let visit =
            |n: u64| Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").detail("n", n);
        journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
            .detail("origin", ORIGIN)
            .detail("key", genuine().verifier().to_string())
            .detail("format", 1)]);
        let mut heads = vec![journal.note().to_owned()];
        journal.group((1..HANDED).map(visit)).rotate();
        journal.hand_over(successor());
        heads.push(handed(journal.note().to_owned()));
        journal.group((HANDED + 1..RESUMED).map(visit)).resume(&format!("{ORIGIN}#2"));
        journal.group([resumed().draft()]);
        heads.push(journal.note().to_owned());
        journal.group((RESUMED + 1..SIZE).map(visit));
        let (before, note) = (journal.segments.clone(), journal.note().to_owned());
        let root = journal.chain.frontier().root().to_string();
        let written = prefix(&journal.records(), &heads, &note, stays);
        journal.rotate();
        journal.group([visit(17), declare(&written, root)]).group([visit(19)]);
        Self { journal, heads, before, note, written }
    }

    fn segments(&self, prefix: Vec<u8>) -> Segments {
        let behind = self.journal.segments.iter().skip(self.before.len()).cloned();
        [(NAME.to_owned(), prefix)].into_iter().chain(behind).collect()
    }

    fn text(&self) -> String {
        String::from_utf8(self.written.bytes.clone()).unwrap()
    }
}

/// A prefix over the first [`SIZE`] records.
fn prefix(records: &[Vec<u8>], heads: &[String], note: &str, keep: impl Fn(u64) -> bool) -> Written {
    let mut writer = PrefixWriter::new(note, SIZE, Seq::new(SIZE));
    let heads: Vec<_> = heads.iter().filter_map(|head| Checkpoint::from_note(head).ok()).collect();
    for (bytes, seq) in records.iter().zip(0..SIZE) {
        if let Some((checkpoint, note)) = heads.iter().find(|(head, _)| head.size == seq) {
            writer.push(Piece::Head { checkpoint, note }, true);
        }
        let sealed: &[u8] = if seq == 0 { b"" } else { b"sealed" };
        writer.push(Piece::Record { seq: Seq::new(seq), bytes, sealed }, keep(seq));
    }
    writer.finish()
}

fn resumed() -> Resumed {
    let lost = Checkpoint { origin: ORIGIN.to_owned(), size: RESUMED + 2, root: Digest::leaf(b"lost") };
    Resumed {
        epoch: 2,
        origin: format!("{ORIGIN}#2"),
        origin_before: ORIGIN.to_owned(),
        cause: Cause::EndMissing,
        first: RESUMED,
        at_least: 2,
        lost_head: Some(successor().sign_checkpoint(&lost).to_string()),
        set_aside: "set-aside/epoch-2".to_owned(),
        tokens_kept: false,
        key: None,
    }
}

fn declares(written: &Written, root: String) -> Draft {
    Draft::new(Kind::RetentionPruned, Outcome::Success)
        .detail("size", SIZE)
        .detail("root", root)
        .detail("digest", written.digest.to_string())
}

/// A pruned ledger that passes.
pub(crate) fn good() -> (Segments, Vec<u8>) {
    let ledger = Ledger::genuine();
    (ledger.segments(ledger.written.bytes.clone()), ledger.journal.head_file())
}

pub(crate) fn run(score: &mut Score) {
    let ledger = Ledger::genuine();
    let head = ledger.journal.head_file();
    let mut try_prefix = |class: &'static str, what: String, bytes: Vec<u8>| {
        one(score, class, what, &ledger.segments(bytes), &head);
    };
    kept(&ledger, &mut try_prefix);
    lines(&ledger, &mut try_prefix);
    heads(&ledger, &mut try_prefix);
    for at in 0..ledger.written.bytes.len() {
        let mut bytes = ledger.written.bytes.clone();
        bytes.truncate(at);
        // What is sealed beside the last record is covered by nothing, as specified.
        let last = ledger.written.bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap();
        let only_sealed =
            ledger.written.bytes.len() - at == last.len() + 1 && last.starts_with(b"{\"sealed\":");
        if at % 13 == 0 && !only_sealed {
            try_prefix("a pruned beginning cut", format!("after {at} bytes"), bytes);
        }
    }
    without(score, &ledger, &head);
    declarations(score);
    hands(score);
}

fn one(score: &mut Score, class: &'static str, what: String, segments: &Segments, head: &[u8]) {
    let overall = overall(segments, Some(head), &trust());
    score.second.keep(format!("{class}: {what}"), segments, Some(head), overall);
    score.count(class, || what, overall != Overall::Verified);
}

/// Other records kept or stated by their hash: the root is the same.
fn kept(ledger: &Ledger, try_prefix: &mut impl FnMut(&'static str, String, Vec<u8>)) {
    let records = ledger.journal.records();
    for seq in 0..SIZE {
        let other = prefix(&records, &ledger.heads, &ledger.note, |at| stays(at) != (at == seq));
        try_prefix("a record kept or pruned that was not", format!("record {seq}"), other.bytes);
    }
}

/// Each line changed, removed, doubled, swapped with the next.
fn lines(ledger: &Ledger, try_prefix: &mut impl FnMut(&'static str, String, Vec<u8>)) {
    let text = ledger.text();
    let all: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| (lines.join("\n") + "\n").into_bytes();
    // What is sealed beside a record is covered by nothing, as specified.
    let counts = |at: usize| !all[at].starts_with("{\"sealed\"");
    for at in (0..all.len()).filter(|at| counts(*at)) {
        let mut without = all.clone();
        without.remove(at);
        try_prefix("a line of a pruned beginning removed", format!("line {at}"), join(&without));
        let mut twice = all.clone();
        twice.insert(at, all[at]);
        try_prefix("a line of a pruned beginning doubled", format!("line {at}"), join(&twice));
        if at + 1 < all.len() {
            let mut swapped = all.clone();
            swapped.swap(at, at + 1);
            try_prefix("lines of a pruned beginning swapped", format!("line {at}"), join(&swapped));
        }
        let line = all[at].as_bytes();
        if [&b"{\"pruned\""[..], b"{\"omitted\"", b"{\"head\""].iter().any(|front| line.starts_with(front)) {
            for byte in 0..line.len() {
                let mut lines: Vec<Vec<u8>> = all.iter().map(|line| line.as_bytes().to_vec()).collect();
                lines[at][byte] ^= 1;
                let bytes = lines.join(&b'\n').into_iter().chain([b'\n']).collect();
                try_prefix("a bit of a pruned beginning flipped", format!("line {at}, byte {byte}"), bytes);
            }
            continue;
        }
        for changed in fields(line).into_iter().chain(spellings(line)) {
            if !changed.bytes.contains(&b'\n') && changed.bytes != line {
                let mut lines: Vec<Vec<u8>> = all.iter().map(|line| line.as_bytes().to_vec()).collect();
                let what = format!("line {at}: {}", changed.what);
                lines[at].clone_from(&changed.bytes);
                let bytes = lines.join(&b'\n').into_iter().chain([b'\n']).collect();
                try_prefix("a field of a pruned beginning changed", what, bytes);
            }
        }
    }
}

/// The head over the prefix, by other hands or over something else.
fn heads(ledger: &Ledger, try_prefix: &mut impl FnMut(&'static str, String, Vec<u8>)) {
    let (checkpoint, _) = Checkpoint::from_note(&ledger.note).unwrap();
    let records = ledger.journal.records();
    let mut with = |what: &str, note: String| {
        let bytes = prefix(&records, &ledger.heads, &note, stays).bytes;
        try_prefix("another head over a pruned beginning", what.to_owned(), bytes);
    };
    with("by a stranger", stranger().sign_checkpoint(&checkpoint).to_string());
    with("under another name", {
        let other = SoftwareSigner::new("another.example", [7; 32]);
        other
            .sign_checkpoint(&Checkpoint { origin: "another.example".to_owned(), ..checkpoint.clone() })
            .to_string()
    });
    let sign = |checkpoint: &Checkpoint| successor().sign_checkpoint(checkpoint).to_string();
    with("by the key that was replaced", genuine().sign_checkpoint(&checkpoint).to_string());
    with("of another epoch", sign(&Checkpoint { origin: ORIGIN.to_owned(), ..checkpoint.clone() }));
    with("over one record fewer", sign(&Checkpoint { size: SIZE - 1, ..checkpoint.clone() }));
    with("over one record more", sign(&Checkpoint { size: SIZE + 1, ..checkpoint.clone() }));
    with("over another root", sign(&Checkpoint { root: Digest::ZERO, ..checkpoint }));
}

/// The beginning away, or in the wrong company.
fn without(score: &mut Score, ledger: &Ledger, head: &[u8]) {
    const CLASS: &str = "a pruned beginning away or misplaced";
    let whole = ledger.segments(ledger.written.bytes.clone());
    one(score, CLASS, "no beginning at all".to_owned(), &whole[1..].to_vec(), head);
    one(score, CLASS, "nothing behind it".to_owned(), &whole[..1].to_vec(), head);
    one(score, CLASS, "an empty file".to_owned(), &ledger.segments(Vec::new()), head);
    // A genuine ledger of the same beginning whose end is not there yet.
    let mut earlier = head::slot(&ledger.note).unwrap();
    earlier.resize(head::FILE_BYTES, 0);
    one(score, CLASS, "the head file put back, nothing behind".to_owned(), &whole[..1].to_vec(), &earlier);
}

/// The handover under a head that not both keys have signed, in a ledger that is right otherwise: only who may
/// sign is wrong.
fn hands(score: &mut Score) {
    const CLASS: &str = "a handover within a pruned beginning that nobody may believe";
    let mut with = |what: &str, signers: &[SoftwareSigner]| {
        let handed = |head: String| {
            let (checkpoint, _) = Checkpoint::from_note(&head).unwrap();
            let mut notes = signers.iter().map(|signer| signer.sign_checkpoint(&checkpoint));
            let mut note = notes.next().unwrap();
            notes.flat_map(|note| note.signatures().to_vec()).for_each(|line| note.add(line));
            note.to_string()
        };
        let ledger = Ledger::made(handed, declares);
        let segments = ledger.segments(ledger.written.bytes.clone());
        one(score, CLASS, what.to_owned(), &segments, &ledger.journal.head_file());
    };
    with("signed by the old key alone", &[genuine()]);
    with("signed by the new key alone", &[successor()]);
    with("signed by a stranger and the new key", &[stranger(), successor()]);
    with("signed by a stranger", &[stranger()]);
    let gone = Ledger::made(|_| String::new(), declares);
    let segments = gone.segments(gone.written.bytes.clone());
    one(score, CLASS, "no head over it".to_owned(), &segments, &gone.journal.head_file());
}

/// Declarations that say something else.
fn declarations(score: &mut Score) {
    const CLASS: &str = "a declaration that does not fit";
    let draft = |kind| Draft::new(kind, Outcome::Success);
    let full = |written: &Written, root: String, kind| {
        draft(kind).detail("size", SIZE).detail("root", root).detail("digest", written.digest.to_string())
    };
    let mut with = |what: &str, declare: &dyn Fn(&Written, String) -> Draft| {
        let ledger = Ledger::declared(declare);
        let segments = ledger.segments(ledger.written.bytes.clone());
        one(score, CLASS, what.to_owned(), &segments, &ledger.journal.head_file());
    };
    with("another kind says it", &|written, root| full(written, root, Kind::ConfigLoaded));
    with("another size", &|written, root| {
        full(written, root, Kind::RetentionPruned).detail("size", SIZE - 1)
    });
    with("another digest", &|written, root| {
        full(written, root, Kind::RetentionPruned).detail("digest", Digest::ZERO.to_string())
    });
    with("another root", &|written, _| full(written, Digest::ZERO.to_string(), Kind::RetentionPruned));
    with("no digest", &|_, root| draft(Kind::RetentionPruned).detail("size", SIZE).detail("root", root));
    with("nothing", &|_, _| draft(Kind::RetentionPruned));
}
