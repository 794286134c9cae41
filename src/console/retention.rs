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
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use sallyport_audit::ledger::pruning::Pruned;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Draft, Ledger};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::sessions::{Paging, Why};
use crate::access::{Action, Object, Part, Reason};
use crate::clock;

/// A caller waits for pruning so long; it goes on without them.
const PATIENCE: Duration = Duration::from_secs(40);

/// And for another change so long.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// Some records of one kind of fate.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Tally)]
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Stay)]
pub struct StayView {
    /// In words.
    pub why: String,
    /// Which.
    pub what: TallyView,
}

/// What pruning now would do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RetentionPlan)]
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldView {
    /// Its name.
    pub hold: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The record that placed it.
    pub record: u64,
    /// What it holds.
    #[schema(value_type = Object)]
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

/// What pruning now would do
#[utoipa::path(get, path = "/api/v1/retention/plan", tag = "retention", operation_id = "plan_retention",
    responses((status = 200, description = "What may go, and what stays", body = PlanView)))]
pub(super) async fn plan(State(shared): State<Shared>, caller: Caller) -> Result<Json<PlanView>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let _seat = caller.seat(&shared.readers)?;
    looked(&shared, &caller, |steward| steward.plan(clock::now())).await.map(Json)
}

/// Legal holds that stand
#[utoipa::path(get, path = "/api/v1/retention/holds", tag = "retention", operation_id = "list_holds", params(Paging),
    responses((status = 200, description = "A page of them", body = List<HoldView>)))]
pub(super) async fn holds(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<HoldView>>, Problem> {
    let page = paging.page(&caller)?;
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let _seat = caller.seat(&shared.readers)?;
    let holds = looked(&shared, &caller, |steward: &dyn Steward| steward.holds()).await?;
    Ok(Json(page.of(holds, |hold| hold.hold.clone(), |hold| hold)))
}

/// What to hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PlaceHold)]
pub(super) struct Hold {
    /// Its name.
    #[serde(rename = "hold")]
    name: String,
    /// Why; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// As in an export; without any condition, everything.
    #[serde(default)]
    #[schema(value_type = Object)]
    selection: Selection,
}

/// Hold records against pruning and erasure
#[utoipa::path(post, path = "/api/v1/retention/holds", tag = "retention", operation_id = "place_hold", request_body = Hold,
    responses((status = 200, description = "It stands", body = Recorded)))]
pub(super) async fn hold(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<Hold>,
) -> Result<Json<Recorded>, Problem> {
    let reason: Reason = caller.parse(&body.reason)?;
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    change(&shared, caller, "place_hold", move |steward| {
        steward.held(&body.name, reason.as_str(), &body.selection)
    })
    .await
}

/// Where it stands in the ledger.
#[derive(Serialize, ToSchema)]
pub(super) struct Recorded {
    /// Sequence number of the record.
    record: u64,
}

/// Lift a legal hold
#[utoipa::path(post, path = "/api/v1/retention/holds/{name}/release", tag = "retention", operation_id = "release_hold",
    params(("name" = String, Path, description = "Its name")), request_body = Why,
    responses((status = 200, description = "It is lifted", body = Recorded)))]
pub(super) async fn release(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<Why>,
) -> Result<Json<Recorded>, Problem> {
    let reason: Reason = caller.parse(&body.reason)?;
    caller.may(Action::Admin, &Object::gateway(Part::Ledger)).await?;
    change(&shared, caller, "release_hold", move |steward| steward.released(&name, reason.as_str())).await
}

/// What pruning did.
#[derive(Serialize, ToSchema)]
pub(super) struct Pruning {
    /// `done`, or `going on` if it takes longer than a caller waits.
    state: &'static str,
    /// Sequence number of the record that declares it.
    record: Option<u64>,
    /// The archive's manifest.
    manifest: Option<String>,
    /// When what was pruned leaves the disk.
    takes_effect: Option<&'static str>,
}

/// Archive and prune what may go
///
/// It goes on when the caller goes away.
#[utoipa::path(post, path = "/api/v1/retention/run", tag = "retention", operation_id = "prune",
    responses(
        (status = 200, description = "It is declared", body = Pruning),
        (status = 202, description = "It takes longer than a caller waits, and goes on", body = Pruning),
    ))]
pub(super) async fn run(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<(StatusCode, Json<Pruning>), Problem> {
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
            let answer = Pruning {
                state: "done",
                record: Some(done.receipt.seq.get()),
                manifest: Some(done.manifest),
                takes_effect: Some("at the next start"),
            };
            Ok((StatusCode::OK, Json(answer)))
        }
        Err(_) => Ok((
            StatusCode::ACCEPTED,
            Json(Pruning { state: "going on", record: None, manifest: None, takes_effect: None }),
        )),
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
    call: &'static str,
    make: impl FnOnce(&dyn Steward) -> Result<Draft, Trouble> + Send + 'static,
) -> Result<Json<Recorded>, Problem> {
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
        let recorded = Recorded { record: receipt.seq.get() };
        caller.changed(call, None, &recorded).await;
        Ok(Json(recorded))
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
