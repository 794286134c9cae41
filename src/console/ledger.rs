//! What an admin can have done to the ledger.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use crate::access::{Action, Object, Part};

/// Begins a scrub; what it finds is a record, and stands in the status.
pub(super) async fn scrub(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    shared.scrub.now.begin();
    Ok((StatusCode::ACCEPTED, Json(json!({ "scrub": "begun" }))))
}
