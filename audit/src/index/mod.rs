//! Finds records without reading the whole journal.
//!
//! An auditor who asks for one session among millions of records wants the answer now. So beside the journal
//! lie index files, each over a fixed span of records: which of them have which kind, result, action, object,
//! session, grant and correlation, in which times, and where each record lies. `docs/ledger-index.md` is the
//! format.
//!
//! Not trusted: the index. It is made from the journal, may be deleted at any time, and decides nothing: what
//! it names is read again from the journal, compared with the link that the next record holds of it, and asked
//! the question again. So a wrong index can lose hits and cannot invent any. It is tied to its ledger by the
//! leaf hash of the last record of its span, which by the `prev` links stands for all records before it: the
//! index of another ledger, or of what a ledger was before it was recovered, is not used. A piece of it that
//! is damaged, of a newer format or missing costs time only: that span is read whole.
//!
//! A result of a search proves nothing; `auditctl prove` makes a proof of a record.
//!
//! Who did it, and to whom it was done, does not stand in a record. Their values lie sealed beside it under the
//! data key of each person, and by the random names of these keys an index finds them without opening any. Only
//! the gateway knows whose a key is; when a person is erased nobody does.
//!
//! Start with [`query`] for what can be asked and [`search`] for how it is answered; [`make`](mod@make) writes the files.

mod bits;
pub mod check;
pub mod directory;
mod fields;
mod file;
mod header;
pub mod make;
mod postings;
pub mod query;
pub mod search;
mod span;
pub mod statistics;
mod summary;
mod term;
#[cfg(test)]
mod tests;

pub use directory::Directories;
pub use file::IndexFault;
pub use query::Query;
pub use term::{Field, Term};

/// How many records one index file covers.
pub const SPAN: u64 = 16_384;

/// The most records that a reader takes one file to cover, so that a number within it has 16 bits.
pub const MAX_SPAN: u64 = 65_536;
