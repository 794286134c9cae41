//! Detections: records in which somebody should look at something.
//!
//! Why: most gateways have no SIEM behind them on the first day, and a SIEM rule that nobody wrote finds nothing. What is found
//! becomes a record itself (`detection.raised`), so it is signed, delivered by every sink, counted in reports, and can be
//! notified of by whoever reads the ledger.
//!
//! Promised: rules are data, checked whole when they are read; deciding is a pure function of rules and records ([`Watch`]);
//! memory is bounded; nothing that is found is found twice for its `quiet_secs`; records about detections, and about messages that told of one, raise
//! none.
//! Not promised: that what is not found did not happen. After a restart the newest records are read again first, so that counting
//! goes on, and who was active within the time that rules about dormant people ask for; what lies before that is not known.
//!
//! Start with `rules.toml`, the rules that are built in.

mod rule;
mod task;
mod watch;

pub use rule::{Grade, Rules, RulesError};
pub use task::{Detecting, DetectingStatus};
pub use watch::{Raised, Watch};

/// The rules that are built in.
pub const BUILT_IN: &str = include_str!("rules.toml");

#[cfg(test)]
mod tests;
