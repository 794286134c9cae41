//! Why an order isn't carried out, what to do then, and which refusals are records.

use super::{MAX_PENDING, MAX_PENDING_OF_TENANT};
use crate::access::certificate::CertificateId;
use crate::access::device::DeviceId;
use crate::access::ids::{GrantId, RequestId, TokenId};
use crate::access::lock::LockTarget;
use crate::access::names::{Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::token::{AuthError, MAX_LIFE};
use crate::access::workflow::{Step, WorkflowName};

/// Why an order isn't carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they hold, and typed")]
pub enum Refusal {
    /// The caller's token doesn't stand any more, or they are locked.
    #[error("{0}")]
    Standing(AuthError),
    /// Only a person can do this, and one who showed a token.
    #[error("only a person with a token can do this")]
    NotAPerson,
    /// Policy doesn't allow the caller to do this.
    #[error("policy doesn't allow this: {why}")]
    NotAllowed { why: String },
    /// Nobody approves their own request, whatever roles they have.
    #[error("{request} is your own: another person must decide on it")]
    OwnRequest { request: RequestId },
    /// The caller may approve, but no step of this request asks for a role of theirs.
    #[error("no step of {request} asks for a role of yours; it waits for {}", shown(.wanted))]
    NotEligible { request: RequestId, wanted: Vec<Step> },
    /// One person counts once.
    #[error("you have already approved {request}; it waits for {}", shown(.wanted))]
    AlreadyApproved { request: RequestId, wanted: Vec<Step> },
    /// No such request in the caller's tenant.
    #[error("there is no request {request}")]
    NoSuchRequest { request: RequestId },
    /// The request has been decided or taken back.
    #[error("{request} doesn't wait any more: it is {state}")]
    NotPending { request: RequestId, state: &'static str },
    /// No such grant in the caller's tenant.
    #[error("there is no grant {grant}")]
    NoSuchGrant { grant: GrantId },
    /// The grant has ended.
    #[error("{grant} has ended already")]
    GrantEnded { grant: GrantId },
    /// No such token in the caller's tenant.
    #[error("there is no token {token}")]
    NoSuchToken { token: TokenId },
    /// It was revoked before.
    #[error("{token} is revoked already")]
    TokenRevoked { token: TokenId },
    /// A join token works once.
    #[error("the join token {token} has enrolled a device already")]
    JoinSpent { token: TokenId },
    /// The same keys were enrolled before.
    #[error("{device} is enrolled already")]
    DeviceKnown { device: DeviceId },
    /// No such device in the caller's tenant.
    #[error("there is no device {device}")]
    NoSuchDevice { device: DeviceId },
    /// It was revoked before.
    #[error("{device} is revoked already")]
    DeviceRevoked { device: DeviceId },
    /// It was revoked before.
    #[error("{certificate} is revoked already")]
    CertificateRevoked { certificate: CertificateId },
    /// Nothing to ask for: policy allows it outright, or a grant is live.
    #[error("you may {action} {object} already")]
    NotNeeded { action: Action, object: Object },
    /// One like it waits.
    #[error("{request} asks for the same and waits already")]
    Duplicate { request: RequestId },
    /// Too many wait.
    #[error("{waiting} requests of yours wait already; {MAX_PENDING} is the most")]
    TooManyPending { waiting: usize },
    /// Too many wait in the whole tenant.
    #[error("{waiting} requests wait in this tenant already; {MAX_PENDING_OF_TENANT} is the most")]
    TenantFull { waiting: usize },
    /// Outside of what the workflows allow.
    #[error("{asked} minutes isn't 1 to {most}")]
    Minutes { asked: u32, most: u32 },
    /// A workflow wants a ticket.
    #[error("workflow {workflow} wants a ticket named")]
    TicketNeeded { workflow: WorkflowName },
    /// The policy has changed since it was asked, and doesn't allow it any more.
    #[error("policy doesn't allow what {request} asks for any more: {why}")]
    PolicyChanged { request: RequestId, why: String },
    /// The requester has been locked since.
    #[error("{request} can't be approved: {target} is locked")]
    RequesterLocked { request: RequestId, target: LockTarget },
    /// A token's life must be positive and bounded.
    #[error("a token must end in the future and within {} days", MAX_LIFE.as_hours() / 24)]
    TokenLife,
    /// No tokens for the visitor without one.
    #[error("{subject} can't have a token")]
    NoTokenFor { subject: Subject },
    /// A name that only people of another issuer have.
    #[error("{subject} is a name of the issuer {issuer}: it alone vouches for it")]
    OutsideName { subject: Subject, issuer: String },
    /// Locked before, or not locked.
    #[error("{target} is {state} already")]
    LockUnchanged { target: LockTarget, state: &'static str },
    /// A lock that has ended before it begins.
    #[error("a lock must end in the future")]
    LockEnd,
    /// A lock in one tenant on another.
    #[error("a tenant is locked from within: {target} is another one")]
    LockElsewhere { target: LockTarget },
    /// Locking oneself out is a mistake, not an intention.
    #[error("this would lock you out yourself")]
    OwnLock,
    /// Whoever erases must be there afterwards to answer for it.
    #[error("nobody erases themselves")]
    OwnErasure,
    /// A lock is forgotten with the name.
    #[error("{subject} is locked, and the lock would be forgotten with the name")]
    LockHolds { subject: Subject },
    /// The record of the erasure must not bring the name back.
    #[error("the reason names the person, and it stays")]
    ReasonNames,
    /// The erasure would reach into other tenants.
    #[error("{subject} is known in another tenant too")]
    ElsewhereToo { subject: Subject },
    /// Nothing crosses tenants.
    #[error("you act in tenant {own}; this is in {other}")]
    OtherTenant { own: Tenant, other: Tenant },
}

fn shown(steps: &[Step]) -> String {
    let each: Vec<String> = steps.iter().map(|step| format!("{} of {}", step.people, step.role)).collect();
    if each.is_empty() { "nobody".to_owned() } else { each.join(" and ") }
}

impl Refusal {
    /// One word for records and APIs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Standing(error) => error.code(),
            Self::NotAPerson => "not-a-person",
            Self::NotAllowed { .. } => "not-allowed",
            Self::OwnRequest { .. } => "own-request",
            Self::NotEligible { .. } => "not-eligible",
            Self::AlreadyApproved { .. } => "already-approved",
            Self::NoSuchRequest { .. } => "no-such-request",
            Self::NotPending { .. } => "not-pending",
            Self::NoSuchGrant { .. } => "no-such-grant",
            Self::GrantEnded { .. } => "grant-ended",
            Self::NoSuchToken { .. } => "no-such-token",
            Self::TokenRevoked { .. } => "token-revoked",
            Self::JoinSpent { .. } => "join-spent",
            Self::DeviceKnown { .. } => "device-known",
            Self::NoSuchDevice { .. } => "no-such-device",
            Self::DeviceRevoked { .. } => "device-revoked",
            Self::CertificateRevoked { .. } => "certificate-revoked",
            Self::NotNeeded { .. } => "not-needed",
            Self::Duplicate { .. } => "duplicate",
            Self::TooManyPending { .. } => "too-many-pending",
            Self::TenantFull { .. } => "tenant-full",
            Self::Minutes { .. } => "minutes",
            Self::TicketNeeded { .. } => "ticket-needed",
            Self::PolicyChanged { .. } => "policy-changed",
            Self::RequesterLocked { .. } => "requester-locked",
            Self::TokenLife => "token-life",
            Self::NoTokenFor { .. } => "no-token-for",
            Self::OutsideName { .. } => "outside-name",
            Self::LockUnchanged { .. } => "lock-unchanged",
            Self::LockEnd => "lock-end",
            Self::LockElsewhere { .. } => "lock-elsewhere",
            Self::OwnLock => "own-lock",
            Self::OwnErasure => "own-erasure",
            Self::LockHolds { .. } => "lock-holds",
            Self::ReasonNames => "reason-names",
            Self::ElsewhereToo { .. } => "elsewhere-too",
            Self::OtherTenant { .. } => "other-tenant",
        }
    }

    /// Whether somebody tried what they may not, which is recorded; the rest are mistakes.
    pub fn is_attempt(&self) -> bool {
        matches!(
            self,
            Self::Standing(_)
                | Self::NotAPerson
                | Self::NotAllowed { .. }
                | Self::JoinSpent { .. }
                | Self::OwnRequest { .. }
                | Self::NotEligible { .. }
                | Self::LockElsewhere { .. }
                | Self::OtherTenant { .. }
        )
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Standing(error) => error.hint(),
            Self::NotAPerson => "log in with a token",
            Self::NotAllowed { .. } | Self::OtherTenant { .. } => "ask an admin, or have the policy changed",
            Self::OwnRequest { .. } | Self::NotEligible { .. } | Self::AlreadyApproved { .. } => {
                "`sallyport requests show` lists who can decide on it"
            }
            Self::NoSuchRequest { .. } | Self::NotPending { .. } => {
                "`sallyport requests list` shows what waits"
            }
            Self::NoSuchGrant { .. } | Self::GrantEnded { .. } => {
                "`sallyport grants list` shows what is live"
            }
            Self::NoSuchToken { .. } | Self::TokenRevoked { .. } => {
                "`sallyport tokens list` shows what is live"
            }
            Self::JoinSpent { .. } => {
                "ask an admin for another join token; if it wasn't you who used this one, have the device revoked"
            }
            Self::DeviceKnown { .. } => "go ahead and use it, or enroll with a new file",
            Self::NoSuchDevice { .. } | Self::DeviceRevoked { .. } => {
                "`sallyport device list` shows what is enrolled"
            }
            Self::CertificateRevoked { .. } => "`sallyport certificates` lists what was revoked",
            Self::NotNeeded { .. } => "go ahead",
            Self::Duplicate { .. } => "wait for it, or withdraw it first",
            Self::TooManyPending { .. } => "withdraw one that you don't need any more",
            Self::TenantFull { .. } => "have an admin decide on what waits",
            Self::Minutes { .. } => "ask for a time within these bounds",
            Self::TicketNeeded { .. } => "ask again and name the ticket",
            Self::PolicyChanged { .. } => "reject it; the requester can ask for what policy allows now",
            Self::RequesterLocked { .. } => "unlock them first, or reject the request",
            Self::TokenLife => "choose a shorter life",
            Self::OutsideName { .. } => "choose another name, or let them sign in there",
            Self::NoTokenFor { .. } => "name a person, as `user:NAME`",
            Self::LockUnchanged { .. } => "nothing needs to be done",
            Self::LockEnd => "name a later time, or none",
            Self::LockElsewhere { .. } => "have an admin of that tenant do it",
            Self::OwnLock | Self::OwnErasure => "have another admin do it",
            Self::LockHolds { .. } => {
                "unlock them first; to keep them out, let policy or your identity provider do it"
            }
            Self::ReasonNames => "write the reason without the name",
            Self::ElsewhereToo { .. } => "have the gateway's operator do it",
        }
    }
}
