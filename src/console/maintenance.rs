//! A word to publishers before the gateway is away: whoever runs one sees it coming.
//!
//! The call is recorded with its words before anybody is told. It changes nothing: what the gateway does then, and when, is for whoever
//! stops it. A publisher that is not there, or is of an older version, does not hear it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Action, Object, Part, Reason};

/// How long a publisher may take to say that it heard: one that hangs holds up no caller.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is ahead.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ahead {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What publishers should know of it.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Who was told.
#[derive(Serialize, ToSchema)]
pub(super) struct Announced {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Publishers that are there.
    publishers: usize,
    /// How many of them heard it.
    heard: usize,
}

/// Tell publishers that maintenance is ahead
#[utoipa::path(post, path = "/api/v1/maintenance", tag = "status", operation_id = "announce_maintenance",
    request_body = Ahead, responses((status = 200, description = "They were told", body = Announced)))]
pub(super) async fn announce(
    State(shared): State<Shared>,
    caller: Caller,
    Body(Ahead { at, reason }): Body<Ahead>,
) -> Result<Json<Announced>, Problem> {
    let reason: Reason = caller.parse(&reason)?;
    let part = Object::gateway(Part::Sessions);
    let more = |draft: sallyport_audit::Draft| draft.detail("at", at.to_string()).reason(reason.as_str());
    caller.may_with(Action::Admin, &part, more).await?;
    let links = shared.routes.links();
    let at_text = at.to_string();
    let told = links.iter().map(|link| {
        let telling = link.announce_maintenance(&at_text, reason.as_str());
        async { matches!(tokio::time::timeout(PATIENCE, telling).await, Ok(Ok(true))) }
    });
    let heard = join_all(told).await.into_iter().filter(|heard| *heard).count();
    Ok(Json(Announced { at, publishers: links.len(), heard }))
}
