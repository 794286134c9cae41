//! Whether what a SIEM gives back is what the ledger sent.
//!
//! Why: a SIEM is the copy that leaves the host, and so the witness against whoever rewrites the host; but pipelines lose,
//! repeat, sort and rewrite. So what the SIEM exports is held against the ledger, record for record, by hash.
//!
//! Promised: a record that is missing between the first and the last that must be there, one that was changed in any byte, and
//! one that the ledger never held are each named. Records that the sink's filter leaves out are no gap; those that were pruned from the
//! ledger can't be compared, and are counted. A record that came back without its text is `unproved`, unless the ledger says
//! that it was too large for this sink; of records about sinks it says nothing, and their pointers are believed. Sending twice is allowed (a sink promises at least once) and counted.
//!
//! Not trusted: what the SIEM gives back, in whichever form: it is read with bounds, and only a text whose hash is the
//! ledger's own counts as a record. Trusted: the ledger that it is compared with; `verify` is what speaks of that.
//!
//! Start with [`Population`] (the ledger's side), [`Item::read`] (the SIEM's side) and [`Reconciler`].

mod compare;
mod item;
mod population;
mod text;

pub use compare::{Finding, Reconciled, Reconciler};
pub use item::Item;
pub use population::Population;

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
