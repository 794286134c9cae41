//! What is left of a person in the state of access when their name is erased.
//!
//! The ledger keeps what happened, and not to whom. Replayed, its records speak of [`Subject::erased`] in the place
//! of the name; so that a restart changes nothing, [`State::forget`] puts the same into the place of the name at once.
//!
//! What an erased person asked for waits no longer, and what they were given is ended. What they approved stays
//! approved: it was decided rightly, by somebody who could, and another person's access rests on it. A lock needs the
//! name of whom it locks, so a person who is locked isn't erased ([`super::super::decide`] sees to that).

use std::collections::BTreeSet;

use jiff::Timestamp;
use sallyport_audit::KeyId;

use super::{Grant, GrantStatus, Request, RequestStatus, Share, ShareStatus, State};
use crate::access::fact::Stamp;
use crate::access::lock::LockTarget;
use crate::access::names::Subject;
use crate::access::reason::Reason;
use crate::access::share::ShareEnd;

impl State {
    /// Folds in that the key was destroyed: ends what those whose name it sealed asked for and were given.
    pub(super) fn erased(&mut self, stamp: Stamp, key: KeyId) {
        self.erased.insert(key);
        let nobody = Subject::erased(key);
        let waiting: Vec<_> =
            self.pending().filter(|request| request.subject == nobody).map(|r| r.id).collect();
        for request in waiting {
            self.settle(request, RequestStatus::Withdrawn { at: stamp.time });
        }
        let live: Vec<_> = self
            .live
            .iter()
            .filter(|((_, who), _)| *who == nobody)
            .flat_map(|(_, ids)| ids)
            .copied()
            .collect();
        for grant in live {
            self.end(
                grant,
                GrantStatus::Revoked { at: stamp.time, by: None, reason: Some(Reason::erased()) },
            );
        }
        // One that holds would have kept the person from being erased.
        self.locks.retain(|(_, target), _| target.person() != Some(&nobody));
        // What they gave to others rests on them: nobody stands behind it any more.
        let shares = self.shares.values().filter(|share| {
            share.is_standing() && (share.to == nobody || share.by.as_ref() == Some(&nobody))
        });
        let shares: Vec<_> = shares.map(|share| share.id).collect();
        for id in shares {
            let reason = Some(Reason::erased());
            self.end_share(
                id,
                ShareStatus::Ended { at: stamp.time, cause: ShareEnd::Erased, by: None, reason },
            );
        }
        for token in self.tokens.values_mut().filter(|token| token.subject == nobody) {
            token.revoked.get_or_insert(stamp.time);
        }
        for device in self.devices.values_mut().filter(|device| device.subject == nobody) {
            device.revoked.get_or_insert(stamp.time);
        }
        self.end_passkeys(stamp.time, |whose| *whose == nobody);
    }

    /// Puts what is left of a person whose data key is gone into the place of their name and their words.
    pub(in crate::access) fn forget(&mut self, person: &Subject, key: KeyId) {
        let nobody = Subject::erased(key);
        let rename = |name: &mut Subject| {
            if name == person {
                name.clone_from(&nobody);
            }
        };
        for token in self.tokens.values_mut() {
            rename(&mut token.subject);
        }
        for device in self.devices.values_mut() {
            rename(&mut device.subject);
        }
        for request in self.requests.values_mut() {
            forget_in_request(request, person, &nobody);
        }
        for grant in self.grants.values_mut() {
            forget_in_grant(grant, person, &nobody);
        }
        self.locks.retain(|(_, target), _| target.person() != Some(person));
        for lock in self.locks.values_mut() {
            if lock.by.as_ref() == Some(person) {
                lock.by = Some(nobody.clone());
                lock.reason = lock.reason.take().map(|_| Reason::erased());
            }
        }
        self.forget_in_passkeys(person, &nobody);
        self.forget_in_proposal(person, &nobody);
        for share in self.shares.values_mut() {
            forget_in_share(share, person, &nobody);
        }
        self.forget_in_reviews(person, &nobody);
        for (words, by) in self.described.values_mut() {
            if by == person {
                by.clone_from(&nobody);
                *words = Reason::erased();
            }
        }
        rename_key(&mut self.shared, person, &nobody);
        rename_key(&mut self.live, person, &nobody);
        rename_key(&mut self.pending, person, &nobody);
    }

    /// Whether anything speaks of this person as one of another tenant.
    pub(in crate::access) fn is_known_outside(&self, tenant: &super::Tenant, person: &Subject) -> bool {
        let elsewhere = |who: &Subject, home: &super::Tenant| who == person && home != tenant;
        self.tokens.values().any(|token| elsewhere(&token.subject, &token.tenant))
            || self.devices.values().any(|device| elsewhere(&device.subject, &device.tenant))
            || self.passkeys.values().any(|passkey| elsewhere(&passkey.subject, &passkey.tenant))
            || self.requests.values().any(|request| {
                let decided = request.approvals.iter().map(|approval| &approval.by);
                let decided =
                    decided.chain(request.denials.iter().map(|denial| &denial.by)).chain(&request.told);
                std::iter::once(&request.subject).chain(decided).any(|who| elsewhere(who, &request.tenant))
            })
            || self.grants.values().any(|grant| {
                let reviewed = grant.glass.as_ref().and_then(|glass| glass.review.as_ref());
                let reviewed = reviewed.map(|review| &review.by);
                std::iter::once(&grant.subject).chain(reviewed).any(|who| elsewhere(who, &grant.tenant))
            })
            || self.reviews.values().any(|review| {
                let items = review.items.iter();
                let mut items = items.flat_map(|item| {
                    std::iter::once(&item.subject).chain(item.decision.as_ref().map(|decision| &decision.by))
                });
                review.by.iter().any(|by| elsewhere(by, &review.tenant))
                    || items.any(|who| elsewhere(who, &review.tenant))
            })
            || self.described.iter().any(|((home, _), (_, by))| elsewhere(by, home))
            || self.proposal.as_ref().is_some_and(|proposal| elsewhere(&proposal.by, &proposal.tenant))
            || self.shares.values().any(|share| {
                elsewhere(&share.to, &share.tenant)
                    || share.by.as_ref().is_some_and(|by| elsewhere(by, &share.tenant))
            })
            || self.locks.values().any(|lock| {
                let locked = matches!(&lock.target, LockTarget::Person(who) if elsewhere(who, &lock.tenant));
                locked || lock.by.as_ref().is_some_and(|by| elsewhere(by, &lock.tenant))
            })
    }

    /// Whether this very person is locked in some tenant.
    pub(in crate::access) fn is_locked_anywhere(&self, person: &Subject, now: Timestamp) -> bool {
        self.locks.values().any(|lock| lock.target.person() == Some(person) && lock.holds(now))
    }

    /// The data keys whose erasure the ledger tells of.
    pub fn erased_keys(&self) -> &BTreeSet<KeyId> {
        &self.erased
    }
}

/// A person's words are sealed under the key of whoever said them.
fn forget_in_request(request: &mut Request, person: &Subject, nobody: &Subject) {
    if request.subject == *person {
        request.subject.clone_from(nobody);
        request.reason = Reason::erased();
        request.source = None;
    }
    for approval in request.approvals.iter_mut().filter(|approval| approval.by == *person) {
        approval.by.clone_from(nobody);
        approval.reason = approval.reason.take().map(|_| Reason::erased());
    }
    for told in request.told.iter_mut().filter(|told| *told == person) {
        told.clone_from(nobody);
    }
    for denial in request.denials.iter_mut().filter(|denial| denial.by == *person) {
        denial.by.clone_from(nobody);
        denial.reason = denial.reason.take().map(|_| Reason::erased());
    }
    if let RequestStatus::Rejected { by, reason, .. } = &mut request.status
        && by == person
    {
        by.clone_from(nobody);
        *reason = reason.take().map(|_| Reason::erased());
    }
}

fn forget_in_share(share: &mut Share, person: &Subject, nobody: &Subject) {
    let theirs = share.to == *person;
    if theirs {
        share.to.clone_from(nobody);
    }
    if share.by.as_ref() == Some(person) {
        share.by = Some(nobody.clone());
    }
    if let ShareStatus::Ended { by, reason, .. } = &mut share.status
        && (by.as_ref() == Some(person) || (theirs && by.is_none()))
    {
        *by = by.take().map(|_| nobody.clone());
        *reason = reason.take().map(|_| Reason::erased());
    }
}

fn forget_in_grant(grant: &mut Grant, person: &Subject, nobody: &Subject) {
    let theirs = grant.subject == *person;
    if theirs {
        grant.subject.clone_from(nobody);
    }
    if let Some(glass) = &mut grant.glass {
        if theirs {
            glass.reason = Reason::erased();
        }
        if let Some(review) = glass.review.as_mut().filter(|review| review.by == *person) {
            review.by.clone_from(nobody);
            review.reason = Reason::erased();
        }
    }
    if let GrantStatus::Revoked { by, reason, .. } = &mut grant.status {
        // The operator has no name: their words are sealed with the name of whom they speak of.
        if by.as_ref() == Some(person) || (theirs && by.is_none()) {
            *by = by.take().map(|_| nobody.clone());
            *reason = reason.take().map(|_| Reason::erased());
        }
    }
}

fn rename_key<T: Default + Extend<I> + IntoIterator<Item = I>, I>(
    map: &mut std::collections::HashMap<(super::Tenant, Subject), T>,
    person: &Subject,
    nobody: &Subject,
) {
    let keys: Vec<_> = map.keys().filter(|(_, who)| who == person).cloned().collect();
    for key in keys {
        if let Some(ids) = map.remove(&key) {
            map.entry((key.0, nobody.clone())).or_default().extend(ids);
        }
    }
}
