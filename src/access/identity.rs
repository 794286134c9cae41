//! Who is asking: a person whom a token, a device's keys or a certificate prove, or the visitor without either.
//!
//! An [`Identity`] has private fields: only [`super::Access::authenticate`] and its siblings for
//! devices and certificates make one for a person. It isn't leave to do anything: every decision looks again at the token or the device, the
//! locks and the policy as they are then.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::certificate::CertificateId;
use super::device::DeviceId;
use super::ids::TokenId;
use super::issuer::Outside;
use super::names::{Role, Subject, Tenant};
use super::scope::Scope;

/// What proved who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing was shown.
    Nothing,
    /// A bearer token.
    Token(TokenId),
    /// Possession of a device's keys.
    Device(DeviceId),
    /// The client certificate of the TLS connection.
    Certificate(CertificateId),
    /// What somebody outside vouches for: another issuer's token, or a controller's answer to one.
    Outside(Outside),
    /// A join token: good for enrolling one device, and for nothing else.
    Join(TokenId),
}

impl fmt::Display for Proof {
    /// The id of what was shown, for records.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Token(id) | Self::Join(id) => write!(f, "{id}"),
            Self::Outside(shown) => write!(f, "{}", shown.token),
            Self::Device(id) => write!(f, "{id}"),
            Self::Certificate(id) => write!(f, "{id}"),
        }
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(super) subject: Subject,
    pub(super) tenant: Tenant,
    pub(super) proof: Proof,
    pub(super) expires: Option<Timestamp>,
    /// Roles that whoever vouches for the person gives them, beside those that policy gives.
    pub(super) roles: Arc<[Role]>,
    pub(super) scope: Scope,
}

impl Identity {
    /// Whoever a proof is of, with the roles that policy gives and nothing taken away.
    pub(super) fn proved(subject: Subject, tenant: Tenant, proof: Proof, expires: Timestamp) -> Self {
        let (expires, roles, scope) = (Some(expires), Arc::default(), Scope::whole());
        Self { subject, tenant, proof, expires, roles, scope }
    }

    /// The visitor who shows no token.
    pub fn anonymous(tenant: Tenant) -> Self {
        let (subject, proof, expires) = (Subject::anonymous(), Proof::Nothing, None);
        Self { subject, tenant, proof, expires, roles: Arc::default(), scope: Scope::whole() }
    }

    /// The person.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The tenant that they act in.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What proved it.
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// When the token, the device or the certificate ends, clock leeway included; `None` for the anonymous visitor.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Roles that whoever vouches for the person gives them, beside those that policy gives.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// What the credential covers of what the person may do.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether nothing was shown that proves a person.
    pub fn is_anonymous(&self) -> bool {
        self.proof == Proof::Nothing
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
