//! Signature lines that stand beside the ledger's own: how many, how long, under which names.
//!
//! A reader passes over keys that it does not know, so whoever writes a note may fill it with lines. What a
//! note may hold is bounded in the specification, and both verifiers must draw the line in the same place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Score;
use crate::ledger::Sample;

/// A line of a key that nobody knows, with a signature of so many bytes.
fn line(name: &str, bytes: usize) -> String {
    format!("\u{2014} {name} {}\n", STANDARD.encode(vec![1; 4 + bytes]))
}

fn strangers(count: usize, bytes: usize) -> String {
    (0..count).map(|number| line(&format!("witness-{number}.example.net"), bytes)).collect()
}

/// The sample with these lines behind the head over its second group, and wherever that is repeated.
fn with(lines: &str) -> Sample {
    let mut sample = Sample::genuine();
    let group = sample.groups_mut().nth(1).unwrap();
    let old = group.note.clone();
    group.note.push_str(lines);
    let repeated = sample.files.iter_mut().filter(|file| file.header.note == old);
    repeated.for_each(|file| file.header.note.push_str(lines));
    sample
}

/// Lines with which the whole note has so many bytes.
fn up_to(bytes: usize) -> String {
    let note = Sample::genuine().groups().nth(1).unwrap().note.len();
    let mut lines = strangers(40, 2420);
    let left = bytes - note - lines.len() - line("last.example.net", 0).len();
    // Base64 comes in fours; what is left of them goes into the name.
    let name = format!("last.example.net{}", "x".repeat(left % 4));
    lines.push_str(&line(&name, 0));
    let last = line(&name, 0).len();
    lines.truncate(lines.len() - last);
    lines.push_str(&line(&name, left / 4 * 3));
    lines
}

/// Notes that are as full as may be.
pub(crate) fn good() -> Vec<(&'static str, Sample)> {
    vec![
        ("a head with as many signatures as may be", with(&strangers(63, 64))),
        ("a head with a post-quantum signature of a stranger", with(&strangers(1, 2420))),
        ("a head as long as may be", with(&up_to(131_072))),
        ("a head with a name as long as may be", with(&line(&"n".repeat(255), 64))),
    ]
}

pub(crate) fn run(score: &mut Score) {
    let class = "a head with more beside its signature than may be";
    for (what, lines) in [
        ("one signature too many", strangers(64, 64)),
        ("a hundred signatures too many", strangers(163, 64)),
        ("four bytes too long", up_to(131_076)),
        ("twice as long as may be", strangers(60, 2 * 2420)),
        ("an empty signature", line("witness.example.net", 0)),
        ("a name that is too long", line(&"n".repeat(256), 64)),
        ("a name with a plus", line("a+b", 64)),
        ("a name with a blank of another script", line("a\u{a0}b", 64)),
        ("a name with a control character", line("a\u{7f}b", 64)),
        ("a name with a control character above ASCII", line("a\u{86}b", 64)),
        ("a line without a name", line("", 64)),
    ] {
        score.always(class, what, &with(&lines));
    }
}
