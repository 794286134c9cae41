//! Probes: alive says that the process answers, ready that a new session could be opened. No token is needed, and nothing
//! is told but that: states and causes have words, reasons are for people with a token and for the log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Shared;

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "public", operation_id = "alive", security(()),
    responses((status = 200, description = "It does", content_type = "text/plain", body = String)))]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Whether a new session could be opened
#[utoipa::path(get, path = "/readyz", tag = "public", operation_id = "ready", security(()), responses(
    (status = 200, description = "It could", content_type = "text/plain", body = String),
    (status = 503, description = "The code of what stands in the way", content_type = "text/plain", body = String),
))]
pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.readiness.health() {
        // Ready all the same, if the operator chose so; whoever looks sees it.
        Ok(()) if shared.witnesses.as_ref().is_some_and(|watched| !watched.status.borrow().fresh) => {
            (StatusCode::OK, "ready\nnot-witnessed\n".to_owned())
        }
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(unready) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", unready.code())),
    }
}

/// The same for programs: what stands in the way, since when, and what kind of trouble it is
#[utoipa::path(get, path = "/readyz.json", tag = "public", operation_id = "ready_json", security(()), responses(
    (status = 200, description = "`ready`, and the state of the key provider", body = Object),
    (status = 503, description = "`ready` is false, and `code` says why", body = Object),
))]
pub(super) async fn ready_json(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let unready = shared.readiness.health().err();
    let health = shared.keys.health().borrow().clone();
    let outage = health.outage();
    let hsm = json!({
        "state": health.as_str(),
        "cause": outage.map(|outage| outage.cause),
        "since": outage.map(|outage| outage.since),
        "attempts": outage.map(|outage| outage.attempts),
    });
    let status = if unready.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let code = unready.as_ref().map(crate::session::Unready::code);
    (status, Json(json!({ "ready": unready.is_none(), "code": code, "hsm": hsm })))
}
