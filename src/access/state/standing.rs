//! What a person's standing hangs on: tokens and locks.

use jiff::Timestamp;
use serde::Serialize;

use crate::access::device::DeviceId;
use crate::access::fact::SignIn;
use crate::access::ids::TokenId;
use crate::access::lock::LockTarget;
use crate::access::names::{Subject, Tenant};
use crate::access::reason::Reason;
use crate::access::scope::Scope;
use crate::access::token::Purpose;

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub purpose: Purpose,
    /// Whom it speaks for.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends, without leeway.
    pub expires: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The device that a join token has enrolled: from then on it is spent.
    pub spent: Option<DeviceId>,
    /// What it covers of what its person may do.
    pub scope: Scope,
    /// What stands behind it, if it is a session in a browser.
    #[serde(skip)]
    pub sign_in: Option<SignIn>,
}

/// A lock: who may not, or what may not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// What it is on.
    pub target: LockTarget,
    /// In which tenant.
    pub tenant: Tenant,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` is until it is lifted.
    pub until: Option<Timestamp>,
    /// By whom; `None` for the operator.
    pub by: Option<Subject>,
    /// Why.
    pub reason: Option<Reason>,
}

impl Lock {
    /// Whether it holds at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
