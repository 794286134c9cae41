//! Asking for leave, and deciding on it. `access` judges and records each of these orders itself.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Query};
use super::sessions::Why;
use crate::access::{Action, Ask, Limits, Object, RequestFilter, RequestId, RequestStatus, RequestView};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskBody {
    tunnel: String,
    reason: String,
    minutes: u32,
    ticket: Option<String>,
    renews: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    pub(super) minutes: Option<u32>,
    /// Conditions of the policy by their names.
    #[serde(default)]
    pub(super) conditions: Vec<String>,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct MaybeWhy {
    pub(super) reason: Option<String>,
}

pub(super) async fn ask(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<AskBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let ask = Ask {
        object: Object::tunnel(&body.tunnel).map_err(|error| caller.unusable(&error))?,
        action: Action::Connect,
        minutes: body.minutes,
        reason: caller.parse(&body.reason)?,
        ticket: body.ticket.as_deref().map(|ticket| caller.parse(ticket)).transpose()?,
        renews: body.renews.as_deref().map(|grant| caller.parse(grant)).transpose()?,
    };
    let through = body.tunnel.parse().ok().and_then(|name| shared.routes.protection(&name));
    let asking = caller.met_through(through.map(Into::into));
    let id = shared.access.request(&asking, ask).await.map_err(|error| caller.refused(&error))?;
    Ok((StatusCode::CREATED, Json(view(&find(&shared, &caller, id)?))))
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Json<Vec<Value>> {
    let filter =
        RequestFilter { pending: filter.state.as_deref() == Some("pending"), ..RequestFilter::default() };
    let mut requests = shared.access.requests(&caller.identity, &filter);
    requests.reverse();
    Json(requests.iter().map(view).collect())
}

pub(super) async fn one(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &id)?;
    Ok(Json(view(&find(&shared, &caller, id)?)))
}

pub(super) async fn approve(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Approval>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &id)?;
    let reason = body.reason.as_deref().map(|reason| caller.parse(reason)).transpose()?;
    let conditions = body.conditions.iter().map(|name| caller.parse(name)).collect::<Result<_, _>>()?;
    let limits = Limits { minutes: body.minutes, conditions };
    shared
        .access
        .approve_within(&caller.identity, id, limits, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(view(&find(&shared, &caller, id)?)))
}

pub(super) async fn deny(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &id)?;
    let reason = Some(caller.parse(&why.reason)?);
    shared.access.reject(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(view(&find(&shared, &caller, id)?)))
}

pub(super) async fn withdraw(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(why): Body<MaybeWhy>,
) -> Result<Json<Value>, Problem> {
    let id = parse_id(&caller, &id)?;
    let reason = why.reason.as_deref().map(|reason| caller.parse(reason)).transpose()?;
    shared.access.withdraw(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    Ok(Json(view(&find(&shared, &caller, id)?)))
}

fn parse_id(caller: &Caller, text: &str) -> Result<RequestId, Problem> {
    text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "request", text))
}

fn find(shared: &Shared, caller: &Caller, id: RequestId) -> Result<RequestView, Problem> {
    shared
        .access
        .find_request(&caller.identity, id)
        .ok_or_else(|| Problem::bad_id(&caller.correlation, "request that you may see", &id.to_string()))
}

fn view(view: &RequestView) -> Value {
    let request = &view.request;
    let grant = match &request.status {
        RequestStatus::Granted { grant } => Some(grant.to_string()),
        _ => None,
    };
    json!({
        "id": request.id,
        "state": request.status.as_str(),
        "subject": request.subject,
        "object": request.object,
        "action": request.action,
        "reason": request.reason,
        "ticket": request.ticket,
        "minutes": request.minutes,
        "asked": request.at.to_string(),
        "workflows": request.workflows,
        "answer_by": request.answer_by.to_string(),
        "renews": request.renews,
        "escalated": request.escalated,
        "approvals": request.approvals,
        "denials": request.denials,
        "decision": request.status,
        "grant": grant,
        "waits_for": view.waits_for,
        "eligible": view.eligible,
    })
}
