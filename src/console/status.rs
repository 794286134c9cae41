//! What the gateway says of itself: ledger, keys, sinks, sessions.

use axum::Json;
use axum::extract::State;
use sallyport_audit::sink::SinkStatus;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use crate::access::{Action, Object, Part, Proof};

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
    told(&shared, &caller).await.map(Json)
}

/// The same, for whoever has asked.
pub(super) async fn told(shared: &Shared, caller: &Caller) -> Result<Value, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Ledger)).await?;
    let readiness = shared.readiness.check();
    let keys = match shared.key_desk.list().await {
        Ok(keys) => keys,
        Err(problem) => json!({ "error": problem.detail }),
    };
    let sinks: Vec<SinkStatus> = shared.sinks.iter().map(|sink| sink.borrow().clone()).collect();
    let witnesses = shared.witnesses.as_ref().map(|watched| {
        let state = watched.status.borrow().clone();
        json!({ "policy": watched.policy, "state": state.sentence(), "detail": state })
    });
    let scrub = shared.scrub.status.borrow().clone();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "domain": shared.domain,
        "ready": readiness.is_ok(),
        "not_ready_because": readiness.err().map(|unready| unready.to_string()),
        "ledger": { "records": shared.ledger.reader().len(), "damaged": !scrub.findings.is_good() },
        "scrub": { "state": scrub.sentence(), "detail": scrub },
        "sessions": shared.broker.live().len(),
        "tunnels": shared.routes.views().len(),
        "sinks": sinks,
        "witnesses": witnesses.unwrap_or_else(|| json!({ "policy": "none" })),
        "hsm": shared.keys.vitals(),
        "keys": keys,
    }))
}
