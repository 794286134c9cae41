//! `docs/dependencies.md` has a line for each direct dependency, and none for what is gone; and says of each licence that may
//! be linked where it comes from.

#![expect(clippy::unwrap_used, reason = "what cannot be read must fail the test loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn manifest(path: &str) -> Table {
    toml::from_str(&read(path)).unwrap()
}

fn own(name: &str) -> bool {
    name.starts_with("sallyport-")
}

/// First words in backticks of the rows under tables whose first head is `crate`.
fn listed(page: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut in_table = false;
    for line in page.lines() {
        if line.starts_with("| crate |") {
            in_table = true;
        } else if !line.starts_with('|') {
            in_table = false;
        } else if in_table
            && let Some(name) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next())
        {
            assert!(names.insert(name.to_owned()), "docs/dependencies.md lists {name} twice");
        }
    }
    names
}

#[test]
fn every_direct_dependency_has_a_line_that_says_why() {
    let workspace = manifest("Cargo.toml");
    let table = workspace["workspace"]["dependencies"].as_table().unwrap();
    let ours: BTreeSet<String> = table.keys().filter(|name| !own(name)).cloned().collect();
    let page = listed(&read("docs/dependencies.md"));
    let missing: Vec<_> = ours.difference(&page).collect();
    let stale: Vec<_> = page.difference(&ours).collect();
    assert!(missing.is_empty(), "docs/dependencies.md does not say why we have {missing:?}");
    assert!(stale.is_empty(), "docs/dependencies.md lists what is no dependency: {stale:?}");
}

#[test]
fn packages_take_their_dependencies_from_the_workspace_so_that_there_is_one_list() {
    for path in
        ["Cargo.toml", "audit/Cargo.toml", "audit/ctl/Cargo.toml", "hsm/Cargo.toml", "compliance/Cargo.toml"]
    {
        let manifest = manifest(path);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(Value::as_table) else { continue };
            for (name, value) in dependencies {
                let from_workspace = value.get("workspace").and_then(Value::as_bool) == Some(true);
                // A package may name itself, to have its own test features in its tests.
                assert!(from_workspace || own(name), "{path}: {name} is not taken from the workspace");
            }
        }
    }
}

#[test]
fn every_licence_that_may_be_linked_is_explained() {
    let deny = manifest("deny.toml");
    let page = read("docs/dependencies.md");
    let licences = page.split_once("## Licences").unwrap().1.split("\n## ").next().unwrap();
    for licence in deny["licenses"]["allow"].as_array().unwrap() {
        let licence = licence.as_str().unwrap();
        assert!(licences.contains(licence), "docs/dependencies.md does not say where {licence} comes from");
    }
}

/// What a package is built of where only these of its features are wanted.
fn wanted(manifest: &Table, features: &[&str]) -> BTreeSet<String> {
    let mut queue: Vec<String> = features.iter().map(|name| (*name).to_owned()).collect();
    let mut optional = BTreeSet::new();
    while let Some(feature) = queue.pop() {
        if let Some(name) = feature.strip_prefix("dep:") {
            optional.insert(name.to_owned());
        } else if let Some(more) = manifest["features"].get(&feature).and_then(Value::as_array) {
            queue.extend(more.iter().map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    let table = manifest["dependencies"].as_table().unwrap();
    let is_wanted = |name: &str, value: &Value| {
        value.get("optional").and_then(Value::as_bool) != Some(true) || optional.contains(name)
    };
    table.iter().filter(|(name, value)| is_wanted(name, value)).map(|(name, _)| name.clone()).collect()
}

/// The packages of a lock file: name, version, and the first words of what each depends on.
fn locked(path: &str) -> Vec<(String, String, BTreeSet<String>)> {
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    let first = |name: &Value| name.as_str().unwrap().split(' ').next().unwrap().to_owned();
    let needs = |package: &Value| {
        let list = package.get("dependencies").and_then(Value::as_array);
        list.into_iter().flatten().map(first).collect()
    };
    let packages = manifest(path).get("package").and_then(|packages| packages.as_array()).unwrap().clone();
    packages.iter().map(|one| (text(one, "name"), text(one, "version"), needs(one))).collect()
}

#[test]
fn the_bench_of_the_ledger_has_a_current_lock_and_measures_what_the_gateway_is_built_of() {
    let lock = locked("audit/bench/Cargo.lock");
    let ours = locked("Cargo.lock");
    for (name, path, features) in [
        ("sallyport-ledger-bench", "audit/bench/Cargo.toml", &[][..]),
        ("sallyport-audit", "audit/Cargo.toml", &["ledger", "testing"]),
        ("sallyport-hsm", "hsm/Cargo.toml", &["testing"]),
    ] {
        let mut manifest = manifest(path);
        manifest.entry("features").or_insert_with(|| Value::Table(Table::new()));
        let (_, _, found) = lock.iter().find(|(package, ..)| package == name).unwrap();
        let hint = "run `cargo update --workspace --manifest-path audit/bench/Cargo.toml`";
        assert_eq!(*found, wanted(&manifest, features), "{name} in audit/bench/Cargo.lock: {hint}");
        if name == "sallyport-ledger-bench" {
            continue;
        }
        for (dependency, version, _) in lock.iter().filter(|(package, ..)| found.contains(package)) {
            let same = ours.iter().any(|(package, other, _)| package == dependency && other == version);
            assert!(
                same,
                "audit/bench/Cargo.lock has {dependency} {version}, and Cargo.lock another: {hint}"
            );
        }
    }
}

/// `make test` does not build with the FIPS module, whose C interface is generated by bindgen; what can be seen of that
/// build without it is whether the versions in the lock file fit each other.
#[test]
fn what_only_the_fips_build_compiles_agrees_on_the_version_of_syn() {
    let lock = manifest("Cargo.lock");
    let syn_of = |name: &str| -> BTreeSet<String> {
        let packages = lock["package"].as_array().unwrap().iter();
        let named = packages.filter(|package| package["name"].as_str() == Some(name));
        let dependencies = named.flat_map(|package| package["dependencies"].as_array().unwrap());
        let lines = dependencies.map(|dependency| dependency.as_str().unwrap().to_owned());
        lines.filter(|dependency| dependency.split(' ').next() == Some("syn")).collect()
    };
    let (bindgen, printer) = (syn_of("bindgen"), syn_of("prettyplease"));
    assert_eq!(bindgen.len(), 1, "Cargo.lock has one bindgen with one syn");
    assert_eq!(
        bindgen, printer,
        "bindgen hands its syntax trees to prettyplease: `make fips` does not build"
    );
}
