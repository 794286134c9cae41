//! `docs/errors.md` lists every stable code that the gateway can answer, and none that it can't.
//!
//! The codes are read out of the source: the second argument of a refusal, and the words of the functions that give a code
//! for an error. A new refusal therefore fails here until it is documented.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be read must fail the test loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A code is lower-case words joined by hyphens, alone in a string literal.
fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.split('-').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// The string literals of a piece of source, as far as none of them holds a quotation mark.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}

/// The codes given as an argument beside a status: `Refusal::new(StatusCode::X, "code", …)`, also in a tuple.
fn codes_beside_a_status(source: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for after in source.split("StatusCode::").skip(1) {
        let status = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        let argument = after.trim_start_matches(status).strip_prefix(',').map(str::trim_start);
        let code = argument.and_then(|text| text.strip_prefix('"')).and_then(|text| text.split('"').next());
        codes.extend(code.filter(|text| is_code(text)).map(str::to_owned));
    }
    // The status that a library's rejection asks for, and our code beside it.
    for after in source.split(".status(), \"").skip(1) {
        codes.extend(after.split('"').next().filter(|text| is_code(text)).map(str::to_owned));
    }
    // `if … { "stopping" } else { "ledger-down" }` in the place of a code.
    for after in source.split("if matches!(").skip(1) {
        let line = after.lines().next().unwrap_or_default();
        if line.contains("} else {") {
            codes.extend(literals(line).filter(|text| is_code(text)).map(str::to_owned));
        }
    }
    codes
}

/// The words that functions such as `fn code(&self) -> &'static str` give.
fn words_of_functions(source: &str, signature: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for body in source.split(signature).skip(1) {
        let body = body.split("\n    }\n").next().unwrap_or_default();
        let words = body.split("=> ").skip(1).filter_map(|arm| arm.strip_prefix('"')?.split('"').next());
        found.extend(words.filter(|text| is_code(text)).map(str::to_owned));
    }
    found
}

/// The same for every file below `folder`; there must be some.
fn words_below(folder: &str, signature: &str) -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join(folder), &mut files);
    let words: BTreeSet<String> = files
        .iter()
        .flat_map(|file| words_of_functions(&fs::read_to_string(file).unwrap(), signature))
        .collect();
    assert!(words.len() > 1, "{folder}: `{signature}` gives only {words:?}");
    words
}

const CODE: &str = "pub fn code(&self) -> &'static str {";
const WORD: &str = "pub fn word(self) -> &'static str {";

fn codes_in_the_source() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut files = Vec::new();
    for folder in ["src/edge", "src/console"] {
        sources(&root().join(folder), &mut files);
    }
    for file in files {
        codes.extend(codes_beside_a_status(&fs::read_to_string(file).unwrap()));
    }
    codes.extend(words_below("src/access", CODE));
    codes.extend(words_below("src/gateway/s3", CODE));
    codes.extend(words_below("src/session", CODE));
    codes.extend(words_below("src/tunnel/handshake", WORD));
    codes
}

/// The codes in the first column of the tables whose first head is `code`, without the exit codes.
fn codes_on_the_page(page: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut in_table = false;
    for line in page.lines() {
        if line.starts_with("| code |") {
            in_table = true;
        } else if !line.starts_with('|') {
            in_table = false;
        } else if in_table
            && let Some(code) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next())
        {
            codes.insert(code.to_owned());
        }
    }
    codes
}

#[test]
fn the_page_of_errors_lists_every_code_of_the_source_and_no_other() {
    let (source, page) = (codes_in_the_source(), codes_on_the_page(&read("docs/errors.md")));
    assert!(source.len() > 50, "the scan finds too little: {source:?}");
    let missing: Vec<_> = source.difference(&page).collect();
    let stale: Vec<_> = page.difference(&source).collect();
    assert!(missing.is_empty(), "docs/errors.md does not list {missing:?}");
    assert!(stale.is_empty(), "docs/errors.md lists what the source does not say: {stale:?}");
}

#[test]
fn the_scan_sees_a_code_in_each_place_where_one_can_stand() {
    let source = "Refusal::new(\n    StatusCode::NOT_FOUND,\n    \"no-such-thing\",\n    format!(\"there is none\"),\n);\n\
                  Self::Policy(_) => (StatusCode::CONFLICT, \"in-a-tuple\"),\n\
                  if matches!(error, E::A) { \"one-way\" } else { \"other-way\" },\n\
                  Problem::new(&c, error.status(), \"as-rejected\", error.body_text(), hint)\n\
                  Refusal::new(StatusCode::GONE, error.code(), error.to_string(), \"sign in\")\n";
    let codes: Vec<String> = codes_beside_a_status(source).into_iter().collect();
    assert_eq!(codes, ["as-rejected", "in-a-tuple", "no-such-thing", "one-way", "other-way"]);
}

#[test]
fn the_words_of_ends_causes_and_goodbyes_are_explained() {
    let page = read("docs/errors.md");
    let source = read("src/session/live.rs");
    let endings = source.split_once("impl Ending {").map(|(_, rest)| rest).unwrap_or_default();
    let mut words = words_of_functions(endings, "pub fn as_str(self) -> &'static str {");
    words.extend(words_of_functions(&read("src/access/permit.rs"), "pub fn as_str(self) -> &'static str {"));
    words.extend(words_of_functions(&read("src/tunnel/link.rs"), WORD));
    assert!(words.len() > 12, "the scan finds too little: {words:?}");
    for word in words {
        assert!(page.contains(&format!("`{word}`")), "docs/errors.md does not explain `{word}`");
    }
}
