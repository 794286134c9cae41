//! The list of changes.

use sallyport_audit::journal::head;
use sallyport_audit::note::PublicKey;
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::{Overall, Trust};
use sallyport_audit::{Checkpoint, Digest, Draft, Kind, Outcome, Seq};

use crate::Score;
use crate::ledger::{
    Hand, ORIGIN, Part, Piece, Sample, canonical, genuine, head_file, overall, stranger, trust,
};
use crate::records::{fields, spellings};

/// What a forger does after his change, with the class under which it is counted.
const FORGERS: [(&str, Option<Hand>); 3] = [
    ("with right checksums", None),
    ("linked anew, old signatures", Some(Hand::Kept)),
    ("linked and signed anew with another key", Some(Hand::Stranger)),
];

pub(crate) fn run(score: &mut Score) {
    one_record(score);
    rule_breakers(score);
    order(score);
    groups(score);
    files(score);
    bytes(score);
    notes(score);
    head_files(score);
    checkpoints(score);
    keys(score);
}

/// Tries `sample` under each forger; the records before `from` were not touched.
fn forged(score: &mut Score, class: [&'static str; 3], what: &str, sample: &Sample, from: usize) {
    for ((by, hand), class) in FORGERS.into_iter().zip(class) {
        if score.skip() {
            continue;
        }
        let mut sample = sample.clone();
        if let Some(hand) = hand {
            sample.relink(from, hand);
        }
        score.files(class, || format!("{what}, {by}"), &sample.bind(), sample.head.as_deref(), &trust());
    }
}

fn one_record(score: &mut Score) {
    let sample = Sample::genuine();
    for index in 0..sample.records() {
        let record = sample.piece(index).record.clone();
        for changed in fields(&record).into_iter().chain(spellings(&record)) {
            let mut changed_sample = sample.clone();
            changed_sample.piece_mut(index).record.clone_from(&changed.bytes);
            let what = format!("record {index}: {}", changed.what);
            let class = [
                "a field or spelling changed, right checksums",
                "a field or spelling changed, linked anew, old signatures",
                "a field or spelling changed, linked and signed anew with another key",
            ];
            forged(score, class, &what, &changed_sample, index + 1);
            if changed.wrong_in_itself {
                changed_sample.relink(index + 1, Hand::Own);
                score.case(
                    "not a record, signed with the ledger's own key",
                    || what,
                    &changed_sample,
                    &trust(),
                );
            }
        }
    }
}

/// What even the ledger's own key must not make good.
fn rule_breakers(score: &mut Score) {
    let sample = Sample::genuine();
    let class = "a rule broken, signed with the ledger's own key";
    for index in 0..sample.records() {
        let text = String::from_utf8(sample.piece(index).record.clone()).unwrap();
        let swaps = [
            (format!("\"seq\":{index}"), format!("\"seq\":{}", index + 1)),
            ("\"prev\":\"".to_owned(), "\"prev\":\"0".to_owned()),
            ("\"v\":1".to_owned(), "\"v\":2".to_owned()),
            ("\"v\":1".to_owned(), "\"v\":0".to_owned()),
            ("\"kind\":\"".to_owned(), "\"kind\":\"x".to_owned()),
            ("\"time\":\"2026".to_owned(), "\"time\":\"2025".to_owned()),
            ("\"time\":\"2026".to_owned(), "\"time\":\"9999".to_owned()),
        ];
        for (from, to) in swaps {
            let mut broken = sample.clone();
            broken.piece_mut(index).record = text.replacen(&from, &to, 1).into_bytes();
            // A first record may be as old as it says, and a last one as young.
            let harmless = (index == 0 && to.ends_with("2025"))
                || (index + 1 == sample.records() && to.ends_with("9999"));
            if harmless {
                continue;
            }
            broken.relink(index + 1, Hand::Own);
            let what = format!("record {index}: {from} made {to}");
            // All of them: the two verifiers once disagreed about one, a record 0 of another format.
            score.always(class, &what, &broken);
        }
        let mut unlinked = sample.clone();
        let wrong = Digest::leaf(b"another").to_string();
        let prev = text.split_once("\"prev\":\"").unwrap().1[..64].to_owned();
        unlinked.piece_mut(index).record = text.replacen(&prev, &wrong, 1).into_bytes();
        unlinked.relink(index + 1, Hand::Own);
        score.case(class, || format!("record {index}: another prev"), &unlinked, &trust());
    }
    let too_deep = (1..9).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
    for (what, key, value) in [
        ("nested too deep", "deep", too_deep),
        ("a number too large", "number", serde_json::json!(9_007_199_254_740_992_i64)),
        ("a number too small", "number", serde_json::json!(-9_007_199_254_740_992_i64)),
    ] {
        let mut broken = sample.clone();
        let mut record: serde_json::Value = serde_json::from_slice(&broken.piece(1).record).unwrap();
        record["details"][key] = value;
        broken.piece_mut(1).record = canonical(&record);
        broken.relink(2, Hand::Own);
        score.always(class, what, &broken);
    }
    for (from, to) in [
        ("\"key\":\"gateway", "\"key\":\"gatewa"),
        ("\"origin\":\"g", "\"origin\":\"h"),
        ("ledger.created", "ledger.rebuilt"),
    ] {
        let mut broken = sample.clone();
        let text = String::from_utf8(broken.piece(0).record.clone()).unwrap();
        broken.piece_mut(0).record = text.replacen(from, to, 1).into_bytes();
        broken.relink(1, Hand::Own);
        score.case(class, || format!("record 0: {from} made {to}"), &broken, &trust());
    }
}

fn order(score: &mut Score) {
    let sample = Sample::genuine();
    let count = sample.records();
    let class = [
        "records removed, swapped, doubled, moved or inserted, right checksums",
        "records removed, swapped, doubled, moved or inserted, linked anew",
        "records removed, swapped, doubled, moved or inserted, signed with another key",
    ];
    let other = Piece { record: sample.piece(1).record.clone(), sealed: Vec::new() };
    for index in 0..count {
        let edited = |edit: &dyn Fn(&mut Part, usize)| {
            let mut sample = sample.clone();
            let (group, at) = sample.locate(index);
            edit(group, at);
            sample
        };
        let removed = edited(&|group, at| drop(group.pieces.remove(at)));
        forged(score, class, &format!("record {index} removed"), &removed, index);
        let mut gone = removed.clone();
        gone.files.iter_mut().for_each(|file| file.groups.retain(|group| !group.pieces.is_empty()));
        forged(score, class, &format!("record {index} removed, and its group if it was alone"), &gone, index);
        let mut cut = gone;
        let mut left = index;
        for group in cut.groups_mut() {
            group.pieces.truncate(left);
            left -= group.pieces.len();
        }
        cut.files.iter_mut().for_each(|file| file.groups.retain(|group| !group.pieces.is_empty()));
        forged(score, class, &format!("record {index} and all after it removed"), &cut, index);
        let doubled = edited(&|group, at| group.pieces.insert(at, group.pieces[at].clone()));
        forged(score, class, &format!("record {index} doubled"), &doubled, index + 1);
        let inserted = edited(&|group, at| group.pieces.insert(at, other.clone()));
        forged(score, class, &format!("a record inserted before {index}"), &inserted, index);
        let appended = edited(&|group, at| group.pieces.insert(at + 1, other.clone()));
        forged(score, class, &format!("a record inserted after {index}"), &appended, index + 1);
        for second in 0..count {
            if second == index {
                continue;
            }
            let mut replaced = sample.clone();
            *replaced.piece_mut(index) = sample.piece(second).clone();
            forged(score, class, &format!("record {index} replaced by {second}"), &replaced, index);
            if second > index {
                *replaced.piece_mut(second) = sample.piece(index).clone();
                forged(score, class, &format!("records {index} and {second} swapped"), &replaced, index);
            }
        }
    }
}

fn groups(score: &mut Score) {
    let sample = Sample::genuine();
    let class = [
        "groups changed, right checksums",
        "groups changed, linked anew",
        "groups changed, signed with another key",
    ];
    let places: Vec<_> = sample
        .files
        .iter()
        .enumerate()
        .flat_map(|(file, f)| (0..f.groups.len()).map(move |group| (file, group)))
        .collect();
    let with = |edit: &dyn Fn(&mut Sample)| {
        let mut sample = sample.clone();
        edit(&mut sample);
        sample
    };
    for &(file, group) in &places {
        let removed = with(&|s| drop(s.files[file].groups.remove(group)));
        forged(score, class, &format!("group {group} of file {file} removed"), &removed, 0);
        let doubled = with(&|s| s.files[file].groups.insert(group, sample.files[file].groups[group].clone()));
        forged(score, class, &format!("group {group} of file {file} doubled"), &doubled, 0);
        let emptied = with(&|s| s.files[file].groups[group].pieces.clear());
        forged(score, class, &format!("group {group} of file {file} emptied"), &emptied, 0);
        for &(other_file, other) in &places {
            if (other_file, other) == (file, group) {
                continue;
            }
            let replaced =
                with(&|s| s.files[file].groups[group] = sample.files[other_file].groups[other].clone());
            forged(score, class, "a group replaced by another", &replaced, 0);
            let noted = with(&|s| {
                s.files[file].groups[group].note.clone_from(&sample.files[other_file].groups[other].note);
            });
            score.case(
                "a group under the head of another",
                || format!("{file}/{group} under {other_file}/{other}"),
                &noted,
                &trust(),
            );
            let moved = with(&|s| {
                let moved = s.files[file].groups.remove(group);
                let at = other.min(s.files[other_file].groups.len());
                s.files[other_file].groups.insert(at, moved);
            });
            // Moved over the boundary of two files next to each other, it stays where it was.
            if moved.groups().map(|group| &group.note).ne(sample.groups().map(|group| &group.note)) {
                forged(score, class, "a group moved", &moved, 0);
            }
        }
        for first in [0, 1, 100, u64::MAX - 20] {
            let renumbered = with(&|s| s.files[file].groups[group].first = first);
            score.case(
                "a group that begins elsewhere",
                || format!("{file}/{group} at {first}"),
                &renumbered,
                &trust(),
            );
        }
        for at in 1..sample.files[file].groups[group].pieces.len() {
            let split = with(&|s| {
                let mut second = s.files[file].groups[group].clone();
                second.pieces = s.files[file].groups[group].pieces.split_off(at);
                second.first += at as u64;
                s.files[file].groups.insert(group + 1, second);
            });
            // Linked anew, the same records stand under one head more, which only the key can sign.
            forged(score, class, "a group split", &split, usize::MAX);
        }
        if group + 1 < sample.files[file].groups.len() {
            let merged = with(&|s| {
                let second = s.files[file].groups.remove(group);
                s.files[file].groups[group].pieces.splice(0..0, second.pieces);
                s.files[file].groups[group].first = second.first;
            });
            // Whoever drops a head and keeps all records and the later head changes nothing that is recorded.
            let mut merged_rightly = merged.clone();
            merged_rightly.relink(usize::MAX, Hand::Stranger);
            score.case(class[2], || "two groups merged".to_owned(), &merged_rightly, &trust());
        }
    }
}

fn files(score: &mut Score) {
    let sample = Sample::genuine();
    let class = [
        "segment files changed, right checksums",
        "segment files changed, linked anew",
        "segment files changed, signed with another key",
    ];
    let other = {
        let mut journal = JournalBuilder::new("another.example.org/ledger", genuine());
        journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)]).rotate();
        journal.group([Draft::new(Kind::GatewayHeartbeat, Outcome::Success)]);
        Sample::of(&journal)
    };
    for file in 0..sample.files.len() {
        let with = |edit: &dyn Fn(&mut Sample)| {
            let mut sample = sample.clone();
            edit(&mut sample);
            sample
        };
        forged(score, class, &format!("file {file} removed"), &with(&|s| drop(s.files.remove(file))), 0);
        let emptied = with(&|s| s.files[file].groups.clear());
        forged(score, class, &format!("file {file} without groups"), &emptied, 0);
        for second in 0..file {
            forged(score, class, "two files swapped", &with(&|s| s.files.swap(file, second)), 0);
            let renamed = with(&|s| {
                let name = s.files[file].name.clone();
                s.files[file].name = std::mem::replace(&mut s.files[second].name, name);
                s.files.swap(file, second);
            });
            score.case(class[0], || "two files under each other's names".to_owned(), &renamed, &trust());
        }
        let headers = [
            with(&|s| s.files[file].header.origin.push('x')),
            with(&|s| s.files[file].header.origin.clear()),
            with(&|s| s.files[file].header.first = s.files[file].header.first.next()),
            with(&|s| s.files[file].header.first = Seq::new(1 << 40)),
            with(&|s| s.files[file].header.prev = Digest::leaf(b"x")),
            with(&|s| s.files[file].header.peaks.push(Digest::ZERO)),
            with(&|s| {
                let _ = s.files[file].header.peaks.pop();
            }),
            with(&|s| s.files[file].header.peaks.reverse()),
            with(&|s| s.files[file].header.peaks.iter_mut().for_each(|peak| *peak = Digest::leaf(b"x"))),
            with(&|s| s.files[file].header.note.push('x')),
            with(&|s| s.files[file].header.note.clear()),
            with(&|s| s.files[file].header.note.clone_from(&sample.groups().last().unwrap().note)),
            with(&|s| s.files[file].header = other.files[file.min(1)].header.clone()),
            with(&|s| s.files[file] = other.files[file.min(1)].clone()),
            with(&|s| "00000000000000000099.seg".clone_into(&mut s.files[file].name)),
        ];
        for (number, changed) in headers.into_iter().enumerate() {
            score.case(
                "segment headers changed",
                || format!("file {file}, change {number}"),
                &changed,
                &trust(),
            );
        }
        let mut bytes = sample.bind();
        bytes[file].1.clear();
        score.files("empty", || format!("file {file} empty"), &bytes, sample.head.as_deref(), &trust());
    }
    let empty = Sample { files: Vec::new(), head: sample.head.clone() };
    score.case("empty", || "no segments".to_owned(), &empty, &trust());
    score.files("empty", || "nothing at all".to_owned(), &[], None, &trust());
    let mut bare = sample.clone();
    bare.files.truncate(1);
    bare.files[0].groups.clear();
    for head in [None, Some(vec![0; head::FILE_BYTES]), sample.head.clone()] {
        score.files("empty", || "a header alone".to_owned(), &bare.bind(), head.as_deref(), &trust());
    }
}

/// Every bit of every file, every cut, and cuts with the later files gone.
fn bytes(score: &mut Score) {
    let sample = Sample::genuine();
    let files = sample.bind();
    for (file, (_, bytes)) in files.iter().enumerate() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                if score.skip_byte() {
                    continue;
                }
                let mut flipped = files.clone();
                flipped[file].1[at] ^= 1 << bit;
                let what = || format!("file {file}, byte {at}, bit {bit}");
                score.files("a bit flipped", what, &flipped, sample.head.as_deref(), &trust());
            }
            for last in [false, true] {
                if score.skip_byte() {
                    continue;
                }
                let mut cut = files.clone();
                cut[file].1.truncate(at);
                if last {
                    cut.truncate(file + 1);
                }
                let what = || format!("file {file} cut at {at}, later files gone: {last}");
                score.files("cut at a byte", what, &cut, sample.head.as_deref(), &trust());
            }
        }
    }
}

fn notes(score: &mut Score) {
    let sample = Sample::genuine();
    let count = sample.groups().count();
    for group in 0..count {
        let old = sample.groups().nth(group).unwrap().note.clone();
        let (head, _) = Checkpoint::from_note(&old).unwrap();
        let (text, signatures) = old.split_once("\n\n").unwrap();
        let (prefix, encoded) = signatures.trim_end().rsplit_once(' ').unwrap();
        let raw = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
        let signature = |raw: &[u8]| {
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, raw);
            format!("{text}\n\n{prefix} {encoded}\n")
        };
        let mut notes: Vec<(String, String)> = Vec::new();
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1 << (at % 8);
            notes.push((format!("byte {at} of the signature changed"), signature(&changed)));
        }
        notes.push(("a shorter signature".to_owned(), signature(&raw[..raw.len() - 1])));
        notes.push(("a longer signature".to_owned(), signature(&[&raw[..], &[0]].concat())));
        notes.push(("a signature of zeros".to_owned(), signature(&[&raw[..4], &[0; 64]].concat())));
        let own = |head: &Checkpoint| genuine().sign_checkpoint(head).to_string();
        notes.push(("no signature".to_owned(), format!("{text}\n\n")));
        notes.push(("no signature and no line for it".to_owned(), format!("{text}\n")));
        notes.push(("empty".to_owned(), String::new()));
        notes.push(("another key".to_owned(), stranger().sign_checkpoint(&head).to_string()));
        let renamed = SoftwareSigner::new("another.example.org/ledger", [7; 32]);
        notes.push(("the key under another name".to_owned(), renamed.sign_checkpoint(&head).to_string()));
        notes.push((
            "the key's own name spelled otherwise".to_owned(),
            old.replacen("— gateway", "— Gateway", 1),
        ));
        for (what, changed) in [
            (
                "another origin",
                Checkpoint { origin: "another.example.org/ledger".to_owned(), ..head.clone() },
            ),
            ("one record more", Checkpoint { size: head.size + 1, ..head.clone() }),
            ("one record less", Checkpoint { size: head.size - 1, ..head.clone() }),
            ("another root", Checkpoint { root: Digest::leaf(b"x"), ..head.clone() }),
        ] {
            notes.push((format!("{what}, signed with the ledger's own key"), own(&changed)));
            notes.push((format!("{what}, old signature"), format!("{}\n{signatures}", changed.text())));
            notes.push((format!("{what}, another key"), stranger().sign_checkpoint(&changed).to_string()));
        }
        notes.push(("a false signature of the key beside the right one".to_owned(), {
            let mut changed = raw.clone();
            changed[40] ^= 1;
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, changed);
            format!("{old}{prefix} {encoded}\n")
        }));
        notes.push(("an extension line".to_owned(), old.replacen("\n\n", "\nextension\n\n", 1)));
        notes.push((
            "a size with a zero before it".to_owned(),
            old.replacen(&format!("\n{}\n", head.size), &format!("\n0{}\n", head.size), 1),
        ));
        for (what, note) in notes {
            let mut changed = sample.clone();
            changed.groups_mut().nth(group).unwrap().note.clone_from(&note);
            score.case("a head changed", || format!("group {group}: {what}"), &changed, &trust());
            // The same with everything that repeats the head brought in line with it.
            let mut in_line = changed;
            in_line
                .files
                .iter_mut()
                .filter(|file| file.header.note == old)
                .for_each(|file| file.header.note.clone_from(&note));
            if group + 1 == count
                && let Some(slot) = head::slot(&note)
            {
                in_line.head = Some([slot, vec![0; head::SLOT_BYTES]].concat());
            }
            score.case(
                "a head changed, and its copies with it",
                || format!("group {group}: {what}"),
                &in_line,
                &trust(),
            );
        }
    }
    let mut unsigned = sample;
    for group in unsigned.groups_mut() {
        group.note.truncate(group.note.find("\n\n").unwrap() + 2);
    }
    score.case("a head changed", || "no head is signed".to_owned(), &unsigned, &trust());
}

fn head_files(score: &mut Score) {
    let sample = Sample::genuine();
    let good = sample.head.clone().unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let class = "the head file changed";
    for at in 0..good.len() {
        let bits = if at < used { 8 } else { 1 };
        for bit in 0..bits {
            if at >= head::SLOT_BYTES {
                continue; // The second slot was never written; what stands there does not count.
            }
            let mut head = good.clone();
            head[at] ^= 1 << bit;
            if score.skip_byte() {
                continue;
            }
            let what = || format!("byte {at}, bit {bit}");
            score.files(class, what, &sample.bind(), Some(&head), &trust());
        }
    }
    for length in [0, 1, 15, 16, 100, used - 1] {
        let changed = Sample { head: Some(good[..length].to_vec()), ..sample.clone() };
        score.case(class, || format!("cut to {length} bytes"), &changed, &trust());
    }
    let last = sample.groups().last().unwrap().note.clone();
    let (head, _) = Checkpoint::from_note(&last).unwrap();
    let forms = [
        ("missing", None),
        ("blank", Some(vec![0; head::FILE_BYTES])),
        ("of another key", Some(head_file(&stranger().sign_checkpoint(&head).to_string()))),
        (
            "of another ledger",
            Some(head_file(
                &genuine()
                    .sign_checkpoint(&Checkpoint { origin: "x".to_owned(), ..head.clone() })
                    .to_string(),
            )),
        ),
        (
            "of a longer ledger",
            Some(head_file(&genuine().sign_checkpoint(&Checkpoint { size: 13, ..head.clone() }).to_string())),
        ),
        (
            "of another history",
            Some(head_file(
                &genuine().sign_checkpoint(&Checkpoint { root: Digest::ZERO, ..head.clone() }).to_string(),
            )),
        ),
        (
            "of another history, shorter",
            Some(head_file(&genuine().sign_checkpoint(&Checkpoint { size: 5, ..head }).to_string())),
        ),
    ];
    for (what, head) in forms {
        score.case(class, || what.to_owned(), &Sample { head, ..sample.clone() }, &trust());
    }
}

/// Journal and head file put back together to every earlier moment, and checked against a checkpoint from elsewhere.
fn checkpoints(score: &mut Score) {
    let sample = Sample::genuine();
    let notes: Vec<_> = sample.groups().map(|group| group.note.clone()).collect();
    let class = "an older copy of everything, against a later checkpoint";
    for kept in 1..notes.len() {
        let old = rolled_back(&sample, kept);
        for later in &notes[kept..] {
            let trust = Trust { checkpoint: Some(later.clone()), ..trust() };
            score.case(class, || format!("{kept} groups"), &old, &trust);
        }
    }
    let (head, _) = Checkpoint::from_note(&notes[2]).unwrap();
    let false_ones = [
        ("another key", stranger().sign_checkpoint(&head).to_string()),
        (
            "another root",
            genuine().sign_checkpoint(&Checkpoint { root: Digest::ZERO, ..head.clone() }).to_string(),
        ),
        (
            "another origin",
            genuine().sign_checkpoint(&Checkpoint { origin: "x".to_owned(), ..head }).to_string(),
        ),
        ("nothing", String::new()),
        ("no signature", notes[2].split_once("\n\n").unwrap().0.to_owned() + "\n\n"),
    ];
    for (what, note) in false_ones {
        let trust = Trust { checkpoint: Some(note), ..trust() };
        score.case("a checkpoint that does not fit", || what.to_owned(), &sample, &trust);
    }
}

/// Journal and head file as they were after so many groups.
fn rolled_back(sample: &Sample, groups: usize) -> Sample {
    let mut old = sample.clone();
    let mut left = groups;
    for file in &mut old.files {
        file.groups.truncate(left);
        left -= file.groups.len();
    }
    old.files.retain(|file| !file.groups.is_empty());
    old.head = Some(head_file(&old.groups().last().unwrap().note));
    old
}

/// The eight points of small order, and their spellings that are not canonical.
const WEAK: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn keys(score: &mut Score) {
    let sample = Sample::genuine();
    let class = "wrong, weak or no keys";
    for (what, keys) in [
        ("none", Vec::new()),
        ("another", vec![stranger().verifier()]),
        ("under another name", vec![SoftwareSigner::new("x", [7; 32]).verifier()]),
    ] {
        score.files(
            class,
            || what.to_owned(),
            &sample.bind(),
            sample.head.as_deref(),
            &Trust { keys, ..trust() },
        );
    }
    for point in WEAK {
        let bytes: [u8; 32] = const_hex::decode(point).unwrap().try_into().unwrap();
        score.count(class, || format!("the weak key {point}"), PublicKey::new(ORIGIN, &bytes).is_err());
    }
    let good = genuine().verifier().to_string();
    for bad in [
        good.replacen("+a", "+b", 1),
        good.replacen("gateway", "Gateway", 1),
        good[..good.len() - 1].to_owned(),
        good.replacen("+Ae", "+Be", 1),
    ] {
        score.count(class, || format!("the key {bad}"), PublicKey::parse(&bad).is_err());
    }
}

/// What passes because the specification says so, each with whether it really does.
pub(crate) fn outside_the_claim() -> Vec<(&'static str, bool)> {
    let sample = Sample::genuine();
    let check = |sample: &Sample| verified(&sample.bind(), sample.head.as_deref(), &trust());
    let mut sealed = sample.clone();
    sealed.piece_mut(1).sealed.clear();
    let mut cosigned = sample.clone();
    let extra = stranger()
        .sign_checkpoint(&Checkpoint::from_note(&sample.groups().last().unwrap().note).unwrap().0)
        .to_string();
    cosigned.groups_mut().last().unwrap().note.push_str(extra.split_once("\n\n").unwrap().1);
    let mut unfinished = sample.bind();
    unfinished.last_mut().unwrap().1.extend_from_slice(b"SPG1");
    let older = Sample { head: rolled_back(&sample, 2).head, ..sample.clone() };
    let mut merged = sample.clone();
    let second = merged.files[0].groups.remove(1);
    merged.files[0].groups[0].pieces.extend(second.pieces);
    merged.files[0].groups[0].note = second.note;
    let mut resegmented = sample.clone();
    let moved = resegmented.files[0].groups.remove(1);
    resegmented.files[1].groups.insert(0, moved);
    resegmented.relink(usize::MAX, Hand::Kept);
    vec![
        ("segments that end elsewhere: all records and heads as they were (section 7)", check(&resegmented)),
        (
            "an older copy of journal and head file together, without a checkpoint from elsewhere (section 9)",
            check(&rolled_back(&sample, 3)),
        ),
        ("sealed personal values erased (section 3)", check(&sealed)),
        ("a signature of an unknown key added to a head (section 5)", check(&cosigned)),
        (
            "an unfinished group behind the last one (section 7)",
            verified(&unfinished, sample.head.as_deref(), &trust()),
        ),
        ("a head file that is behind the journal (section 8)", check(&older)),
        ("two groups made one under the later head: all records as they were (section 7)", check(&merged)),
    ]
}

fn verified(segments: &[(String, Vec<u8>)], head: Option<&[u8]>, trust: &Trust) -> bool {
    overall(segments, head, trust) == Overall::Verified
}

/// Ledgers that are as they should be, at the edges of what may be written.
pub(crate) fn good() -> Vec<(&'static str, Sample)> {
    let created = || {
        Draft::new(Kind::LedgerCreated, Outcome::Success)
            .detail("origin", ORIGIN)
            .detail("key", genuine().verifier().to_string())
            .detail("format", 1)
    };
    let with = |drafts: Vec<Draft>| {
        let mut journal = JournalBuilder::new(ORIGIN, genuine());
        journal.group([created()]);
        journal.group(drafts);
        Sample::of(&journal)
    };
    let plain = || Draft::new(Kind::HttpRequest, Outcome::Success);
    let deep = (1..8).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
    let odd = "\u{0}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\u{10000}";
    let mut every_kind = JournalBuilder::new(ORIGIN, genuine());
    every_kind.group([created()]);
    // One that begins an epoch may stand nowhere else: see `epochs.rs`.
    let anywhere: Vec<_> = Kind::ALL.iter().filter(|kind| **kind != Kind::LedgerResumed).collect();
    for kinds in anywhere.chunks(5) {
        every_kind.group(kinds.iter().map(|kind| Draft::new(**kind, Outcome::Denied)));
        every_kind.rotate();
    }
    every_kind.group([plain()]);
    vec![
        ("one record", {
            let mut journal = JournalBuilder::new(ORIGIN, genuine());
            journal.group([created()]);
            Sample::of(&journal)
        }),
        ("details nested as deep as may be", with(vec![plain().detail("deep", deep)])),
        (
            "every character that is escaped, and some that are not",
            with(vec![plain().detail("odd", odd).detail(odd, 1)]),
        ),
        (
            "keys that UTF-16 sorts otherwise than code points",
            with(vec![plain().detail("\u{ff5e}", 1).detail("\u{1f512}", 2).detail("z", 3).detail("", 4)]),
        ),
        (
            "the largest numbers",
            with(vec![
                plain()
                    .detail("a", 9_007_199_254_740_991_i64)
                    .detail("b", -9_007_199_254_740_991_i64)
                    .detail("c", 0),
            ]),
        ),
        (
            "a record as long as may be",
            with(vec![plain().detail("long", "x".repeat(65_000)), plain().path("y".repeat(30_000))]),
        ),
        ("every kind, in many segments", Sample::of(&every_kind)),
    ]
}
