//! What ends the program early, with what to do next.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use sallyport_audit::snapshot::SnapshotError;

/// A sentence for the person, a hint, and an exit code.
pub(crate) struct Failure {
    code: u8,
    message: String,
    hint: String,
    quiet: bool,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(message: impl Display, hint: impl Display) -> Self {
        Self::new(2, message, hint)
    }

    /// Something is not as it was signed.
    pub(crate) fn broken(message: impl Display, hint: impl Display) -> Self {
        Self::new(1, message, hint)
    }

    /// Something that is needed is missing or unreadable.
    pub(crate) fn not_evaluated(message: impl Display, hint: impl Display) -> Self {
        Self::new(3, message, hint)
    }

    /// The ledger's directory or a file in it cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "give the directory that holds the ledger's `journal` and `head`",
            io::ErrorKind::PermissionDenied => {
                "run auditctl as a user who may read it, or on a copy of the whole directory"
            }
            _ => "copy the whole ledger directory to a good disk and check the copy",
        };
        Self::not_evaluated(format!("cannot read {}: {error}", path.display()), hint)
    }

    /// A single file cannot be read.
    pub(crate) fn unreadable_file(path: &Path, error: &io::Error) -> Self {
        Self::not_evaluated(format!("cannot read {}: {error}", path.display()), "give a readable file")
    }

    /// A file cannot be written.
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::not_evaluated(
            format!("cannot write {}: {error}", path.display()),
            "give a file in a directory that you may write to, with room on its disk",
        )
    }

    /// The ledger is not what a head was signed for, or not there.
    pub(crate) fn snapshot(error: &SnapshotError) -> Self {
        Self::new(if error.is_broken() { 1 } else { 3 }, error, error.hint())
    }

    /// Whoever read our output has gone: nothing to complain about.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 0, message: String::new(), hint: String::new(), quiet: true };
        }
        Self::not_evaluated(format!("cannot write the answer: {error}"), "check where the output goes")
    }

    fn new(code: u8, message: impl Display, hint: impl Display) -> Self {
        Self { code, message: message.to_string(), hint: hint.to_string(), quiet: false }
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.quiet {
            eprintln!("auditctl: {}", self.message);
            if !self.hint.is_empty() {
                eprintln!("  hint: {}", self.hint);
            }
        }
        ExitCode::from(self.code)
    }
}
