//! Access reviews: beginning one over a frozen population, deciding on its items, and ending it. What nobody has decided on
//! ends with the review.

use jiff::{SignedDuration, Timestamp};

use super::sharing::ended;
use super::{Case, Refusal, actor};
use crate::access::fact::{Actor, Fact};
use crate::access::identity::{Caller, Identity};
use crate::access::ids::ReviewId;
use crate::access::names::{Role, Tenant};
use crate::access::object::{Action, Object, Part};
use crate::access::reason::Reason;
use crate::access::share::ShareEnd;
use crate::access::state::{GrantStatus, Holding, Review, ReviewItem, digest, population};

/// Longest time that a review may take, in days.
const MAX_DAYS: i64 = 90;
/// Most items of one review.
const MAX_ITEMS: usize = 10_000;
/// Most roles of people among them: each is a record of its own, sealed for its person, and no other order is carried out meanwhile.
const MAX_ROLES: usize = 5_000;
/// Most reviews of one tenant at a time.
const MAX_OPEN: usize = 8;

impl Case<'_> {
    pub(super) fn start_review(
        &self,
        by: &Caller,
        (id, tenant): (ReviewId, &Tenant),
        reviewers: &Role,
        deadline: Timestamp,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        let time = deadline.duration_since(self.now);
        if !time.is_positive() || time > SignedDuration::from_hours(24 * MAX_DAYS) {
            return Err(Refusal::ReviewTime { most: MAX_DAYS });
        }
        if self.policy.members_of(reviewers, tenant).is_empty() {
            return Err(Refusal::NoReviewers { role: reviewers.clone() });
        }
        let open =
            self.state.reviews().filter(|review| review.tenant == *tenant && review.end.is_none()).count();
        if open >= MAX_OPEN {
            return Err(Refusal::TooManyReviews { open });
        }
        let roles = self.policy.memberships(tenant);
        let count = roles.len();
        let items = population(self.state, tenant, roles.iter().cloned());
        if count > MAX_ROLES || items.len() > MAX_ITEMS {
            return Err(Refusal::ReviewTooLarge { roles: count, items: items.len() });
        }
        let mut facts: Vec<Fact> = Vec::new();
        for (subject, role) in roles {
            facts.push(Fact::ReviewItem { review: id, tenant: tenant.clone(), subject, role });
        }
        facts.push(Fact::ReviewStarted {
            review: id,
            tenant: tenant.clone(),
            by: actor(by),
            reviewers: reviewers.clone(),
            deadline,
            items: u32::try_from(items.len()).unwrap_or(u32::MAX),
            digest: digest(&items),
        });
        Ok(facts)
    }

    pub(super) fn decide_review(
        &self,
        who: &Identity,
        (id, number): (ReviewId, u32),
        keep: bool,
        reason: &Reason,
    ) -> Result<Vec<Fact>, Refusal> {
        let review = self.reviewed_by(who, id)?;
        let item = review.item(number).ok_or(Refusal::NoSuchItem { review: id, item: number })?;
        if item.subject == who.subject {
            return Err(Refusal::OwnItem { review: id, item: number });
        }
        if item.decision.is_some() {
            return Err(Refusal::ItemDecided { review: id, item: number });
        }
        let by = Caller::Person(who.clone());
        let mut facts: Vec<Fact> =
            if keep { None } else { self.taken_away(item, &by, Some(reason)) }.into_iter().collect();
        facts.push(Fact::ReviewDecided {
            review: id,
            tenant: review.tenant.clone(),
            item: number,
            subject: item.subject.clone(),
            by: who.subject.clone(),
            keep,
            took: review.time_of(&who.subject, self.now),
            reason: reason.clone(),
        });
        Ok(facts)
    }

    /// A review that is open, for one of its reviewers.
    fn reviewed_by(&self, who: &Identity, id: ReviewId) -> Result<&Review, Refusal> {
        let missing = Refusal::NoSuchReview { review: id };
        let review = self.state.review(id).filter(|review| review.tenant == who.tenant).ok_or(missing)?;
        if !self.policy.roles_of(&who.subject, &who.tenant).contains(&review.reviewers) {
            return Err(Refusal::NoReviewer { role: review.reviewers.clone() });
        }
        covers_reviews(who)?;
        self.check_open(review)?;
        Ok(review)
    }

    fn check_open(&self, review: &Review) -> Result<(), Refusal> {
        if review.end.is_some() || self.now >= review.deadline {
            return Err(Refusal::ReviewOver { review: review.id });
        }
        Ok(())
    }

    /// Ends a review before its deadline, by one of its reviewers or by who administers people.
    pub(super) fn close_review(&self, by: &Caller, id: ReviewId) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchReview { review: id };
        let review = self.state.review(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if review.tenant != who.tenant {
                return Err(missing);
            }
            if self.policy.roles_of(&who.subject, &who.tenant).contains(&review.reviewers) {
                covers_reviews(who)?;
            } else {
                self.may(who, &Object::gateway(Part::People), Action::Admin)?;
            }
        }
        self.check_open(review)?;
        Ok(self.closing(review, Some(by)))
    }

    /// What the end of a review brings: all that nobody has decided on ends, then the review.
    pub(super) fn closing(&self, review: &Review, by: Option<&Caller>) -> Vec<Fact> {
        let operator = Caller::Operator;
        let undecided = review.items.iter().filter(|item| item.decision.is_none());
        let mut facts: Vec<Fact> =
            undecided.filter_map(|item| self.taken_away(item, by.unwrap_or(&operator), None)).collect();
        let decided = |keep: bool| {
            let fits =
                review.items.iter().filter(|item| item.decision.as_ref().is_some_and(|d| d.keep == keep));
            u32::try_from(fits.count()).unwrap_or(u32::MAX)
        };
        let all = u32::try_from(review.items.len()).unwrap_or(u32::MAX);
        facts.push(Fact::ReviewClosed {
            review: review.id,
            tenant: review.tenant.clone(),
            by: by.map(actor),
            kept: decided(true),
            revoked: decided(false),
            unreviewed: all.saturating_sub(decided(true)).saturating_sub(decided(false)),
        });
        facts
    }

    /// The end of what an item is about. A role stands in the policy's files: whoever writes those has to take it away.
    fn taken_away(&self, item: &ReviewItem, by: &Caller, reason: Option<&Reason>) -> Option<Fact> {
        match &item.holding {
            Holding::Grant(id) => {
                let grant = self.state.grant(*id).filter(|grant| grant.status == GrantStatus::Live)?;
                let by: Actor = actor(by);
                Some(Fact::GrantRevoked {
                    grant: *id,
                    request: grant.request,
                    tenant: grant.tenant.clone(),
                    object: grant.object.clone(),
                    subject: grant.subject.clone(),
                    by,
                    reason: reason.cloned(),
                })
            }
            Holding::Share(id) => {
                let share = self.state.share(*id).filter(|share| share.is_standing())?;
                Some(ended(share, ShareEnd::Reviewed, by, reason))
            }
            Holding::Role(_) => None,
        }
    }
}

/// Whether somebody's token covers what their role lets them say: a review is of people, and nobody is asked for more.
fn covers_reviews(who: &Identity) -> Result<(), Refusal> {
    if who.scope.covers(&Object::gateway(Part::People), Action::Approve) {
        return Ok(());
    }
    Err(Refusal::NotAllowed { why: format!("the token is for nothing but: {}", who.scope) })
}
