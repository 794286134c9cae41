//! Errors of the API as problem documents, each with a stable code that `docs/errors.md` lists.

use axum::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::access::{AccessError, AuthError, Refusal as Refused};
use crate::edge::{Correlation, Refusal};

/// An error on its way out, with the id under which the ledger speaks of the call.
pub(super) struct Problem {
    pub(super) refusal: Refusal,
    pub(super) correlation: String,
}

impl Problem {
    pub(super) fn new(
        correlation: &Correlation,
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { refusal: Refusal::new(status, code, detail, hint), correlation: correlation.0.clone() }
    }

    pub(super) fn unauthenticated(correlation: &Correlation, error: &AuthError) -> Self {
        Self::new(correlation, StatusCode::UNAUTHORIZED, error.code(), error.to_string(), error.hint())
    }

    pub(super) fn access(correlation: &Correlation, error: &AccessError) -> Self {
        let (status, code) = match error {
            AccessError::Refused(refusal) => (refusal_status(refusal), refusal.code()),
            AccessError::PolicyNotApproved { .. } => (StatusCode::CONFLICT, "policy-not-approved"),
            AccessError::Policy(_) => (StatusCode::UNPROCESSABLE_ENTITY, "policy-faults"),
            AccessError::NotRecorded { .. } | AccessError::Unrecorded | AccessError::Replay(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "ledger-down")
            }
            AccessError::Sign(_) => (StatusCode::SERVICE_UNAVAILABLE, "hsm-down"),
            AccessError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        Self::new(correlation, status, code, error.to_string(), error.hint())
    }

    pub(super) fn bad_id(correlation: &Correlation, what: &str, text: &str) -> Self {
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(64).collect();
        let detail = format!("`{shown}` is no {what}");
        Self::new(correlation, StatusCode::NOT_FOUND, "unknown-id", detail, "copy the id from the list")
    }
}

fn refusal_status(refusal: &Refused) -> StatusCode {
    match refusal {
        Refused::Standing(_) | Refused::NotAPerson => StatusCode::UNAUTHORIZED,
        Refused::NotAllowed { .. }
        | Refused::OwnRequest { .. }
        | Refused::NotEligible { .. }
        | Refused::TooNear { .. }
        | Refused::GlassUnreviewed { .. }
        | Refused::MoreThanOwn { .. }
        | Refused::OwnItem { .. }
        | Refused::NoReviewer { .. }
        | Refused::LockElsewhere { .. }
        | Refused::OwnProposal { .. }
        | Refused::OtherTenant { .. }
        | Refused::SignatureNeeded { .. }
        | Refused::SignatureWrong { .. } => StatusCode::FORBIDDEN,
        Refused::NoSuchRequest { .. }
        | Refused::NoSuchGrant { .. }
        | Refused::NoSuchShare { .. }
        | Refused::NoSuchReview { .. }
        | Refused::NoSuchItem { .. }
        | Refused::NoSuchToken { .. }
        | Refused::NoSuchProposal { .. }
        | Refused::NoSuchDevice { .. }
        | Refused::NoSuchPasskey { .. } => StatusCode::NOT_FOUND,
        Refused::TooManyPending { .. } | Refused::TooManyToday { .. } | Refused::TenantFull { .. } => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Refused::Minutes { .. }
        | Refused::TicketNeeded { .. }
        | Refused::OwnShare
        | Refused::NoSuchCondition { .. }
        | Refused::TooManyConditions { .. }
        | Refused::NoReviewers { .. }
        | Refused::ReviewTime { .. }
        | Refused::ReviewTooLarge { .. }
        | Refused::ShareTime { .. }
        | Refused::TokenLife
        | Refused::LockEnd
        | Refused::OutsideName { .. }
        | Refused::ReasonNames
        | Refused::NoTokenFor { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::AlreadyApproved { .. }
        | Refused::AlreadyDenied { .. }
        | Refused::GrantBegun { .. }
        | Refused::GlassReviewed { .. }
        | Refused::ItemDecided { .. }
        | Refused::ReviewOver { .. }
        | Refused::TooManyReviews { .. }
        | Refused::ShareExists { .. }
        | Refused::TooManyShares { .. }
        | Refused::NotOffered { .. }
        | Refused::ShareEnded { .. }
        | Refused::EmptyRole { .. }
        | Refused::NotPending { .. }
        | Refused::GrantEnded { .. }
        | Refused::TokenRevoked { .. }
        | Refused::JoinSpent { .. }
        | Refused::DeviceKnown { .. }
        | Refused::DeviceRevoked { .. }
        | Refused::PasskeyKnown
        | Refused::TooManyPasskeys { .. }
        | Refused::PasskeyRevoked { .. }
        | Refused::CertificateRevoked { .. }
        | Refused::NotNeeded { .. }
        | Refused::Duplicate { .. }
        | Refused::PolicyChanged { .. }
        | Refused::RequesterLocked { .. }
        | Refused::LockUnchanged { .. }
        | Refused::OwnLock
        | Refused::OwnErasure
        | Refused::LockHolds { .. }
        | Refused::PolicyNotApproved { .. }
        | Refused::PolicyUnchanged { .. }
        | Refused::PolicyFilesChanged { .. }
        | Refused::ElsewhereToo { .. } => StatusCode::CONFLICT,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.refusal.problem(&self.correlation)
    }
}

/// A path that is ours, and a method that it does not have.
pub(super) async fn unknown_method(Extension(correlation): Extension<Correlation>) -> Problem {
    Problem::new(
        &correlation,
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not have that method",
        "`Allow` names those that it has; /api/v1/openapi.json lists all calls",
    )
}

/// Any other path.
pub(super) async fn unknown_path(Extension(correlation): Extension<Correlation>) -> Problem {
    Problem::new(
        &correlation,
        StatusCode::NOT_FOUND,
        "unknown-path",
        "there is nothing at this path of the gateway",
        "tunnels are at NAME.<domain>, the admin API at /api/v1",
    )
}
