//! Access reviews, as the rest of the gateway orders and sees them.

use jiff::Timestamp;
use serde::Serialize;

use super::decide::Command;
use super::error::AccessError;
use super::handle::Access;
use super::identity::{Caller, Identity};
use super::ids::{ReviewId, random};
use super::judge::{Judgement, judge};
use super::names::{Role, Tenant};
use super::object::{Action, Object, Part};
use super::owner::Standing;
use super::reason::Reason;
use super::state::{GrantStatus, Holding, Review, ReviewItem};

/// An item of a review, as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewItemView {
    /// The item.
    #[serde(flatten)]
    pub item: ReviewItem,
    /// What it is about: the tunnel, or the role.
    pub what: String,
    /// Whether they still hold it: a role that was to be taken away goes only with the policy's files.
    pub held: bool,
}

/// A review, as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewView {
    /// The review, with its population.
    #[serde(skip)]
    pub review: Review,
    /// Its items.
    pub items: Vec<ReviewItemView>,
}

impl Access {
    /// Begins an access review over what is live in the tenant now.
    ///
    /// # Errors
    ///
    /// A refusal, or the ledger couldn't record it; so with all orders below.
    pub async fn start_review(
        &self,
        by: impl Into<Caller>,
        tenant: Tenant,
        reviewers: Role,
        deadline: Timestamp,
    ) -> Result<ReviewId, AccessError> {
        let review = ReviewId::new(self.now(), random());
        self.run(by, Command::StartReview { review, tenant, reviewers, deadline }).await?;
        Ok(review)
    }

    /// Decides on one item; what isn't kept ends at once.
    pub async fn decide_review(
        &self,
        by: &Identity,
        review: ReviewId,
        item: u32,
        keep: bool,
        reason: Reason,
    ) -> Result<(), AccessError> {
        self.run(by, Command::DecideReview { review, item, keep, reason }).await.map(drop)
    }

    /// Ends a review before its deadline, and with it all grants and shares that nobody has decided on.
    pub async fn close_review(&self, by: impl Into<Caller>, review: ReviewId) -> Result<(), AccessError> {
        self.run(by, Command::CloseReview { review }).await.map(drop)
    }

    /// Reviews that the caller may see, newest first: reviewers theirs, and all for who administers people.
    pub fn reviews(&self, by: impl Into<Caller>) -> Vec<ReviewView> {
        let (by, now) = (by.into(), self.now());
        let ids: Vec<ReviewId> =
            self.look(|standing| standing.state.reviews().rev().map(|review| review.id).collect());
        // One at a time: each can have thousands of items, and who looks must not keep a revocation waiting.
        ids.into_iter().filter_map(|id| self.review_seen(&by, id, now)).collect()
    }

    fn review_seen(&self, by: &Caller, id: ReviewId, now: Timestamp) -> Option<ReviewView> {
        self.look(|standing| {
            let sees = |review: &&Review| {
                by.person().is_none_or(|who| {
                    let people = Object::gateway(Part::People);
                    let judged = judge(&standing.state, &standing.policy, who, &people, Action::Admin, now);
                    who.tenant == review.tenant
                        && (matches!(judged, Judgement::Allowed { .. })
                            || standing
                                .policy
                                .roles_of(&who.subject, &who.tenant)
                                .contains(&review.reviewers))
                })
            };
            standing.state.review(id).filter(sees).map(|review| view(standing, review, now))
        })
    }
}

fn view(standing: &Standing, review: &Review, now: Timestamp) -> ReviewView {
    let (state, policy) = (&standing.state, &standing.policy);
    let one = |item: &ReviewItem| {
        let (what, held) = match &item.holding {
            Holding::Grant(id) => state.grant(*id).map_or_else(
                || (id.to_string(), false),
                |grant| {
                    let live = grant.status == GrantStatus::Live && grant.is_live(now);
                    (format!("{} {}", grant.action, grant.object), live)
                },
            ),
            Holding::Share(id) => state.share(*id).map_or_else(
                || (id.to_string(), false),
                |share| (format!("{} of {}", share.role, share.object), share.is_standing()),
            ),
            Holding::Role(role) => {
                (role.to_string(), policy.roles_of(&item.subject, &review.tenant).contains(role))
            }
        };
        ReviewItemView { item: item.clone(), what, held }
    };
    ReviewView { review: review.clone(), items: review.items.iter().map(one).collect() }
}
