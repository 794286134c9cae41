//! Sharing tunnels. `access` judges and records each of these orders itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::{List, Page};
use super::requests::MaybeWhy;
use crate::access::state::ShareStatus;
use crate::access::{Object, ShareId, ShareRole, ShareView, Subject};

/// A role on a tunnel for a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OfferShare)]
pub(super) struct Offer {
    /// Name of the tunnel.
    #[schema(min_length = 1, max_length = 63)]
    tunnel: String,
    /// The person.
    #[schema(example = "user:bob")]
    who: String,
    /// `owner`, `admin`, `editor` or `viewer`.
    role: String,
    /// Its end.
    #[schema(format = DateTime)]
    until: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only of this tunnel.
    #[param(min_length = 1, max_length = 63)]
    tunnel: Option<String>,
    /// Also those that have ended.
    #[serde(default)]
    all: bool,
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// A role on a tunnel, given to a person.
#[derive(Serialize, ToSchema)]
#[schema(as = Share)]
pub(super) struct Shown {
    #[schema(value_type = String)]
    id: ShareId,
    /// `offered`, `active` or `ended`.
    state: &'static str,
    #[schema(value_type = String)]
    object: Object,
    #[schema(value_type = String)]
    who: Subject,
    #[schema(value_type = String)]
    role: ShareRole,
    /// Who gave it; null for the operator.
    #[schema(value_type = Option<String>)]
    by: Option<Subject>,
    #[schema(value_type = String, format = DateTime)]
    offered: Timestamp,
    /// When the offer ends.
    #[schema(value_type = String, format = DateTime)]
    accept_by: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Whether it gives anything: whoever gave it still holds what it rests on.
    backed: bool,
    /// The same as `state`, with when, by whom and why.
    #[schema(value_type = Object)]
    status: ShareStatus,
}

/// Offer a person a role on a tunnel
#[utoipa::path(post, path = "/api/v1/shares", tag = "shares", operation_id = "offer_share", request_body = Offer,
    responses((status = 201, description = "An offer; it gives nothing before they accept it", body = Shown)))]
pub(super) async fn offer(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Offer>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let object = Object::tunnel(&body.tunnel).map_err(|error| caller.unusable(&error))?;
    let (to, role) = (caller.parse(&body.who)?, caller.parse(&body.role)?);
    let until = body.until.as_deref().map(|until| caller.parse(until)).transpose()?;
    let place = (caller.identity.tenant().clone(), object);
    let id = shared
        .access
        .share(&caller.identity, place, to, role, until)
        .await
        .map_err(|error| caller.refused(&error))?;
    let share = find(&shared, &caller, id)?;
    caller.changed("offer_share", None, &share).await;
    Ok((StatusCode::CREATED, Json(share)))
}

/// Shares that you may see
#[utoipa::path(get, path = "/api/v1/shares", tag = "shares", operation_id = "list_shares", params(Filter),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = Page::asked(&caller, filter.limit, filter.cursor.as_deref())?;
    let object = filter.tunnel.as_deref().map(Object::tunnel).transpose();
    let object = object.map_err(|error| caller.unusable(&error))?;
    let found = shared.access.shares(&caller.identity, object.as_ref(), filter.all);
    Ok(Json(page.of(found, |view| view.share.id.to_string(), view)))
}

/// Accept what was offered to you
#[utoipa::path(post, path = "/api/v1/shares/{id}/accept", tag = "shares", operation_id = "accept_share",
    params(("id" = String, Path, description = "share-…")),
    responses((status = 200, description = "It is in force", body = Shown)))]
pub(super) async fn accept(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let id = parse_id(&caller, &text)?;
    let before = find(&shared, &caller, id).ok();
    shared.access.accept_share(&caller.identity, id).await.map_err(|error| caller.refused(&error))?;
    let share = find(&shared, &caller, id)?;
    caller.changed("accept_share", before.as_ref().map(seen), &share).await;
    Ok(Json(share))
}

/// Take a share or its offer back, or give it back
#[utoipa::path(post, path = "/api/v1/shares/{id}/end", tag = "shares", operation_id = "end_share",
    params(("id" = String, Path, description = "share-…")), request_body = MaybeWhy,
    responses((status = 200, description = "It has ended", body = Shown)))]
pub(super) async fn end(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<MaybeWhy>,
) -> Result<Json<Shown>, Problem> {
    let id = parse_id(&caller, &text)?;
    let reason = why.reason.as_deref().map(|reason| caller.parse(reason)).transpose()?;
    let before = find(&shared, &caller, id).ok();
    shared.access.end_share(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    let share = find(&shared, &caller, id)?;
    caller.changed("end_share", before.as_ref().map(seen), &share).await;
    Ok(Json(share))
}

fn parse_id(caller: &Caller, text: &str) -> Result<ShareId, Problem> {
    text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "share", text))
}

fn find(shared: &Shared, caller: &Caller, id: ShareId) -> Result<Shown, Problem> {
    let all = shared.access.shares(&caller.identity, None, true);
    let found = all.into_iter().find(|view| view.share.id == id).map(view);
    found.ok_or_else(|| Problem::bad_id(&caller.correlation, "share that you may see", &id.to_string()))
}

fn view(view: ShareView) -> Shown {
    let ShareView { share, backed } = view;
    Shown {
        id: share.id,
        state: share.state(),
        object: share.object,
        who: share.to,
        role: share.role,
        by: share.by,
        offered: share.offered,
        accept_by: share.accept_by,
        until: share.until,
        backed,
        status: share.status,
    }
}
