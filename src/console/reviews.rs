//! Access reviews. `access` judges and records each of these orders itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use sallyport_audit::Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::sessions::Paging;
use crate::access::state::ReviewEnd;
use crate::access::{ReviewId, ReviewItemView, ReviewView, Role, Subject};

/// Who reviews, and until when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartReview)]
pub(super) struct Start {
    /// The role whose people decide.
    #[schema(example = "role:admin")]
    pub(super) reviewers: String,
    /// When it ends; grants and shares that nobody has decided on end with it.
    #[schema(format = DateTime)]
    pub(super) deadline: String,
}

/// What becomes of one item.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecideItem)]
pub(super) struct Decision {
    /// Its number.
    pub(super) item: u32,
    #[schema(inline)]
    pub(super) verdict: Verdict,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Keep,
    Revoke,
}

/// A review of what everybody holds.
#[derive(Serialize, ToSchema)]
pub(super) struct Review {
    #[schema(value_type = String)]
    id: ReviewId,
    /// `open` or `closed`.
    state: &'static str,
    /// Who began it; null for the operator.
    #[schema(value_type = Option<String>)]
    by: Option<Subject>,
    #[schema(value_type = String)]
    reviewers: Role,
    #[schema(value_type = String, format = DateTime)]
    started: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    deadline: Timestamp,
    /// SHA-256 over the population, as recorded.
    #[schema(value_type = String)]
    digest: Digest,
    /// How many items there are.
    population: usize,
    /// On how many of them somebody has decided.
    decided: usize,
    /// Its end: when, and by whom.
    #[schema(value_type = Option<Object>)]
    end: Option<ReviewEnd>,
}

/// A review with its population.
#[derive(Serialize, ToSchema)]
pub(super) struct WholeReview {
    #[serde(flatten)]
    head: Review,
    /// Who holds what, what was decided on it, and whether it is still held.
    #[schema(value_type = Vec<Object>)]
    items: Vec<ReviewItemView>,
}

impl WholeReview {
    pub(super) fn id(&self) -> ReviewId {
        self.head.id
    }
}

/// Begin a review of what everybody holds now
#[utoipa::path(post, path = "/api/v1/reviews", tag = "reviews", operation_id = "start_review", request_body = Start,
    responses((status = 201, description = "It has begun", body = WholeReview)))]
pub(super) async fn start(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Start>,
) -> Result<(StatusCode, Json<WholeReview>), Problem> {
    let (reviewers, deadline) = (caller.parse(&body.reviewers)?, caller.parse(&body.deadline)?);
    let tenant = caller.identity.tenant().clone();
    let id = shared
        .access
        .start_review(&caller.identity, tenant, reviewers, deadline)
        .await
        .map_err(|error| caller.refused(&error))?;
    let review = find(&shared, &caller, id)?;
    caller.changed("start_review", None, &review).await;
    Ok((StatusCode::CREATED, Json(review)))
}

/// Reviews that you may see
#[utoipa::path(get, path = "/api/v1/reviews", tag = "reviews", operation_id = "list_reviews", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Review>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Review>>, Problem> {
    let page = paging.page(&caller)?;
    caller.reads("list_reviews", None).await?;
    let reviews = shared.access.reviews(&caller.identity);
    Ok(Json(page.of(reviews, |view| view.review.id.to_string(), |view| head(&view))))
}

/// One review with its population
#[utoipa::path(get, path = "/api/v1/reviews/{id}", tag = "reviews", operation_id = "show_review",
    params(("id" = String, Path, description = "review-…")),
    responses((status = 200, description = "The review", body = WholeReview)))]
pub(super) async fn one(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<WholeReview>, Problem> {
    let id = parse_id(&caller, &text)?;
    let found = find(&shared, &caller, id)?;
    caller.reads("show_review", Some(&id.to_string())).await?;
    Ok(Json(found))
}

/// Decide on one item of a review
#[utoipa::path(post, path = "/api/v1/reviews/{id}/decide", tag = "reviews", operation_id = "decide_review",
    params(("id" = String, Path, description = "review-…")), request_body = Decision,
    responses((status = 200, description = "The review as it stands now", body = WholeReview)))]
pub(super) async fn decide(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(body): Body<Decision>,
) -> Result<Json<WholeReview>, Problem> {
    let id = parse_id(&caller, &text)?;
    let reason = caller.parse(&body.reason)?;
    let keep = matches!(body.verdict, Verdict::Keep);
    let before = find(&shared, &caller, id).ok();
    shared
        .access
        .decide_review(&caller.identity, id, body.item, keep, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    let review = find(&shared, &caller, id)?;
    caller.changed("decide_review", before.as_ref().map(seen), &review).await;
    Ok(Json(review))
}

/// End a review; what nobody has decided on ends with it
#[utoipa::path(post, path = "/api/v1/reviews/{id}/close", tag = "reviews", operation_id = "close_review",
    params(("id" = String, Path, description = "review-…")),
    responses((status = 200, description = "The review as it stands now", body = WholeReview)))]
pub(super) async fn close(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<WholeReview>, Problem> {
    let id = parse_id(&caller, &text)?;
    let before = find(&shared, &caller, id).ok();
    shared.access.close_review(&caller.identity, id).await.map_err(|error| caller.refused(&error))?;
    let review = find(&shared, &caller, id)?;
    caller.changed("close_review", before.as_ref().map(seen), &review).await;
    Ok(Json(review))
}

fn parse_id(caller: &Caller, text: &str) -> Result<ReviewId, Problem> {
    text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "review", text))
}

fn find(shared: &Shared, caller: &Caller, id: ReviewId) -> Result<WholeReview, Problem> {
    let reviews = shared.access.reviews(&caller.identity);
    let found = reviews.into_iter().find(|view| view.review.id == id);
    let found = found
        .ok_or_else(|| Problem::bad_id(&caller.correlation, "review that you may see", &id.to_string()))?;
    Ok(WholeReview { head: head(&found), items: found.items })
}

fn head(view: &ReviewView) -> Review {
    let review = &view.review;
    let decided = review.items.iter().filter(|item| item.decision.is_some()).count();
    Review {
        id: review.id,
        state: if review.end.is_some() { "closed" } else { "open" },
        by: review.by.clone(),
        reviewers: review.reviewers.clone(),
        started: review.started,
        deadline: review.deadline,
        digest: review.digest,
        population: review.items.len(),
        decided,
        end: review.end.clone(),
    }
}
