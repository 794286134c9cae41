//! Evidence packs that the running gateway makes: begun by an auditor or at the end of a month, signed by a key in the
//! provider, and taken away as one file.
//!
//! Whoever asks needs leave to audit the ledger; asking and taking away are recorded, and so is the pack itself, with its
//! digest. Whoever gets one need not trust the gateway: `auditctl verify-pack` makes the report again.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::List;
use super::sessions::{Paging, Why};
use crate::access::{Action, Object, Part, Reason};

/// A pack, or one that is being made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Report)]
pub struct ReportView {
    /// Its name, by which it is asked for.
    pub name: String,
    /// `soc2`, `iso27001`, `hipaa`, `pci` or `nist`.
    pub framework: String,
    /// The first instant of its period.
    pub from: String,
    /// The first instant behind it.
    pub to: String,
    /// Where its days begin.
    pub time_zone: String,
    /// `making`, `made` or `failed`.
    pub state: String,
    /// What is being done, or why it failed.
    pub what: String,
    /// How many records the period has.
    pub records: u64,
    /// How much there is to explain: records that are exceptions, each once, and what tables found.
    pub exceptions: u64,
    /// How long the file is.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The public key under whose signature it stands.
    pub signer: String,
    /// Whether the end of a month asked for it, and not somebody.
    #[serde(default)]
    pub scheduled: bool,
}

/// A pack that is no longer kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeletedReport)]
pub(super) struct Gone {
    name: String,
    /// `deleted`.
    state: &'static str,
}

/// What a report is to be about.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportOrder {
    /// `soc2`, `iso27001`, `hipaa`, `pci` or `nist`.
    pub framework: String,
    /// The first day or instant.
    pub from: String,
    /// The last day, included, or the instant at which it ends.
    pub to: String,
    /// The time zone whose days these are; UTC, if nothing is said.
    #[serde(default)]
    pub timezone: Option<String>,
}

/// Of what a pack is made when a month is over.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReportSchedule {
    /// The frameworks; none: no pack is made by itself.
    pub frameworks: Vec<String>,
    /// Whether somebody decided on them while the gateway ran; otherwise they are those of its configuration.
    pub decided: bool,
    /// Where months begin.
    pub time_zone: String,
    /// When the month is over that is now.
    pub next: String,
}

/// What packs are to be made of from now on.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleOrder {
    /// `soc2`, `iso27001`, `hipaa`, `pci`, `nist`; none: no pack is made by itself.
    pub(super) frameworks: Vec<String>,
    /// Why.
    pub(super) reason: String,
}

/// Why a report is not made.
#[derive(Debug, Clone)]
pub enum ReportProblem {
    /// The order makes no sense, for this reason.
    Unusable(String),
    /// The disk does not take it, for this reason.
    Disk(String),
    /// Another one is being made.
    Busy,
    /// As much is kept as may be.
    Full {
        /// So many packs.
        packs: usize,
        /// So many bytes of them.
        bytes: u64,
    },
}

/// Makes packs and keeps them.
pub trait ReportDesk: Send + Sync {
    /// All packs, those that are being made too.
    fn list(&self) -> Vec<ReportView>;
    /// Begins one.
    fn begin(self: Arc<Self>, order: &ReportOrder) -> Result<ReportView, ReportProblem>;
    /// Of what a pack is made when a month is over; or why that can't be told. Blocks.
    fn schedule(&self) -> Result<ReportSchedule, String>;
    /// Decides on it. Blocks.
    fn decide(&self, frameworks: &[String]) -> Result<(), ReportProblem>;
    /// The file of a pack that is made.
    fn file(&self, name: &str) -> Option<PathBuf>;
    /// Deletes a pack that is made; or why it could not. Blocks.
    fn remove(&self, name: &str) -> Result<(), String>;
}

/// Evidence packs, those that are being made too
#[utoipa::path(get, path = "/api/v1/reports", tag = "reports", operation_id = "list_reports", params(Paging),
    responses((status = 200, description = "A page of them", body = List<ReportView>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(paging): Query<Paging>,
) -> Result<Json<List<ReportView>>, Problem> {
    let page = paging.page(&caller)?;
    let packs = all(&shared, &caller).await?;
    Ok(Json(page.of(packs, |view| view.name.clone(), |view| view)))
}

/// All of them, for whoever has asked.
pub(super) async fn all(shared: &Shared, caller: &Caller) -> Result<Vec<ReportView>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    Ok(shared.reports.list())
}

/// Have a pack made of a period
#[utoipa::path(post, path = "/api/v1/reports", tag = "reports", operation_id = "make_report", request_body = ReportOrder,
    responses((status = 202, description = "It is being made", body = ReportView)))]
pub(super) async fn begin(
    State(shared): State<Shared>,
    caller: Caller,
    Body(order): Body<ReportOrder>,
) -> Result<(StatusCode, Json<ReportView>), Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    match Arc::clone(&shared.reports).begin(&order) {
        Ok(view) => Ok((StatusCode::ACCEPTED, Json(view))),
        Err(problem) => Err(refused(&caller, problem)),
    }
}

fn refused(caller: &Caller, problem: ReportProblem) -> Problem {
    match problem {
        ReportProblem::Unusable(why) => caller.unusable(&why),
        ReportProblem::Disk(why) => on_disk(caller, &why),
        ReportProblem::Busy => Problem::new(
            &caller.correlation,
            StatusCode::CONFLICT,
            "report-runs",
            "another report is being made",
            "`sallyport reports list` shows how far it is; ask again when it is made",
        ),
        ReportProblem::Full { packs, bytes } => Problem::new(
            &caller.correlation,
            StatusCode::CONFLICT,
            "reports-full",
            format!("{packs} packs of {bytes} bytes are kept, which is as much as may be"),
            "take one away and delete it (`sallyport reports delete`), or raise reports.most or reports.most_mb",
        ),
    }
}

fn on_disk(caller: &Caller, why: &str) -> Problem {
    Problem::new(
        &caller.correlation,
        StatusCode::INTERNAL_SERVER_ERROR,
        "report-schedule",
        format!("of what packs are made when a month is over can't be read or kept: {why}"),
        "look at the folder that reports.directory names",
    )
}

/// Of what a pack is made when a month is over
#[utoipa::path(get, path = "/api/v1/reports/schedule", tag = "reports", operation_id = "show_report_schedule",
    responses((status = 200, description = "What is made, and when next", body = ReportSchedule)))]
pub(super) async fn schedule(
    State(shared): State<Shared>,
    caller: Caller,
) -> Result<Json<ReportSchedule>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    scheduled(&shared, &caller).await.map(Json)
}

/// The same for whoever has asked.
pub(super) async fn scheduled(shared: &Shared, caller: &Caller) -> Result<ReportSchedule, Problem> {
    let desk = Arc::clone(&shared.reports);
    let read = tokio::task::spawn_blocking(move || desk.schedule()).await;
    read.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| on_disk(caller, &why))
}

/// Decide of what a pack is made when a month is over
///
/// It takes the place of `reports.monthly` in the configuration, also after a restart. Of the last six months what is missing is made at once.
#[utoipa::path(post, path = "/api/v1/reports/schedule", tag = "reports", operation_id = "schedule_reports", request_body = ScheduleOrder,
    responses((status = 200, description = "What is made from now on", body = ReportSchedule)))]
pub(super) async fn decide(
    State(shared): State<Shared>,
    caller: Caller,
    Body(order): Body<ScheduleOrder>,
) -> Result<Json<ReportSchedule>, Problem> {
    let reason: Reason = caller.parse(&order.reason)?;
    let ledger = Object::gateway(Part::Ledger);
    caller.may_with(Action::Admin, &ledger, |draft| draft.reason(reason.as_str())).await?;
    let before = scheduled(&shared, &caller).await.ok();
    let desk = Arc::clone(&shared.reports);
    let decided = tokio::task::spawn_blocking(move || desk.decide(&order.frameworks)).await;
    let decided = decided.unwrap_or_else(|error| Err(ReportProblem::Disk(error.to_string())));
    decided.map_err(|problem| refused(&caller, problem))?;
    let after = scheduled(&shared, &caller).await?;
    caller.changed("schedule_reports", before.as_ref().map(seen), &after).await;
    Ok(Json(after))
}

/// Delete a pack that is made
///
/// The ledger keeps what it was: `report.made` has its digest. The pack of a month is not made again by itself; whoever wants it after all
/// asks for its period.
#[utoipa::path(post, path = "/api/v1/reports/{name}/delete", tag = "reports", operation_id = "delete_report",
    params(("name" = String, Path, description = "Its name")), request_body = Why,
    responses((status = 200, description = "It is gone", body = Gone)))]
pub(super) async fn delete(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Gone>, Problem> {
    let reason: Reason = caller.parse(&why.reason)?;
    let ledger = Object::gateway(Part::Ledger);
    caller.may_with(Action::Admin, &ledger, |draft| draft.reason(reason.as_str())).await?;
    let found = shared.reports.list().into_iter().find(|view| view.name == name && view.state == "made");
    let view = found.ok_or_else(|| Problem::bad_id(&caller.correlation, "report", &name))?;
    let (desk, wanted) = (Arc::clone(&shared.reports), name.clone());
    let failed = |why: String| {
        Problem::new(
            &caller.correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "report-stays",
            format!("the pack could not be deleted: {why}"),
            "look at the folder that reports.directory names",
        )
    };
    let removed = tokio::task::spawn_blocking(move || desk.remove(&wanted)).await;
    removed.unwrap_or_else(|error| Err(error.to_string())).map_err(failed)?;
    let gone = Gone { name, state: "deleted" };
    caller.changed("delete_report", Some(seen(&view)), &gone).await;
    Ok(Json(gone))
}

/// One pack
#[utoipa::path(get, path = "/api/v1/reports/{name}", tag = "reports", operation_id = "show_report",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "How far it is", body = ReportView)))]
pub(super) async fn one(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ReportView>, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let found = shared.reports.list().into_iter().find(|view| view.name == name);
    found.map(Json).ok_or_else(|| Problem::bad_id(&caller.correlation, "report", &name))
}

/// The file of a pack that is made
#[utoipa::path(get, path = "/api/v1/reports/{name}/pack", tag = "reports", operation_id = "take_report",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "A zip file, which `auditctl verify-pack` checks", content_type = "application/zip", body = String)))]
pub(super) async fn pack(
    State(shared): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let unknown = || Problem::bad_id(&caller.correlation, "report", &name);
    let path = shared.reports.file(&name).ok_or_else(unknown)?;
    let file = tokio::fs::File::open(&path).await.map_err(|_| unknown())?;
    let length = file.metadata().await.map_err(|_| unknown())?.len();
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        // A name that we made: letters, digits and hyphens.
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.zip\"")),
    ];
    Ok((headers, Bytes::from_stream(ReaderStream::new(file))).into_response())
}
