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

use jiff::{SignedDuration, Timestamp};
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
    /// Client certificates that were revoked, and when.
    certificates: BTreeMap<CertificateId, Timestamp>,
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
            Fact::CertificateRevoked { certificate, .. } => {
                self.certificates.entry(*certificate).or_insert(stamp.time);
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
                // One that has ended by itself makes way.
                if self.locks.get(&key).is_none_or(|lock| !lock.holds(stamp.time)) {
                    let lock = Lock {
                        target: target.clone(),
                        tenant: tenant.clone(),
                        since: stamp.time,
                        until: *until,
                        by: by.person().cloned(),
                        reason: reason.clone(),
                    };
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

    /// Sessions that ended a day ago can't matter to anybody any more, and there would be more of them every day.
    fn forget_sessions(&mut self, now: Timestamp) {
        let before = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        while let Some((end, token)) = self.sessions.first().copied().filter(|(end, _)| *end < before) {
            self.sessions.remove(&(end, token));
            self.tokens.remove(&token);
        }
    }

    /// Records were lost: what they may have taken back no longer stands.
    ///
    /// A lost record can have revoked a grant, a token or a device, locked a person, or rejected a request, and nobody
    /// can tell. So no grant and no waiting request outlives it, nor, unless the operator has decided otherwise in
    /// writing, does a token, a device or a certificate; and a person whose lock was lost needs a new token, which somebody has to issue. Locks stay.
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

    fn end_tokens(&mut self, stamp: Stamp) {
        for token in self.tokens.values_mut() {
            token.revoked.get_or_insert(stamp.time);
        }
    }

    /// Keys that signed tokens once, and until when what they signed stands.
    pub fn token_keys(&self) -> &BTreeMap<TokenKey, Timestamp> {
        &self.token_keys
    }

    /// When the last token ends that is not revoked.
    pub fn last_token_end(&self) -> Option<Timestamp> {
        let standing = self.tokens.values().filter(|token| token.revoked.is_none());
        standing.map(|token| token.expires).max()
    }

    /// A device of a join token that is spent, or that is none, is not taken in: nothing could be used because of it.
    fn enrolled(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::DeviceEnrolled { device, join, subject, tenant, keys, expires } = fact else { return };
        let good = |token: &&mut Token| {
            token.purpose == Purpose::Join
                && token.spent.is_none()
                && token.subject == *subject
                && token.tenant == *tenant
        };
        let Some(token) = self.tokens.get_mut(join).filter(good) else { return };
        if self.devices.contains_key(device) {
            return;
        }
        token.spent = Some(*device);
        let enrolled = Device {
            id: *device,
            subject: subject.clone(),
            tenant: tenant.clone(),
            join: *join,
            keys: keys.clone(),
            enrolled: stamp.time,
            expires: *expires,
            revoked: None,
        };
        self.devices.insert(*device, enrolled);
    }

    fn requested(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::Requested {
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            minutes,
            reason,
            ticket,
            answer_by,
            renews,
            once,
            claimed,
            source,
        } = fact
        else {
            return;
        };
        if self.requests.contains_key(request) {
            return;
        }
        self.pending.entry((tenant.clone(), subject.clone())).or_default().insert(*request);
        self.answers.insert((*answer_by, *request));
        let asked = Request {
            id: *request,
            record: stamp.digest,
            subject: subject.clone(),
            tenant: tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows: workflows.clone(),
            minutes: *minutes,
            reason: reason.clone(),
            ticket: ticket.clone(),
            claimed: claimed.clone(),
            source: *source,
            at: stamp.time,
            answer_by: *answer_by,
            renews: *renews,
            once: *once,
            escalated: BTreeSet::new(),
            told: Vec::new(),
            approvals: Vec::new(),
            denials: Vec::new(),
            status: RequestStatus::Pending,
        };
        self.requests.insert(*request, asked);
    }

    fn granted(&mut self, fact: &Fact) {
        let Fact::GrantIssued {
            grant,
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            approvals: _,
            starts,
            ends,
            from_first_use,
            once,
            conditions,
            policy,
        } = fact
        else {
            return;
        };
        let given = Grant {
            id: *grant,
            request: *request,
            subject: subject.clone(),
            tenant: tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows: workflows.iter().cloned().collect(),
            starts: *starts,
            ends: *ends,
            from_first_use: *from_first_use,
            once: *once,
            begun: None,
            conditions: conditions.iter().cloned().collect(),
            glass: None,
            policy: *policy,
            status: GrantStatus::Live,
        };
        self.give(given);
    }

    /// One person's refusal takes the place of their approval, and enough of them end the request.
    fn rejected(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::Rejected { request: id, by, wanted, reason, .. } = fact else { return };
        let Some(request) = self.pending_mut(*id) else { return };
        request.approvals.retain(|approval| approval.by != *by);
        if !request.denials.iter().any(|denial| denial.by == *by) {
            request.denials.push(Denial { by: by.clone(), at: stamp.time, reason: reason.clone() });
        }
        if u64::try_from(request.denials.len()).is_ok_and(|count| count >= u64::from(*wanted)) {
            let status = RequestStatus::Rejected { by: by.clone(), at: stamp.time, reason: reason.clone() };
            self.settle(*id, status);
        }
    }

    /// A grant's time runs from now on.
    fn begun(&mut self, stamp: Stamp, id: GrantId, ends: Timestamp) {
        let waits = |grant: &&mut Grant| {
            let unused = grant.from_first_use.is_some() || (grant.once && grant.begun.is_none());
            grant.status == GrantStatus::Live && unused
        };
        let Some(grant) = self.grants.get_mut(&id).filter(waits) else { return };
        self.ends.remove(&(grant.ends, id));
        grant.from_first_use = None;
        grant.begun = Some(stamp.time);
        grant.ends = ends;
        self.ends.insert((ends, id));
    }

    fn pending_mut(&mut self, request: RequestId) -> Option<&mut Request> {
        self.requests.get_mut(&request).filter(|request| request.status == RequestStatus::Pending)
    }

    fn settle(&mut self, id: RequestId, status: RequestStatus) {
        let Some(request) = self.pending_mut(id) else { return };
        request.status = status;
        let (key, answer_by) = ((request.tenant.clone(), request.subject.clone()), request.answer_by);
        self.answers.remove(&(answer_by, id));
        if let Some(waiting) = self.pending.get_mut(&key) {
            waiting.remove(&id);
            if waiting.is_empty() {
                self.pending.remove(&key);
            }
        }
    }

    fn end(&mut self, id: GrantId, status: GrantStatus) {
        let Some(grant) = self.grants.get_mut(&id).filter(|grant| grant.status == GrantStatus::Live) else {
            return;
        };
        grant.status = status;
        self.ends.remove(&(grant.ends, id));
        let key = (grant.tenant.clone(), grant.subject.clone());
        if let Some(live) = self.live.get_mut(&key) {
            live.remove(&id);
            if live.is_empty() {
                self.live.remove(&key);
            }
        }
    }

    /// A request by its id.
    pub fn request(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// All requests, oldest first.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &Request> {
        self.requests.values()
    }

    /// Requests of one person that wait.
    pub fn pending_of(&self, tenant: &Tenant, subject: &Subject) -> impl Iterator<Item = &Request> {
        let ids = self.pending.get(&(tenant.clone(), subject.clone()));
        ids.into_iter().flatten().filter_map(|id| self.requests.get(id))
    }

    /// All requests that wait, whoever asked.
    pub fn pending(&self) -> impl Iterator<Item = &Request> {
        self.pending.values().flatten().filter_map(|id| self.requests.get(id))
    }

    /// A grant by its id.
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.get(&id)
    }

    /// All grants, oldest first.
    pub fn grants(&self) -> impl DoubleEndedIterator<Item = &Grant> {
        self.grants.values()
    }

    /// A person's grants that are neither revoked nor recorded as expired.
    pub fn live_grants_of(&self, tenant: &Tenant, subject: &Subject) -> impl Iterator<Item = &Grant> {
        let ids = self.live.get(&(tenant.clone(), subject.clone()));
        ids.into_iter().flatten().filter_map(|id| self.grants.get(id))
    }

    /// All grants that are neither revoked nor recorded as expired.
    pub fn live_grants(&self) -> impl Iterator<Item = &Grant> {
        self.live.values().flatten().filter_map(|id| self.grants.get(id))
    }

    /// Grants whose end has come but isn't recorded yet.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let due = self.ends.iter().take_while(move |(ends, _)| *ends <= now);
        due.filter_map(|(_, id)| self.grants.get(id))
    }

    /// Requests that nobody has answered in time, and whose end isn't recorded yet.
    pub fn unanswered(&self, now: Timestamp) -> impl Iterator<Item = &Request> {
        let due = self.answers.iter().take_while(move |(by, _)| *by <= now);
        due.filter_map(|(_, id)| self.requests.get(id))
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

    /// A token by its id.
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(&id)
    }

    /// All tokens, oldest first.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &Token> {
        self.tokens.values()
    }

    /// A device by its id.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id)
    }

    /// All devices, by id.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// Whether a client certificate was revoked here.
    pub fn is_certificate_revoked(&self, id: CertificateId) -> bool {
        self.certificates.contains_key(&id)
    }

    /// Client certificates that were revoked here, by id.
    pub fn revoked_certificates(&self) -> impl Iterator<Item = (CertificateId, Timestamp)> {
        self.certificates.iter().map(|(id, at)| (*id, *at))
    }

    /// Until when certificates are distrusted: records that may have revoked them were lost then.
    pub fn certificates_distrusted(&self) -> Option<Timestamp> {
        self.distrusted
    }

    /// All locks.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.locks.values()
    }

    /// The lock on exactly this, if it holds now.
    pub fn lock(&self, tenant: &Tenant, target: &LockTarget, now: Timestamp) -> Option<&Lock> {
        self.locks.get(&(tenant.clone(), target.clone())).filter(|lock| lock.holds(now))
    }

    /// Whether any lock exists; the common answer is no.
    pub fn has_locks(&self) -> bool {
        !self.locks.is_empty()
    }

    /// Whether a token of another issuer was revoked here.
    pub fn is_revoked_outside(&self, token: TokenId) -> bool {
        self.revoked_outside.contains_key(&token)
    }

    /// Whether some issuer's key counts.
    pub fn is_issuers_key(&self, key: KeyPrint) -> bool {
        self.issuers.values().any(|keys| keys.contains(&key))
    }

    /// The keys of one issuer that count; `None` if none were ever told.
    pub fn issuers_keys(&self, issuer: &IssuerName) -> Option<&BTreeSet<KeyPrint>> {
        self.issuers.get(issuer)
    }

    /// The issuers whose keys were ever told.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerName> {
        self.issuers.keys()
    }

    /// The policy that the ledger last saw loaded.
    pub fn policy(&self) -> Option<PolicyDigest> {
        self.policy
    }
}

#[cfg(test)]
mod tests;
