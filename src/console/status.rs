//! What the gateway says of itself: ledger, keys, sinks, sessions.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use sallyport_audit::sink::SinkStatus;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use crate::access::{Action, Object, Part, Proof};
use crate::clock;

pub(super) async fn whoami(caller: Caller) -> Json<Value> {
    let identity = &caller.identity;
    Json(json!({
        "subject": identity.subject().to_string(),
        "tenant": identity.tenant().to_string(),
        "token": match identity.proof() {
            Proof::Token(token) => Some(token.to_string()),
            _ => None,
        },
        "certificate": match identity.proof() {
            Proof::Certificate(id) => Some(id),
            _ => None,
        },
        "expires": identity.expires().map(|time| time.to_string()),
    }))
}

pub(super) async fn status(State(shared): State<Shared>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Ledger)).await?;
    let readiness = shared.readiness.health();
    let keys = match shared.key_desk.list().await {
        Ok(keys) => keys,
        Err(problem) => json!({ "error": problem.detail }),
    };
    let now = clock::now();
    let sinks: Vec<Value> = shared.sinks.iter().map(|sink| told(&sink.borrow(), now)).collect();
    let detections = shared.detections.as_ref().map(|status| status.borrow().clone());
    let witnesses = shared.witnesses.as_ref().map(|watched| {
        let state = watched.status.borrow().clone();
        json!({ "policy": watched.policy, "state": state.sentence(), "detail": state })
    });
    let scrub = shared.scrub.status.borrow().clone();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "domain": shared.domain,
        "ready": readiness.is_ok(),
        "not_ready_because": readiness.err().map(|unready| unready.to_string()),
        "ledger": { "records": shared.ledger.reader().len(), "damaged": !scrub.findings.is_good() },
        "scrub": { "state": scrub.sentence(), "detail": scrub },
        "sessions": shared.broker.live().len(),
        "tunnels": shared.routes.views().len(),
        "sinks": sinks,
        "detections": detections,
        "witnesses": witnesses.unwrap_or_else(|| json!({ "policy": "none" })),
        "hsm": shared.keys.vitals(),
        "keys": keys,
    })))
}

/// A sink's status, and its lag also in octets (as many as the records read last had, on the average) and in seconds.
fn told(status: &SinkStatus, now: Timestamp) -> Value {
    let waiting = status.waiting_since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
    let mut told = json!(status);
    told["lag_bytes"] = status.lag.saturating_mul(status.octets_each).into();
    told["lag_secs"] = waiting.into();
    told
}
