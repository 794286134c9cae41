//! Access reviews: a frozen population, and what reviewers decided on each of its items.

use jiff::Timestamp;
use sallyport_audit::Digest;
use serde::Serialize;

use super::{GrantStatus, State};
use crate::access::fact::{Fact, Stamp};
use crate::access::ids::{GrantId, ReviewId, ShareId};
use crate::access::names::{Role, Subject, Tenant};
use crate::access::reason::Reason;

/// What somebody holds and is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holding {
    /// A grant that was live.
    Grant(GrantId),
    /// A share that stood, or was on offer.
    Share(ShareId),
    /// A role that policy gives.
    Role(Role),
}

/// What a reviewer said of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewDecision {
    /// Who.
    pub by: Subject,
    /// When.
    pub at: Timestamp,
    /// Whether it stays.
    pub keep: bool,
    /// Seconds since the reviewer's decision before it, or since the beginning.
    pub took: u64,
    /// Why.
    pub reason: Reason,
}

/// One item of a review's population.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewItem {
    /// Its number, from 1.
    pub number: u32,
    /// Whose it is.
    pub subject: Subject,
    /// What they hold.
    pub holding: Holding,
    /// What was decided; at most once.
    pub decision: Option<ReviewDecision>,
}

/// How a review ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewEnd {
    /// When.
    pub at: Timestamp,
    /// By whom; `None` at its deadline.
    pub by: Option<Subject>,
}

/// An access review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// In which tenant.
    pub tenant: Tenant,
    /// Who began it; `None` for the operator.
    pub by: Option<Subject>,
    /// Whose decisions count.
    pub reviewers: Role,
    /// When it began.
    pub started: Timestamp,
    /// When it ends; what nobody has decided on ends with it.
    pub deadline: Timestamp,
    /// SHA-256 over the population, as recorded: one line for each item, in order.
    pub digest: Digest,
    /// The population, frozen.
    pub items: Vec<ReviewItem>,
    /// Its end, once it has one.
    pub end: Option<ReviewEnd>,
}

impl Review {
    /// An item by its number.
    pub fn item(&self, number: u32) -> Option<&ReviewItem> {
        self.items.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Seconds that a reviewer has had since their last decision, or since the beginning.
    pub fn time_of(&self, reviewer: &Subject, now: Timestamp) -> u64 {
        let decisions = self.items.iter().filter_map(|item| item.decision.as_ref());
        let last = decisions.filter(|decision| decision.by == *reviewer).map(|decision| decision.at).max();
        u64::try_from(now.duration_since(last.unwrap_or(self.started)).as_secs()).unwrap_or(0)
    }
}

/// The population of a tenant now: its live grants and standing shares, then the roles that were listed before.
pub(in crate::access) fn population(
    state: &State,
    tenant: &Tenant,
    roles: impl Iterator<Item = (Subject, Role)>,
) -> Vec<ReviewItem> {
    let grants =
        state.grants.values().filter(|grant| grant.tenant == *tenant && grant.status == GrantStatus::Live);
    let grants = grants.map(|grant| (grant.subject.clone(), Holding::Grant(grant.id)));
    let shares = state.shares.values().filter(|share| share.tenant == *tenant && share.is_standing());
    let shares = shares.map(|share| (share.to.clone(), Holding::Share(share.id)));
    let roles = roles.map(|(subject, role)| (subject, Holding::Role(role)));
    let all = grants.chain(shares).chain(roles);
    (1..)
        .zip(all)
        .map(|(number, (subject, holding))| ReviewItem { number, subject, holding, decision: None })
        .collect()
}

/// SHA-256 over the population: each item in a line, by its id, or for a role by its number and the role. No names: those are
/// in the records of what is listed.
pub(in crate::access) fn digest(items: &[ReviewItem]) -> Digest {
    let lines = items.iter().map(|item| match &item.holding {
        Holding::Grant(id) => format!("{id}\n"),
        Holding::Share(id) => format!("{id}\n"),
        Holding::Role(role) => format!("{} {role}\n", item.number),
    });
    Digest::of(&[lines.collect::<String>().as_bytes()])
}

impl State {
    pub(super) fn review_item(&mut self, fact: &Fact) {
        let Fact::ReviewItem { review, subject, role, .. } = fact else { return };
        self.listed.entry(*review).or_default().push((subject.clone(), role.clone()));
    }

    pub(super) fn review_started(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::ReviewStarted { review: id, tenant, by, reviewers, deadline, items: _, digest } = fact
        else {
            return;
        };
        if self.reviews.contains_key(id) {
            return;
        }
        let listed = self.listed.remove(id).unwrap_or_default();
        let review = Review {
            id: *id,
            tenant: tenant.clone(),
            by: by.person().cloned(),
            reviewers: reviewers.clone(),
            started: stamp.time,
            deadline: *deadline,
            digest: *digest,
            items: population(self, tenant, listed.into_iter()),
            end: None,
        };
        self.review_ends.insert((*deadline, *id));
        self.reviews.insert(*id, review);
    }

    pub(super) fn review_decided(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::ReviewDecided { review, item, by, keep, took, reason, .. } = fact else { return };
        let Some(review) = self.reviews.get_mut(review).filter(|review| review.end.is_none()) else { return };
        let index = usize::try_from(*item).ok().and_then(|number| number.checked_sub(1));
        let Some(item) = index.and_then(|index| review.items.get_mut(index)) else { return };
        if item.subject != *by {
            item.decision.get_or_insert_with(|| ReviewDecision {
                by: by.clone(),
                at: stamp.time,
                keep: *keep,
                took: *took,
                reason: reason.clone(),
            });
        }
    }

    pub(super) fn review_closed(&mut self, stamp: Stamp, id: ReviewId, by: Option<Subject>) {
        let Some(review) = self.reviews.get_mut(&id).filter(|review| review.end.is_none()) else { return };
        review.end = Some(ReviewEnd { at: stamp.time, by });
        self.review_ends.remove(&(review.deadline, id));
    }

    /// A review by its id.
    pub fn review(&self, id: ReviewId) -> Option<&Review> {
        self.reviews.get(&id)
    }

    /// All reviews, oldest first.
    pub fn reviews(&self) -> impl DoubleEndedIterator<Item = &Review> {
        self.reviews.values()
    }

    /// Reviews whose deadline has come, and whose end isn't recorded yet.
    pub fn overdue_reviews(&self, now: Timestamp) -> impl Iterator<Item = &Review> {
        let due = self.review_ends.iter().take_while(move |(at, _)| *at <= now);
        due.filter_map(|(_, id)| self.reviews.get(id))
    }

    /// Puts what is left of a person into the place of their name and their words.
    pub(super) fn forget_in_reviews(&mut self, person: &Subject, nobody: &Subject) {
        for review in self.reviews.values_mut() {
            if review.by.as_ref() == Some(person) {
                review.by = Some(nobody.clone());
            }
            if let Some(end) = review.end.as_mut().filter(|end| end.by.as_ref() == Some(person)) {
                end.by = Some(nobody.clone());
            }
            for item in &mut review.items {
                if item.subject == *person {
                    item.subject.clone_from(nobody);
                }
                if let Some(decision) = item.decision.as_mut().filter(|decision| decision.by == *person) {
                    decision.by.clone_from(nobody);
                    decision.reason = Reason::erased();
                }
            }
        }
        for (subject, _) in self.listed.values_mut().flatten() {
            if subject == person {
                subject.clone_from(nobody);
            }
        }
    }
}
