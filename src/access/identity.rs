//! Who is asking: a person whom a token or a device's keys prove, or the visitor without either.
//!
//! An [`Identity`] has private fields: only [`super::Access::authenticate`] and [`super::Access::authenticate_device`]
//! make one for a person. It isn't leave to do anything: every decision looks again at the token or the device, the
//! locks and the policy as they are then.

use std::net::IpAddr;

use jiff::Timestamp;

use super::device::DeviceId;
use super::ids::TokenId;
use super::judge::Context;
use super::names::{Subject, Tenant};
use super::policy::conditions::{Circumstances, Transport};

/// What proved who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing was shown.
    Nothing,
    /// A bearer token.
    Token(TokenId),
    /// Possession of a device's keys.
    Device(DeviceId),
    /// A join token: good for enrolling one device, and for nothing else.
    Join(TokenId),
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(super) subject: Subject,
    pub(super) tenant: Tenant,
    pub(super) proof: Proof,
    pub(super) expires: Option<Timestamp>,
    /// Where and how they were met, as far as that is known. It proves nothing; conditions of policy are held against it.
    pub(super) met: Met,
}

/// Where and how somebody was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Met {
    source: Option<IpAddr>,
    transport: Option<Transport>,
}

impl Identity {
    /// The visitor who shows no token.
    pub fn anonymous(tenant: Tenant) -> Self {
        Self {
            subject: Subject::anonymous(),
            tenant,
            proof: Proof::Nothing,
            expires: None,
            met: Met::default(),
        }
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

    /// When the token or the device ends, clock leeway included; `None` for the anonymous visitor.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// The same person, met under these circumstances: whatever is decided about them from here on, sessions and orders
    /// alike, is held against where they come from and how.
    #[must_use]
    pub fn met(&self, context: &Context) -> Self {
        let mut identity = self.clone();
        if let Some(source) = context.source {
            identity.met.source = Some(source.ip());
        }
        if let Some(transport) = &context.transport {
            identity.met.transport = Some(transport.clone());
        }
        identity
    }

    /// What conditions are held against.
    pub(super) fn circumstances(&self, now: Timestamp) -> Circumstances {
        let device = match self.proof {
            Proof::Device(device) => Some(device),
            Proof::Nothing | Proof::Token(_) | Proof::Join(_) => None,
        };
        Circumstances { now, source: self.met.source, device, transport: self.met.transport.clone() }
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
