//! Enrolled devices: listing and revoking them. Enrolling is not done here but inside the tunnel's handshake.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use super::sessions::Why;
use crate::access::{Device, DeviceId};
use crate::clock;

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<Value>> {
    let now = clock::now();
    let view = |device: &Device| {
        let state = match device.revoked {
            Some(_) => "revoked",
            None if device.expires <= now => "expired",
            None => "live",
        };
        json!({
            "id": device.id,
            "state": state,
            "subject": device.subject,
            "token": device.join,
            "enrolled": device.enrolled.to_string(),
            "expires": device.expires.to_string(),
        })
    };
    Json(shared.access.devices(&caller.identity).iter().map(view).collect())
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Value>, Problem> {
    let id: DeviceId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "device", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    shared
        .access
        .revoke_device(&caller.identity, id, reason)
        .await
        .map_err(|error| caller.refused(&error))?;
    Ok(Json(json!({ "id": text, "state": "revoked" })))
}
