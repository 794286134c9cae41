//! What a person's standing hangs on: tokens, devices, certificates, issuers and locks; and how the state folds them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::State;
use crate::access::certificate::CertificateId;
use crate::access::device::{Device, DeviceId};
use crate::access::fact::{Fact, SignIn, Stamp};
use crate::access::ids::TokenId;
use crate::access::issuer::{IssuerName, KeyPrint};
use crate::access::lock::LockTarget;
use crate::access::names::{Subject, Tenant};
use crate::access::reason::Reason;
use crate::access::scope::Scope;
use crate::access::token::Purpose;
use crate::access::token_key::TokenKey;

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub purpose: Purpose,
    /// Whom it speaks for.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends, without leeway.
    pub expires: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The device that a join token has enrolled: from then on it is spent.
    pub spent: Option<DeviceId>,
    /// What it covers of what its person may do.
    pub scope: Scope,
    /// What stands behind it, if it is a session in a browser.
    #[serde(skip)]
    pub sign_in: Option<SignIn>,
}

/// A lock: who may not, or what may not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// What it is on.
    pub target: LockTarget,
    /// In which tenant.
    pub tenant: Tenant,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` is until it is lifted.
    pub until: Option<Timestamp>,
    /// By whom; `None` for the operator.
    pub by: Option<Subject>,
    /// Why.
    pub reason: Option<Reason>,
}

impl Lock {
    /// Whether it holds at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it is over before this end; `None` is the end of all time.
    pub fn ends_before(&self, end: Option<Timestamp>) -> bool {
        self.until.is_some_and(|own| end.is_none_or(|end| own < end))
    }
}

impl State {
    /// Sessions that ended a day ago can't matter to anybody any more, and there would be more of them every day.
    pub(super) fn forget_sessions(&mut self, now: Timestamp) {
        let before = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        while let Some((end, token)) = self.sessions.first().copied().filter(|(end, _)| *end < before) {
            self.sessions.remove(&(end, token));
            self.tokens.remove(&token);
        }
    }

    pub(super) fn end_tokens(&mut self, stamp: Stamp) {
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
    pub(super) fn enrolled(&mut self, stamp: Stamp, fact: &Fact) {
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

    /// Whether a client certificate was revoked in a tenant.
    pub fn is_certificate_revoked(&self, tenant: &Tenant, id: CertificateId) -> bool {
        self.certificates.contains_key(&(tenant.clone(), id))
    }

    /// Client certificates that were revoked, by tenant and id.
    pub fn revoked_certificates(&self) -> impl Iterator<Item = (&Tenant, CertificateId, Timestamp)> {
        self.certificates.iter().map(|((tenant, id), at)| (tenant, *id, *at))
    }

    /// Until when certificates and tokens of other issuers are distrusted: records that may have revoked them were lost then.
    pub fn distrusted_until(&self) -> Option<Timestamp> {
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

    /// When the next lock ends by itself after this time: what waits for whom it is on goes on then.
    pub fn next_lock_end(&self, after: Timestamp) -> Option<Timestamp> {
        self.locks.values().filter_map(|lock| lock.until).filter(|until| *until > after).min()
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
}
