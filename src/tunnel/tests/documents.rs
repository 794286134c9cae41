//! What `docs/handshake.md` claims is shown by tests that exist.

use std::fs;
use std::path::Path;

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_handshakes_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/handshake.md")).unwrap();
    let mut code = String::new();
    for folder in ["src/tunnel", "src/access", "src/edge", "tests/e2e"] {
        sources(&root.join(folder), &mut code);
    }
    let named: Vec<&str> =
        document.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() >= 5).collect();
    assert!(named.len() > 15, "the table of attacks names its tests");
    for test in named {
        assert!(code.contains(&format!("fn {test}()")), "no test `{test}`");
    }
}
