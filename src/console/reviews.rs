//! Access reviews. `access` judges and records each of these orders itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{ReviewId, ReviewView};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) reviewers: String,
    pub(super) deadline: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    pub(super) item: u32,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Keep,
    Revoke,
}

pub(super) async fn start(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Start>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (reviewers, deadline) = (caller.parse(&body.reviewers)?, caller.parse(&body.deadline)?);
    let tenant = caller.identity.tenant().clone();
    let id = shared
        .access
        .start_review(&caller.identity, tenant, reviewers, deadline)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok((StatusCode::CREATED, Json(find(&shared, &caller, id)?)))
}

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Value>> {
    let mut reviews = shared.access.reviews(&caller.identity);
    reviews.reverse();
    Json(reviews.iter().map(head).collect())
}

pub(super) async fn one(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &text)?;
    Ok(Json(find(&shared, &caller, id)?))
}

pub(super) async fn decide(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(body): Body<Decision>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &text)?;
    let reason = caller.parse(&body.reason)?;
    let keep = matches!(body.verdict, Verdict::Keep);
    shared
        .access
        .decide_review(&caller.identity, id, body.item, keep, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(find(&shared, &caller, id)?))
}

pub(super) async fn close(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &text)?;
    shared.access.close_review(&caller.identity, id).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(find(&shared, &caller, id)?))
}

fn parse_id(caller: &Caller, text: &str) -> Result<ReviewId, Problem> {
    text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "review", text))
}

fn find(shared: &Shared, caller: &Caller, id: ReviewId) -> Result<Value, Problem> {
    let reviews = shared.access.reviews(&caller.identity);
    let found = reviews.iter().find(|view| view.review.id == id);
    let found = found
        .ok_or_else(|| Problem::bad_id(&caller.correlation, "review that you may see", &id.to_string()))?;
    let mut value = head(found);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("items".to_owned(), serde_json::to_value(&found.items).unwrap_or_default());
    }
    Ok(value)
}

fn head(view: &ReviewView) -> Value {
    let review = &view.review;
    let decided = review.items.iter().filter(|item| item.decision.is_some()).count();
    json!({
        "id": review.id,
        "state": if review.end.is_some() { "closed" } else { "open" },
        "by": review.by,
        "reviewers": review.reviewers,
        "started": review.started.to_string(),
        "deadline": review.deadline.to_string(),
        "digest": review.digest,
        "population": review.items.len(),
        "decided": decided,
        "end": review.end,
    })
}
