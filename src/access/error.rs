//! What goes wrong in access, and what to do next.

use super::decide::Refusal;
use super::log::LogError;
use super::policy::PolicyDigest;
use super::policy::faults::PolicyFaults;
use super::token::SignError;

/// What goes wrong in access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The policy can't be used.
    #[error("{0}")]
    Policy(PolicyFaults),
    /// The policy in the folder is neither the one that was in force nor one that two people agreed on.
    #[error(
        "the policy folder holds {found}, the policy in force is {in_force}, and `access.policy_change` is `second-person`: no second person has approved the change"
    )]
    PolicyNotApproved {
        /// The policy that the ledger last saw loaded.
        in_force: PolicyDigest,
        /// What the folder holds.
        found: PolicyDigest,
    },
    /// The order isn't carried out, for a reason that its giver may know.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger couldn't be read at start.
    #[error("the state of access can't be read: {0}")]
    Replay(LogError),
    /// The ledger didn't take the record, so nothing was granted. What is taken away is, and is recorded as soon as the ledger takes
    /// it (but for another token key, which must be ordered again); `cut` sessions were ended at once.
    #[error(
        "it couldn't be recorded: what it gives isn't in force, what it takes away is ({cut} live sessions were ended): {error}"
    )]
    NotRecorded {
        /// Why not.
        error: LogError,
        /// Sessions that the order would end, and that were ended.
        cut: usize,
    },
    /// The ledger hasn't taken a revocation yet, and nothing is given until it has.
    #[error("the ledger hasn't taken a revocation yet: nothing is given until it has")]
    Unrecorded,
    /// The token-signing key couldn't be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Access has been closed.
    #[error("access has been stopped")]
    Stopped,
}

impl AccessError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Policy(faults) => faults.hint(),
            Self::Refused(refusal) => refusal.hint(),
            Self::PolicyNotApproved { .. } => {
                "put the files of the policy in force back, start, then propose the new ones and have them approved; if those files are lost, start once with `access.policy_change = \"reload\"`, which is recorded"
            }
            Self::Replay(_) => "run `auditctl verify` on the ledger",
            Self::NotRecorded { .. } | Self::Unrecorded => {
                "see why the ledger doesn't take records; then a revocation is recorded by itself, and anything else must be ordered again"
            }
            Self::Sign(_) => "see whether the key provider is up, then try again",
            Self::Stopped => "start the gateway again",
        }
    }
}
