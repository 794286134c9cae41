//! The second verifier, in another language and written from the specification alone, must say the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sallyport_audit::note::PublicKey;
use sallyport_audit::verify::Overall;

use crate::ledger::{declared, genuine};

/// What the first verifier said of a ledger, and with which keys.
struct Said {
    what: String,
    first: Overall,
    keys: Vec<String>,
    /// What it declares, and is accepted.
    declared: Option<String>,
}

/// Ledgers on disk, with what the first verifier said.
pub(crate) struct Second {
    folder: tempfile::TempDir,
    said: Vec<Said>,
}

impl Second {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), said: Vec::new() }
    }

    /// Keeps a ledger to be asked about with the usual key.
    pub(crate) fn keep(
        &mut self,
        what: String,
        segments: &[(String, Vec<u8>)],
        head: Option<&[u8]>,
        first: Overall,
    ) {
        self.keep_for(&[genuine().verifier()], what, segments, head, first);
    }

    /// Keeps a ledger to be asked about.
    pub(crate) fn keep_for(
        &mut self,
        keys: &[PublicKey],
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
        let declared = declared(segments, keys);
        self.said.push(Said { what, first, keys: keys.iter().map(ToString::to_string).collect(), declared });
    }

    fn directory(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// How many ledgers were judged alike, and what was said of the others.
    pub(crate) fn compare(&self) -> (usize, Vec<String>) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/second-verifier/verify.py");
        let (mut alike, mut others) = (0, Vec::new());
        let mut done = 0;
        for cases in self.said.chunk_by(|one, other| one.keys == other.keys).flat_map(|same| same.chunks(200))
        {
            let directories = (0..cases.len()).map(|number| self.directory(done + number));
            let keys = cases[0].keys.iter().flat_map(|key| ["--key", key.as_str()]);
            let declared: BTreeSet<_> = cases.iter().filter_map(|case| case.declared.as_deref()).collect();
            let accepted = declared.into_iter().flat_map(|declared| ["--accept-epoch", declared]);
            let output = Command::new("python3")
                .arg(&program)
                .args(accepted)
                .args(keys)
                .args(directories)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
            done += cases.len();
            for (Said { what, first, .. }, line) in cases.iter().zip(lines) {
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
