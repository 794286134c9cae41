//! The way out when a ledger is refused because some of it is lost: nothing is deleted, and nothing is hidden.
//!
//! In three steps. [`survey`](survey()) finds the last record that can be shown whole under a signed head, and the
//! largest head that is known of what comes after it. [`carry_out`] moves what is damaged or surplus aside, writes
//! the head file for what is kept, and leaves a [`Plan`] beside the ledger. The gateway, which alone has the
//! ledger's key, compares the plan with what it reads at its next start, and begins a new epoch with the record
//! `ledger.resumed` (see [`crate::epoch`]).
//!
//! Promised: every file that was there is there afterwards, whole, in place or in `set-aside/`; interrupted at any
//! point, the same command goes on. Not trusted: the plan. Whoever can write it could as well have cut the
//! journal off; either way the gap is declared in the ledger, or found by whoever has a later head.
//!
//! Needs no secret: signatures are only checked.

mod carry;
mod failure;
mod plan;
mod survey;

pub use carry::{carry_out, interrupted, waiting};
pub use failure::RecoveryError;
pub use plan::{Kept, MAX_PLAN_BYTES, Move, PLAN_VERSION, Plan};
pub use survey::{Evidence, Survey, survey};
