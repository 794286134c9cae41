//! The web console: where admins decide and auditors look, in a browser, on the gateway's own host.
//!
//! Promised: a page has no way of its own to decide or to read. Its handler calls the function that the admin API calls,
//! with the same [`Caller`](super::caller::Caller), so that policy, records and refusals are the same; what policy lets
//! nobody do, the console does not show them. A form counts only from the console's own origin and with the mark of the session that it was made
//! for. Pages hold no script of their own and none from elsewhere, work without any, and can't be framed.
//! Trusted: the session's cookie (`edge::sign_in`), and nothing else that a browser says.
//!
//! Start with [`viewer`] (who looks, and whose form it is), then [`requests`] (a page). [`live`] keeps a part of a page up to date.

mod assets;
mod ended;
mod export;
mod figures;
mod grants;
mod heads;
mod health;
mod ledger;
mod live;
mod measured;
mod page;
mod panel;
mod passkeys;
mod policy;
mod reports;
mod requests;
mod reviews;
mod sessions;
mod timeline;
mod topology;
mod viewer;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use axum::routing::{get, post};

use super::{Shared, errors};
pub use live::Streams;

/// The pages of the console.
pub(super) fn pages() -> Router<Shared> {
    Router::new()
        .route("/", get(home))
        .route("/console", get(home))
        .route("/console/", get(home))
        .route("/console/assets/{name}", get(assets::serve))
        .route("/console/requests", get(requests::page))
        .route("/console/requests/live", get(requests::live))
        .route("/console/requests/{id}/approve", post(requests::approve))
        .route("/console/requests/{id}/challenge", get(passkeys::challenge))
        .route("/console/requests/{id}/deny", post(requests::deny))
        .route("/console/requests/{id}/withdraw", post(requests::withdraw))
        .route("/console/grants", get(grants::page))
        .route("/console/grants/{id}", get(grants::one))
        .route("/console/grants/{id}/revoke", post(grants::revoke))
        .route("/console/passkeys", get(passkeys::page).post(passkeys::make))
        .route("/console/passkeys/begin", post(passkeys::begin))
        .route("/console/passkeys/{id}/revoke", post(passkeys::revoke))
        .route("/console/sessions", get(sessions::page))
        .route("/console/sessions/live", get(sessions::live))
        .route("/console/sessions/export/{form}", get(export::take))
        .route("/console/sessions/tunnel/{name}", get(timeline::page))
        .route("/console/sessions/{id}", get(sessions::one))
        .route("/console/sessions/{id}/kill", post(sessions::kill))
        .route("/console/ledger", get(ledger::page))
        .route("/console/ledger/scrub", post(ledger::scrub))
        .route("/console/ledger/scrub/live", get(ledger::live))
        .route("/console/ledger/{seq}", get(ledger::one))
        .route("/console/ledger/{seq}/proof", get(ledger::proof))
        .route("/console/health", get(health::page))
        .route("/console/keys/{role}/rotate", post(health::rotate))
        .route("/console/policy", get(policy::page))
        .route("/console/policy/propose", post(policy::propose))
        .route("/console/policy/approve", post(policy::approve))
        .route("/console/policy/reload", post(policy::reload))
        .route("/console/reports", get(reports::page).post(reports::make))
        .route("/console/reports/schedule", post(reports::schedule))
        .route("/console/reports/{name}/pack", get(reports::pack))
        .route("/console/reports/{name}/delete", post(reports::delete))
        .route("/console/reviews", get(reviews::page).post(reviews::start))
        .route("/console/reviews/{id}", get(reviews::one))
        .route("/console/reviews/{id}/decide", post(reviews::decide))
        .route("/console/reviews/{id}/close", post(reviews::close))
}

async fn home(
    axum::Extension(correlation): axum::Extension<crate::edge::Correlation>,
    headers: HeaderMap,
) -> Result<Redirect, errors::Problem> {
    // A program that asks for `/` is told where the API is.
    if page::wants_page(&headers) {
        Ok(Redirect::to("/console/requests"))
    } else {
        Err(errors::unknown_path(axum::Extension(correlation)).await)
    }
}

/// What a handler of a page answers.
type Answer = Response;
