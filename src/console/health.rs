//! Probes: alive says that the process answers, ready that a new session could be opened. No token is needed, and nothing
//! is told but that.

use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;

pub(super) async fn alive() -> &'static str {
    "alive\n"
}

pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.readiness.check() {
        // Ready all the same, if the operator chose so; whoever looks sees it.
        Ok(()) if shared.witnesses.as_ref().is_some_and(|watched| !watched.status.borrow().fresh) => {
            (StatusCode::OK, "ready\nnot-witnessed\n".to_owned())
        }
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(unready) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", unready.code())),
    }
}
