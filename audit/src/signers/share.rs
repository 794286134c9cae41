//! How much of a ledger its own key signed itself, and how much the keys it lent to.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::By;

/// How much the ledger's own key signed itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Heads under the ledger's own key.
    pub own: u64,
    /// Heads under delegated keys alone.
    pub delegated: u64,
    /// The most delegated heads in a row.
    pub longest_heads: u64,
    /// The longest time between two heads of the ledger's own key with delegated ones in between, in seconds.
    pub longest_secs: i64,
    /// Delegated heads since the last one of the ledger's own key.
    pub behind: u64,
    pub(super) last_own: Option<Timestamp>,
}

impl Share {
    pub(super) fn count(&mut self, by: By, time: Option<Timestamp>) {
        let since = match (self.last_own, time) {
            (Some(before), Some(now)) => now.duration_since(before),
            _ => SignedDuration::ZERO,
        };
        match by {
            By::Own => {
                self.own += 1;
                if self.behind > 0 {
                    self.longest_secs = self.longest_secs.max(since.as_secs());
                }
                self.behind = 0;
                self.last_own = time.or(self.last_own);
            }
            By::Unread => {}
            By::Delegate => {
                self.delegated += 1;
                self.behind += 1;
                self.longest_heads = self.longest_heads.max(self.behind);
                self.longest_secs = self.longest_secs.max(since.as_secs());
            }
        }
    }
}

impl fmt::Display for Share {
    /// A sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, delegated, longest_heads, longest_secs, behind, .. } = self;
        let all = own + delegated;
        let percent = own.saturating_mul(100) / all.max(1);
        write!(
            f,
            "The ledger's own key signed {own} of {all} heads itself ({percent} %), delegated keys the others: at \
             most {longest_heads} in a row, over at most {longest_secs} s"
        )?;
        if *behind > 0 { write!(f, "; the last {behind} are delegated.") } else { f.write_str(".") }
    }
}
