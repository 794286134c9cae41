//! Who is asking: a person whom a token, a device's keys or a certificate prove, or the visitor without either.
//!
//! An [`Identity`] has private fields: only [`super::Access::authenticate`] and its siblings for
//! devices and certificates make one for a person. It isn't leave to do anything: every decision looks again at the token or the device, the
//! locks and the policy as they are then.

use std::fmt;

use jiff::Timestamp;

use super::certificate::CertificateId;
use super::device::DeviceId;
use super::ids::TokenId;
use super::names::{Subject, Tenant};

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
    /// A join token: good for enrolling one device, and for nothing else.
    Join(TokenId),
}

/// The id of what proved it, for records; `none` for nothing.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Token(id) | Self::Join(id) => id.fmt(f),
            Self::Device(id) => id.fmt(f),
            Self::Certificate(id) => id.fmt(f),
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
}

impl Identity {
    /// The visitor who shows no token.
    pub fn anonymous(tenant: Tenant) -> Self {
        Self { subject: Subject::anonymous(), tenant, proof: Proof::Nothing, expires: None }
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
