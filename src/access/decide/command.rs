//! The orders that can be given.

use jiff::Timestamp;

use crate::access::browser::Place;
use crate::access::certificate::CertificateId;
use crate::access::device::{DeviceId, DeviceKeys};
use crate::access::fact::{Attempt, Renewal};
use crate::access::ids::{GrantId, PasskeyId, RequestId, ReviewId, ShareId, TokenId};
use crate::access::issuer::{IssuerName, KeyPrint};
use crate::access::limits::Limits;
use crate::access::lock::LockTarget;
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::passkey::{NewPasskey, Signed};
use crate::access::policy::PolicyDigest;
use crate::access::reason::{Reason, Ticket};
use crate::access::scope::Scope;
use crate::access::share::ShareRole;
use crate::access::state::Verdict;
use crate::access::token::Purpose;
use crate::access::token_key::TokenKey;

/// An order. Ids that it may need are made beforehand: the decision itself draws no randomness.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are named for what they hold, and typed")]
pub enum Command {
    /// Ask for access.
    Request {
        id: RequestId,
        object: Object,
        action: Action,
        minutes: u32,
        reason: Reason,
        ticket: Option<Ticket>,
        renews: Option<GrantId>,
        once: bool,
    },
    /// Agree to a request; `grant` is the id to use if that completes it.
    Approve {
        request: RequestId,
        grant: GrantId,
        limits: Limits,
        reason: Option<Reason>,
        signed: Option<Signed>,
    },
    /// Say no.
    Reject { request: RequestId, reason: Option<Reason> },
    /// Take one's own request back.
    Withdraw { request: RequestId, reason: Option<Reason> },
    /// Begin an access review.
    StartReview { review: ReviewId, tenant: Tenant, reviewers: Role, deadline: Timestamp },
    /// Decide on one of its items.
    DecideReview { review: ReviewId, item: u32, keep: bool, reason: Reason },
    /// End it before its deadline.
    CloseReview { review: ReviewId },
    /// Offer a person a role on a tunnel.
    Share {
        share: ShareId,
        object: Object,
        tenant: Tenant,
        role: ShareRole,
        to: Subject,
        until: Option<Timestamp>,
    },
    /// Accept what one was offered.
    AcceptShare { share: ShareId },
    /// End a share or its offer.
    EndShare { share: ShareId, reason: Option<Reason> },
    /// Change the words that describe a tunnel.
    Describe { object: Object, words: Reason },
    /// Delete a tunnel with all that stands on its name.
    DeleteTunnel { object: Object, reason: Reason },
    /// Go in without the approval that policy demands.
    BreakGlass { id: RequestId, grant: GrantId, object: Object, action: Action, minutes: u32, reason: Reason },
    /// Say whether somebody was right to do that.
    ReviewGlass { grant: GrantId, verdict: Verdict, reason: Reason },
    /// Use one's own grant for the first time.
    Begin { grant: GrantId },
    /// End a grant now.
    Revoke { grant: GrantId, reason: Option<Reason> },
    /// Lock something.
    Lock { target: LockTarget, tenant: Tenant, until: Option<Timestamp>, reason: Option<Reason> },
    /// Lift a lock.
    Unlock { target: LockTarget, tenant: Tenant, reason: Option<Reason> },
    /// Issue a token.
    IssueToken {
        token: TokenId,
        purpose: Purpose,
        subject: Subject,
        tenant: Tenant,
        expires: Timestamp,
        scope: Scope,
    },
    /// Begin a session in a browser.
    SignIn { token: TokenId, place: Place, expires: Timestamp },
    /// Revoke a token; `outside` is the tenant for one of another issuer, of which nothing is recorded.
    RevokeToken { token: TokenId, outside: Option<Tenant>, reason: Option<Reason> },
    /// Tell which keys of an issuer count.
    IssuerKeys { issuer: IssuerName, keys: Vec<KeyPrint>, why: Renewal },
    /// Enroll a device, by a join token.
    EnrollDevice { device: DeviceId, keys: DeviceKeys },
    /// Revoke a device.
    RevokeDevice { device: DeviceId, reason: Option<Reason> },
    /// Enroll a passkey of one's own.
    EnrollPasskey { passkey: PasskeyId, new: NewPasskey },
    /// Revoke a passkey.
    RevokePasskey { passkey: PasskeyId, reason: Option<Reason> },
    /// Revoke a client certificate.
    RevokeCertificate { certificate: CertificateId, tenant: Tenant, reason: Option<Reason> },
    /// End all that a person has, before their data key is destroyed.
    Erase { subject: Subject, reason: Reason },
    /// Have tokens signed by another key. If `tokens_kept`, what the old one signed stands until it ends.
    ReplaceTokenKey { old: TokenKey, new: TokenKey, tokens_kept: bool, reason: Option<Reason> },
    /// Leave to load the policy again; the load itself is the owner's.
    ReloadPolicy,
    /// Propose the policy with this digest; `summary` counts how it differs and names nobody.
    ProposePolicy { digest: PolicyDigest, rules: u64, summary: String, reason: Reason },
    /// Approve what was proposed, as a second person.
    ApprovePolicy { digest: PolicyDigest, reason: Option<Reason> },
}

impl Command {
    /// Whether it takes something from somebody. Such an order doesn't wait until the ledger has taken those before it.
    pub(in crate::access) fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::Revoke { .. }
                | Self::Lock { .. }
                | Self::RevokeToken { .. }
                | Self::IssuerKeys { .. }
                | Self::RevokeDevice { .. }
                | Self::RevokePasskey { .. }
                | Self::RevokeCertificate { .. }
                | Self::EndShare { .. }
                | Self::DeleteTunnel { .. }
                | Self::DecideReview { keep: false, .. }
                | Self::CloseReview { .. }
                | Self::ReviewGlass { verdict: Verdict::Unjustified, .. }
                | Self::Erase { .. }
                | Self::ReplaceTokenKey { tokens_kept: false, .. }
        )
    }

    /// Whether it is about what all tenants have in common.
    pub(in crate::access) fn is_for_all_tenants(&self) -> bool {
        matches!(
            self,
            Self::ReloadPolicy
                | Self::ProposePolicy { .. }
                | Self::ApprovePolicy { .. }
                | Self::ReplaceTokenKey { .. }
        )
    }

    pub(super) fn attempt(&self) -> Attempt {
        match self {
            Self::Request { .. } => Attempt::Request,
            Self::Approve { .. } => Attempt::Approve,
            Self::Reject { .. } => Attempt::Reject,
            Self::Withdraw { .. } => Attempt::Withdraw,
            Self::StartReview { .. } => Attempt::StartReview,
            Self::DecideReview { .. } => Attempt::DecideReview,
            Self::CloseReview { .. } => Attempt::CloseReview,
            Self::Share { .. } => Attempt::Share,
            Self::AcceptShare { .. } => Attempt::AcceptShare,
            Self::EndShare { .. } => Attempt::EndShare,
            Self::Describe { .. } => Attempt::Describe,
            Self::DeleteTunnel { .. } => Attempt::DeleteTunnel,
            Self::BreakGlass { .. } => Attempt::BreakGlass,
            Self::ReviewGlass { .. } => Attempt::ReviewGlass,
            Self::Begin { .. } => Attempt::Begin,
            Self::Revoke { .. } => Attempt::Revoke,
            Self::Lock { .. } => Attempt::Lock,
            Self::Unlock { .. } => Attempt::Unlock,
            Self::IssueToken { .. } => Attempt::IssueToken,
            Self::SignIn { .. } => Attempt::SignIn,
            Self::RevokeToken { .. } => Attempt::RevokeToken,
            Self::IssuerKeys { .. } => Attempt::IssuerKeys,
            Self::EnrollDevice { .. } => Attempt::EnrollDevice,
            Self::RevokeDevice { .. } => Attempt::RevokeDevice,
            Self::EnrollPasskey { .. } => Attempt::EnrollPasskey,
            Self::RevokePasskey { .. } => Attempt::RevokePasskey,
            Self::RevokeCertificate { .. } => Attempt::RevokeCertificate,
            Self::ReloadPolicy => Attempt::ReloadPolicy,
            Self::ProposePolicy { .. } => Attempt::ProposePolicy,
            Self::ApprovePolicy { .. } => Attempt::ApprovePolicy,
            Self::Erase { .. } => Attempt::Erase,
            Self::ReplaceTokenKey { .. } => Attempt::ReplaceTokenKey,
        }
    }
}
