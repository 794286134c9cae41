//! Grants: what stands, and one grant with all that belongs to it: the request, who agreed, the sessions on it and every
//! record that names it.

use askama::Template;
use axum::extract::State;
use sallyport_audit::selection::Selection;

use super::panel::{self, Panel};
use super::requests::minute;
use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, page};
use crate::access::{Action, Grant, GrantFilter, GrantId, GrantStatus, Object, Part};
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path};
use crate::console::grants as api;
use crate::console::sessions::Why;
use crate::session::LiveSession;

/// Grants of one page.
const SHOWN: usize = 200;
/// Records of one dossier on the page.
const RECORDS: usize = 500;

#[derive(Template)]
#[template(path = "console/grants.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    grants: Vec<Line>,
    all: usize,
}

struct Line {
    id: String,
    state: &'static str,
    subject: String,
    what: String,
    starts: String,
    ends: String,
    conditions: String,
    glass: bool,
    /// For one session: whether that is still to come.
    once: Option<&'static str>,
    live: bool,
    request: String,
    workflows: String,
    policy: String,
    ended: String,
}

#[derive(Template)]
#[template(path = "console/grant.html")]
struct One<'a> {
    chrome: &'a Chrome,
    grant: Line,
    reason: String,
    approvals: Vec<String>,
    sessions: Vec<LiveSession>,
    records: Option<Panel>,
}

pub(super) async fn page(State(shared): State<Shared>, viewer: Viewer) -> Answer {
    if let Err(problem) = viewer.caller.looks("grants", |draft| draft).await {
        return page::refuse(&viewer.chrome, &problem);
    }
    let grants = shared.access.grants(&viewer.caller.identity, &GrantFilter::default());
    let all = grants.len();
    // Those that stand are first; both parts are newest first.
    let (live, over): (Vec<_>, Vec<_>) = grants.iter().partition(|grant| grant.status == GrantStatus::Live);
    let grants = live.into_iter().chain(over).take(SHOWN).map(line).collect();
    page::show(&Page { chrome: &viewer.chrome, grants, all })
}

fn line(grant: &Grant) -> Line {
    let because = |reason: &Option<crate::access::Reason>| {
        reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
    };
    let (state, ended) = match &grant.status {
        GrantStatus::Live => ("live", String::new()),
        GrantStatus::Revoked { at, by, reason } => {
            let by = by.as_ref().map_or_else(|| "the operator".to_owned(), ToString::to_string);
            ("revoked", format!("{} by {by}{}", minute(*at), because(reason)))
        }
        GrantStatus::Expired { at } => ("expired", minute(*at)),
        GrantStatus::Lapsed { at } => ("lapsed", minute(*at)),
    };
    Line {
        id: grant.id.to_string(),
        state,
        subject: grant.subject.to_string(),
        what: format!("{} {}", grant.action, grant.object),
        starts: minute(grant.starts),
        ends: minute(grant.ends),
        conditions: grant.conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        glass: grant.glass.is_some(),
        once: grant.once.then_some(if grant.is_spent() { "one session, used" } else { "one session" }),
        live: grant.status == GrantStatus::Live,
        request: grant.request.to_string(),
        workflows: grant.workflows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        policy: grant.policy.to_string(),
        ended,
    }
}

pub(super) async fn one(State(shared): State<Shared>, viewer: Viewer, Path(id): Path<String>) -> Answer {
    match detailed(&shared, &viewer, &id).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn detailed(shared: &Shared, viewer: &Viewer, id: &str) -> Result<Answer, Problem> {
    let caller = &viewer.caller;
    let unknown = || Problem::bad_id(&caller.correlation, "grant that you may see", id);
    let id: GrantId = id.parse().map_err(|_| unknown())?;
    let grant = shared.access.find_grant(&caller.identity, id).ok_or_else(unknown)?;
    let name = grant.id.to_string();
    caller.looks("grant", |draft| draft.grant(name.as_str())).await?;
    let request = shared.access.find_request(&caller.identity, grant.request).map(|view| view.request);
    let approvals = request.as_ref().map(|request| {
        let one = |approval: &crate::access::Approval| {
            let reason = approval.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{} at {}{reason}", approval.by, minute(approval.at))
        };
        request.approvals.iter().map(one).collect::<Vec<_>>()
    });
    let mut sessions = Vec::new();
    if caller.could(Action::Read, &Object::gateway(Part::Sessions)) {
        caller.may(Action::Read, &Object::gateway(Part::Sessions)).await?;
        sessions = shared.broker.live();
        sessions.retain(|session| session.grant.as_deref() == Some(&name));
    }
    let ledger = Object::gateway(Part::Ledger);
    let mut rows = None;
    if caller.could(Action::Audit, &ledger) {
        caller.may_with(Action::Audit, &ledger, |draft| draft.grant(name.as_str())).await?;
        let all = panel::in_ledger("grant", &name);
        let named = Selection { grants: vec![name], ..Selection::default() };
        rows = Some(panel::newest(shared, viewer, named, RECORDS, all).await?.in_order());
    }
    let page = One {
        chrome: &viewer.chrome,
        grant: line(&grant),
        reason: request.map(|request| request.reason.to_string()).unwrap_or_default(),
        approvals: approvals.unwrap_or_default(),
        sessions,
        records: rows,
    };
    Ok(page::show(&page))
}

pub(super) async fn revoke(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let why = Why { reason: form.get("reason").unwrap_or_default() };
    match api::revoke(State(shared), caller, Path(id.clone()), Body(why)).await {
        Ok(_) => page::see_other(&format!("/console/grants/{id}")),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}
