//! The verifier that the console gives to browsers is built from the sources beside it, and a build is not part of every test: so its
//! sources' digests are kept, and compared here.

use std::path::Path;

use sha2::{Digest as _, Sha256};

const LIST: &str = "src/console/web/assets/verifier.sources";

#[test]
fn the_verifier_for_browsers_was_built_from_the_sources_that_are_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(root.join(LIST)).unwrap();
    let files: Vec<(&str, &str)> = list.lines().map(|line| line.split_once("  ").unwrap()).collect();
    for needed in ["audit/wasm/src/lib.rs", "audit/wasm/Cargo.lock", "src/console/web/assets/verifier.wasm"] {
        assert!(files.iter().any(|(_, path)| *path == needed), "{LIST} does not name {needed}");
    }
    assert!(files.len() > 20, "{LIST} names {} files", files.len());
    let changed: Vec<&str> = files
        .iter()
        .filter(|(digest, path)| {
            std::fs::read(root.join(path)).map_or(true, |bytes| hex::encode(Sha256::digest(bytes)) != *digest)
        })
        .map(|(_, path)| *path)
        .collect();
    assert!(changed.is_empty(), "run scripts/verifier-wasm: since it was built these changed: {changed:?}");
}
