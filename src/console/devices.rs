//! Enrolled devices: listing and revoking them. Enrolling is not done here but inside the tunnel's handshake.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::revoking::{Done, revoked};
use super::sessions::{Paging, Why};
use crate::access::{Device, DeviceId, Subject, TokenId};
use crate::clock;

/// A device that was enrolled.
#[derive(Serialize, ToSchema)]
#[schema(as = Device)]
pub(super) struct Shown {
    #[schema(value_type = String)]
    id: DeviceId,
    /// `live`, `expired` or `revoked`.
    state: &'static str,
    #[schema(value_type = String)]
    subject: Subject,
    /// The join token that it was enrolled with.
    #[schema(value_type = String)]
    token: TokenId,
    #[schema(value_type = String, format = DateTime)]
    enrolled: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
}

/// Enrolled devices: your own, or all for whoever may `admin` `gateway:tokens`
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", operation_id = "list_devices", params(Paging),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = paging.page(&caller)?;
    let now = clock::now();
    let devices = shared.access.devices(&caller.identity);
    Ok(Json(page.of(devices, |device| device.id.to_string(), |device| shown(&device, now))))
}

fn find(shared: &Shared, caller: &Caller, id: DeviceId) -> Option<Shown> {
    let devices = shared.access.devices(&caller.identity);
    devices.iter().find(|device| device.id == id).map(|device| shown(device, clock::now()))
}

fn shown(device: &Device, now: Timestamp) -> Shown {
    let state = match device.revoked {
        Some(_) => "revoked",
        None if device.expires <= now => "expired",
        None => "live",
    };
    Shown {
        id: device.id,
        state,
        subject: device.subject.clone(),
        token: device.join,
        enrolled: device.enrolled,
        expires: device.expires,
    }
}

/// Take a device's leave away
#[utoipa::path(post, path = "/api/v1/devices/{id}/revoke", tag = "devices", operation_id = "revoke_device",
    params(("id" = String, Path, description = "dev-…")), request_body = Why,
    responses((status = 200, description = "It is revoked", body = Done)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    caller: Caller,
    Path(text): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Done>, Problem> {
    let id: DeviceId = text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "device", &text))?;
    let reason = Some(caller.parse(&why.reason)?);
    let order = shared.access.revoke_device(&caller.identity, id, reason);
    revoked(&caller, "revoke_device", text, || find(&shared, &caller, id), order).await
}
