//! Who is asking: a person whom a token, a device's keys or a certificate prove, or the visitor without either.
//!
//! An [`Identity`] has private fields: only [`super::Access::authenticate`] and its siblings for
//! devices and certificates make one for a person. It isn't leave to do anything: every decision looks again at the token or the device, the
//! locks and the policy as they are then.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::certificate::CertificateId;
use super::device::DeviceId;
use super::ids::TokenId;
use super::issuer::Outside;
use super::judge::Context;
use super::names::{Role, Subject, Tenant};
use super::policy::conditions::{Circumstances, Through, Transport};
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
    /// What a session in a browser was begun with.
    pub(super) begun_with: Option<BegunWith>,
    /// Where and how they were met, as far as that is known. It proves nothing; conditions of policy are held against it.
    pub(super) met: Met,
}

/// Where and how somebody was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Met {
    source: Option<IpAddr>,
    device: Option<DeviceId>,
    transport: Option<Transport>,
    tunnel: Option<Through>,
}

/// What a session in a browser was begun with: it ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BegunWith {
    /// A token of the gateway's own.
    Token(TokenId),
    /// Something that somebody outside vouched for.
    Outside(Outside),
}

impl Identity {
    /// Whoever a proof is of, with the roles that policy gives and nothing taken away.
    pub(super) fn proved(subject: Subject, tenant: Tenant, proof: Proof, expires: Timestamp) -> Self {
        let (expires, roles, scope) = (Some(expires), Arc::default(), Scope::whole());
        Self { subject, tenant, proof, expires, roles, scope, begun_with: None, met: Met::default() }
    }

    /// The visitor who shows no token.
    pub fn anonymous(tenant: Tenant) -> Self {
        let (subject, proof, expires) = (Subject::anonymous(), Proof::Nothing, None);
        let (roles, scope, met) = (Arc::default(), Scope::whole(), Met::default());
        Self { subject, tenant, proof, expires, roles, scope, begun_with: None, met }
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
        // Of this question alone: a tunnel that somebody used before says nothing of another.
        identity.met.tunnel.clone_from(&context.tunnel);
        identity
    }

    /// The same, as if this device had proved it: for questions about what would be, never for letting somebody in.
    pub(super) fn on_device(self, device: Option<DeviceId>) -> Self {
        Self { met: Met { device, ..self.met }, ..self }
    }

    /// From where they come, if that is known.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.met.source
    }

    /// What conditions are held against.
    pub(super) fn circumstances(&self, now: Timestamp) -> Circumstances {
        let device = match self.proof {
            Proof::Device(device) => Some(device),
            Proof::Nothing | Proof::Token(_) | Proof::Join(_) | Proof::Outside(_) | Proof::Certificate(_) => {
                self.met.device
            }
        };
        let Met { source, transport, tunnel, .. } = self.met.clone();
        Circumstances { now, source, device, transport, tunnel }
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
#[expect(clippy::large_enum_variant, reason = "one is made for each order, and none is kept")]
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
