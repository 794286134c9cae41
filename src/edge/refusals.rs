//! The refusals that more than one protocol gives.

use axum::http::StatusCode;

use super::page::Refusal;
use crate::session::{Ending, OpenError, Session, Unready};
use crate::tunnel::{LinkError, OriginFault, TunnelName};

/// The visitor's session was cut while it had a request.
pub(super) fn cut_refusal(session: &Session, name: &TunnelName) -> Refusal {
    match session.ending() {
        Some(Ending::PublisherClosed) => dead_refusal(name),
        Some(Ending::Stopping) => unavailable("stopping", "the gateway is stopping"),
        Some(Ending::KeysDown) => {
            unavailable("hsm-down", "the gateway's keys are away, and nothing goes on without them")
        }
        _ => ended_refusal(),
    }
}

fn unavailable(code: &'static str, detail: &'static str) -> Refusal {
    let hint = "try again in a while; what the app did by then is done";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, detail, hint)
}

/// The visitor may not go on.
pub(super) fn ended_refusal() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "session-ended",
        "your leave for this tunnel has ended",
        "load the page again to ask for it anew",
    )
}

pub(super) fn dead_refusal(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "publisher-away",
        format!("the publisher of `{name}` has lost its connection"),
        "its name is kept for it; try again in a few seconds",
    )
}

pub(super) fn link_refusal(name: &TunnelName, error: &LinkError) -> Refusal {
    if matches!(error, LinkError::Full) {
        return Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tunnel-full",
            format!(
                "the connections of the publisher of `{name}` carry all that they can, or you have your share of it"
            ),
            "try again in a few seconds, with fewer at a time; its owner can give it more connections (publish --connections)",
        );
    }
    if matches!(error, LinkError::Origin { fault: OriginFault::NoUpgrade }) {
        return Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "no-upgrade",
            format!("the app behind `{name}` speaks HTTP/2, out of which nothing upgrades"),
            "its owner can publish it as an app of HTTP/1.1, if it speaks that too",
        );
    }
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "publisher-failed",
        format!("the tunnel `{name}` broke off: {error}"),
        "try again; if it stays so, its owner should look at the publisher",
    )
}

pub(super) fn unready_refusal(unready: &Unready) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        unready.code(),
        unready.in_public(),
        "a session that cannot be recorded and signed is not opened; the operator finds the reason in the gateway's log",
    )
}

pub(super) fn behind_refusal() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "audit-behind",
        "more requests wait to be recorded than the gateway lets wait",
        "try again in a few seconds; if it stays so, the gateway's operator should look at the ledger",
    )
}

pub(super) fn not_recorded_refusal() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ledger-down",
        "the request was made, but it could not be recorded, and this tunnel answers only what is recorded",
        "try again, and if it stays so, tell the gateway's operator; what the app did is done",
    )
}

pub(super) fn open_refusal(error: &OpenError) -> Refusal {
    match error {
        OpenError::PermitDied => ended_refusal(),
        OpenError::TooMany { .. } => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-sessions",
            error.to_string(),
            "close some of them; the operator can allow more (limits.sessions_per_user)",
        ),
        OpenError::NotRecorded(_) | OpenError::Stopping => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            if matches!(error, OpenError::Stopping) { "stopping" } else { "ledger-down" },
            error.to_string(),
            "a session that cannot be recorded is not opened; try again, and if it stays so, tell the gateway's operator",
        ),
    }
}
