//! Client certificates that were revoked here. Issuing them is not done here: whoever runs the authority does.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use super::sessions::Why;
use crate::access::CertificateId;

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Value>> {
    let revoked = shared.access.revoked_certificates(&caller.identity);
    Json(revoked.iter().map(|(id, at)| json!({ "id": id, "revoked": at.to_string() })).collect())
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Value>, Problem> {
    let id: CertificateId =
        text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "certificate", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    let tenant = caller.identity.tenant().clone();
    shared
        .access
        .revoke_certificate(&caller.identity, id, tenant, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "id": text, "state": "revoked" })))
}
