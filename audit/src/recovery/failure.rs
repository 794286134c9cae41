//! Why a ledger cannot be recovered, and what to do then.

use std::io;
use std::path::PathBuf;

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// A gateway has it open.
    #[error("the ledger in {directory} is in use by a gateway")]
    InUse {
        /// The ledger's directory.
        directory: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Written by a newer program.
    #[error("the ledger is written in a newer format: {0}")]
    Newer(String),
    /// Nothing in the directory is signed by a given key.
    #[error("nothing in {directory} is signed by a given key, so nothing says which ledger it is")]
    Unknown {
        /// The ledger's directory.
        directory: PathBuf,
    },
    /// A checkpoint that was brought along is not one of this ledger.
    #[error("the checkpoint {number} that was given cannot be used: {reason}")]
    Checkpoint {
        /// Which one, from 1.
        number: usize,
        /// Why not.
        reason: String,
    },
    /// The key that the ledger is said to be under now cannot be the one.
    #[error("the ledger cannot have been handed over to {key}: {reason}")]
    Key {
        /// The key.
        key: String,
        /// Why not.
        reason: &'static str,
    },
    /// The plan beside the ledger cannot be read.
    #[error("the plan {path} cannot be read: {reason}")]
    Plan {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The pruned beginning cannot be kept.
    #[error("the pruned beginning {path} cannot be kept: {what}")]
    Pruned {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// Something stands where something else must be put.
    #[error("{path} is not what was planned for: {what}")]
    Changed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

impl RecoveryError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the gateway, then try again",
            Self::Io { .. } => {
                "check the disk and who may write there; run the same command again: it goes on where it stopped. \
                 A disk that cannot be read: copy what can be read to a good one, and recover the copy"
            }
            Self::Newer(_) => "use a newer auditctl; nothing was changed",
            Self::Unknown { .. } => {
                "give the ledger's own public key, or the directory that holds the ledger"
            }
            Self::Checkpoint { .. } => "give a file that `auditctl checkpoint` printed for this ledger",
            Self::Key { .. } => {
                "give all of the ledger's keys with --key or --key-file, and --handed-over-to only for the gateway's \
                 own key if nothing that is kept is signed by it"
            }
            Self::Plan { .. } => {
                "move it away and run `auditctl recover` again: it makes a new one from what is there"
            }
            Self::Pruned { .. } => {
                "what was pruned is in the archive: copy its segments into `journal/`, move `journal/pruned` away, and run \
                 `auditctl recover` again; nothing was changed"
            }
            Self::Changed { .. } => {
                "somebody changed the directory since the plan was made: move the plan away and run \
                 `auditctl recover` again"
            }
        }
    }

    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
