//! Every change of a good copy, at every place: each is found, by its word, and named by its own sentence. What no sentence is
//! expected for isn't a finding, and that is asserted too.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tests::{answer, ledger, rows};
use super::*;
use crate::Digest;

/// Records of the sample: one in front, one at the end, and some between.
const COUNT: u64 = 7;

/// What a mutation leaves of the copy.
type Change = fn(&[Value], usize) -> Vec<Value>;

struct Mutation {
    name: &'static str,
    change: Change,
    verdict: &'static [&'static str],
    /// A finding of this sentence is there; none at all if it is empty.
    says: &'static str,
}

fn edited(rows: &[Value], at: usize, edit: impl Fn(&mut Value)) -> Vec<Value> {
    let mut rows = rows.to_vec();
    edit(&mut rows[at]);
    rows
}

fn without_record(rows: &[Value], at: usize, edit: impl Fn(&mut Value)) -> Vec<Value> {
    edited(rows, at, |row| {
        row.as_object_mut().unwrap().remove("record");
        edit(row);
    })
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "taken out",
        change: |rows, at| [&rows[..at], &rows[at + 1..]].concat(),
        verdict: &["gap"],
        says: "",
    },
    Mutation {
        name: "cut off from here on",
        change: |rows, at| rows[..at].to_vec(),
        verdict: &["gap"],
        says: "",
    },
    Mutation {
        name: "twice",
        change: |rows, at| [&rows[..=at], &rows[at..]].concat(),
        verdict: &["contiguous"],
        says: "",
    },
    Mutation {
        name: "exchanged with the next",
        change: |rows, at| {
            let mut rows = rows.to_vec();
            let next = (at + 1) % rows.len();
            rows.swap(at, next);
            rows
        },
        verdict: &["reordered"],
        says: "",
    },
    Mutation {
        name: "in another's place",
        change: |rows, at| edited(rows, at, |row| *row = rows[(at + 1) % rows.len()].clone()),
        verdict: &["gap"],
        says: "",
    },
    Mutation {
        name: "its text changed",
        change: |rows, at| edited(rows, at, |row| row["record"]["details"]["note"] = "x".into()),
        verdict: &["altered"],
        says: "its text is not that of the record",
    },
    Mutation {
        name: "another number said of it",
        change: |rows, at| {
            edited(rows, at, |row| row["seq"] = (COUNT - 1 - at as u64 + u64::from(at == 3)).into())
        },
        verdict: &["altered"],
        says: "it is said to be record",
    },
    Mutation {
        name: "another hash said of it",
        change: |rows, at| edited(rows, at, |row| row["leaf"] = Digest::leaf(b"x").to_string().into()),
        verdict: &["altered"],
        says: "another hash is said of it than its own",
    },
    Mutation {
        name: "of another ledger",
        change: |rows, at| edited(rows, at, |row| row["origin"] = "b.example/ledger".into()),
        verdict: &["gap", "foreign"],
        says: "it is of the ledger b.example/ledger",
    },
    Mutation {
        name: "made up, under a number that there is not",
        change: |rows, at| {
            edited(rows, at, |row| {
                row["seq"] = 700.into();
                row["record"]["seq"] = 700.into();
            })
        },
        verdict: &["gap", "foreign"],
        says: "the ledger has no such record",
    },
    Mutation {
        name: "its text gone, its hash there",
        change: |rows, at| without_record(rows, at, |_| {}),
        verdict: &["unproved"],
        says: "",
    },
    Mutation {
        name: "its text replaced by words",
        change: |rows, at| edited(rows, at, |row| row["record"] = "redacted".into()),
        verdict: &["unproved"],
        says: "",
    },
    Mutation {
        name: "its text gone, and called too large",
        change: |rows, at| without_record(rows, at, |row| row["oversize"] = 70_000.into()),
        verdict: &["unproved"],
        says: "",
    },
    Mutation {
        name: "its text gone and its hash changed",
        change: |rows, at| {
            without_record(rows, at, |row| row["leaf"] = Digest::leaf(b"x").to_string().into())
        },
        verdict: &["altered"],
        says: "another hash is said of it than the ledger's",
    },
    Mutation {
        name: "text and hash gone",
        change: |rows, at| {
            without_record(rows, at, |row| {
                row.as_object_mut().unwrap().remove("leaf");
            })
        },
        verdict: &["altered"],
        says: "neither its text nor its hash is there",
    },
    Mutation {
        name: "a claim under a number that there is not",
        change: |rows, at| without_record(rows, at, |row| row["seq"] = 700.into()),
        verdict: &["gap", "foreign"],
        says: "the ledger has no record of this number",
    },
    Mutation {
        name: "nothing of it left",
        change: |rows, at| edited(rows, at, |row| *row = serde_json::json!({ "message": "gone" })),
        verdict: &["gap"],
        says: "",
    },
];

#[test]
fn every_mutation_at_every_place_has_its_word_and_its_sentence() {
    let (population, bytes) = ledger(COUNT);
    let good = rows(&bytes);
    for mutation in MUTATIONS {
        for at in 0..good.len() {
            let answer = answer(&population, &(mutation.change)(&good, at));
            let case = format!("{} at {at}: {answer:?}", mutation.name);
            assert_eq!(answer.verdict, mutation.verdict, "{case}");
            assert_eq!(answer.contiguous, mutation.verdict == ["contiguous"], "{case}");
            let findings: Vec<&Finding> = answer.alterations.iter().chain(&answer.foreigners).collect();
            assert_eq!(findings.is_empty(), mutation.says.is_empty(), "{case}");
            for finding in findings {
                assert!(finding.what.starts_with(mutation.says), "{case}");
                assert_eq!(finding.row, at as u64 + 1, "the row is named: {case}");
            }
        }
    }
}

#[test]
fn two_mutations_at_once_are_both_found_whichever_they_are_and_wherever() {
    let (population, bytes) = ledger(COUNT);
    let good = rows(&bytes);
    // Those that leave every row in its place, so that the second still finds its own.
    let still = |mutation: &&Mutation| {
        !["taken out", "cut off from here on", "twice", "exchanged with the next", "in another's place"]
            .contains(&mutation.name)
    };
    for first in MUTATIONS.iter().filter(still) {
        for second in MUTATIONS.iter().filter(still) {
            let (one, other) = (1, 4);
            let changed = (second.change)(&(first.change)(&good, one), other);
            let answer = answer(&population, &changed);
            let words = |mutation: &Mutation| {
                mutation.verdict.iter().copied().filter(|word| *word != "contiguous").collect::<BTreeSet<_>>()
            };
            let expected: BTreeSet<_> = words(first).union(&words(second)).copied().collect();
            let found: BTreeSet<_> =
                answer.verdict.iter().copied().filter(|word| *word != "contiguous").collect();
            assert_eq!(found, expected, "{} and {}: {answer:?}", first.name, second.name);
        }
    }
}

#[test]
fn a_copy_of_which_nothing_had_to_be_there_shows_nothing() {
    let (population, _) = ledger(COUNT);
    let nothing = Reconciler::new(population, None).finish(0, Some(0), None);
    assert_eq!((nothing.contiguous, nothing.verdict), (false, vec!["nothing"]));
}
