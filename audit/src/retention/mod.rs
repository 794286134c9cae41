//! How long records stay, and which of them may go.
//!
//! Two wrongs are possible: to keep what must go, and to lose what must stay. This module decides, and only
//! decides: pure functions of records, rules, holds and the time. A record may go when it is older than
//! every rule that applies to it demands, no legal hold selects it, and nothing in the ledger is read from it
//! (access state, keys, policy, the ledger's own history). Whatever cannot be understood stays.
//!
//! Not decided here: whether the gateway's clock is right. Whoever sets it forward can prune early; the
//! `retention.pruned` record then carries that time, for witnesses and the SIEM to see.
//!
//! Start with [`Plan`]. What is done about it is in `crate::ledger` (with that feature) and in
//! [`prefix`](crate::prefix).

mod hold;
mod plan;
mod policy;
mod stay;
mod survey;

pub use hold::{Hold, HoldError, Holds, held_draft, released_draft};
pub use plan::{Plan, Planner, Tally};
pub use policy::{Framework, Policy, PolicyError};
pub use stay::{Stay, is_needed};
pub use survey::{Survey, SurveyError, holds, survey};

#[cfg(test)]
mod tests;
