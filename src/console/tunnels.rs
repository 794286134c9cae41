//! Published tunnels, as far as the caller may see them.

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::caller::Caller;
use crate::access::{Action, Object};
use crate::session::RouteView;

pub(super) async fn list(State(shared): State<Shared>, caller: Caller) -> Json<Vec<RouteView>> {
    let own = caller.identity.subject().to_string();
    let seen = |view: &RouteView| {
        view.owner == own
            || Object::tunnel(&view.name).is_ok_and(|object| caller.could(Action::Read, &object))
    };
    Json(shared.routes.views().into_iter().filter(seen).collect())
}
