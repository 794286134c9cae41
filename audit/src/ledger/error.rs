//! What can go wrong with a ledger, and what to do then.

use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::note::KeyError;
use crate::record::{RecordError, Seq};

/// Why a ledger could not be opened or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process has it open.
    #[error("the ledger in {directory} is in use by another gateway")]
    Locked {
        /// The ledger's directory.
        directory: PathBuf,
    },
    /// A file or directory could not be read, made or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried, as in "cannot …".
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The origin is not one line.
    #[error("{origin:?} cannot be the origin of a ledger")]
    Origin {
        /// The origin.
        origin: String,
        /// Why not.
        source: CheckpointError,
    },
    /// The signer's name or key cannot be used.
    #[error("the signing key cannot be used")]
    Key(#[from] KeyError),
    /// The journal is damaged before its end.
    #[error("the journal is damaged at record {seq} ({segment}, byte {offset}): {what}")]
    Damaged {
        /// The segment file's name.
        segment: String,
        /// Where in it.
        offset: usize,
        /// The first record that is affected.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// A newer program wrote it.
    #[error("the journal is written in a newer format ({segment}): {what}")]
    Newer {
        /// The segment file's name.
        segment: String,
        /// What was met.
        what: String,
    },
    /// The journal has fewer records than its head file or its store know of.
    #[error("the journal has {journal} records, but {witness} knows of {known}: its end is missing")]
    Behind {
        /// How many records the journal has.
        journal: u64,
        /// How many there were.
        known: u64,
        /// Which file says so.
        witness: PathBuf,
    },
    /// The journal is another history than the one its head file knows.
    #[error("the first {size} records of the journal are not those that {witness} was signed for")]
    Forked {
        /// Where the two were compared.
        size: u64,
        /// The head file.
        witness: PathBuf,
    },
    /// There is a journal without a head file, or the head file cannot be read.
    #[error("the head file {path} is {state}, so nobody can tell whether the end of the journal is missing")]
    LostHead {
        /// Where it should be.
        path: PathBuf,
        /// Missing, or unreadable.
        state: &'static str,
    },
    /// `auditctl recover` was interrupted.
    #[error("a recovery of this ledger was begun and not finished: {path}")]
    RecoveryUnfinished {
        /// The plan that it follows.
        path: PathBuf,
    },
    /// What `auditctl recover` left does not fit the ledger.
    #[error("the recovery plan {path} does not fit the ledger: {what}")]
    RecoveryPlan {
        /// The plan.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The ledger in this directory has another name.
    #[error("the ledger in {directory} is {found:?}, not {expected:?}")]
    ForeignOrigin {
        /// The ledger's directory.
        directory: PathBuf,
        /// Its origin.
        found: String,
        /// The configured origin.
        expected: String,
    },
    /// The ledger in this directory was signed with another key.
    #[error("the ledger in {directory} was signed by {found}, and this gateway's key is {expected}")]
    ForeignKey {
        /// The ledger's directory.
        directory: PathBuf,
        /// Who signed it.
        found: String,
        /// This gateway's key.
        expected: String,
    },
    /// The key provider did not sign or seal what opening has to record.
    #[error("the ledger cannot be opened without its signing key: {reason}")]
    Signer {
        /// The provider's words.
        reason: String,
    },
    /// The query store could not be made.
    #[error("the query store {path} cannot be opened: {reason}")]
    Store {
        /// Its directory.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// A write or sync had failed while it was open.
    #[error("the ledger had stopped: {reason}")]
    Failed {
        /// What failed.
        reason: String,
    },
    /// A fault in the program.
    #[error("the ledger met a fault in the program: {reason}")]
    Fault {
        /// What it could not do.
        reason: String,
    },
    /// It was closed while drafts were waiting for a signer that did not sign.
    #[error("{drafts} events could not be recorded before the ledger was closed: {reason}")]
    Unrecorded {
        /// How many.
        drafts: usize,
        /// The provider's words.
        reason: String,
    },
}

impl LedgerError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked { .. } => {
                "stop the other gateway, or give this one a ledger directory of its own; two gateways must \
                 never write one ledger"
            }
            Self::Io { source, .. } => io_hint(source),
            Self::Origin { .. } => "choose an origin such as `gateway.example.org/ledger`",
            Self::Key(error) => error.hint(),
            Self::Damaged { .. } => {
                "run `auditctl verify` on it to see which records are affected, and put back an undamaged copy of the \
                 journal together with its head file; if there is none, `auditctl recover` moves what is damaged \
                 aside and lets the ledger go on in a new epoch (docs/ledger-recovery.md)"
            }
            Self::Newer { .. } => "start the newer gateway again; an older one must not write to this ledger",
            Self::Behind { .. } => {
                "if an old copy was restored, put the newer journal back; if it is gone, `auditctl recover` lets the \
                 ledger go on in a new epoch that says what is missing (docs/ledger-recovery.md)"
            }
            Self::Forked { .. } => {
                "journal and head file are from different histories: put back the pair that belongs together; if it \
                 is gone, `auditctl recover` lets the ledger go on in a new epoch that names the other head \
                 (docs/ledger-recovery.md)"
            }
            Self::LostHead { .. } => {
                "put the head file back; if it is lost, `auditctl recover`, with a checkpoint kept elsewhere, lets the \
                 ledger go on in a new epoch (docs/ledger-recovery.md)"
            }
            Self::RecoveryUnfinished { .. } => {
                "run `auditctl recover` on the directory again with --apply: it goes on where it stopped"
            }
            Self::RecoveryPlan { .. } => {
                "run `auditctl recover` on the directory again: it makes a new plan from what is there now"
            }
            Self::ForeignOrigin { .. } => {
                "correct the configured origin, or choose the directory of this gateway's own ledger"
            }
            Self::ForeignKey { .. } => {
                "choose the key provider that holds this ledger's key, or an empty directory for a new ledger"
            }
            Self::Signer { .. } => "check the key provider (token present, PIN, module), then start again",
            Self::Store { .. } => {
                "move the store directory away and start again: it is made anew from the journal"
            }
            Self::Fault { .. } | Self::Failed { .. } | Self::Unrecorded { .. } => {
                "look at the disk and the key provider, then start again: what was acknowledged is kept"
            }
        }
    }

    /// Whether a ledger that is open may meet this and go on later: nothing says that its files are wrong.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Store { .. } | Self::Signer { .. } | Self::Failed { .. })
    }

    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { doing, path: path.into(), source }
    }
}

fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: make room and start again; what was acknowledged is kept"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the gateway's user write there, or choose another ledger directory"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => {
            "choose a ledger directory that is a directory, below one that exists"
        }
        _ => "check the disk (`dmesg`), then start again; what was acknowledged is kept",
    }
}

/// Why a draft was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It cannot become a record.
    #[error("the event cannot be recorded: {0}")]
    Draft(#[from] RecordError),
    /// No random salt could be drawn.
    #[error("the event cannot be recorded: no random numbers ({reason})")]
    Randomness {
        /// The system's words.
        reason: String,
    },
    /// The key provider does not sign or seal. The ledger tries again by itself.
    #[error("the ledger cannot sign at the moment: {reason}")]
    SignerUnavailable {
        /// The provider's words.
        reason: String,
    },
    /// Writing failed. The ledger tries again by itself.
    #[error("the ledger cannot be written at the moment: {reason}")]
    Recovering {
        /// What failed.
        reason: String,
    },
    /// The ledger has stopped for good.
    #[error("the ledger has stopped: {reason}")]
    Failed {
        /// What failed.
        reason: String,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl AppendError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Draft(error) => error.hint(),
            Self::Randomness { .. } => "check the system's random source",
            Self::SignerUnavailable { .. } => "check the key provider; recording goes on when it answers",
            Self::Recovering { .. } => {
                "make room or look at the disk: recording goes on by itself when it can be written"
            }
            Self::Failed { .. } => {
                "read the gateway's log, then restart the gateway: what was acknowledged is kept"
            }
            Self::Closed => "the gateway is stopping; try again when it is up",
        }
    }
}

/// Why records could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The query store could not be read.
    #[error("the query store cannot be read: {reason}")]
    Store {
        /// What it said.
        reason: String,
    },
    /// A record that must be there is missing from the store.
    #[error("record {seq} is missing from the query store")]
    Missing {
        /// Its number.
        seq: Seq,
    },
    /// A stored record cannot be read.
    #[error("record {seq} cannot be read: {source}")]
    Record {
        /// Its number.
        seq: Seq,
        /// Why not.
        source: RecordError,
    },
    /// The query store is opened again after a failed write.
    #[error("the query store is being opened again after the ledger could not be written")]
    Recovering,
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl ReadError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Store { .. } | Self::Missing { .. } | Self::Record { .. } => {
                "stop the gateway, move the ledger's `store` directory away and start again: it is made anew \
                 from the journal"
            }
            Self::Recovering => "make room or look at the disk: the ledger goes on by itself; then try again",
            Self::Closed => "the gateway is stopping; try again when it is up",
        }
    }
}
