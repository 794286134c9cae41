//! Sharing tunnels. `access` judges and records each of these orders itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Query};
use super::requests::MaybeWhy;
use crate::access::{Object, ShareId, ShareView};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    tunnel: String,
    who: String,
    role: String,
    until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    tunnel: Option<String>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn offer(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Offer>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let object = Object::tunnel(&body.tunnel).map_err(|error| caller.unusable(&error))?;
    let (to, role) = (caller.parse(&body.who)?, caller.parse(&body.role)?);
    let until = body.until.as_deref().map(|until| caller.parse(until)).transpose()?;
    let place = (caller.identity.tenant().clone(), object);
    let id = shared
        .access
        .share(&caller.identity, place, to, role, until)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok((StatusCode::CREATED, Json(find(&shared, &caller, id))))
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<Value>>, Problem> {
    let object = filter.tunnel.as_deref().map(Object::tunnel).transpose();
    let object = object.map_err(|error| caller.unusable(&error))?;
    let mut found = shared.access.shares(&caller.identity, object.as_ref(), filter.all);
    found.reverse();
    Ok(Json(found.iter().map(view).collect()))
}

pub(super) async fn accept(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &text)?;
    shared.access.accept_share(&caller.identity, id).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(find(&shared, &caller, id)))
}

pub(super) async fn end(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<MaybeWhy>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &text)?;
    let reason = why.reason.as_deref().map(|reason| caller.parse(reason)).transpose()?;
    shared.access.end_share(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(find(&shared, &caller, id)))
}

fn parse_id(caller: &Caller, text: &str) -> Result<ShareId, Problem> {
    text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "share", text))
}

fn find(shared: &Shared, caller: &Caller, id: ShareId) -> Value {
    let all = shared.access.shares(&caller.identity, None, true);
    all.iter().find(|view| view.share.id == id).map_or_else(|| json!({ "id": id, "state": "ended" }), view)
}

fn view(view: &ShareView) -> Value {
    let share = &view.share;
    json!({
        "id": share.id,
        "state": share.state(),
        "object": share.object,
        "who": share.to,
        "role": share.role,
        "by": share.by,
        "offered": share.offered.to_string(),
        "accept_by": share.accept_by.to_string(),
        "until": share.until.map(|until| until.to_string()),
        "backed": view.backed,
        "status": share.status,
    })
}
