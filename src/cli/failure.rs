//! How a command fails: a sentence, what to do next, and an exit code.

use std::fmt;

/// Documented exit codes; a number is never given a second meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Something failed that is not covered below.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// The gateway could not be reached.
    Unreachable = 3,
    /// The gateway refused: not allowed, or not allowed yet.
    Refused = 4,
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    /// What failed, and on what.
    pub message: String,
    /// What to do next; empty if there is nothing better to say.
    pub hint: String,
    /// How the program ends.
    pub code: ExitCode,
}

impl Failure {
    /// A failure with a sentence and a hint.
    pub fn new(code: ExitCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), code }
    }

    /// A failure made of an error and all its causes.
    pub fn caused(
        code: ExitCode,
        error: &(dyn std::error::Error + 'static),
        hint: impl Into<String>,
    ) -> Self {
        Self::new(code, chain(error), hint)
    }

    /// Prints the failure to standard error, as text or as a JSON line, and gives the code for `main`.
    pub fn report(&self, json: bool) -> std::process::ExitCode {
        if json {
            let line =
                serde_json::json!({ "error": self.message, "hint": self.hint, "code": self.code as u8 });
            eprintln!("{line}");
        } else {
            eprintln!("{self}");
        }
        std::process::ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n hint: {}", self.hint) }
    }
}

impl std::error::Error for Failure {}

/// An error and its causes in one line; a cause that its parent repeats is said once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
