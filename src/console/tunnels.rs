//! Published tunnels, as far as the caller may see them, and taking one away from its publisher.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use super::sessions::Why;
use crate::access::{Action, Object, Reason};
use crate::clock;
use crate::session::RouteView;
use crate::tunnel::{Farewell, FarewellCode, TunnelName};

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<RouteView>> {
    let own = caller.identity.subject().to_string();
    let seen = |view: &RouteView| {
        view.owner == own
            || Object::tunnel(&view.name).is_ok_and(|object| caller.could(Action::Read, &object))
    };
    Json(shared.routes.views().into_iter().filter(seen).collect())
}

/// Ends a tunnel and its sessions. Its publisher is told not to come back by itself; to keep it away, lock the tunnel.
pub(super) async fn delete(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Value>, Problem> {
    let decided_at = clock::monotonic();
    let unknown = || Problem::bad_id(&caller.correlation, "published tunnel", &name);
    let object = Object::tunnel(&name).map_err(|_| unknown())?;
    let reason: Reason = caller.parse(&why.reason)?;
    caller.may_with(Action::Delete, &object, |draft| draft.reason(reason.as_str())).await?;
    let tunnel = TunnelName::parse(&name).map_err(|_| unknown())?;
    let route = shared.routes.delete(&tunnel).ok_or_else(unknown)?;
    // Before the link, which would take the sessions with it and tell nobody why.
    shared.broker.tunnel_ended(&route.id, decided_at, "tunnel-deleted");
    route.link.close(Farewell { code: FarewellCode::Revoked, grace: Duration::ZERO });
    Ok(Json(json!({ "name": name, "state": "deleted" })))
}
