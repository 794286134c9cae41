//! What can happen in access, each one ledger record. State is the fold of these and nothing else.

use jiff::Timestamp;
use sallyport_audit::{Digest, KeyId};

use super::certificate::CertificateId;
use super::device::{DeviceId, DeviceKeys};
use super::identity::BegunWith;
use super::ids::{GrantId, PasskeyId, RequestId, ReviewId, ShareId, TokenId};
use super::issuer::{IssuerName, KeyPrint};
use super::lock::LockTarget;
use super::names::{Role, Subject, Tenant};
use super::object::{Action, Object};
use super::passkey::{NewPasskey, Signed};
use super::policy::PolicyDigest;
use super::policy::conditions::Wanted;
use super::policy::drift::Drift;
use super::reason::{Reason, Ticket};
use super::scope::Scope;
use super::share::{ShareEnd, ShareRole};
use super::state::Verdict;
use super::token::Purpose;
use super::token_key::TokenKey;
use super::workflow::WorkflowName;

/// Where a fact stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The record's number.
    pub seq: u64,
    /// The record's time.
    pub time: Timestamp,
    /// Its leaf hash.
    pub digest: Digest,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever runs the gateway on its own host.
    Operator,
    /// A person.
    Person(Subject),
}

impl Actor {
    /// The person, if it was one.
    pub fn person(&self) -> Option<&Subject> {
        match self {
            Self::Operator => None,
            Self::Person(person) => Some(person),
        }
    }
}

/// One thing that happened, or was refused. Which ledger kind each becomes stands at the variant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named for what they hold, and typed")]
pub enum Fact {
    /// `token.issued`
    TokenIssued {
        token: TokenId,
        purpose: Purpose,
        subject: Subject,
        tenant: Tenant,
        expires: Timestamp,
        scope: Scope,
        sign_in: Option<SignIn>,
        by: Actor,
    },
    /// `token.revoked`. `outside` for a token of another issuer, which no record tells of.
    TokenRevoked { token: TokenId, tenant: Tenant, outside: bool, by: Actor, reason: Option<Reason> },
    /// `issuer.keys`: from now on these keys of an issuer count, and no others of it; `withdrawn` are those that did. `why` is
    /// a word.
    IssuerKeys { issuer: IssuerName, keys: Vec<KeyPrint>, withdrawn: Vec<KeyPrint>, why: Renewal },
    /// `device.enrolled`: by the person whom the join token names. The token is spent.
    DeviceEnrolled {
        device: DeviceId,
        join: TokenId,
        subject: Subject,
        tenant: Tenant,
        keys: DeviceKeys,
        expires: Timestamp,
    },
    /// `device.revoked`
    DeviceRevoked { device: DeviceId, tenant: Tenant, by: Actor, reason: Option<Reason> },
    /// `passkey.enrolled`: by the person whose approvals it signs.
    PasskeyEnrolled { passkey: PasskeyId, subject: Subject, tenant: Tenant, new: NewPasskey },
    /// `passkey.revoked`
    PasskeyRevoked { passkey: PasskeyId, tenant: Tenant, by: Actor, reason: Option<Reason> },
    /// `certificate.revoked`: by an admin, or by the operator whose revocation list names it.
    CertificateRevoked { certificate: CertificateId, tenant: Tenant, by: Actor, reason: Option<Reason> },
    /// `access.requested`. `claimed` are roles that somebody outside vouched for.
    Requested {
        /// From where it was asked, as far as that is known and the person is not erased.
        source: Option<std::net::IpAddr>,
        request: RequestId,
        subject: Subject,
        tenant: Tenant,
        object: Object,
        action: Action,
        workflows: Vec<WorkflowName>,
        minutes: u32,
        reason: Reason,
        ticket: Option<Ticket>,
        /// From then on nobody can answer it any more.
        answer_by: Timestamp,
        /// The grant that it is to take the place of.
        renews: Option<GrantId>,
        /// For one session and no other.
        once: bool,
        claimed: Vec<Role>,
    },
    /// `access.approved`: one person's approval. `roles` are those of theirs that workflows asked for then.
    Approved {
        request: RequestId,
        tenant: Tenant,
        object: Object,
        requester: Subject,
        by: Subject,
        roles: Vec<Role>,
        minutes: Option<u32>,
        /// Conditions of the policy to which this approver binds the grant.
        conditions: Vec<Wanted>,
        /// Whether this approver agrees to one session and no other.
        once: bool,
        reason: Option<Reason>,
        /// By their own passkey, over the request's hash.
        signed: Option<Signed>,
    },
    /// `access.rejected`: one person's refusal. `wanted` is how many end the request, as policy said then.
    Rejected {
        request: RequestId,
        tenant: Tenant,
        object: Object,
        requester: Subject,
        by: Subject,
        wanted: u32,
        reason: Option<Reason>,
    },
    /// `access.escalated`: people of these roles may decide too from now on.
    Escalated { request: RequestId, tenant: Tenant, object: Object, requester: Subject, roles: Vec<Role> },
    /// `access.expired`: nobody has answered in time.
    Expired { request: RequestId, tenant: Tenant, object: Object, requester: Subject },
    /// `access.withdrawn`
    Withdrawn { request: RequestId, tenant: Tenant, object: Object, by: Subject, reason: Option<Reason> },
    /// `grant.issued`: the workflow is complete.
    GrantIssued {
        grant: GrantId,
        request: RequestId,
        subject: Subject,
        tenant: Tenant,
        object: Object,
        action: Action,
        workflows: Vec<WorkflowName>,
        approvals: u32,
        starts: Timestamp,
        /// Its end; if its time runs from the first use, until when that must be.
        ends: Timestamp,
        /// How many minutes run from the first use; `None`: its time runs already.
        from_first_use: Option<u32>,
        /// Good for one session: `grant.begun` spends it.
        once: bool,
        /// It may be used only while all of these hold.
        conditions: Vec<Wanted>,
        policy: PolicyDigest,
    },
    /// `grant.begun`: it was used first, and ends then.
    GrantBegun {
        grant: GrantId,
        request: RequestId,
        tenant: Tenant,
        object: Object,
        subject: Subject,
        ends: Timestamp,
    },
    /// `glass.told`: this approver was told that somebody breaks the glass; recorded before the grant exists.
    GlassTold {
        request: RequestId,
        grant: GrantId,
        tenant: Tenant,
        object: Object,
        subject: Subject,
        approver: Subject,
    },
    /// `glass.broken`: a grant without the approval that policy demands.
    GlassBroken {
        grant: GrantId,
        request: RequestId,
        subject: Subject,
        tenant: Tenant,
        object: Object,
        action: Action,
        workflows: Vec<WorkflowName>,
        /// How many could have been asked.
        skipped: u32,
        starts: Timestamp,
        ends: Timestamp,
        policy: PolicyDigest,
        reason: Reason,
    },
    /// `glass.reviewed`: by somebody else.
    GlassReviewed {
        grant: GrantId,
        request: RequestId,
        tenant: Tenant,
        object: Object,
        subject: Subject,
        by: Subject,
        verdict: Verdict,
        reason: Reason,
    },
    /// `grant.revoked`
    GrantRevoked {
        grant: GrantId,
        request: RequestId,
        tenant: Tenant,
        object: Object,
        subject: Subject,
        by: Actor,
        reason: Option<Reason>,
    },
    /// `grant.expired`
    GrantExpired { grant: GrantId, request: RequestId, tenant: Tenant, object: Object, subject: Subject },
    /// `share.offered`
    ShareOffered {
        share: ShareId,
        tenant: Tenant,
        object: Object,
        role: ShareRole,
        to: Subject,
        by: Actor,
        until: Option<Timestamp>,
        accept_by: Timestamp,
    },
    /// `share.accepted`
    ShareAccepted { share: ShareId, tenant: Tenant, object: Object, by: Subject },
    /// `share.ended`; `by` is nobody if it was time.
    ShareEnded {
        share: ShareId,
        tenant: Tenant,
        object: Object,
        to: Subject,
        cause: ShareEnd,
        by: Option<Actor>,
        reason: Option<Reason>,
    },
    /// `review.item`: a role that policy gives somebody; recorded before the review begins.
    ReviewItem { review: ReviewId, tenant: Tenant, subject: Subject, role: Role },
    /// `review.started`: the population is what is live in the tenant here, and the roles recorded for it before.
    ReviewStarted {
        review: ReviewId,
        tenant: Tenant,
        by: Actor,
        reviewers: Role,
        deadline: Timestamp,
        items: u32,
        digest: Digest,
    },
    /// `review.decided`
    ReviewDecided {
        review: ReviewId,
        tenant: Tenant,
        item: u32,
        subject: Subject,
        by: Subject,
        keep: bool,
        /// Seconds since the reviewer's decision before it.
        took: u64,
        reason: Reason,
    },
    /// `review.closed`; `by` is nobody at the deadline.
    ReviewClosed {
        review: ReviewId,
        tenant: Tenant,
        by: Option<Actor>,
        kept: u32,
        revoked: u32,
        unreviewed: u32,
    },
    /// `tunnel.described`
    TunnelDescribed { tenant: Tenant, object: Object, by: Subject, words: Reason },
    /// `tunnel.deleted`
    TunnelDeleted { tenant: Tenant, object: Object, by: Subject, reason: Reason },
    /// `access.locked`
    Locked { target: LockTarget, tenant: Tenant, until: Option<Timestamp>, by: Actor, reason: Option<Reason> },
    /// `access.unlocked`
    Unlocked { target: LockTarget, tenant: Tenant, by: Actor, reason: Option<Reason> },
    /// `policy.loaded`; the first ones of old ledgers don't say which way they went.
    PolicyLoaded {
        digest: PolicyDigest,
        previous: Option<PolicyDigest>,
        rules: u64,
        drift: Option<Drift>,
        by: Actor,
    },
    /// `policy.refused`, with the places of the first faults. What is wrong there may name people: it goes to the
    /// operator, not into the record.
    PolicyRefused { places: Vec<String>, count: u64, by: Actor },
    /// `key.rotated` of the key that signs tokens. What `old` signed stands until `until`, or, if `tokens_kept` is false,
    /// ends with this.
    TokenKeyReplaced {
        old: TokenKey,
        new: TokenKey,
        until: Timestamp,
        tokens_kept: bool,
        by: Actor,
        reason: Option<Reason>,
    },
    /// `policy.proposed`: takes the place of what was proposed before. `summary` counts, and names nobody.
    PolicyProposed {
        digest: PolicyDigest,
        in_force: PolicyDigest,
        rules: u64,
        summary: String,
        tenant: Tenant,
        by: Subject,
        reason: Reason,
    },
    /// `policy.approved`: by another person than the one who proposed it.
    PolicyApproved {
        digest: PolicyDigest,
        tenant: Tenant,
        proposer: Subject,
        by: Subject,
        reason: Option<Reason>,
    },
    /// `ledger.resumed`: records were lost, any of which may have taken something back. Written by the ledger alone,
    /// before access is open.
    LedgerResumed { tokens_kept: bool },
    /// `personal.erased`: a person's data key is gone. Names the key and never the person.
    Erased { key: KeyId, by: Actor, reason: Option<Reason> },
    /// Somebody tried what they may not: the kind of what was tried, with the result `denied`. Folds to nothing.
    Refused(RefusedAttempt),
}

/// What stands behind a token that is a session in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// What the person showed.
    pub with: BegunWith,
    /// Roles that somebody outside vouched for.
    pub claimed: Vec<Role>,
}

/// Why the keys of an issuer are others than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The issuer publishes these.
    Published,
    /// The issuer couldn't be asked for so long that what it said last counts no more.
    Stale,
    /// The operator took the issuer out of the configuration.
    Removed,
}

impl Fact {
    /// Whether it is read back at a start. What was refused changes nothing, and only stands in the ledger.
    pub(super) fn is_folded(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::PolicyRefused { .. })
    }
}

impl Renewal {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Stale => "stale",
            Self::Removed => "removed",
        }
    }
}

impl std::str::FromStr for Renewal {
    type Err = super::names::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Published, Self::Stale, Self::Removed];
        let found = all.into_iter().find(|why| why.as_str() == text);
        let rule = "it is `published`, `stale` or `removed`";
        found.ok_or_else(|| super::names::NameError::new(text, "why an issuer's keys changed", rule))
    }
}

/// An order that was refused because of who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedAttempt {
    /// What was tried.
    pub attempt: Attempt,
    /// Who tried.
    pub by: Actor,
    /// In which tenant, if the caller has one.
    pub tenant: Option<Tenant>,
    /// The request it was about.
    pub request: Option<RequestId>,
    /// The grant it was about.
    pub grant: Option<GrantId>,
    /// The object it was about.
    pub object: Option<Object>,
    /// Why it was refused: [`super::decide::Refusal::code`].
    pub code: String,
}

/// What kinds of order can be refused; each is recorded as the kind that it would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// `token.issued`
    IssueToken,
    /// `token.revoked`
    RevokeToken,
    /// `device.enrolled`
    EnrollDevice,
    /// `device.revoked`
    RevokeDevice,
    /// `passkey.enrolled`
    EnrollPasskey,
    /// `passkey.revoked`
    RevokePasskey,
    /// `certificate.revoked`
    RevokeCertificate,
    /// `access.requested`
    Request,
    /// `access.approved`
    Approve,
    /// `access.rejected`
    Reject,
    /// `access.withdrawn`
    Withdraw,
    /// `grant.begun`
    Begin,
    /// `review.started`
    StartReview,
    /// `review.decided`
    DecideReview,
    /// `review.closed`
    CloseReview,
    /// `share.offered`
    Share,
    /// `share.accepted`
    AcceptShare,
    /// `share.ended`
    EndShare,
    /// `tunnel.described`
    Describe,
    /// `tunnel.deleted`
    DeleteTunnel,
    /// `glass.broken`
    BreakGlass,
    /// `glass.reviewed`
    ReviewGlass,
    /// `grant.revoked`
    Revoke,
    /// `access.locked`
    Lock,
    /// `access.unlocked`
    Unlock,
    /// `policy.refused`
    ReloadPolicy,
    /// `policy.proposed`
    ProposePolicy,
    /// `policy.approved`
    ApprovePolicy,
    /// `personal.erased`
    Erase,
    /// `key.rotated`
    ReplaceTokenKey,
    /// `issuer.keys`
    IssuerKeys,
    /// `token.issued`, for a browser
    SignIn,
}
