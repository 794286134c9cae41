//! Asking for leave, and deciding on it. `access` judges and records each of these orders itself.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use sallyport_audit::Digest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::changes::{Seen, seen};
use super::errors::Problem;
use super::extract::{Body, Path, Query};
use super::listing::{List, Page};
use super::passkeys::Answered;
use super::sessions::Why;
use crate::access::state::{Approval as Approved, Denial};
use crate::access::{
    Action, Ask, GrantId, Limits, Object, Reason, RequestFilter, RequestId, RequestStatus, RequestView, Role,
    Step, Subject, Ticket, WorkflowName,
};

/// What somebody asks leave for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Ask)]
pub(super) struct AskBody {
    /// Name of the tunnel.
    #[schema(min_length = 1, max_length = 63)]
    tunnel: String,
    /// Why; the approvers read it.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// For how long.
    minutes: u32,
    /// Id of a ticket elsewhere, where the workflow wants one.
    #[schema(max_length = 64)]
    ticket: Option<String>,
    /// A grant of yours that this one is to take the place of.
    renews: Option<String>,
    /// For one session and no other.
    #[serde(default)]
    once: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those that wait.
    #[param(inline)]
    state: Option<Waiting>,
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Waiting {
    Pending,
}

/// How far an approver agrees.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Approve)]
pub(super) struct Approval {
    /// For how long; at most what was asked for.
    pub(super) minutes: Option<u32>,
    /// Conditions of the policy under which alone the grant gives leave, by their names; `!` before one turns it round.
    #[serde(default)]
    pub(super) conditions: Vec<String>,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: Option<String>,
    /// For one session and no other.
    #[serde(default)]
    pub(super) once: bool,
    /// By a passkey of the approver's own, where the workflow wants it.
    pub(super) signed: Option<Answered>,
}

/// Why, if you want to say.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MaybeWhy {
    /// One line; it is recorded.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: Option<String>,
}

/// Somebody's wish to use a tunnel.
#[derive(Serialize, ToSchema)]
#[schema(as = Request)]
pub(super) struct Shown {
    #[schema(value_type = String)]
    id: RequestId,
    /// `pending`, `granted`, `rejected`, `expired`, `lapsed` or `withdrawn`.
    state: &'static str,
    #[schema(value_type = String)]
    subject: Subject,
    #[schema(value_type = String)]
    object: Object,
    #[schema(value_type = String)]
    action: Action,
    #[schema(value_type = String)]
    reason: Reason,
    #[schema(value_type = Option<String>)]
    ticket: Option<Ticket>,
    minutes: u32,
    /// Leaf hash of its record in the ledger.
    #[schema(value_type = String)]
    record: Digest,
    #[schema(value_type = String, format = DateTime)]
    asked: Timestamp,
    /// What policy demanded when it was asked.
    #[schema(value_type = Vec<String>)]
    workflows: Vec<WorkflowName>,
    /// When it expires if it is not decided by then.
    #[schema(value_type = String, format = DateTime)]
    answer_by: Timestamp,
    /// The grant that it is to take the place of.
    #[schema(value_type = Option<String>)]
    renews: Option<GrantId>,
    /// It is for one session and no other.
    once: bool,
    /// Roles that it was put before because nobody had answered.
    #[schema(value_type = Vec<String>)]
    escalated: BTreeSet<Role>,
    /// Who approved: `by`, `at`, `roles`, and how far.
    #[schema(value_type = Vec<Object>)]
    approvals: Vec<Approved>,
    /// Who said no: `by`, `at`, `reason`.
    #[schema(value_type = Vec<Object>)]
    denials: Vec<Denial>,
    /// The same as `state`, with when, by whom and why.
    #[schema(value_type = Object)]
    decision: RequestStatus,
    /// The grant that came of it.
    #[schema(value_type = Option<String>)]
    grant: Option<GrantId>,
    /// What is missing, under the policy as it is now.
    #[schema(value_type = Vec<Object>)]
    waits_for: Vec<Step>,
    /// Who can help it along.
    #[schema(value_type = Vec<String>)]
    eligible: Vec<Subject>,
}

/// Ask for leave to use a tunnel
#[utoipa::path(post, path = "/api/v1/requests", tag = "requests", operation_id = "ask", request_body = AskBody,
    responses((status = 201, description = "It is put before those who decide", body = Shown)))]
pub(super) async fn ask(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<AskBody>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let ask = Ask {
        object: Object::tunnel(&body.tunnel).map_err(|error| caller.unusable(&error))?,
        action: Action::Connect,
        minutes: body.minutes,
        reason: caller.parse(&body.reason)?,
        ticket: body.ticket.as_deref().map(|ticket| caller.parse(ticket)).transpose()?,
        renews: body.renews.as_deref().map(|grant| caller.parse(grant)).transpose()?,
        once: body.once,
    };
    let through = body.tunnel.parse().ok().and_then(|name| shared.routes.protection(&name));
    let asking = caller.met_through(through.map(Into::into));
    let id = shared.access.request(&asking, ask).await.map_err(|error| caller.refused(&error))?;
    let request = view(find(&shared, &caller, id)?);
    caller.changed("ask", None, &request).await;
    Ok((StatusCode::CREATED, Json(request)))
}

/// Requests: your own, and those of tunnels on which you may `approve` or `audit`
#[utoipa::path(get, path = "/api/v1/requests", tag = "requests", operation_id = "list_requests", params(Filter),
    responses((status = 200, description = "A page of them", body = List<Shown>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, Problem> {
    let page = Page::asked(&caller, filter.limit, filter.cursor.as_deref())?;
    let filter = RequestFilter { pending: filter.state.is_some(), ..RequestFilter::default() };
    let after = page.after(&caller)?;
    caller.reads("list_requests", None).await?;
    let requests = shared.access.requests_after(&caller.identity, &filter, after, page.wanted());
    Ok(Json(page.of(requests, |view| view.request.id.to_string(), view)))
}

/// One request: what it waits for, and who can decide on it
#[utoipa::path(get, path = "/api/v1/requests/{id}", tag = "requests", operation_id = "show_request",
    params(("id" = String, Path, description = "req-…")),
    responses((status = 200, description = "The request", body = Shown)))]
pub(super) async fn one(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let id = parse_id(&caller, &id)?;
    let found = find(&shared, &caller, id)?;
    // Whoever asked waits for the answer, and asks for it every few seconds.
    if found.request.subject != *caller.identity.subject() {
        caller.reads("show_request", Some(&id.to_string())).await?;
    }
    Ok(Json(view(found)))
}

/// Approve a request
#[utoipa::path(post, path = "/api/v1/requests/{id}/approve", tag = "requests", operation_id = "approve_request",
    params(("id" = String, Path, description = "req-…")), request_body = Approval,
    responses((status = 200, description = "The request as it stands now", body = Shown)))]
pub(super) async fn approve(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Approval>,
) -> Result<Json<Shown>, Problem> {
    let id = parse_id(&caller, &id)?;
    let reason = body.reason.as_deref().map(|reason| caller.parse(reason)).transpose()?;
    let conditions = body.conditions.iter().map(|name| caller.parse(name)).collect::<Result<_, _>>()?;
    let limits = Limits { minutes: body.minutes, conditions, once: body.once };
    let signed = body.signed.as_ref().map(|signed| signed.read(&shared, &caller)).transpose()?;
    let before = found(&shared, &caller, id);
    shared
        .access
        .approve_signed(&caller.identity, id, limits, reason, signed)
        .await
        .map_err(|error| caller.refused(&error))?;
    let request = view(find(&shared, &caller, id)?);
    caller.changed("approve_request", before, &request).await;
    Ok(Json(request))
}

/// Deny a request
#[utoipa::path(post, path = "/api/v1/requests/{id}/deny", tag = "requests", operation_id = "deny_request",
    params(("id" = String, Path, description = "req-…")), request_body = Why,
    responses((status = 200, description = "The request as it stands now", body = Shown)))]
pub(super) async fn deny(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(why): Body<Why>,
) -> Result<Json<Shown>, Problem> {
    let id = parse_id(&caller, &id)?;
    let reason = Some(caller.parse(&why.reason)?);
    let before = found(&shared, &caller, id);
    shared.access.reject(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    let request = view(find(&shared, &caller, id)?);
    caller.changed("deny_request", before, &request).await;
    Ok(Json(request))
}

/// Take back a request of your own
#[utoipa::path(post, path = "/api/v1/requests/{id}/withdraw", tag = "requests", operation_id = "withdraw_request",
    params(("id" = String, Path, description = "req-…")), request_body = MaybeWhy,
    responses((status = 200, description = "The request as it stands now", body = Shown)))]
pub(super) async fn withdraw(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Body(why): Body<MaybeWhy>,
) -> Result<Json<Shown>, Problem> {
    let id = parse_id(&caller, &id)?;
    let reason = why.reason.as_deref().map(|reason| caller.parse(reason)).transpose()?;
    let before = found(&shared, &caller, id);
    shared.access.withdraw(&caller.identity, id, reason).await.map_err(|error| caller.refused(&error))?;
    let request = view(find(&shared, &caller, id)?);
    caller.changed("withdraw_request", before, &request).await;
    Ok(Json(request))
}

fn parse_id(caller: &Caller, text: &str) -> Result<RequestId, Problem> {
    text.parse().map_err(|_| Problem::bad_id(&caller.correlation, "request", text))
}

fn find(shared: &Shared, caller: &Caller, id: RequestId) -> Result<RequestView, Problem> {
    shared
        .access
        .find_request(&caller.identity, id)
        .ok_or_else(|| Problem::bad_id(&caller.correlation, "request that you may see", &id.to_string()))
}

/// What it is before an order, if the caller may see it.
fn found(shared: &Shared, caller: &Caller, id: RequestId) -> Option<Seen> {
    shared.access.find_request(&caller.identity, id).map(|found| seen(&view(found)))
}

fn view(view: RequestView) -> Shown {
    let RequestView { request, waits_for, eligible } = view;
    let grant = match &request.status {
        RequestStatus::Granted { grant } => Some(*grant),
        _ => None,
    };
    Shown {
        id: request.id,
        state: request.status.as_str(),
        subject: request.subject,
        object: request.object,
        action: request.action,
        reason: request.reason,
        ticket: request.ticket,
        minutes: request.minutes,
        record: request.record,
        asked: request.at,
        workflows: request.workflows,
        answer_by: request.answer_by,
        renews: request.renews,
        once: request.once,
        escalated: request.escalated,
        approvals: request.approvals,
        denials: request.denials,
        decision: request.status,
        grant,
        waits_for,
        eligible,
    }
}
