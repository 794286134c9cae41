//! Access: who may do what, who has agreed to it, and the proof of it while it lasts.
//!
//! Identities come from tokens that the gateway issued, from devices that it enrolled, and from client certificates. casbin policy decides; a rule may demand an approval
//! workflow; requests, approvals and grants are ledger records, and the state here is a fold over them. A decision
//! to allow is a [`Permit`], which dies at once when its grant, its token, its person or the policy no longer stands.
//!
//! Promised: deny by default; no permit without a decision, no grant without its quorum; what isn't recorded didn't
//! happen; every decision explains itself; nothing crosses tenants. Trusted: the policy directory, the ledger, the
//! token-signing key, the clock. Not trusted: tokens, names, reasons, and people with only one of two needed roles.
//!
//! Start with [`Access::authorize`] and `judge.rs` (one decision), then `decide/` (orders and approvals),
//! `state/` (the fold), `owner.rs` (the task that ties them to the ledger).

mod admission;
mod backing;
mod browser;
pub mod canary;
pub mod certificate;
pub mod clock;
pub mod decide;
mod decision;
pub mod device;
mod enrollment;
mod error;
pub mod fact;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod glass;
mod handle;
mod home_network;
pub mod identity;
pub mod ids;
mod index;
pub mod issuer;
pub mod judge;
mod ledger;
mod limits;
mod listing;
pub mod lock;
pub mod log;
pub mod names;
pub mod object;
mod opening;
mod owner;
pub mod passkey;
pub mod permit;
pub mod policing;
pub mod policy;
pub mod reason;
mod record;
pub mod registration;
pub mod replay;
mod requesting;
mod reviews;
pub mod scope;
pub mod share;
mod sharing;
mod signing;
pub mod state;
pub mod token;
mod token_key;
pub mod transport;
mod vouching;
pub mod workflow;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, CertificateId};
pub use clock::{Clock, SystemClock};
pub use decide::Refusal;
pub use decision::Decision;
pub use device::{Device, DeviceId, DeviceKeys};
pub use enrollment::NotEnrolled;
pub use error::AccessError;
pub use fact::Renewal;
pub use glass::Broken;
pub use handle::{Access, AccessOptions};
pub use home_network::HomeNetwork;
pub use identity::{Caller, Identity, Proof};
pub use ids::{GrantId, PasskeyId, RequestId, ReviewId, ShareId, TokenId};
pub use issuer::{Issuer, IssuerName, Issuers, KeyPrint, KeySet, Outside, Vouched};
pub use judge::{Context, Explanation, RuleRef};
pub use ledger::replay as replay_ledger;
pub use limits::Limits;
pub use listing::{GrantFilter, RequestFilter, RequestView};
pub use lock::LockTarget;
pub use log::{LogError, RecordLog};
pub use names::{Principal, Role, Subject, Tenant};
pub use object::{Action, Object, Part};
pub use owner::PolicyChange;
pub use passkey::{Passkey, Signed, Site};
pub use permit::{Cause, Death, Permit};
pub use policy::faults::PolicyFaults;
pub use policy::{Policy, PolicyDigest};
pub use reason::{Reason, Ticket};
pub use requesting::{Approved, Ask};
pub use reviews::{ReviewItemView, ReviewView};
pub use scope::Scope;
pub use share::ShareRole;
pub use sharing::ShareView;
pub use state::{
    Approval, Glass, Grant, GrantStatus, Holding, Lock, Proposal, Request, RequestStatus, Share, Token,
    Verdict,
};
pub use token::{AuthError, Purpose, SignError, TokenKeys, is_typed_as_ours};
pub use token_key::{Jwk, StandingTokenKey, TokenKey};
pub use transport::{TlsFacts, TunnelFacts};
pub use vouching::Vouchers;
pub use workflow::{Step, WorkflowName};
