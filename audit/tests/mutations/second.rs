//! The second verifier, in another language and written from the specification alone, must say the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use sallyport_audit::verify::Overall;

use crate::ledger::genuine;

/// Ledgers on disk, with what the first verifier said.
pub(crate) struct Second {
    folder: tempfile::TempDir,
    said: Vec<(String, Overall)>,
}

impl Second {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), said: Vec::new() }
    }

    /// Keeps a ledger to be asked about.
    pub(crate) fn keep(
        &mut self,
        what: String,
        segments: &[(String, Vec<u8>)],
        head: Option<&[u8]>,
        first: Overall,
    ) {
        let directory = self.directory(self.said.len());
        std::fs::create_dir_all(directory.join("journal")).unwrap();
        for (name, bytes) in segments {
            std::fs::write(directory.join("journal").join(name), bytes).unwrap();
        }
        if let Some(head) = head {
            std::fs::write(directory.join("head"), head).unwrap();
        }
        self.said.push((what, first));
    }

    fn directory(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// How many ledgers were judged alike, and what was said of the others.
    pub(crate) fn compare(&self) -> (usize, Vec<String>) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/second-verifier/verify.py");
        let key = genuine().verifier().to_string();
        let (mut alike, mut others) = (0, Vec::new());
        for (batch, cases) in self.said.chunks(200).enumerate() {
            let directories = (0..cases.len()).map(|number| self.directory(batch * 200 + number));
            let output = Command::new("python3")
                .arg(&program)
                .args(["--key", &key, "--accept-epoch", "2"])
                .args(directories)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
            for ((what, first), line) in cases.iter().zip(lines) {
                let verdict = line.split_once(": ").unwrap().1;
                let word = match first {
                    Overall::Verified => "verified",
                    Overall::Broken => "broken",
                    Overall::NotEvaluated => "not evaluated",
                };
                if verdict.starts_with(word) {
                    alike += 1;
                } else {
                    others.push(format!("{what}: the first says {word}, the second {verdict}"));
                }
            }
        }
        (alike, others)
    }
}
