//! Breaking the glass, and reviewing that somebody did.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::grants::{self, view};
use super::listing::{List, Page};
use crate::access::{Broken, GrantId, Object};

/// What to go in for without an approval.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BreakGlass)]
pub(super) struct Break {
    /// Name of the tunnel.
    #[schema(min_length = 1, max_length = 63)]
    tunnel: String,
    /// Why there is no time for an approval.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// For how long.
    minutes: u32,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those that nobody has reviewed.
    #[serde(default)]
    unreviewed: bool,
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// What a reviewer says of a breaking of the glass.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GlassReview)]
pub(super) struct Review {
    /// `justified` or `unjustified`.
    verdict: String,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// A breaking of the glass: a grant that nobody approved.
#[derive(Serialize, ToSchema)]
pub(super) struct BrokenGlass {
    #[serde(flatten)]
    grant: grants::Shown,
    /// Whether you could have been asked, and were told instead.
    told: bool,
}

/// Go in without the approval that policy demands, where the workflow lets you
#[utoipa::path(post, path = "/api/v1/glass", tag = "glass", operation_id = "break_glass", request_body = Break,
    responses((status = 201, description = "A grant that somebody has to review", body = BrokenGlass)))]
pub(super) async fn break_it(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Break>,
) -> Result<(StatusCode, Json<BrokenGlass>), Problem> {
    let object = Object::tunnel(&body.tunnel).map_err(|error| caller.unusable(&error))?;
    let reason = caller.parse(&body.reason)?;
    let grant = shared
        .access
        .break_glass(&caller.identity, object, body.minutes, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    let broken = find(&shared, &caller, grant)?;
    caller.changed("break_glass", None, &broken).await;
    Ok((StatusCode::CREATED, Json(broken)))
}

/// Breakings of the glass that you may see
#[utoipa::path(get, path = "/api/v1/glass", tag = "glass", operation_id = "list_broken_glass", params(Filter),
    responses((status = 200, description = "A page of them", body = List<BrokenGlass>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<List<BrokenGlass>>, Problem> {
    let page = Page::asked(&caller, filter.limit, filter.cursor.as_deref())?;
    caller.reads("list_broken_glass", None).await?;
    let broken = shared.access.broken_glass(&caller.identity, filter.unreviewed);
    Ok(Json(page.of(broken, |broken| broken.grant.id.to_string(), |broken| shown(&broken))))
}

/// Say whether a breaking of the glass was justified
#[utoipa::path(post, path = "/api/v1/glass/{id}/review", tag = "glass", operation_id = "review_glass",
    params(("id" = String, Path, description = "grant-…")), request_body = Review,
    responses((status = 200, description = "It is reviewed", body = BrokenGlass)))]
pub(super) async fn review(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(body): Body<Review>,
) -> Result<Json<BrokenGlass>, Problem> {
    let id: GrantId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "grant", &text))?;
    let (verdict, reason) = (caller.parse(&body.verdict)?, caller.parse(&body.reason)?);
    let before = find(&shared, &caller, id).ok();
    shared
        .access
        .review_glass(&caller.identity, id, verdict, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    let broken = find(&shared, &caller, id)?;
    caller.changed("review_glass", before.as_ref().map(seen), &broken).await;
    Ok(Json(broken))
}

fn find(shared: &Shared, caller: &Caller, id: GrantId) -> Result<BrokenGlass, Problem> {
    let broken = shared.access.broken_glass(&caller.identity, false);
    let found = broken.iter().find(|broken| broken.grant.id == id).map(shown);
    found.ok_or_else(|| Problem::bad_id(&caller.correlation, "grant that you may see", &id.to_string()))
}

fn shown(broken: &Broken) -> BrokenGlass {
    BrokenGlass { grant: view(&broken.grant), told: broken.told }
}
