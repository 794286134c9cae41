//! What an admin can have done to the ledger.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use crate::access::{Action, Object, Part};

/// What was begun.
#[derive(Serialize, ToSchema)]
pub(super) struct Scrubbing {
    /// `begun`.
    scrub: &'static str,
}

/// Have the ledger read again
///
/// What is found is a record, and stands in the status.
#[utoipa::path(post, path = "/api/v1/ledger/scrub", tag = "ledger", operation_id = "scrub_ledger",
    responses((status = 202, description = "It is begun", body = Scrubbing)))]
pub(super) async fn scrub(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<(StatusCode, Json<Scrubbing>), Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    shared.scrub.now.begin();
    Ok((StatusCode::ACCEPTED, Json(Scrubbing { scrub: "begun" })))
}
