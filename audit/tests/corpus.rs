//! Runs the fuzzer's committed corpus through every reader, without the fuzzer.
//!
//! What it found once stays found: each input that broke a rule is a file of the corpus. With
//! `SALLYPORT_WRITE_SEEDS=1` the good examples are written there, too.

use std::path::{Path, PathBuf};

use sallyport_audit::Digest;
use sallyport_audit::fuzzing::{TARGETS, seeds};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

#[test]
fn every_input_of_the_corpus_passes_through_its_reader() {
    for (target, run) in TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}")) {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{target}: its corpus is empty");
    }
}

#[test]
fn every_reader_takes_its_good_examples_and_those_of_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(folder.path());
    for (target, run) in TARGETS {
        assert!(seeds.iter().any(|(of, _)| of == target), "{target} has no example");
        for (_, bytes) in &seeds {
            run(bytes);
        }
    }
    if std::env::var_os("SALLYPORT_WRITE_SEEDS").is_some() {
        for (target, bytes) in &seeds {
            std::fs::create_dir_all(corpus(target)).unwrap();
            let name = Digest::leaf(bytes).to_string()[..16].to_owned();
            std::fs::write(corpus(target).join(name), bytes).unwrap();
        }
    }
}

#[test]
fn every_target_is_one_of_the_fuzzer_and_every_target_of_the_fuzzer_is_run_here() {
    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}
