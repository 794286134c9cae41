//! Policy reload, and locks on people and roles.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Action, Object, Part, Principal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockBody {
    who: String,
    reason: String,
}

pub(super) async fn reload(State(shared): State<Shared>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Policy)).await?;
    let digest =
        shared.access.reload_policy(&caller.identity).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "policy": digest })))
}

pub(super) async fn lock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<LockBody>,
) -> Result<Json<Value>, Problem> {
    let who: Principal = caller.parse(&body.who)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    shared
        .access
        .lock(&caller.identity, who, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "who": body.who, "state": "locked" })))
}

pub(super) async fn unlock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<LockBody>,
) -> Result<Json<Value>, Problem> {
    let who: Principal = caller.parse(&body.who)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    shared
        .access
        .unlock(&caller.identity, who, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "who": body.who, "state": "unlocked" })))
}
