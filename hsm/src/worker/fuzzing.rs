//! The door for the fuzz target in `fuzz/`, which sees only what is public.
//!
//! Compiled for tests, which run the committed corpus through it, and under `--cfg fuzzing`, as cargo-fuzz sets it.

/// What either process does with bytes that should be a frame of the other: read it, or refuse it.
pub fn frame(bytes: &[u8]) {
    super::wire::read_anything(bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_input_of_the_corpus_is_read_or_refused() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/worker_frame");
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            super::frame(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} holds nothing", folder.display());
    }
}
