//! The queue of requests: who wants what, why and for how long, what speaks against it, which rule asks for an approval and
//! who else must agree; and what became of earlier ones. Orders go the way of the API's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::passkeys::signature;
use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, live as streaming, page};
use crate::access::{Context, RequestFilter, RequestId, RequestStatus, RequestView};
use crate::clock;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path, Query};
use crate::console::requests as api;
use crate::console::sessions::Why;
use crate::console::{Hours, Shared};

/// How many decided requests a page shows.
const HISTORY: usize = 50;

/// A queue is looked at again at least so often: waiting requests expire, and hints age.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The request that was decided on just now.
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "console/requests.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    done: Option<String>,
    queue: Queue<'a>,
}

#[derive(Template)]
#[template(path = "console/queue.html")]
struct Queue<'a> {
    chrome: &'a Chrome,
    waiting: Vec<Card>,
    elsewhere: Vec<Card>,
    history: Vec<Card>,
    conditions: Vec<String>,
    /// The viewer has a passkey to sign with.
    has_passkey: bool,
}

/// One request as it is shown.
struct Card {
    id: String,
    state: &'static str,
    subject: String,
    what: String,
    reason: String,
    ticket: Option<String>,
    minutes: u32,
    /// Said if it is for no more.
    once: Option<&'static str>,
    asked: String,
    answer_by: String,
    hints: Vec<String>,
    rules: Vec<String>,
    workflows: String,
    waits_for: Vec<String>,
    approvals: Vec<String>,
    others: Vec<String>,
    outcome: String,
    /// The viewer can decide on it.
    decides: bool,
    /// A step that is still open wants an approval that is signed.
    wants_signature: bool,
    /// It is the viewer's own.
    own: bool,
}

pub(super) async fn page(
    State(shared): State<Shared>,
    viewer: Viewer,
    asked: Result<Query<Asked>, Problem>,
) -> Answer {
    let Query(asked) = match asked {
        Ok(asked) => asked,
        Err(problem) => return page::refuse(&viewer.chrome, &problem),
    };
    if let Err(problem) = viewer.caller.looks("requests", |draft| draft).await {
        return page::refuse(&viewer.chrome, &problem);
    }
    let decided = asked.done.and_then(|id| id.parse::<RequestId>().ok());
    let seen = decided.and_then(|id| shared.access.find_request(&viewer.caller.identity, id));
    let page =
        Page { chrome: &viewer.chrome, done: seen.as_ref().map(sentence), queue: queue(&shared, &viewer) };
    page::show(&page)
}

pub(super) async fn live(State(shared): State<Shared>, viewer: Viewer) -> Response {
    streaming::stream(shared, viewer, EVERY, |shared, viewer| queue(shared, viewer).render().ok())
}

pub(super) async fn approve(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let minutes = form.get("minutes").map(|text| caller.parse::<u32>(&text)).transpose();
    let minutes = match minutes {
        Ok(minutes) => minutes,
        Err(problem) => return page::refuse(&chrome, &problem),
    };
    let approval = api::Approval {
        minutes,
        conditions: form.all("condition"),
        once: form.get("once").is_some(),
        reason: form.get("reason"),
        signed: signature(&form),
    };
    let done = api::approve(State(shared), caller, Path(id.clone()), Body(approval)).await;
    decided(&chrome, &id, done)
}

pub(super) async fn deny(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let why = Why { reason: form.get("reason").unwrap_or_default() };
    let done = api::deny(State(shared), caller, Path(id.clone()), Body(why)).await;
    decided(&chrome, &id, done)
}

pub(super) async fn withdraw(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let why = api::MaybeWhy { reason: form.get("reason") };
    let done = api::withdraw(State(shared), caller, Path(id.clone()), Body(why)).await;
    decided(&chrome, &id, done)
}

/// Back to the queue, which says what became of it.
fn decided<T>(chrome: &Chrome, id: &str, done: Result<T, Problem>) -> Answer {
    match done {
        // The id was read as one, so it holds nothing that an address would not.
        Ok(_) => page::see_other(&format!("/console/requests?done={id}")),
        Err(problem) => page::refuse(chrome, &problem),
    }
}

fn queue<'a>(shared: &Shared, viewer: &'a Viewer) -> Queue<'a> {
    let all = shared.access.requests(&viewer.caller.identity, &RequestFilter::default());
    let (mut waiting, mut elsewhere, mut history) = (Vec::new(), Vec::new(), Vec::new());
    for view in &all {
        let pending = view.request.status == RequestStatus::Pending;
        if !pending && history.len() >= HISTORY {
            continue;
        }
        let card = card(shared, viewer, view, &all);
        match (pending, card.decides) {
            (true, true) => waiting.push(card),
            (true, false) => elsewhere.push(card),
            (false, _) => history.push(card),
        }
    }
    // Whoever has waited longest is first.
    waiting.reverse();
    let policy = shared.access.policy();
    let conditions = policy.conditions().map(|condition| condition.name.to_string()).collect();
    let has_passkey = shared.access.has_passkey(&viewer.caller.identity);
    Queue { chrome: &viewer.chrome, waiting, elsewhere, history, conditions, has_passkey }
}

fn card(shared: &Shared, viewer: &Viewer, view: &RequestView, all: &[RequestView]) -> Card {
    let (request, me) = (&view.request, viewer.caller.identity.subject());
    let pending = request.status == RequestStatus::Pending;
    let explained = pending.then(|| {
        let who = (request.subject.clone(), request.claimed.clone());
        let what = (&request.object, request.action);
        shared.access.explain_for(who, request.tenant.clone(), None, what, &Context::at(clock::now()))
    });
    let approval = |approval: &crate::access::Approval| {
        let reason = approval.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let signed = if approval.signed.is_some() { " (signed)" } else { "" };
        format!("{}{signed}{reason}", approval.by)
    };
    Card {
        id: request.id.to_string(),
        state: request.status.as_str(),
        subject: request.subject.to_string(),
        what: format!("{} {}", request.action, request.object),
        reason: request.reason.to_string(),
        ticket: request.ticket.as_ref().map(ToString::to_string),
        minutes: request.minutes,
        once: request.once.then_some("one session"),
        asked: minute(request.at),
        answer_by: minute(request.answer_by),
        hints: if pending { hints(view, all, &shared.usual_hours) } else { Vec::new() },
        rules: explained
            .map(|told| told.rules.iter().map(|rule| format!("{}: {}", rule.place, rule.text)).collect())
            .unwrap_or_default(),
        workflows: request.workflows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        waits_for: view.waits_for.iter().map(ToString::to_string).collect(),
        approvals: request.approvals.iter().map(approval).collect(),
        others: view.eligible.iter().filter(|one| *one != me).map(ToString::to_string).collect(),
        outcome: sentence(view),
        decides: pending && view.eligible.contains(me),
        wants_signature: view.waits_for.iter().any(|step| step.signed),
        own: request.subject == *me,
    }
}

/// A moment, to the minute.
pub(super) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// What became of a request, in one sentence.
fn sentence(view: &RequestView) -> String {
    let request = &view.request;
    let what = format!("{}, {} on {}", request.subject, request.action, request.object);
    match &request.status {
        RequestStatus::Pending if request.approvals.is_empty() => format!("{what}: waits."),
        RequestStatus::Pending => {
            let more: Vec<String> = view.waits_for.iter().map(ToString::to_string).collect();
            format!("{what}: approved so far; waits for {}.", more.join(", "))
        }
        RequestStatus::Granted { grant } => format!("{what}: granted as {grant}."),
        RequestStatus::Rejected { by, reason, .. } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{what}: denied by {by}{reason}")
        }
        RequestStatus::Expired { .. } => format!("{what}: nobody answered in time."),
        RequestStatus::Lapsed { .. } => format!("{what}: ended because records of the ledger were lost."),
        RequestStatus::Withdrawn { .. } => format!("{what}: taken back."),
    }
}

/// The network of an address, as far as addresses of one place usually agree: 24 bits of IPv4, 48 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80)).into(),
    }
}

/// What an approver may want to think about, from the requests that they see. None of it decides anything.
fn hints(view: &RequestView, all: &[RequestView], usual: &Hours) -> Vec<String> {
    let request = &view.request;
    let earlier: Vec<_> = all
        .iter()
        .map(|other| &other.request)
        .filter(|other| {
            other.id != request.id && other.subject == request.subject && other.object == request.object
        })
        .collect();
    let granted = earlier.iter().filter(|other| matches!(other.status, RequestStatus::Granted { .. }));
    let longest = granted.clone().map(|other| other.minutes).max();
    let refused =
        earlier.iter().filter(|other| matches!(other.status, RequestStatus::Rejected { .. })).count();
    let mut hints = Vec::new();
    match longest {
        None => hints.push("first time on this tunnel".to_owned()),
        Some(longest) if request.minutes > longest => {
            hints.push(format!("longer than ever before ({longest} min)"));
        }
        Some(_) => {}
    }
    if refused > 0 {
        hints.push(format!("refused {refused} time{} before", if refused == 1 { "" } else { "s" }));
    }
    hints.extend(usual.hint(request.at));
    let known: BTreeSet<IpAddr> = all
        .iter()
        .map(|other| &other.request)
        .filter(|other| other.subject == request.subject && other.at < request.at)
        .filter_map(|other| other.source.map(network))
        .collect();
    if request.source.is_some_and(|from| !known.is_empty() && !known.contains(&network(from))) {
        hints.push("unusual network: none of their earlier requests came from there".to_owned());
    }
    if let Some(grant) = request.renews {
        hints.push(format!("renews {grant}"));
    }
    if !request.escalated.is_empty() {
        hints.push("escalated: nobody had answered".to_owned());
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_place_are_one_network_however_they_are_written() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("203.0.113.7"), of("203.0.113.200"));
        assert_eq!(of("203.0.113.7"), of("::ffff:203.0.113.9"));
        assert_ne!(of("203.0.113.7"), of("203.0.114.7"));
        assert_eq!(of("2001:db8:7:1::1"), of("2001:db8:7:ffff::2"));
        assert_ne!(of("2001:db8:7::1"), of("2001:db8:8::1"));
    }
}
