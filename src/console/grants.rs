//! Grants: seeing them, ending them.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Query};
use super::sessions::Why;
use crate::access::{Grant, GrantFilter, GrantId, GrantStatus};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Json<Vec<Value>> {
    let filter = GrantFilter { live: !filter.all, ..GrantFilter::default() };
    let mut grants = shared.access.grants(&caller.identity, &filter);
    grants.reverse();
    Json(grants.iter().map(view).collect())
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Value>, Problem> {
    let id: GrantId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "grant", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    shared.access.revoke(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    let grants = shared.access.grants(&caller.identity, &GrantFilter::default());
    let grant = grants.iter().find(|grant| grant.id == id);
    Ok(Json(grant.map_or_else(|| json!({ "id": text, "state": "revoked" }), view)))
}

pub(super) fn view(grant: &Grant) -> Value {
    let state = match grant.status {
        GrantStatus::Live => "live",
        GrantStatus::Revoked { .. } => "revoked",
        GrantStatus::Expired { .. } => "expired",
        GrantStatus::Lapsed { .. } => "lapsed",
    };
    json!({
        "id": grant.id,
        "state": state,
        "subject": grant.subject,
        "object": grant.object,
        "action": grant.action,
        "request": grant.request,
        "starts": grant.starts.to_string(),
        "expires": grant.ends.to_string(),
        "begun": grant.begun.map(|at| at.to_string()),
        "minutes_from_first_use": grant.from_first_use,
        "conditions": grant.conditions,
        "break_glass": grant.glass,
        "policy": grant.policy,
        "status": grant.status,
    })
}
