//! Retention through the running gateway: what may go, who holds what, and pruning.
//!
//! To look is a matter of auditing; to hold, release and prune is one of administering the ledger. Each call names a person,
//! passes policy and is recorded; the change itself is a record too, and the same one as when the gateway is stopped.
//! One change at a time: what was looked at still holds when it is recorded.
//!
//! What pruning declares is put into archive and ledger at once. The records leave the journal, the store and the index when the
//! gateway is started next, as after a pruning that was interrupted.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use sallyport_audit::ledger::pruning::Pruned;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Draft, Ledger};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Action, Object, Part, Reason};
use crate::clock;

/// A caller waits for pruning so long; it goes on without them.
const PATIENCE: Duration = Duration::from_secs(40);

/// And for another change so long.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// Some records of one kind of fate.
#[derive(Debug, Serialize, Deserialize)]
pub struct TallyView {
    /// How many.
    pub records: u64,
    /// Their length, with what is sealed beside them.
    pub bytes: u64,
    /// The first one's number.
    pub first: Option<u64>,
    /// The last one's.
    pub last: Option<u64>,
}

/// Records that stay, and why.
#[derive(Debug, Serialize, Deserialize)]
pub struct StayView {
    /// In words.
    pub why: String,
    /// Which.
    pub what: TallyView,
}

/// What pruning now would do.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanView {
    /// The rules, in words.
    pub frameworks: Vec<String>,
    /// Their digest.
    pub rules: String,
    /// How many records the ledger has, with those that were pruned.
    pub records: u64,
    /// The first record that is in a segment.
    pub pruned_before: u64,
    /// How many were pruned earlier.
    pub gone: u64,
    /// What is left of the records before this one is written anew; zero if nothing may go.
    pub prune_before: u64,
    /// What may go.
    pub go: TallyView,
    /// What stays.
    pub stay: Vec<StayView>,
}

/// A legal hold that stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct HoldView {
    /// Its name.
    pub hold: String,
    /// Since when.
    pub since: Timestamp,
    /// The record that placed it.
    pub record: u64,
    /// What it holds.
    pub selection: Selection,
}

/// Why retention did not do what it was asked to.
#[derive(Debug)]
pub struct Trouble {
    /// Whether the caller could have asked otherwise.
    pub asked_wrongly: bool,
    /// What failed.
    pub what: String,
    /// What to do next.
    pub hint: String,
}

/// The gateway's rules, archive and sinks, of which retention is made. Every call blocks.
pub trait Steward: Send + Sync {
    /// What may go.
    fn plan(&self, now: Timestamp) -> Result<PlanView, Trouble>;
    /// The holds that stand.
    fn holds(&self) -> Result<Vec<HoldView>, Trouble>;
    /// The record that places a hold.
    fn held(&self, name: &str, reason: &str, selection: &Selection) -> Result<Draft, Trouble>;
    /// The record that lifts one.
    fn released(&self, name: &str, reason: &str) -> Result<Draft, Trouble>;
    /// Archives what may go, and declares it in the name of `subject`. Within a runtime.
    fn prune(&self, ledger: &Ledger, now: Timestamp, subject: &str) -> Result<Pruned, Trouble>;
}

/// Who does it, and whose turn it is to change something.
pub struct Retention {
    steward: Arc<dyn Steward>,
    turn: Arc<Mutex<()>>,
}

impl Retention {
    /// With a steward of its own.
    pub fn new(steward: Arc<dyn Steward>) -> Self {
        Self { steward, turn: Arc::default() }
    }
}

/// `GET /api/v1/retention/plan`.
pub(super) async fn plan(State(shared): State<Shared>, caller: Caller) -> Result<Json<PlanView>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let _seat = caller.seat(&shared.readers)?;
    looked(&shared, &caller, |steward| steward.plan(clock::now())).await.map(Json)
}

/// `GET /api/v1/retention/holds`.
pub(super) async fn holds(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<HoldView>>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let _seat = caller.seat(&shared.readers)?;
    looked(&shared, &caller, |steward: &dyn Steward| steward.holds()).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    #[serde(rename = "hold")]
    name: String,
    reason: String,
    /// As in an export; without any condition, everything.
    #[serde(default)]
    selection: Selection,
}

/// `POST /api/v1/retention/holds`.
pub(super) async fn hold(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Hold>,
) -> Result<Json<Value>, Problem> {
    let reason: Reason = caller.parse(&body.reason)?;
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    change(&shared, caller, move |steward| steward.held(&body.name, reason.as_str(), &body.selection)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    reason: String,
}

/// `POST /api/v1/retention/holds/{name}/release`.
pub(super) async fn release(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<Release>,
) -> Result<Json<Value>, Problem> {
    let reason: Reason = caller.parse(&body.reason)?;
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    change(&shared, caller, move |steward| steward.released(&name, reason.as_str())).await
}

/// `POST /api/v1/retention/run`: goes on when the caller goes away.
pub(super) async fn run(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    let turn = turn(&shared, &caller).await?;
    let (steward, ledger) = (Arc::clone(&shared.retention.steward), shared.ledger.clone());
    let subject = caller.identity.subject().as_str().to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let done = steward.prune(&ledger, clock::now(), &subject);
        match &done {
            Ok(pruned) => tracing::info!(record = %pruned.receipt.seq, manifest = pruned.manifest, "pruned"),
            Err(trouble) => tracing::warn!(error = trouble.what, "the ledger was not pruned"),
        }
        done
    });
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => {
            let done = done.map_err(|error| broken_off(&caller, &error))?;
            let done = done.map_err(|trouble| problem(&caller, trouble))?;
            let answer = json!({ "record": done.receipt.seq, "manifest": done.manifest, "takes_effect": "at the next start" });
            Ok((StatusCode::OK, Json(answer)))
        }
        Err(_) => Ok((StatusCode::ACCEPTED, Json(json!({ "state": "going on" })))),
    }
}

/// Waits a little for whoever changes something just now; pruning may take long.
async fn turn(shared: &Shared, caller: &Caller) -> Result<OwnedMutexGuard<()>, Problem> {
    let turn = Arc::clone(&shared.retention.turn).lock_owned();
    tokio::time::timeout(TURN_PATIENCE, turn).await.map_err(|_| {
        Problem::new(
            &caller.correlation,
            StatusCode::CONFLICT,
            "retention-running",
            "a hold is placed or lifted, or the ledger is pruned, right now",
            "`sallyport log` shows its record when it is done; ask again then",
        )
    })
}

/// Asks the steward something, on a thread that may block.
async fn looked<T: Send + 'static>(
    shared: &Shared,
    caller: &Caller,
    look: impl FnOnce(&dyn Steward) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Problem> {
    let steward = Arc::clone(&shared.retention.steward);
    let looked = tokio::task::spawn_blocking(move || look(steward.as_ref())).await;
    looked.map_err(|error| broken_off(caller, &error))?.map_err(|trouble| problem(caller, trouble))
}

/// Has the steward make a record, and appends it in the caller's name. A person who gave the order and went away gave
/// it all the same.
async fn change(
    shared: &Shared,
    caller: Caller,
    make: impl FnOnce(&dyn Steward) -> Result<Draft, Trouble> + Send + 'static,
) -> Result<Json<Value>, Problem> {
    let turn = turn(shared, &caller).await?;
    let shared = Arc::clone(shared);
    let correlation = caller.correlation.clone();
    let work = tokio::spawn(async move {
        let _turn = turn;
        let draft = looked(&shared, &caller, make).await?;
        let draft =
            draft.subject(caller.identity.subject().as_str()).correlation(caller.correlation.0.as_str());
        let receipt = shared.ledger.append(draft).await.map_err(|error| {
            Problem::new(
                &caller.correlation,
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger-down",
                format!("the change could not be recorded: {error}"),
                error.hint(),
            )
        })?;
        Ok(Json(json!({ "record": receipt.seq })))
    });
    work.await.unwrap_or_else(|error| {
        Err(Problem::new(
            &correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "retention-failed",
            format!("it was broken off: {error}"),
            "`sallyport retention list` says whether it was done",
        ))
    })
}

fn broken_off(caller: &Caller, error: &dyn std::fmt::Display) -> Problem {
    let what = format!("it was broken off: {error}");
    problem(caller, Trouble { asked_wrongly: false, what, hint: "see the gateway's log".to_owned() })
}

fn problem(caller: &Caller, trouble: Trouble) -> Problem {
    let (status, code) = if trouble.asked_wrongly {
        (StatusCode::UNPROCESSABLE_ENTITY, "retention-refused")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "retention-failed")
    };
    Problem::new(&caller.correlation, status, code, trouble.what, trouble.hint)
}
