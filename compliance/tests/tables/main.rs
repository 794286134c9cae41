//! Each table of a report, made of a small ledger with known figures: those of the period, and what the time before it
//! left behind.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod controls;
mod decided;
mod leave;
mod made;
mod running;
