//! What a person's standing hangs on: tokens and locks.

use jiff::Timestamp;
use serde::Serialize;

use crate::access::device::DeviceId;
use crate::access::ids::TokenId;
use crate::access::names::{Principal, Subject, Tenant};
use crate::access::reason::Reason;
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
}

/// A lock on a person or a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Who is locked.
    pub principal: Principal,
    /// In which tenant.
    pub tenant: Tenant,
    /// Since when.
    pub since: Timestamp,
    /// By whom; `None` for the operator.
    pub by: Option<Subject>,
    /// Why.
    pub reason: Option<Reason>,
}
