//! Doors for the fuzz targets in `fuzz/`. Compiled for tests, which run the committed corpus through them, and
//! under `--cfg fuzzing`, as cargo-fuzz sets it.

use super::policy::Policy;
use super::policy::load::{Sources, default_files};

/// What the gateway does with a policy table: it takes it or tells every fault, and never panics.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let model = default_files().into_iter().filter(|(name, _)| *name != "policy.csv");
    let sources = Sources::new(model.chain([("policy.csv", text)]));
    let _either = runtime.block_on(Policy::build(&sources));
}

/// What the gateway does with a file of conditions: it takes it or tells every fault, holds what it took against some
/// moments, and never panics.
pub fn conditions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    super::policy::conditions::exercise(text);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_policy_table_of_the_corpus_is_taken_or_refused_in_words() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/policy");
        for input in std::fs::read_dir(folder).unwrap() {
            super::policy(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn every_file_of_conditions_of_the_corpus_is_taken_or_refused_in_words() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/conditions");
        let mut seen = 0;
        for input in std::fs::read_dir(folder).unwrap() {
            super::conditions(&std::fs::read(input.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen > 3);
    }
}
