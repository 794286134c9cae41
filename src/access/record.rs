//! Facts as ledger records, and back.
//!
//! Who did it, to whom, and why in their words are personal: they stand sealed beside the record, and only
//! commitments in it. All else is plain: ids, tenant, object, action, workflows, times, counts, the policy's digest.
//! What belongs to one request carries the request's id as its correlation id, from the first ask to the last end.
//!
//! Reading back is strict. A record of access that says something this program can't read, or whose personal values
//! can't be had, stops the start: passing over it could forget a lock or a revocation. Only what was erased on purpose is
//! read without its name: it speaks of [`Subject::erased`], the same for everything that one key sealed.

mod explained;
mod parts;
mod reading;
mod writing;

pub(super) use parts::Parts;
pub(super) use reading::{fact_of, tells};
pub(super) use writing::draft_of;

/// The role of the key that signs tokens, as records of keys name it.
const TOKEN_SIGNING: &str = "token-signing";

#[cfg(test)]
mod tests;
