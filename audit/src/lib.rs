//! The tamper-evident ledger: what happened, in an order fixed once, under heads signed in the key provider.
//!
//! An auditor must be able to check a ledger without trusting the host that wrote it, the program that
//! wrote it, or its makers. So everything that decides whether a ledger is good is a pure function over
//! bytes and lives outside the `ledger` feature; `auditctl` is built from that half alone.
//!
//! Promised: a record that was acknowledged is on the disk (`fdatasync`) and under a signed head; a record
//! changed, removed, inserted or moved afterwards is found by [`verify`]. Not promised: that what was
//! recorded is true, that an event nobody recorded happened, or that a tail cut off together with every
//! copy of the later heads can be noticed: for that, keep a checkpoint somewhere else.
//!
//! Trusted: the ledger's signing key. Not trusted: every file. Whoever can write the files can destroy
//! history, but not rewrite it unseen.
//!
//! What needs files is there on systems that have them; for a browser (`audit/wasm`) there remain records, tree, notes and proofs.
//!
//! Start with [`record`] for what is written, [`journal`] for how it lies on disk, [`verify`] for what an
//! auditor relies on, and `ledger` (with that feature) for the task that owns the files. The format is
//! specified in `docs/ledger-format.md`.

pub mod approval;
#[cfg(unix)]
pub mod archive;
#[cfg(unix)]
pub mod chain;
pub mod checkpoint;
pub mod commitment;
#[cfg(feature = "ledger")]
pub mod cosigning;
#[cfg(feature = "sinks")]
pub mod detection;
pub mod digest;
#[cfg(unix)]
pub mod disclosure;
#[cfg(unix)]
pub mod disk;
#[cfg(unix)]
pub mod epoch;
#[cfg(unix)]
pub mod export;
pub mod filter;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
#[cfg(unix)]
pub mod index;
#[cfg(unix)]
pub mod journal;
pub mod keys;
pub mod kind;
#[cfg(feature = "ledger")]
pub mod ledger;
pub mod note;
#[cfg(unix)]
pub mod prefix;
pub mod proof;
#[cfg(unix)]
pub mod reconcile;
pub mod record;
#[cfg(unix)]
pub mod recovery;
#[cfg(unix)]
pub mod retention;
#[cfg(unix)]
pub mod selection;
pub mod severity;
pub mod sidecar;
#[cfg(unix)]
pub mod signers;
#[cfg(feature = "sinks")]
pub mod sink;
#[cfg(unix)]
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(unix)]
pub mod tiles;
pub mod tree;
#[cfg(unix)]
pub mod verify;
#[cfg(unix)]
pub mod witness;
#[cfg(feature = "witnesses")]
pub mod witnessing;

pub use checkpoint::Checkpoint;
pub use commitment::Personal;
pub use digest::Digest;
pub use keys::{Cosigner, HeadSigner, KeyId, OpenError, Owner, SignError, Vault, VaultError};
pub use kind::Kind;
#[cfg(feature = "ledger")]
pub use ledger::{
    AppendError, Entry, Ledger, LedgerError, LedgerOptions, LedgerStatus, Lending, Opened, Page, ReadError,
    Reader, Receipt, Search,
};
pub use record::{Draft, Outcome, Record, RecordError, Seq};
pub use sidecar::{Value, Values};
