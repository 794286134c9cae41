//! Why an order isn't carried out, what to do then, and which refusals are records.

use super::{MAX_A_DAY, MAX_PENDING, MAX_PENDING_OF_TENANT};
use sallyport_audit::approval::NotSigned;

use crate::access::certificate::CertificateId;
use crate::access::device::DeviceId;
use crate::access::ids::{GrantId, PasskeyId, RequestId, ReviewId, ShareId, TokenId};
use crate::access::lock::LockTarget;
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::policy::PolicyDigest;
use crate::access::policy::conditions::ConditionName;
use crate::access::share::ShareRole;
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
    /// A refusal stands.
    #[error("you have refused {request} already")]
    AlreadyDenied { request: RequestId },
    /// Who reports to the requester, or whom they report to, may be excluded.
    #[error("you are too near to {requester} to decide on {request}: one of you reports to the other")]
    TooNear { request: RequestId, requester: Subject },
    /// No such request in the caller's tenant.
    #[error("there is no request {request}")]
    NoSuchRequest { request: RequestId },
    /// The request has been decided or taken back.
    #[error("{request} doesn't wait any more: it is {state}")]
    NotPending { request: RequestId, state: &'static str },
    /// No such grant in the caller's tenant.
    #[error("there is no grant {grant}")]
    NoSuchGrant { grant: GrantId },
    /// The glass stays whole until somebody else has looked at the last time.
    #[error("you broke the glass before, and nobody has reviewed {grant} yet")]
    GlassUnreviewed { grant: GrantId },
    /// A review stands.
    #[error("{grant} is reviewed already")]
    GlassReviewed { grant: GrantId },
    /// Its time runs already.
    #[error("{grant} was used before")]
    GrantBegun { grant: GrantId },
    /// The grant has ended.
    #[error("{grant} has ended already")]
    GrantEnded { grant: GrantId },
    /// A grant can be bound only to what policy knows.
    #[error("policy knows no condition {name}")]
    NoSuchCondition { name: ConditionName },
    /// Conditions are bounded.
    #[error("an approver adds at most {most} conditions")]
    TooManyConditions { most: usize },
    /// No such review in the caller's tenant.
    #[error("there is no access review {review}")]
    NoSuchReview { review: ReviewId },
    /// The population has no such item.
    #[error("{review} has no item {item}")]
    NoSuchItem { review: ReviewId, item: u32 },
    /// Somebody else decides on what is one's own.
    #[error("item {item} of {review} is your own: another reviewer must decide on it")]
    OwnItem { review: ReviewId, item: u32 },
    /// A decision stands.
    #[error("item {item} of {review} is decided already")]
    ItemDecided { review: ReviewId, item: u32 },
    /// Its reviewers have a role.
    #[error("this review is for people of {role}")]
    NoReviewer { role: Role },
    /// A review that nobody could work on.
    #[error("nobody has {role}, so nobody could review")]
    NoReviewers { role: Role },
    /// It has ended.
    #[error("{review} is over")]
    ReviewOver { review: ReviewId },
    /// Its deadline must be in the future and bounded.
    #[error("a review must end in the future and within {most} days")]
    ReviewTime { most: i64 },
    /// The population is bounded.
    #[error(
        "{items} items, {roles} of them roles, are too many for one review; 10,000 and 5,000 are the most"
    )]
    ReviewTooLarge { roles: usize, items: usize },
    /// Several at a time, but not many.
    #[error("{open} reviews are open already")]
    TooManyReviews { open: usize },
    /// Nobody shares with themselves.
    #[error("you can't share with yourself")]
    OwnShare,
    /// A share never gives more than its giver has.
    #[error("you can't give the role {role}: you may not {action} it yourself without an approval")]
    MoreThanOwn { role: ShareRole, action: Action },
    /// Policy knows nothing of the role.
    #[error("policy lets the role {role} do nothing on this tunnel")]
    EmptyRole { role: ShareRole },
    /// Its end must be in the future and bounded.
    #[error("a share must end in the future and within {most} days, or have no end")]
    ShareTime { most: i64 },
    /// One share for each person and tunnel.
    #[error("{share} stands for this person and tunnel already")]
    ShareExists { share: ShareId },
    /// Too many stand on one tunnel.
    #[error("{standing} shares stand on this tunnel already")]
    TooManyShares { standing: usize },
    /// No such share in the caller's tenant, or not theirs.
    #[error("there is no share {share}")]
    NoSuchShare { share: ShareId },
    /// It was accepted before, or its time is over.
    #[error("{share} isn't on offer any more")]
    NotOffered { share: ShareId },
    /// It has ended.
    #[error("{share} has ended already")]
    ShareEnded { share: ShareId },
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
    /// The credential was enrolled before, perhaps revoked since.
    #[error("this passkey is enrolled already, or was")]
    PasskeyKnown,
    /// Too many stand.
    #[error("{most} passkeys of one person can stand at a time")]
    TooManyPasskeys { most: usize },
    /// None of the caller's, or none in their tenant.
    #[error("there is no {passkey} that you may use for this")]
    NoSuchPasskey { passkey: PasskeyId },
    /// It was revoked before.
    #[error("{passkey} is revoked already")]
    PasskeyRevoked { passkey: PasskeyId },
    /// Policy wants the approver's own signature.
    #[error("policy wants {request} approved with a signature by a passkey of your own")]
    SignatureNeeded { request: RequestId },
    /// A signature that doesn't count.
    #[error("the signature on the approval of {request} doesn't count: {why}")]
    SignatureWrong { request: RequestId, why: NotSigned },
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
    /// Too many were asked for within a day.
    #[error("you have asked {asked} times within a day; {MAX_A_DAY} is the most")]
    TooManyToday { asked: usize },
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
    /// Locked for as long before, or not locked.
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
    /// `access.policy_change` is `second-person`, and nobody has approved these files.
    #[error("{digest} isn't the policy in force, and no second person has approved it")]
    PolicyNotApproved { digest: PolicyDigest },
    /// Nothing like it waits.
    #[error("no policy {digest} waits for approval")]
    NoSuchProposal { digest: PolicyDigest },
    /// Nobody approves what they proposed themselves.
    #[error("you proposed {digest} yourself: another person must approve it")]
    OwnProposal { digest: PolicyDigest },
    /// The files are those of the policy in force.
    #[error("{digest} is the policy in force already")]
    PolicyUnchanged { digest: PolicyDigest },
    /// Somebody writes to the folder while another looks at it.
    #[error("the files in the policy folder are {found} now, and {looked_at} is what was looked at")]
    PolicyFilesChanged { looked_at: PolicyDigest, found: PolicyDigest },
}

fn shown(steps: &[Step]) -> String {
    let each: Vec<String> = steps.iter().map(ToString::to_string).collect();
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
            Self::AlreadyDenied { .. } => "already-denied",
            Self::TooNear { .. } => "too-near",
            Self::NoSuchRequest { .. } => "no-such-request",
            Self::NotPending { .. } => "not-pending",
            Self::NoSuchGrant { .. } => "no-such-grant",
            Self::GlassUnreviewed { .. } => "glass-unreviewed",
            Self::GlassReviewed { .. } => "glass-reviewed",
            Self::GrantBegun { .. } => "grant-begun",
            Self::GrantEnded { .. } => "grant-ended",
            Self::NoSuchCondition { .. } => "no-such-condition",
            Self::TooManyConditions { .. } => "too-many-conditions",
            Self::NoSuchReview { .. } => "no-such-review",
            Self::NoSuchItem { .. } => "no-such-item",
            Self::OwnItem { .. } => "own-item",
            Self::ItemDecided { .. } => "item-decided",
            Self::NoReviewer { .. } => "no-reviewer",
            Self::NoReviewers { .. } => "no-reviewers",
            Self::ReviewOver { .. } => "review-over",
            Self::ReviewTime { .. } => "review-time",
            Self::ReviewTooLarge { .. } => "review-too-large",
            Self::TooManyReviews { .. } => "too-many-reviews",
            Self::OwnShare => "own-share",
            Self::MoreThanOwn { .. } => "more-than-own",
            Self::EmptyRole { .. } => "empty-role",
            Self::ShareTime { .. } => "share-time",
            Self::ShareExists { .. } => "share-exists",
            Self::TooManyShares { .. } => "too-many-shares",
            Self::NoSuchShare { .. } => "no-such-share",
            Self::NotOffered { .. } => "not-offered",
            Self::ShareEnded { .. } => "share-ended",
            Self::NoSuchToken { .. } => "no-such-token",
            Self::TokenRevoked { .. } => "token-revoked",
            Self::JoinSpent { .. } => "join-spent",
            Self::DeviceKnown { .. } => "device-known",
            Self::NoSuchDevice { .. } => "no-such-device",
            Self::DeviceRevoked { .. } => "device-revoked",
            Self::PasskeyKnown => "passkey-known",
            Self::TooManyPasskeys { .. } => "too-many-passkeys",
            Self::NoSuchPasskey { .. } => "no-such-passkey",
            Self::PasskeyRevoked { .. } => "passkey-revoked",
            Self::SignatureNeeded { .. } => "signature-needed",
            Self::SignatureWrong { .. } => "signature-wrong",
            Self::CertificateRevoked { .. } => "certificate-revoked",
            Self::NotNeeded { .. } => "not-needed",
            Self::Duplicate { .. } => "duplicate",
            Self::TooManyPending { .. } => "too-many-pending",
            Self::TooManyToday { .. } => "too-many-today",
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
            Self::PolicyNotApproved { .. } => "policy-not-approved",
            Self::NoSuchProposal { .. } => "no-such-proposal",
            Self::OwnProposal { .. } => "own-proposal",
            Self::PolicyUnchanged { .. } => "policy-unchanged",
            Self::PolicyFilesChanged { .. } => "policy-files-changed",
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
                | Self::TooNear { .. }
                | Self::GlassUnreviewed { .. }
                | Self::MoreThanOwn { .. }
                | Self::OwnItem { .. }
                | Self::NoReviewer { .. }
                | Self::LockElsewhere { .. }
                | Self::OtherTenant { .. }
                | Self::PolicyNotApproved { .. }
                | Self::OwnProposal { .. }
                | Self::SignatureWrong { .. }
        )
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Standing(error) => error.hint(),
            Self::NotAPerson => "log in with a token",
            Self::NotAllowed { .. } | Self::OtherTenant { .. } => "ask an admin, or have the policy changed",
            Self::OwnRequest { .. }
            | Self::NotEligible { .. }
            | Self::TooNear { .. }
            | Self::AlreadyDenied { .. }
            | Self::AlreadyApproved { .. } => "`sallyport requests show` lists who can decide on it",
            Self::NoSuchRequest { .. } | Self::NotPending { .. } => {
                "`sallyport requests list` shows what waits"
            }
            Self::NoSuchGrant { .. } | Self::GrantEnded { .. } | Self::GrantBegun { .. } => {
                "`sallyport grants list` shows what is live"
            }
            Self::GlassUnreviewed { .. } => {
                "have somebody who may approve it review it with `sallyport glass review`"
            }
            Self::NoSuchReview { .. }
            | Self::NoSuchItem { .. }
            | Self::ItemDecided { .. }
            | Self::ReviewOver { .. }
            | Self::TooManyReviews { .. } => "`sallyport reviews list` and `show` tell what is open",
            Self::OwnItem { .. } | Self::NoReviewer { .. } => "have another reviewer decide",
            Self::NoReviewers { .. } => "name a role that somebody has",
            Self::ReviewTime { .. } => "choose another deadline",
            Self::ReviewTooLarge { .. } => {
                "end grants and shares that nobody needs, and take people out of roles, first"
            }
            Self::NoSuchCondition { .. } => "name one of conditions.toml; `!` before it turns it round",
            Self::TooManyConditions { .. } => "have one condition of the policy say it all",
            Self::OwnShare => "name somebody else",
            Self::MoreThanOwn { .. } => {
                "give a role that may do less, or have somebody who holds it share it"
            }
            Self::EmptyRole { .. } => "have policy say what role:tunnel-ROLE may do; see policies/policy.csv",
            Self::ShareTime { .. } => "choose another end",
            Self::ShareExists { .. } | Self::TooManyShares { .. } => {
                "end one with `sallyport unshare`; `sallyport shares NAME` lists them"
            }
            Self::NoSuchShare { .. } | Self::NotOffered { .. } | Self::ShareEnded { .. } => {
                "`sallyport shares NAME` shows what stands"
            }
            Self::GlassReviewed { .. } => "`sallyport glass list` shows what waits for a review",
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
            Self::PasskeyKnown => "use it as it is, or make another one",
            Self::TooManyPasskeys { .. } => "revoke one that you don't use: `sallyport passkeys revoke`",
            Self::NoSuchPasskey { .. } | Self::PasskeyRevoked { .. } => {
                "`sallyport passkeys list` shows yours"
            }
            Self::SignatureNeeded { .. } => {
                "approve it in the console, with your passkey; `sallyport passkeys list` shows yours"
            }
            Self::SignatureWrong { .. } => {
                "open the request anew in the console and sign it there; if it stays so, have the passkey revoked"
            }
            Self::CertificateRevoked { .. } => "`sallyport certificates` lists what was revoked",
            Self::NotNeeded { .. } => "go ahead",
            Self::Duplicate { .. } => "wait for it, or withdraw it first",
            Self::TooManyToday { .. } => {
                "ask for longer, or for a grant that can be used more than once, and again tomorrow"
            }
            Self::TooManyPending { .. } => "withdraw one that you don't need any more",
            Self::TenantFull { .. } => "have an admin decide on what waits",
            Self::Minutes { .. } => "ask for a time within these bounds",
            Self::TicketNeeded { .. } => "ask again and name the ticket",
            Self::PolicyChanged { .. } => "reject it; the requester can ask for what policy allows now",
            Self::RequesterLocked { .. } => "unlock them first, or reject the request",
            Self::TokenLife => "choose a shorter life",
            Self::OutsideName { .. } => "choose another name, or let them sign in there",
            Self::NoTokenFor { .. } => "name a person, as `user:NAME`",
            Self::LockUnchanged { .. } => {
                "nothing needs to be done; a lock is shortened by lifting it and locking again"
            }
            Self::LockEnd => "name a later time, or none",
            Self::LockElsewhere { .. } => "have an admin of that tenant do it",
            Self::OwnLock | Self::OwnErasure => "have another admin do it",
            Self::LockHolds { .. } => {
                "unlock them first; to keep them out, let policy or your identity provider do it"
            }
            Self::ReasonNames => "write the reason without the name",
            Self::ElsewhereToo { .. } => "have the gateway's operator do it",
            Self::PolicyNotApproved { .. } => {
                "propose it (`sallyport policy propose`) and have another admin approve it, or put the old files back"
            }
            Self::NoSuchProposal { .. } => {
                "`sallyport policy pending` shows what waits; files that changed since are proposed anew"
            }
            Self::OwnProposal { .. } => "have another admin approve it",
            Self::PolicyUnchanged { .. } => "change the files in the policy folder first",
            Self::PolicyFilesChanged { .. } => {
                "compare the files with the policy in force again, and give the order for what you see then"
            }
        }
    }
}
