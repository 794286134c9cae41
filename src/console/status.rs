//! What the gateway says of itself: ledger, keys, sinks, sessions.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use sallyport_audit::sink::SinkStatus;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use crate::access::{Action, CertificateId, Object, Part, Proof, Subject, Tenant, TokenId};
use crate::clock;

/// Who calls.
#[derive(Serialize, ToSchema)]
pub(super) struct Whoami {
    #[schema(value_type = String)]
    subject: Subject,
    #[schema(value_type = String)]
    tenant: Tenant,
    /// The token that was shown.
    #[schema(value_type = Option<String>)]
    token: Option<TokenId>,
    /// The client certificate that was shown.
    #[schema(value_type = Option<String>)]
    certificate: Option<CertificateId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// Who you are to the gateway
#[utoipa::path(get, path = "/api/v1/whoami", tag = "status", operation_id = "whoami",
    responses((status = 200, description = "You", body = Whoami)))]
pub(super) async fn whoami(caller: Caller) -> Json<Whoami> {
    let identity = &caller.identity;
    let (token, certificate) = match identity.proof() {
        Proof::Token(token) => (Some(token), None),
        Proof::Certificate(id) => (None, Some(id)),
        _ => (None, None),
    };
    Json(Whoami {
        subject: identity.subject().clone(),
        tenant: identity.tenant().clone(),
        token,
        certificate,
        expires: identity.expires(),
    })
}

/// How the gateway is doing: ledger, scrub, sessions, tunnels, sinks, witnesses, keys
#[utoipa::path(get, path = "/api/v1/status", tag = "status", operation_id = "status",
    responses((status = 200, description = "`ready`, and a part for each of them", body = Object)))]
pub(super) async fn status(State(shared): State<Shared>, caller: Caller) -> Result<Json<Value>, Problem> {
    told(&shared, &caller).await.map(Json)
}

/// The same, for whoever has asked.
pub(super) async fn told(shared: &Shared, caller: &Caller) -> Result<Value, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Ledger)).await?;
    let readiness = shared.readiness.health();
    let keys = match shared.key_desk.list().await {
        Ok(keys) => keys,
        Err(problem) => json!({ "error": problem.detail }),
    };
    let now = clock::now();
    let sinks: Vec<Value> = shared.sinks.iter().map(|sink| shown(&sink.borrow(), now)).collect();
    let detections = shared.detections.as_ref().map(|status| status.borrow().clone());
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
        "detections": detections,
        "witnesses": witnesses.unwrap_or_else(|| json!({ "policy": "none" })),
        "hsm": shared.keys.vitals(),
        "keys": keys,
    }))
}

/// A sink's status, and its lag also in octets (as many as the records read last had, on the average) and in seconds.
fn shown(status: &SinkStatus, now: Timestamp) -> Value {
    let waiting = status.waiting_since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
    let mut shown = json!(status);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("lag_bytes".to_owned(), status.lag.saturating_mul(status.octets_each).into());
        fields.insert("lag_secs".to_owned(), waiting.into());
    }
    shown
}
