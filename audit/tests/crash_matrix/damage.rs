//! Files that are not what was written: torn, flipped, lost, old and foreign.
//!
//! A damaged ledger may be refused; then it must be said why, and it must not pass the verifier. If it opens,
//! everything that was acknowledged must be there.

use std::path::{Path, PathBuf};

use sallyport_audit::Seq;
use sallyport_audit::verify::Overall;

use crate::sample::{block_on, draft, holds, named, open, options, survives, verified};
use crate::{Counts, Effort};

const SEGMENT_BYTES: u64 = 3000;

pub(crate) fn run(effort: &Effort, counts: &mut Counts) {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let known = filled(&good, 8);
    torn(effort, counts);
    flipped(effort, counts, &good, &known);
    heads(counts, &good, &known);
}

fn files(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
}

fn last_segment(directory: &Path) -> PathBuf {
    let mut all = Vec::new();
    files(&directory.join("journal"), &mut all);
    all.sort();
    all.pop().unwrap()
}

/// The last write of a group reaches the disk in part: as a beginning, or with pages of zeros in it.
fn torn(effort: &Effort, counts: &mut Counts) {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    let known = filled(&before, 3);
    copy(&before, &after);
    // The next group, as one more life of the ledger writes it.
    block_on(async {
        let (ledger, _) = open(options(&after, 1 << 20)).unwrap();
        ledger.append(draft(3).reason("r".repeat(9000))).await.unwrap();
        ledger.close().await.unwrap();
    });
    let segment = last_segment(&after);
    let name = segment.file_name().unwrap();
    let (old, new) =
        (std::fs::read(before.join("journal").join(name)).unwrap(), std::fs::read(&segment).unwrap());
    assert!(new.len() > old.len() + 9000, "both lives wrote into the same segment");
    let page = |at: usize| at / 4096 * 4096;
    let mut ends: Vec<(String, Vec<u8>)> = (old.len() + 1..new.len())
        .step_by(effort.stride(31, 1009))
        .map(|cut| (format!("cut at {cut}"), new[..cut].to_vec()))
        .collect();
    for hole in (page(old.len())..new.len()).step_by(4096) {
        let mut with_hole = new.clone();
        let end = (hole + 4096).min(new.len());
        with_hole[hole.max(old.len())..end].fill(0);
        ends.push((format!("a page of zeros at {hole}"), with_hole));
    }
    for (what, bytes) in ends {
        let scratch = folder.path().join("scratch");
        copy(&before, &scratch);
        std::fs::write(scratch.join("journal").join(name), &bytes).unwrap();
        survives(&scratch, 1 << 20, &known, &format!("torn last write, {what}"), counts);
        counts.case("a torn last write that nobody was told of");
        std::fs::remove_dir_all(&scratch).unwrap();
        // The same with a head file that remembers the group: it was acknowledged, so this is damage.
        copy(&after, &scratch);
        std::fs::write(scratch.join("journal").join(name), &bytes).unwrap();
        damaged(&scratch, &[], &format!("an acknowledged group damaged, {what}"), counts);
        if open(options(&scratch, SEGMENT_BYTES)).is_ok() {
            counts.lost.push(format!("an acknowledged group damaged, {what}: it opens"));
        }
        counts.case("an acknowledged last group damaged");
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}

/// One byte changed, anywhere in any file.
fn flipped(effort: &Effort, counts: &mut Counts, good: &Path, known: &[(Seq, String)]) {
    let mut all = Vec::new();
    files(good, &mut all);
    for path in all {
        let inside = path.strip_prefix(good).unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let store = inside.starts_with("store");
        // The journal byte by byte; the store, which is mostly empty space, more coarsely.
        let step = if store { (bytes.len() / effort.stride(150, 8)).max(1) } else { effort.stride(11, 397) };
        for at in (0..bytes.len()).step_by(step) {
            let folder = tempfile::tempdir().unwrap();
            let scratch = folder.path().join("ledger");
            copy(good, &scratch);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(scratch.join(&inside), changed).unwrap();
            let what = format!("byte {at} of {} flipped", inside.display());
            if store {
                survives(&scratch, SEGMENT_BYTES, known, &what, counts);
                counts.case("a byte of the query store flipped");
            } else if inside.starts_with("journal") {
                if verified(&scratch) == Overall::Verified {
                    counts.false_passes.push(what.clone());
                }
                damaged(&scratch, known, &what, counts);
                counts.case("a byte of the journal flipped");
            } else {
                damaged(&scratch, known, &what, counts);
                counts.case("a byte of the head file flipped");
            }
        }
    }
}

/// Refused with an explanation, or opened with everything in it.
fn damaged(path: &Path, known: &[(Seq, String)], what: &str, counts: &mut Counts) {
    match open(options(path, SEGMENT_BYTES)) {
        Err(error) => assert!(!error.hint().is_empty(), "{what}: {error}"),
        Ok((ledger, _)) => {
            holds(&ledger, known, what, counts);
            block_on(ledger.close()).unwrap();
            if !known.is_empty() && verified(path) != Overall::Verified {
                // It opened and goes on, although the verifier finds something that opening does not look at.
                println!("opened, and not verified afterwards: {what}");
            }
        }
    }
}

fn heads(counts: &mut Counts, good: &Path, known: &[(Seq, String)]) {
    let folder = tempfile::tempdir().unwrap();
    let (old, foreign, longer) =
        (folder.path().join("old"), folder.path().join("foreign"), folder.path().join("longer"));
    filled(&old, 2);
    filled(&foreign, 8);
    copy(good, &longer);
    survives(&longer, SEGMENT_BYTES, known, "the ledger goes on", counts);
    let head = |directory: &Path| std::fs::read(directory.join("head")).unwrap();
    let mut one_slot = head(good);
    one_slot[..4096].fill(0);
    let mut other_slot = head(good);
    other_slot[4096..].fill(0);
    let forms: [(&str, Option<Vec<u8>>, bool); 8] = [
        ("lost", None, false),
        ("blank", Some(vec![0; 8192]), false),
        ("empty", Some(Vec::new()), false),
        ("cut in half", Some(head(good)[..100].to_vec()), false),
        ("of another ledger of the same name and key", Some(head(&foreign)), false),
        ("of a later moment: journal rolled back", Some(head(&longer)), false),
        ("without its first slot", Some(one_slot), true),
        ("without its second slot", Some(other_slot), true),
    ];
    for (what, bytes, may_open) in forms {
        let scratch = folder.path().join("scratch");
        copy(good, &scratch);
        match bytes {
            Some(bytes) => std::fs::write(scratch.join("head"), bytes).unwrap(),
            None => std::fs::remove_file(scratch.join("head")).unwrap(),
        }
        if !may_open && verified(&scratch) == Overall::Verified {
            counts.false_passes.push(format!("head file {what}"));
        }
        match open(options(&scratch, SEGMENT_BYTES)) {
            Ok((ledger, _)) => {
                holds(&ledger, known, what, counts);
                block_on(ledger.close()).unwrap();
                if !may_open {
                    counts.false_passes.push(format!("head file {what}: it opens"));
                }
            }
            Err(error) => assert!(!error.hint().is_empty() && !error.to_string().is_empty(), "{what}"),
        }
        counts.case("the head file lost, old or foreign");
        std::fs::remove_dir_all(&scratch).unwrap();
    }
    // An older head of the same ledger is only behind, as after a crash within the last second.
    let earlier = folder.path().join("earlier");
    copy(good, &earlier);
    survives(&earlier, SEGMENT_BYTES, known, "the ledger goes on", counts);
    std::fs::write(earlier.join("head"), head(good)).unwrap();
    survives(&earlier, SEGMENT_BYTES, known, "head file of an earlier moment", counts);
    counts.case("the head file lost, old or foreign");
}

/// A closed ledger of so many drafts, in groups of one.
fn filled(path: &Path, records: u64) -> Vec<(Seq, String)> {
    block_on(async {
        let (ledger, _) = open(options(path, 3000)).unwrap();
        let mut known = Vec::new();
        for n in 0..records {
            known.push(named(&ledger.append(draft(n)).await.unwrap()));
        }
        ledger.close().await.unwrap();
        known
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
