//! A small ledger on disk, and the real program run on it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test program uses a part of it"
)]
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};

pub const ORIGIN: &str = "gateway.example.org/ledger";

/// A ledger on disk: eight records in three groups.
pub struct Ledger {
    pub directory: tempfile::TempDir,
    pub journal: JournalBuilder,
}

impl Ledger {
    pub fn new() -> Self {
        let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
        let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
        journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
            .detail("origin", ORIGIN)
            .detail("key", signer.verifier().to_string())
            .detail("format", 1)]);
        journal.group((1..6).map(|n| {
            Draft::new(Kind::SessionOpened, Outcome::Success)
                .subject("user:alice")
                .action("connect")
                .object("tunnel:demo")
                .session(format!("sess-{n}"))
        }));
        journal.group([
            Draft::new(Kind::ConnectionRefused, Outcome::Denied).detail("why", "\u{1b}[2Jlocked"),
            Draft::new(Kind::GatewayStopped, Outcome::Success),
        ]);
        let ledger = Self { directory: tempfile::tempdir().unwrap(), journal };
        ledger.write(&ledger.journal);
        ledger
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, journal: &JournalBuilder) {
        let folder = self.path().join("journal");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &journal.segments {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(self.path().join("head"), journal.head_file()).unwrap();
    }

    pub fn segment(&self) -> PathBuf {
        self.path().join("journal/00000000000000000000.seg")
    }

    pub fn key(&self) -> String {
        self.journal.signer.verifier().to_string()
    }

    /// Runs `auditctl COMMAND LEDGER …`.
    pub fn run(&self, command: &str, rest: &[&str]) -> Output {
        auditctl(&[&[command, self.path().to_str().unwrap()], rest].concat())
    }

    pub fn verify(&self, rest: &[&str]) -> Output {
        self.run("verify", &[&["--key", &self.key()], rest].concat())
    }
}

pub fn auditctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_auditctl")).args(arguments).output().unwrap()
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
}
