//! An evidence pack: one folder or zip file from which a stranger makes the same report again, offline.
//!
//! Why: a report alone asks to be believed. A pack carries the records that it was made from, in the form of an export
//! that leads to the ledger's signed head; so whoever has the ledger's public key can check them, make the report from
//! them, and compare every byte.
//!
//! Promised by [`check`]: every file is the one that was packed, none is missing and none was added; the records are
//! those of the ledger, and all of the period; the mapping is the program's own; every table, picture and number follows
//! from them.
//! Not promised: what the maker says of the rest of the ledger (the verdict), and that nothing was left out of what the time
//! before left behind. Both are under the maker's signature, or under nobody's.
//!
//! Trusted: the keys that are given. Not trusted: the pack. Start with [`Maker`] and [`check`].

mod check;
mod documents;
mod info;
mod make;
mod readme;
mod store;
mod sums;
mod unfinished;

pub use check::{Checked, Finding, Trust, check};
pub use info::{Info, PACK_FORMAT};
pub use make::{MakeError, Maker, Signer, Source};
pub use store::{PackReader, PackWriter, StoreError};
pub use unfinished::sweep;

/// The records of the period, as an export.
pub const RECORDS: &str = "records.jsonl";
/// What the time before left behind, as an export.
pub const HISTORY: &str = "history.jsonl";
/// The signed head.
pub const CHECKPOINT: &str = "checkpoint";
/// What the pack is about.
pub const INFO: &str = "pack.json";
/// The digests of all other files.
pub const SUMS: &str = "SHA256SUMS";
/// The signature over those, as a signed note.
pub const SIGNATURE: &str = "SHA256SUMS.note";
/// The public keys with which the maker checked.
pub const KEYS: &str = "ledger-keys.txt";
/// Exceptions whose proof is packed as a file of its own; the records of all others are in the exports.
pub const MOST_PROOFS: usize = 100;
