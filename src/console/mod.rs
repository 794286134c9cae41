//! The admin API, which the command line works with, and the web console, whose pages call the same functions.
//!
//! Promised: every call names a person by token and passes policy; whatever changes something is recorded; errors are
//! problem documents (RFC 9457) with a stable code, a sentence and a hint. Trusted: nothing but the token.

mod caller;
mod certificates;
mod changes;
mod devices;
mod disclosing;
mod errors;
mod extract;
mod glass;
mod grants;
mod health;
mod hours;
mod idempotency;
mod keys;
mod ledger;
mod listing;
mod log_level;
mod looks;
mod maintenance;
mod metrics;
pub mod openapi;
mod passkeys;
mod policy;
mod rates;
mod records;
mod reports;
mod requests;
mod retention;
mod reviews;
mod revoking;
mod search;
mod sessions;
mod shares;
mod status;
mod subjects;
mod tokens;
mod tunnels;
mod web;
mod whole_body;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use sallyport_audit::Ledger;
use sallyport_audit::detection::DetectingStatus;
use sallyport_audit::ledger::{ScrubNow, Scrubbed};
use sallyport_audit::sink::SinkStatus;
use sallyport_audit::witnessing::Witnessed;
use sallyport_hsm::Keys;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Access, Tenant};
use crate::edge::{Attempts, Lines, Metrics, Rates};
use crate::session::{Broker, Readiness, Routes};

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
    /// The key that auditors check the ledger with now, as `name+hash+key`.
    pub verifier_key: watch::Receiver<String>,
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
    /// Requests that wait for an app.
    pub lines: Lines,
    /// What is logged.
    pub log: LogControl,
    /// What the edge counts.
    pub metrics: Metrics,
    /// SIEM sinks.
    pub sinks: Vec<watch::Receiver<SinkStatus>>,
    /// What was found in records, if anything is looked for.
    pub detections: Option<watch::Receiver<DetectingStatus>>,
    /// Failed authentications by address.
    pub attempts: Arc<Attempts>,
    /// Calls by person and address.
    pub rates: Rates,
    /// Orders that may be given again.
    pub idempotency: Idempotency,
    /// Who read what of late.
    pub looks: Looks,
    /// Places for pages that are kept up to date.
    pub streams: Streams,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
    /// Passkeys that are being made.
    pub makings: Makings,
    /// For which site passkeys are made.
    pub site: crate::access::Site,
    /// When people usually ask for leave.
    pub usual_hours: Hours,
    /// Default life of a token.
    pub token_life: std::time::Duration,
    /// Public domain.
    pub domain: String,
}

pub use hours::Hours;
pub use idempotency::Idempotency;
pub use keys::{KeyDesk, KeyOrder, KeyProblem, KeyTrouble};
pub use log_level::{LogControl, LogDesk};
pub use looks::Looks;
pub use passkeys::{Makings, site};
pub use reports::{ReportDesk, ReportOrder, ReportProblem, ReportSchedule, ReportView};
pub use retention::{HoldView, PlanView, Retention, StayView, Steward, TallyView, Trouble};
pub use subjects::{DataKeys, Holds, Untold};
pub use web::Streams;

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

type Shared = Arc<Parts>;

/// The console's routes.
pub struct Routers {
    /// On the gateway's own host.
    pub console: Router,
    /// Those that tell of its health alone.
    pub probes: Router,
    /// The metrics alone, for whoever asks.
    pub metrics: Router,
}

/// The routes that work with `parts`.
pub fn routers(parts: Parts) -> Routers {
    let shared = Arc::new(parts);
    let metrics = metrics::aside(Arc::clone(&shared));
    Routers { console: api(Arc::clone(&shared)), probes: Router::from(probes()).with_state(shared), metrics }
}

fn probes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::ready_json))
}

/// Every route with its description.
fn described() -> OpenApiRouter<Shared> {
    probes()
        .routes(routes!(status::whoami))
        .routes(routes!(status::status))
        .routes(routes!(log_level::show, log_level::set))
        .routes(routes!(maintenance::announce))
        .routes(routes!(metrics::for_callers))
        .routes(routes!(requests::list, requests::ask))
        .routes(routes!(requests::one))
        .routes(routes!(requests::approve))
        .routes(routes!(requests::deny))
        .routes(routes!(requests::withdraw))
        .routes(routes!(glass::list, glass::break_it))
        .routes(routes!(glass::review))
        .routes(routes!(grants::list))
        .routes(routes!(grants::revoke))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::kill))
        .routes(routes!(reviews::list, reviews::start))
        .routes(routes!(reviews::one))
        .routes(routes!(reviews::decide))
        .routes(routes!(reviews::close))
        .routes(routes!(shares::list, shares::offer))
        .routes(routes!(shares::accept))
        .routes(routes!(shares::end))
        .routes(routes!(tunnels::list))
        .routes(routes!(tunnels::describe))
        .routes(routes!(tunnels::activity))
        .routes(routes!(tunnels::delete))
        .routes(routes!(tokens::list, tokens::issue))
        .routes(routes!(tokens::join))
        .routes(routes!(tokens::revoke))
        .routes(routes!(devices::list))
        .routes(routes!(devices::revoke))
        .routes(routes!(passkeys::list, passkeys::enroll))
        .routes(routes!(passkeys::begin))
        .routes(routes!(passkeys::revoke))
        .routes(routes!(passkeys::challenge))
        .routes(routes!(certificates::list))
        .routes(routes!(certificates::revoke))
        .routes(routes!(policy::locks, policy::lock))
        .routes(routes!(policy::unlock))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::succession))
        .routes(routes!(keys::roots))
        .routes(routes!(keys::token_keys))
        .routes(routes!(policy::reload))
        .routes(routes!(policy::replay))
        .routes(routes!(policy::explain))
        .routes(routes!(policy::pending, policy::propose))
        .routes(routes!(policy::approve))
        .routes(routes!(ledger::scrub))
        .routes(routes!(retention::plan))
        .routes(routes!(retention::run))
        .routes(routes!(retention::holds, retention::hold))
        .routes(routes!(retention::release))
        .routes(routes!(reports::list, reports::begin))
        .routes(routes!(reports::schedule, reports::decide))
        .routes(routes!(reports::one))
        .routes(routes!(reports::pack))
        .routes(routes!(reports::delete))
        .routes(routes!(records::list))
        .routes(routes!(search::search))
        .routes(routes!(disclosing::disclose))
        .routes(routes!(subjects::erase))
        .routes(routes!(openapi::serve))
}

fn api(shared: Shared) -> Router {
    Router::from(described())
        .merge(web::pages())
        .fallback(errors::unknown_path)
        .method_not_allowed_fallback(errors::unknown_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), idempotency::once))
        .layer(axum::middleware::from_fn(rates::tell))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::from_fn(whole_body::first))
        .with_state(shared)
}
