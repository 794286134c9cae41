//! Taking away what stands in a list of its own, as devices and passkeys do: what it was and what it is are in the record.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use crate::access::AccessError;

/// What became of something.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// Its id or name.
    pub(super) id: String,
    /// What it is now.
    pub(super) state: &'static str,
}

/// Carries out the order by which `id` is revoked; `find` shows it before and after.
pub(super) async fn revoked<T: Serialize>(
    caller: &Caller,
    call: &'static str,
    id: String,
    find: impl Fn() -> Option<T>,
    order: impl Future<Output = Result<(), AccessError>>,
) -> Result<Json<Done>, Problem> {
    let before = find();
    order.await.map_err(|error| caller.refused(&error))?;
    caller.changed(call, before.as_ref().map(seen), &find()).await;
    Ok(Json(Done { id, state: "revoked" }))
}
