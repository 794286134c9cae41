//! What a pruned beginning keeps, and what nobody can do to one unseen.

use proptest::prelude::*;

use super::*;
use crate::record::{Draft, Outcome};
use crate::testing::{JournalBuilder, SoftwareSigner};

const ORIGIN: &str = "example.org/ledger";

fn journal(records: usize) -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [1; 32]));
    let drafts = (0..records).map(|n| Draft::new(Kind::HttpRequest, Outcome::Success).detail("n", n));
    journal.group(drafts);
    journal
}

fn write(journal: &JournalBuilder, keep: impl Fn(u64) -> bool) -> Written {
    let records = journal.records();
    let mut writer = PrefixWriter::new(&journal.note, records.len() as u64, Seq::new(records.len() as u64));
    for (bytes, seq) in records.iter().zip(0..) {
        let sealed: &[u8] = if seq % 2 == 0 { b"sealed" } else { b"" };
        let piece = Piece::Record { seq: Seq::new(seq), bytes, sealed };
        writer.push(piece, keep(seq));
    }
    writer.finish()
}

fn read(written: &Written) -> Prefix {
    Prefix::parse(written.bytes.clone()).unwrap()
}

fn text(written: &Written) -> String {
    String::from_utf8(written.bytes.clone()).unwrap()
}

proptest! {
    #[test]
    fn whatever_stays_the_ledger_goes_on_where_it_stood(keep in proptest::collection::vec(any::<bool>(), 1..700)) {
        let journal = journal(keep.len());
        let written = write(&journal, |seq| keep[usize::try_from(seq).unwrap()]);
        let prefix = read(&written);
        prop_assert_eq!(prefix.chain(), &journal.chain);
        prop_assert_eq!(prefix.declaration().digest, written.digest);
        prop_assert_eq!(prefix.kept(), keep.iter().filter(|keep| **keep).count() as u64);
        prop_assert_eq!(written.kept + written.omitted, keep.len() as u64);
        for (keep, seq) in keep.iter().zip(0..) {
            prop_assert_eq!(prefix.omits(Seq::new(seq)), !keep);
        }
        let in_groups: u64 = prefix.groups().iter().map(Group::count).sum();
        prop_assert_eq!(in_groups, prefix.kept());
    }

    #[test]
    fn a_prefix_pruned_again_is_the_one_that_one_pruning_would_have_left(
        first in proptest::collection::vec(any::<bool>(), 300), second in proptest::collection::vec(any::<bool>(), 300)
    ) {
        let journal = journal(300);
        let kept = |keep: &[bool], seq: u64| keep[usize::try_from(seq).unwrap()];
        let once = read(&write(&journal, |seq| kept(&first, seq)));
        let mut writer = PrefixWriter::new(&journal.note, 300, Seq::new(300));
        for piece in once.pieces() {
            let keep = matches!(piece, Piece::Record { seq, .. } if kept(&second, seq.get()));
            writer.push(piece, keep);
        }
        prop_assert_eq!(writer.finish().bytes, write(&journal, |seq| kept(&first, seq) && kept(&second, seq)).bytes);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(at in 0_usize..2000, to in any::<u8>()) {
        let mut written = write(&journal(20), |seq| seq % 3 == 0);
        if let Some(byte) = written.bytes.get_mut(at) { *byte = to; }
        let _ = Prefix::parse(written.bytes);
    }
}

use crate::journal::Group;

#[test]
fn the_roots_that_later_tiles_need_are_never_merged_away() {
    let size = 256 * 300 + 17;
    let heights = |seq| tallest(seq, size);
    assert_eq!(heights(0), 16, "a full tile of level 1 lies before it");
    assert_eq!(heights(256 * 256), 8);
    assert_eq!(heights(size - 2), 8);
    assert_eq!(heights(size - 1), 0, "the next record names its leaf hash");
    assert_eq!(tallest(0, 256 * 256 * 256 * 5), 24);
}

#[test]
fn a_record_that_is_stated_by_its_hash_alone_gives_another_digest() {
    let journal = journal(20);
    let honest = write(&journal, |seq| seq % 3 == 0);
    let dropped = write(&journal, |seq| seq % 3 == 0 && seq != 9);
    assert_eq!(read(&honest).chain(), read(&dropped).chain(), "the tree cannot tell");
    assert_ne!(read(&honest).declaration(), read(&dropped).declaration(), "the declaration can");
}

#[test]
fn sealed_values_can_be_erased_and_the_prefix_stays_what_was_declared() {
    let written = write(&journal(20), |seq| seq % 3 == 0);
    let whole = text(&written);
    let lines: Vec<_> = whole.lines().filter(|line| !line.starts_with("{\"sealed\"")).collect();
    let lines = lines.join("\n") + "\n";
    assert!(lines.len() < written.bytes.len());
    let erased = Prefix::parse(lines.into_bytes()).unwrap();
    assert_eq!(erased.declaration(), read(&written).declaration());
}

#[test]
fn a_prefix_with_a_line_changed_moved_or_taken_away_is_refused() {
    let whole = text(&write(&journal(40), |seq| seq % 7 == 0 && seq != 35));
    let lines: Vec<&str> = whole.lines().collect();
    let refused = |lines: &[&str]| {
        let text = if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" };
        Prefix::parse(text.into_bytes()).is_err()
    };
    assert!(!refused(&lines));
    for at in 0..lines.len() {
        if lines[at].starts_with("{\"sealed\"") {
            continue;
        }
        let mut fewer = lines.clone();
        fewer.remove(at);
        assert!(refused(&fewer), "without line {at}");
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        assert!(refused(&twice), "line {at} twice");
        if let Some(hex) = lines[at].find("\"root\":\"") {
            let mut other = lines[at].to_owned();
            let digit = if other[hex + 8..].starts_with('0') { "1" } else { "0" };
            other.replace_range(hex + 8..hex + 9, digit);
            let mut changed = lines.clone();
            changed[at] = &other;
            assert!(refused(&changed), "another root in line {at}");
        }
    }
    assert!(refused(&[]) && refused(&lines[..lines.len() - 1]));
    let cut = &whole.as_bytes()[..whole.len() - 1];
    assert_eq!(Prefix::parse(cut.to_vec()).unwrap_err(), PrefixFault::Unfinished);
    let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
    assert_eq!(Prefix::parse(newer.into_bytes()).unwrap_err(), PrefixFault::Version { found: 2 });
}
