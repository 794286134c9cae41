//! The admin API, which the command line works with, and the web console, whose pages call the same functions.
//!
//! Promised: every call names a person by token and passes policy; whatever changes something is recorded; errors are
//! problem documents (RFC 9457) with a stable code, a sentence and a hint. Trusted: nothing but the token.

mod caller;
mod certificates;
mod devices;
mod disclosing;
mod errors;
mod extract;
mod glass;
mod grants;
mod health;
mod keys;
mod ledger;
mod policy;
mod rates;
mod records;
mod reports;
mod requests;
mod retention;
mod reviews;
mod search;
mod sessions;
mod shares;
mod status;
mod subjects;
mod tokens;
mod tunnels;
mod web;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use sallyport_audit::Ledger;
use sallyport_audit::ledger::{ScrubNow, Scrubbed};
use sallyport_audit::sink::SinkStatus;
use sallyport_audit::witnessing::Witnessed;
use sallyport_hsm::Keys;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Tenant};
use crate::edge::{Attempts, Rates};
use crate::session::{Broker, Readiness, Routes};
use crate::tunnel::client::{ROOTS_PATH, SUCCESSION_PATH};

/// A call carries a few words, never a document.
const LARGEST_BODY: usize = 64 * 1024;

/// What the API works with.
pub struct Parts {
    /// Tenant of this gateway.
    pub tenant: Tenant,
    /// Identities, requests, grants.
    pub access: Access,
    /// Lists and replaces the gateway's keys.
    pub key_desk: Arc<dyn KeyDesk>,
    /// Live sessions.
    pub broker: Broker,
    /// Published tunnels.
    pub routes: Routes,
    /// Records.
    pub ledger: Ledger,
    /// Where the ledger lies, for proofs.
    pub ledger_directory: std::path::PathBuf,
    /// The key that auditors check the ledger with, as `name+hash+key`.
    pub verifier_key: String,
    /// The settings in force, without what is secret.
    pub settings: Vec<(String, String)>,
    /// Key inventory.
    pub keys: Keys,
    /// The data keys of people.
    pub data_keys: Arc<dyn DataKeys>,
    /// What may stand against an erasure.
    pub holds: Arc<dyn Holds>,
    /// Minimum ages, legal holds and pruning.
    pub retention: Retention,
    /// Makes evidence packs.
    pub reports: Arc<dyn ReportDesk>,
    /// Erasures that are still to be recorded.
    pub untold: Untold,
    /// Held while somebody is erased: one at a time.
    pub erasing: tokio::sync::Mutex<()>,
    /// Places for calls that read much of the ledger.
    pub readers: tokio::sync::Semaphore,
    /// Whether new sessions can be served.
    pub readiness: Readiness,
    /// What reads the ledger again.
    pub scrub: Scrub,
    /// Who else sees the ledger; `None` if nobody was configured.
    pub witnesses: Option<Watched>,
    /// SIEM sinks.
    pub sinks: Vec<watch::Receiver<SinkStatus>>,
    /// Failed authentications by address.
    pub attempts: Arc<Attempts>,
    /// Calls by person and address.
    pub rates: Rates,
    /// Places for pages that are kept up to date.
    pub streams: Arc<tokio::sync::Semaphore>,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
    /// Default life of a token.
    pub token_life: std::time::Duration,
    /// Public domain.
    pub domain: String,
}

pub use keys::{KeyDesk, KeyOrder, KeyProblem, KeyTrouble};
pub use reports::{ReportDesk, ReportOrder, ReportProblem, ReportView};
pub use retention::{HoldView, PlanView, Retention, StayView, Steward, TallyView, Trouble};
pub use subjects::{DataKeys, Holds, Untold};

/// How far witnessing has come, and what follows when it does not.
pub struct Watched {
    /// `fail-open` or `fail-closed`.
    pub policy: &'static str,
    /// How far it has come.
    pub status: watch::Receiver<Witnessed>,
}

/// What the last scrub found, and the way to ask for one.
pub struct Scrub {
    /// What it found.
    pub status: watch::Receiver<Scrubbed>,
    /// Begins one.
    pub now: ScrubNow,
}

/// How many calls may read much of the ledger at a time: each takes a thread, and memory by the megabyte.
pub const READERS: usize = 2;

/// How many pages of the console are kept up to date at a time.
pub use web::STREAMS;

type Shared = Arc<Parts>;

/// The routes of the gateway's own host, and those among them that tell of its health alone.
pub fn routers(parts: Parts) -> (Router, Router) {
    let shared = Arc::new(parts);
    (api(Arc::clone(&shared)), probes().with_state(shared))
}

fn probes() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/readyz.json", get(health::ready_json))
}

fn api(shared: Shared) -> Router {
    probes()
        .route("/api/v1/whoami", get(status::whoami))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/requests", get(requests::list).post(requests::ask))
        .route("/api/v1/requests/{id}", get(requests::one))
        .route("/api/v1/requests/{id}/approve", post(requests::approve))
        .route("/api/v1/requests/{id}/deny", post(requests::deny))
        .route("/api/v1/requests/{id}/withdraw", post(requests::withdraw))
        .route("/api/v1/glass", get(glass::list).post(glass::break_it))
        .route("/api/v1/glass/{id}/review", post(glass::review))
        .route("/api/v1/grants", get(grants::list))
        .route("/api/v1/grants/{id}/revoke", post(grants::revoke))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{id}/kill", post(sessions::kill))
        .route("/api/v1/reviews", get(reviews::list).post(reviews::start))
        .route("/api/v1/reviews/{id}", get(reviews::one))
        .route("/api/v1/reviews/{id}/decide", post(reviews::decide))
        .route("/api/v1/reviews/{id}/close", post(reviews::close))
        .route("/api/v1/shares", get(shares::list).post(shares::offer))
        .route("/api/v1/shares/{id}/accept", post(shares::accept))
        .route("/api/v1/shares/{id}/end", post(shares::end))
        .route("/api/v1/tunnels", get(tunnels::list))
        .route("/api/v1/tunnels/{name}/describe", post(tunnels::describe))
        .route("/api/v1/tunnels/{name}/activity", get(tunnels::activity))
        .route("/api/v1/tunnels/{name}/delete", post(tunnels::delete))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::issue))
        .route("/api/v1/tokens/join", post(tokens::join))
        .route("/api/v1/tokens/{id}/revoke", post(tokens::revoke))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/{id}/revoke", post(devices::revoke))
        .route("/api/v1/certificates", get(certificates::list))
        .route("/api/v1/certificates/{id}/revoke", post(certificates::revoke))
        .route("/api/v1/locks", get(policy::locks).post(policy::lock))
        .route("/api/v1/locks/release", post(policy::unlock))
        .route("/api/v1/keys", get(keys::list))
        .route("/api/v1/keys/{role}/rotate", post(keys::rotate))
        .route(SUCCESSION_PATH, get(keys::succession))
        .route(ROOTS_PATH, get(keys::roots))
        .route("/.well-known/jwks.json", get(keys::token_keys))
        .route("/api/v1/policy/reload", post(policy::reload))
        .route("/api/v1/policy/replay", post(policy::replay))
        .route("/api/v1/policy/explain", post(policy::explain))
        .route("/api/v1/policy/proposal", get(policy::pending).post(policy::propose))
        .route("/api/v1/policy/proposal/approve", post(policy::approve))
        .route("/api/v1/ledger/scrub", post(ledger::scrub))
        .route("/api/v1/retention/plan", get(retention::plan))
        .route("/api/v1/retention/run", post(retention::run))
        .route("/api/v1/retention/holds", get(retention::holds).post(retention::hold))
        .route("/api/v1/retention/holds/{name}/release", post(retention::release))
        .route("/api/v1/reports", get(reports::list).post(reports::begin))
        .route("/api/v1/reports/{name}", get(reports::one))
        .route("/api/v1/reports/{name}/pack", get(reports::pack))
        .route("/api/v1/records", get(records::list))
        .route("/api/v1/audit/records", get(search::search))
        .route("/api/v1/records/{seq}/disclose", post(disclosing::disclose))
        .route("/api/v1/subjects/erase", post(subjects::erase))
        .merge(web::pages())
        .fallback(errors::unknown_path)
        .layer(axum::middleware::from_fn(rates::tell))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}
