//! Who is asking: a person whom a token proves, or the visitor without one.
//!
//! An [`Identity`] has private fields: only [`super::Access::authenticate`] makes one for a person. It isn't leave to
//! do anything: every decision looks again at the token, the locks and the policy as they are then.

use jiff::Timestamp;

use super::ids::TokenId;
use super::names::{Subject, Tenant};

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(super) subject: Subject,
    pub(super) tenant: Tenant,
    pub(super) token: Option<TokenId>,
    pub(super) expires: Option<Timestamp>,
}

impl Identity {
    /// The visitor who shows no token.
    pub fn anonymous(tenant: Tenant) -> Self {
        Self { subject: Subject::anonymous(), tenant, token: None, expires: None }
    }

    /// The person.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The tenant that they act in.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The token that proved it; `None` for the anonymous visitor.
    pub fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// When the token ends, clock leeway included; `None` for the anonymous visitor.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether no token was shown.
    pub fn is_anonymous(&self) -> bool {
        self.token.is_none()
    }
}

/// Who gives an order to access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Whoever starts and stops the gateway on its own host: the first token, a policy reload by signal.
    /// Never made from anything that came over a network.
    Operator,
    /// A person.
    Person(Identity),
}

impl Caller {
    /// The person, if it is one.
    pub fn person(&self) -> Option<&Identity> {
        match self {
            Self::Operator => None,
            Self::Person(identity) => Some(identity),
        }
    }
}

impl From<Identity> for Caller {
    fn from(identity: Identity) -> Self {
        Self::Person(identity)
    }
}

impl From<&Identity> for Caller {
    fn from(identity: &Identity) -> Self {
        Self::Person(identity.clone())
    }
}
