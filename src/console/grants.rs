//! Grants: seeing them, ending them.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::{List, Page};
use super::sessions::Why;
use crate::access::policy::PolicyDigest;
use crate::access::policy::conditions::Wanted;
use crate::access::{Action, Glass, Grant, GrantFilter, GrantId, GrantStatus, Object, RequestId, Subject};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Also those that have ended.
    #[serde(default)]
    all: bool,
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Leave to use a tunnel for a time.
#[derive(Serialize, ToSchema)]
#[schema(as = Grant)]
pub(super) struct Shown {
    #[schema(value_type = String)]
    id: GrantId,
    /// `live`, `revoked`, `expired` or `lapsed`.
    state: &'static str,
    #[schema(value_type = String)]
    subject: Subject,
    #[schema(value_type = String)]
    object: Object,
    #[schema(value_type = String)]
    action: Action,
    /// The request that it came of.
    #[schema(value_type = String)]
    request: RequestId,
    #[schema(value_type = String, format = DateTime)]
    starts: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    /// When it was used first, if its time runs from then or it is good once.
    #[schema(value_type = Option<String>, format = DateTime)]
    begun: Option<Timestamp>,
    /// How many minutes will run from its first use.
    minutes_from_first_use: Option<u32>,
    /// It is good for one session and no other: spent once `begun` holds a time.
    once: bool,
    /// Conditions of the policy under which alone it gives leave.
    #[schema(value_type = Vec<String>)]
    conditions: BTreeSet<Wanted>,
    /// Set if nobody approved it: why, how many were skipped, and the review.
    #[schema(value_type = Option<Object>)]
    break_glass: Option<Glass>,
    /// SHA-256 of the policy under which it was given.
    #[schema(value_type = String)]
    policy: PolicyDigest,
    /// The same as `state`, with when, by whom and why.
    #[schema(value_type = Object)]
    status: GrantStatus,
}

/// Grants that live: your own, and those of tunnels on which you may `approve` or `audit`
#[utoipa::path(get, path = "/api/v1/grants", tag = "grants", operation_id = "list_grants", params(Filter),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = Page::asked(&caller, filter.limit, filter.cursor.as_deref())?;
    let filter = GrantFilter { live: !filter.all, ..GrantFilter::default() };
    let after = page.after(&caller)?;
    caller.reads("list_grants", None).await?;
    let grants = shared.access.grants_after(&caller.identity, &filter, after, page.wanted());
    Ok(Json(page.of(grants, |grant| grant.id.to_string(), |grant| view(&grant))))
}

/// End a grant; open sessions that stand on it are cut
#[utoipa::path(post, path = "/api/v1/grants/{id}/revoke", tag = "grants", operation_id = "revoke_grant",
    params(("id" = String, Path, description = "grant-…")), request_body = Why,
    responses((status = 200, description = "It has ended", body = Shown)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Shown>, Problem> {
    let id: GrantId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "grant", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    let before = find(&shared, &caller, id).ok();
    shared.access.revoke(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    let grant = find(&shared, &caller, id)?;
    caller.changed("revoke_grant", before.as_ref().map(seen), &grant).await;
    Ok(Json(grant))
}

/// A grant as the caller sees it. Whoever may end one may see it.
pub(super) fn find(shared: &Shared, caller: &Caller, id: GrantId) -> Result<Shown, Problem> {
    let found = shared.access.find_grant(&caller.identity, id);
    let found = found
        .ok_or_else(|| Problem::bad_id(&caller.correlation, "grant that you may see", &id.to_string()))?;
    Ok(view(&found))
}

pub(super) fn view(grant: &Grant) -> Shown {
    let state = match grant.status {
        GrantStatus::Live => "live",
        GrantStatus::Revoked { .. } => "revoked",
        GrantStatus::Expired { .. } => "expired",
        GrantStatus::Lapsed { .. } => "lapsed",
    };
    Shown {
        id: grant.id,
        state,
        subject: grant.subject.clone(),
        object: grant.object.clone(),
        action: grant.action,
        request: grant.request,
        starts: grant.starts,
        expires: grant.ends,
        begun: grant.begun,
        minutes_from_first_use: grant.from_first_use,
        once: grant.once,
        conditions: grant.conditions.clone(),
        break_glass: grant.glass.clone(),
        policy: grant.policy,
        status: grant.status.clone(),
    }
}
