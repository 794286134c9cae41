//! The house: floors know nothing of the floors above them, packages keep apart, and every file says what it is for.
//!
//! Paths are read from the token stream, so neither comments nor strings nor the way a `use` is grouped can hide one. What
//! this cannot see is a name that another crate re-exports; between packages the manifests decide.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken fixture must fail its test loudly"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// Each may use what stands below it. Those on one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["gateway"],
    &["console"],
    &["edge"],
    &["session", "notify"],
    &["access", "tunnel"],
    &["traces"],
    &["clock", "secret_file"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&module))
}

/// Modules at the root of the crate that `text`, the source of `module`, names.
fn named(text: &str, module: &[&str]) -> BTreeSet<String> {
    let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
    let mut found = BTreeSet::new();
    let stream =
        text.parse::<TokenStream>().unwrap_or_else(|error| panic!("{module:?} is not Rust: {error}"));
    walk(stream, &module, &mut found);
    found
}

fn walk(stream: TokenStream, module: &[String], found: &mut BTreeSet<String>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        match &trees[at..] {
            // `mod name { … }`: `super` in it is this module.
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
                if *word == "mod" =>
            {
                let inner = [module, &[name.to_string()]].concat();
                walk(body.stream(), &inner, found);
                at += 3;
                continue;
            }
            [TokenTree::Ident(word), ..] if *word == "crate" || *word == "super" => {
                at += 1;
                let mut place = if *word == "crate" { Vec::new() } else { parent(module) };
                while is_path(&trees, at)
                    && matches!(trees.get(at + 2), Some(TokenTree::Ident(word)) if *word == "super")
                {
                    place = parent(&place);
                    at += 3;
                }
                if is_path(&trees, at) && place.is_empty() {
                    first_names(trees.get(at + 2), found);
                } else if let Some(room) = place.first() {
                    found.insert(room.clone());
                }
                continue;
            }
            [TokenTree::Group(group), ..] => walk(group.stream(), module, found),
            _ => {}
        }
        at += 1;
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn is_path(trees: &[TokenTree], at: usize) -> bool {
    let colon =
        |tree: Option<&TokenTree>| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(trees.get(at)) && colon(trees.get(at + 1))
}

/// The name that follows the root of the crate, or the first names of a group.
fn first_names(tree: Option<&TokenTree>, found: &mut BTreeSet<String>) {
    match tree {
        Some(TokenTree::Ident(name)) => {
            found.insert(name.to_string());
        }
        Some(TokenTree::Group(group)) => {
            let mut first = true;
            for tree in group.stream() {
                match &tree {
                    TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
                    _ if first => {
                        first_names(Some(&tree), found);
                        first = false;
                    }
                    _ => {}
                }
            }
        }
        // `crate::*` takes in every floor.
        _ => {
            found.insert("*".to_owned());
        }
    }
}

/// What `text`, the source of `module`, uses and must not.
fn offences(text: &str, module: &[&str]) -> Vec<String> {
    let Some(room) = module.first() else { return Vec::new() };
    let Some(own) = floor(room) else {
        return vec![format!("`{room}` stands on no floor: give it one here")];
    };
    let allowed = |name: &str| name == *room || floor(name).is_some_and(|other| other > own);
    let judge = |name: String| (!allowed(&name)).then(|| format!("{} uses `{name}`", module.join("::")));
    named(text, module).into_iter().filter_map(judge).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 1, "{folder} holds no sources");
    found
}

/// `src/edge/http.rs` is `edge::http`, `src/edge/mod.rs` is `edge`, `src/lib.rs` is the root itself.
fn module_of(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut parts: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

#[test]
fn no_floor_knows_a_floor_above_it() {
    let mut faults = Vec::new();
    for file in sources("src") {
        let text = fs::read_to_string(&file).unwrap();
        let module = module_of(&file);
        if module.first().is_some_and(|first| first == "bin") {
            assert!(
                !text.contains("mod "),
                "{}: a main parses, runs and gives the exit code; nothing else",
                file.display()
            );
            continue;
        }
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        faults.extend(offences(&text, &module));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_use_of_a_higher_floor_is_found_however_it_is_written() {
    for text in [
        "use crate::gateway::Config;",
        "use crate::{access::Permit, gateway};",
        "use crate::{self as everything, gateway::{Config, run}};",
        "fn f() { crate::gateway::run() }",
        "fn f() -> Result<(), Box<crate::gateway::Config>> { Ok(()) }",
        "use super::super::gateway;",
        "use super::super::{clock, gateway::run};",
        "mod tests { use super::super::super::gateway; }",
        "macro_rules! m { () => { $crate::gateway::run() } }",
        "use crate::*;",
        "pub(in crate::gateway) fn f() {}",
    ] {
        assert!(!offences(text, &["edge", "http"]).is_empty(), "not found in: {text}");
    }
    assert_eq!(offences("use crate::tunnel::Link;", &["access"]), ["access uses `tunnel`"]);
    assert_eq!(offences("use crate::access::Permit;", &["tunnel", "link"]), ["tunnel::link uses `access`"]);
    assert_eq!(offences("use super::edge;", &["session"]), ["session uses `edge`"]);
    assert_eq!(offences("use crate::clock;", &["secret_file"]), ["secret_file uses `clock`"]);
    assert_eq!(offences("", &["helpers"]), ["`helpers` stands on no floor: give it one here"]);
}

#[test]
fn what_a_floor_may_use_is_no_offence() {
    for text in [
        "use crate::session::{Broker, Session}; use crate::{access::Permit, clock, secret_file, tunnel::Link};",
        "use super::page::Refusal; use super::{Connection, Edge}; mod tests { use super::*; use super::super::page; }",
        "// use crate::gateway::Config;\nconst TEXT: &str = \"crate::gateway\";",
        "use crate::edge::route;",
        "use super::super::session::Broker;",
        "pub(crate) fn f() {} pub(super) struct S;",
    ] {
        assert_eq!(offences(text, &["edge", "http"]), Vec::<String>::new(), "{text}");
    }
    assert_eq!(offences("pub mod gateway; pub mod edge;", &[]), Vec::<String>::new());
}

/// The one file in which the compiler takes our word: memory that secrets are locked in.
const UNSAFE: &str = "hsm/src/locked/pages.rs";

/// Whether this word stands in the code, not in its comments or strings.
fn says(stream: TokenStream, word: &str) -> bool {
    stream.into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => says(group.stream(), word),
        _ => false,
    })
}

#[test]
fn unsafe_code_stands_in_one_file_of_the_key_provider() {
    let packages = ["src", "audit/src", "audit/ctl/src", "compliance/src", "hsm/src"];
    let found: Vec<PathBuf> = packages
        .iter()
        .flat_map(|package| sources(package))
        .filter(|file| says(fs::read_to_string(file).unwrap().parse().unwrap(), "unsafe"))
        .collect();
    assert_eq!(found, [root().join(UNSAFE)]);
    assert!(says("fn f() { unsafe { g() } }".parse().unwrap(), "unsafe"));
    assert!(!says("// unsafe\nfn f() -> &str { \"unsafe\" }".parse().unwrap(), "unsafe"));
}

/// What a package must not depend on, in any section.
const APART: &[(&str, &[&str])] = &[
    ("audit", &["sallyport", "sallyport-hsm", "sallyport-compliance", "auditctl"]),
    ("hsm", &["sallyport", "sallyport-audit", "sallyport-compliance", "auditctl"]),
    ("compliance", &["sallyport", "sallyport-hsm", "auditctl"]),
    ("audit/ctl", &["sallyport", "sallyport-hsm"]),
];

/// Every package that a manifest names as a dependency, under its real name, with the features it asks for.
fn dependencies(manifest: &str) -> Vec<(String, Vec<String>)> {
    fn gather(table: &toml::Table, found: &mut Vec<(String, Vec<String>)>) {
        for (name, value) in table {
            let Some(section) = value.as_table() else { continue };
            if matches!(name.as_str(), "dependencies" | "dev-dependencies" | "build-dependencies") {
                for (name, wanted) in section {
                    // Behind a feature that is off: whoever turns it on has asked for it.
                    if wanted.get("optional").and_then(toml::Value::as_bool) == Some(true) {
                        continue;
                    }
                    let real = wanted.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                    let features =
                        wanted.get("features").and_then(toml::Value::as_array).cloned().unwrap_or_default();
                    let features =
                        features.iter().filter_map(|feature| feature.as_str().map(str::to_owned)).collect();
                    found.push((real.to_owned(), features));
                }
            } else {
                // `[target.….dependencies]`
                gather(section, found);
            }
        }
    }
    let mut found = Vec::new();
    gather(&toml::from_str(manifest).unwrap(), &mut found);
    found
}

fn too_close(manifest: &str, apart: &[&str]) -> Vec<String> {
    dependencies(manifest)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| apart.contains(&name.as_str()))
        .collect()
}

#[test]
fn the_ledger_and_the_keys_know_neither_each_other_nor_the_gateway() {
    for (package, apart) in APART {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        assert_eq!(too_close(&manifest, apart), Vec::<String>::new(), "{package} must not depend on these");
    }
}

#[test]
fn the_auditors_program_can_do_nothing_but_read() {
    for package in ["audit/ctl", "compliance"] {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        for (name, features) in dependencies(&manifest) {
            let writes = features.iter().any(|feature| feature == "ledger" || feature == "sinks");
            assert!(!(name == "sallyport-audit" && writes), "{package} links the ledger that writes");
            assert!(!["tokio", "sled", "rustls"].contains(&name.as_str()), "{package} links {name}");
        }
    }
}

#[test]
fn a_dependency_is_found_in_every_section_and_under_another_name() {
    let apart = &["sallyport-hsm"];
    for manifest in [
        "[dependencies]\nsallyport-hsm.workspace = true",
        "[dev-dependencies]\nsallyport-hsm = { path = \"../hsm\" }",
        "[build-dependencies]\nkeys = { package = \"sallyport-hsm\", version = \"1\" }",
        "[target.'cfg(unix)'.dependencies]\nsallyport-hsm = \"1\"",
    ] {
        assert_eq!(too_close(manifest, apart), ["sallyport-hsm"], "{manifest}");
    }
    assert_eq!(
        too_close("[dependencies]\nserde = \"1\"\n[features]\nsallyport-hsm = []", apart),
        Vec::<String>::new()
    );
}

fn says_what_it_is_for(file: &Path, text: &str) -> bool {
    let is_tests =
        file.file_stem().is_some_and(|stem| stem == "tests") || file.iter().any(|part| part == "tests");
    is_tests || text.starts_with("//! ")
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    for folder in ["src", "audit/src", "audit/ctl/src", "hsm/src", "compliance/src"] {
        for file in sources(folder) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(says_what_it_is_for(&file, &text), "{} does not open with `//! `", file.display());
        }
    }
    assert!(!says_what_it_is_for(Path::new("src/edge/http.rs"), "use std::io;\n//! Too late.\n"));
    assert!(says_what_it_is_for(Path::new("src/edge/http.rs"), "//! Carries requests.\n"));
    assert!(says_what_it_is_for(Path::new("src/gateway/config/tests.rs"), "use super::*;\n"));
}
