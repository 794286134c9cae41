//! The answer to one question.

use super::identity::Identity;
use super::judge::Explanation;
use super::object::{Action, Object};
use super::permit::Permit;
use super::policy::PolicyDigest;
use super::workflow::WorkflowName;

/// The answer to one question.
#[derive(Debug)]
pub enum Decision {
    /// Allowed, with the proof of it.
    Allowed(Permit),
    /// Allowed once the workflows are satisfied: the visitor may ask.
    NeedsApproval {
        /// All must be satisfied.
        workflows: Vec<WorkflowName>,
        /// Why.
        explanation: Explanation,
    },
    /// Not allowed.
    Denied {
        /// Why.
        explanation: Explanation,
    },
}

impl Decision {
    /// Why, whichever way it went.
    pub fn explanation(&self) -> &Explanation {
        match self {
            Self::Allowed(permit) => permit.explanation(),
            Self::NeedsApproval { explanation, .. } | Self::Denied { explanation } => explanation,
        }
    }
}

/// The answer when nothing can be allowed at all.
pub(super) fn stopped(who: &Identity, object: &Object, action: Action, policy: PolicyDigest) -> Decision {
    denied(who, object, action, policy, "access has been stopped")
}

/// A denial that policy wasn't asked about.
pub(super) fn denied(
    who: &Identity,
    object: &Object,
    action: Action,
    policy: PolicyDigest,
    why: &str,
) -> Decision {
    let explanation = Explanation::denied(who, object, action, policy, "stopped");
    Decision::Denied { explanation: Explanation { why: why.to_owned(), ..explanation } }
}
