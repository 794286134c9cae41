//! Breaking the glass, and reviewing that somebody did.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Query};
use super::grants::view;
use crate::access::{Broken, GrantId, Object};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Break {
    tunnel: String,
    reason: String,
    minutes: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    unreviewed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Review {
    verdict: String,
    reason: String,
}

pub(super) async fn break_it(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Break>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let object = Object::tunnel(&body.tunnel).map_err(|error| caller.unusable(&error))?;
    let reason = caller.parse(&body.reason)?;
    let grant = shared
        .access
        .break_glass(&caller.identity, object, body.minutes, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok((StatusCode::CREATED, Json(find(&shared, &caller, grant))))
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Json<Vec<Value>> {
    let mut broken = shared.access.broken_glass(&caller.identity, filter.unreviewed);
    broken.reverse();
    Json(broken.iter().map(shown).collect())
}

pub(super) async fn review(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(body): Body<Review>,
) -> Result<Json<Value>, Problem> {
    let id: GrantId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "grant", &text))?;
    let (verdict, reason) = (caller.parse(&body.verdict)?, caller.parse(&body.reason)?);
    shared
        .access
        .review_glass(&caller.identity, id, verdict, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(find(&shared, &caller, id)))
}

fn find(shared: &Shared, caller: &Caller, id: GrantId) -> Value {
    let broken = shared.access.broken_glass(&caller.identity, false);
    broken.iter().find(|broken| broken.grant.id == id).map_or_else(|| json!({ "id": id }), shown)
}

fn shown(broken: &Broken) -> Value {
    let mut value = view(&broken.grant);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("told".to_owned(), broken.told.into());
    }
    value
}
