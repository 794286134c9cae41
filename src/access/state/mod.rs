//! The state of access: a fold over facts.
//!
//! Nothing is remembered that isn't in the ledger, so a restart gives exactly the same state. [`State::apply`] is
//! total: a fact that refers to something unknown changes nothing, and nothing can be used because of it. People who
//! were erased are folded under the name that is left of them (`erasure`).

mod erasure;
mod glass;
mod grant;
mod passkeys;
mod proposal;
mod request;
mod review;
mod share;
mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use sallyport_audit::KeyId;

pub use glass::{Glass, GlassReview, Verdict};
pub use grant::{Grant, GrantStatus};
pub use proposal::Proposal;
pub use request::{Approval, Denial, Request, RequestStatus};
pub use review::{Holding, Review, ReviewDecision, ReviewEnd, ReviewItem};
pub(in crate::access) use review::{digest, population};
pub use share::{Share, ShareStatus};
pub use standing::{Lock, Token};

use super::certificate::CertificateId;
use super::device::{Device, DeviceId};
use super::fact::{Fact, Stamp};
use super::ids::{GrantId, PasskeyId, RequestId, ReviewId, ShareId, TokenId};
use super::issuer::{IssuerName, KeyPrint};
use super::lock::LockTarget;
use super::names::{Role, Subject, Tenant};
use super::object::Object;
use super::passkey::Passkey;
use super::policy::PolicyDigest;
use super::reason::Reason;
use super::token::Purpose;
use super::token_key::TokenKey;

/// Everything that access knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    requests: BTreeMap<RequestId, Request>,
    grants: BTreeMap<GrantId, Grant>,
    tokens: BTreeMap<TokenId, Token>,
    /// Tokens that are sessions in browsers, by their end: they come and go all day.
    sessions: BTreeSet<(Timestamp, TokenId)>,
    devices: BTreeMap<DeviceId, Device>,
    /// Client certificates that were revoked, by the tenant in which they prove nobody any more, and when.
    certificates: BTreeMap<(Tenant, CertificateId), Timestamp>,
    /// Certificates from before then may have been revoked by records that were lost.
    distrusted: Option<Timestamp>,
    locks: BTreeMap<(Tenant, LockTarget), Lock>,
    /// Grants neither revoked nor expired, by whose they are.
    live: HashMap<(Tenant, Subject), BTreeSet<GrantId>>,
    /// The same, by their end.
    ends: BTreeSet<(Timestamp, GrantId)>,
    /// Breakings of the glass that nobody has reviewed.
    unreviewed: BTreeSet<GrantId>,
    /// Requests that wait, by when they must be answered.
    answers: BTreeSet<(Timestamp, RequestId)>,
    shares: BTreeMap<ShareId, Share>,
    /// Shares that stand, by whose they are.
    shared: HashMap<(Tenant, Subject), BTreeSet<ShareId>>,
    /// Shares that time ends, soonest first.
    share_ends: BTreeSet<(Timestamp, ShareId)>,
    reviews: BTreeMap<ReviewId, Review>,
    /// Reviews that are open, by their deadline.
    review_ends: BTreeSet<(Timestamp, ReviewId)>,
    /// Roles recorded for reviews that haven't begun.
    listed: BTreeMap<ReviewId, Vec<(Subject, Role)>>,
    /// Passkeys that approvals are signed with.
    passkeys: BTreeMap<PasskeyId, Passkey>,
    /// The words that describe tunnels, and whose they are.
    described: BTreeMap<(Tenant, Object), (Reason, Subject)>,
    /// Requests that wait, by who asked.
    pending: HashMap<(Tenant, Subject), BTreeSet<RequestId>>,
    policy: Option<PolicyDigest>,
    proposal: Option<Proposal>,
    /// Approved by two, and not in force yet.
    approved_policy: Option<PolicyDigest>,
    /// The keys of other issuers that count.
    issuers: BTreeMap<IssuerName, BTreeSet<KeyPrint>>,
    /// Other issuers' tokens that were revoked here, and when.
    revoked_outside: BTreeMap<TokenId, Timestamp>,
    /// The data keys of people who were erased.
    erased: BTreeSet<KeyId>,
    /// Keys that signed tokens once, and until when what they signed stands.
    token_keys: BTreeMap<TokenKey, Timestamp>,
}

impl State {
    /// Folds one fact in.
    pub fn apply(&mut self, stamp: Stamp, fact: &Fact) {
        match fact {
            Fact::TokenIssued { token, purpose, subject, tenant, expires, scope, sign_in, by: _ } => {
                self.forget_sessions(stamp.time);
                if *purpose == Purpose::Session {
                    self.sessions.insert((*expires, *token));
                }
                let (subject, tenant) = (subject.clone(), tenant.clone());
                let issued = Token {
                    id: *token,
                    purpose: *purpose,
                    subject,
                    tenant,
                    issued: stamp.time,
                    expires: *expires,
                    revoked: None,
                    spent: None,
                    scope: scope.clone(),
                    sign_in: sign_in.clone(),
                };
                self.tokens.entry(*token).or_insert(issued);
            }
            Fact::TokenRevoked { token, outside, .. } => {
                if let Some(token) = self.tokens.get_mut(token) {
                    token.revoked.get_or_insert(stamp.time);
                } else if *outside {
                    self.revoked_outside.entry(*token).or_insert(stamp.time);
                }
            }
            Fact::IssuerKeys { issuer, keys, .. } => {
                self.issuers.insert(issuer.clone(), keys.iter().copied().collect());
            }
            Fact::DeviceEnrolled { .. } => self.enrolled(stamp, fact),
            Fact::DeviceRevoked { device, .. } => {
                if let Some(device) = self.devices.get_mut(device) {
                    device.revoked.get_or_insert(stamp.time);
                }
            }
            Fact::PasskeyEnrolled { .. } => self.passkey_enrolled(stamp, fact),
            Fact::PasskeyRevoked { passkey, .. } => self.passkey_revoked(stamp, *passkey),
            Fact::CertificateRevoked { certificate, tenant, .. } => {
                self.certificates.entry((tenant.clone(), *certificate)).or_insert(stamp.time);
            }
            Fact::Requested { .. } => self.requested(stamp, fact),
            Fact::Approved { .. } => self.approved(stamp, fact),
            Fact::Rejected { .. } => self.rejected(stamp, fact),
            Fact::Escalated { request, roles, .. } => {
                if let Some(request) = self.pending_mut(*request) {
                    request.escalated.extend(roles.iter().cloned());
                }
            }
            Fact::Expired { request, .. } => {
                self.settle(*request, RequestStatus::Expired { at: stamp.time });
            }
            Fact::Withdrawn { request, .. } => {
                self.settle(*request, RequestStatus::Withdrawn { at: stamp.time });
            }
            Fact::GrantIssued { .. } => self.granted(fact),
            Fact::GlassTold { .. } => self.glass_told(fact),
            Fact::GlassBroken { .. } => self.glass_broken(fact),
            Fact::GlassReviewed { .. } => self.glass_reviewed(stamp, fact),
            Fact::GrantBegun { grant, ends, .. } => self.begun(stamp, *grant, *ends),
            Fact::GrantRevoked { grant, by, reason, .. } => {
                let by = by.person().cloned();
                self.end(*grant, GrantStatus::Revoked { at: stamp.time, by, reason: reason.clone() });
            }
            Fact::GrantExpired { grant, .. } => self.end(*grant, GrantStatus::Expired { at: stamp.time }),
            Fact::ReviewItem { .. } => self.review_item(fact),
            Fact::ReviewStarted { .. } => self.review_started(stamp, fact),
            Fact::ReviewDecided { .. } => self.review_decided(stamp, fact),
            Fact::ReviewClosed { review, by, .. } => {
                self.review_closed(stamp, *review, by.as_ref().and_then(|by| by.person().cloned()));
            }
            Fact::ShareOffered { .. } => self.share_offered(stamp, fact),
            Fact::ShareAccepted { share, by, .. } => self.share_accepted(stamp, *share, by),
            Fact::ShareEnded { .. } => self.share_ended(stamp, fact),
            Fact::TunnelDescribed { tenant, object, by, words } => {
                self.described.insert((tenant.clone(), object.clone()), (words.clone(), by.clone()));
            }
            Fact::TunnelDeleted { tenant, object, .. } => {
                self.described.remove(&(tenant.clone(), object.clone()));
            }
            Fact::Locked { target, tenant, until, reason, by } => {
                let key = (tenant.clone(), target.clone());
                // One that has ended by itself makes way, and one that holds can be lengthened.
                let held = self.locks.get(&key).filter(|lock| lock.holds(stamp.time));
                let since = held.map_or(stamp.time, |lock| lock.since);
                let lock = Lock {
                    target: target.clone(),
                    tenant: tenant.clone(),
                    since,
                    until: *until,
                    by: by.person().cloned(),
                    reason: reason.clone(),
                };
                if held.is_none_or(|held| held.ends_before(*until)) {
                    self.locks.insert(key, lock);
                }
            }
            Fact::Unlocked { target, tenant, .. } => {
                self.locks.remove(&(tenant.clone(), target.clone()));
            }
            Fact::TokenKeyReplaced { old, until, tokens_kept, .. } => {
                self.token_keys.retain(|_, until| *until > stamp.time);
                if *tokens_kept {
                    self.token_keys.insert(old.clone(), *until);
                } else {
                    self.token_keys.clear();
                    self.end_tokens(stamp);
                }
            }
            Fact::PolicyLoaded { digest, .. } => self.policy_loaded(*digest),
            Fact::PolicyProposed { .. } => self.proposed(stamp, fact),
            Fact::PolicyApproved { digest, by, .. } => self.policy_approved(*digest, by),
            Fact::LedgerResumed { tokens_kept } => self.resumed(stamp, *tokens_kept),
            Fact::Erased { key, .. } => self.erased(stamp, *key),
            Fact::PolicyRefused { .. } | Fact::Refused(_) => {}
        }
    }

    /// Records were lost: what they may have taken back no longer stands.
    ///
    /// A lost record can have revoked a grant, a token or a device, locked a person, or rejected a request, and nobody
    /// can tell. So no grant and no waiting request outlives it, nor, unless the operator has decided otherwise in
    /// writing, does a token, a device or a certificate, whoever issued it; and a person whose lock was lost needs a new one, which somebody
    /// has to issue. Locks stay.
    fn resumed(&mut self, stamp: Stamp, tokens_kept: bool) {
        let live: Vec<_> = self.live.values().flatten().copied().collect();
        for grant in live {
            self.end(grant, GrantStatus::Lapsed { at: stamp.time });
        }
        let pending: Vec<_> = self.pending.values().flatten().copied().collect();
        for request in pending {
            self.settle(request, RequestStatus::Lapsed { at: stamp.time });
        }
        // Told anew at the start, by each issuer that is asked.
        self.issuers.clear();
        let shared: Vec<_> = self.shared.values().flatten().copied().collect();
        for id in shared {
            self.share_lost(stamp, id);
        }
        if !tokens_kept {
            self.end_tokens(stamp);
            for device in self.devices.values_mut() {
                device.revoked.get_or_insert(stamp.time);
            }
            self.passkeys_lost(stamp);
            self.distrusted = Some(stamp.time);
        }
    }

    /// When the next grant ends, or the next request.
    pub fn next_end(&self) -> Option<Timestamp> {
        let grant = self.ends.first().map(|(ends, _)| *ends);
        let request = self.answers.first().map(|(by, _)| *by);
        let share = self.share_ends.first().map(|(at, _)| *at);
        let review = self.review_ends.first().map(|(at, _)| *at);
        [grant, request, share, review].into_iter().flatten().min()
    }

    /// The words that describe a tunnel.
    pub fn description(&self, tenant: &Tenant, object: &Object) -> Option<&Reason> {
        self.described.get(&(tenant.clone(), object.clone())).map(|(words, _)| words)
    }

    /// The policy that the ledger last saw loaded.
    pub fn policy(&self) -> Option<PolicyDigest> {
        self.policy
    }
}

#[cfg(test)]
mod tests;
