//! Policy reload, and locks on people, roles, devices, tunnels and tenants.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Action, Lock, LockTarget, Object, Part};
use crate::clock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockBody {
    what: String,
    /// Ends by itself after so many minutes.
    minutes: Option<u32>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnlockBody {
    what: String,
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
    let what: LockTarget = caller.parse(&body.what)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    let end = |minutes: u32| clock::now().checked_add(SignedDuration::from_mins(i64::from(minutes)));
    let until: Option<Timestamp> =
        body.minutes.map(end).transpose().map_err(|error| caller.unusable(&error))?;
    shared
        .access
        .lock(&caller.identity, what, tenant, until, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "what": body.what, "state": "locked", "until": until })))
}

pub(super) async fn locks(State(shared): State<Shared>, caller: Caller) -> Result<Json<Vec<Lock>>, Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::People)).await?;
    Ok(Json(shared.access.locks(&caller.identity)))
}

pub(super) async fn unlock(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<UnlockBody>,
) -> Result<Json<Value>, Problem> {
    let what: LockTarget = caller.parse(&body.what)?;
    let (tenant, reason) = (caller.identity.tenant().clone(), Some(caller.parse(&body.reason)?));
    shared
        .access
        .unlock(&caller.identity, what, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "what": body.what, "state": "unlocked" })))
}
