//! Tunnels and sessions as they are now: who serves what to whom, how fast, with what errors; one of them in detail; and the
//! switch that ends it. What the ledger says of answered requests becomes latencies and errors.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sallyport_audit::selection::Selection;

use super::figures::size_text;
use super::measured::{self, Filter, Span};
use super::panel::{self, BUSY, Panel};
use super::requests::minute;
use super::topology::{self, Drawing};
use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, figures, live as streaming, page};
use crate::access::{Action, Object, Part};
use crate::clock;
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path, Query};
use crate::console::sessions::{self as api, Why};
use crate::session::{LiveSession, RouteView, SessionId};

/// Rates are told so often.
const EVERY: Duration = Duration::from_secs(2);

/// The most sessions, and the most tunnels, that one page shows; all sessions are in the export.
const SHOWN: usize = 200;

/// The records of one session that its page shows.
const RECORDS: usize = 100;

#[derive(Template)]
#[template(path = "console/sessions.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    filter: &'a Filter,
    query: String,
    /// The whole of it, for exports.
    whole_query: String,
    minutes: u32,
    fault: Option<String>,
    /// Said in the place of figures that are not there.
    busy: Option<&'static str>,
    figures: Option<figures::Figures>,
    table: Table<'a>,
}

#[derive(Template)]
#[template(path = "console/sessions_table.html")]
struct Table<'a> {
    chrome: &'a Chrome,
    may_end: bool,
    drawing: Drawing,
    tunnels: Vec<TunnelRow>,
    all_tunnels: usize,
    rows: Vec<SessionRow>,
    all: usize,
    up: String,
    down: String,
}

struct TunnelRow {
    view: RouteView,
    since: String,
    /// Who, and the query of this page that shows theirs alone.
    visitors: Vec<(String, String)>,
    more: usize,
    sessions: usize,
}

struct SessionRow {
    session: LiveSession,
    opened: String,
    sent: String,
    received: String,
    rate: String,
}

#[derive(Template)]
#[template(path = "console/session.html")]
struct One<'a> {
    chrome: &'a Chrome,
    id: &'a str,
    live: Option<SessionRow>,
    may_end: bool,
    records: Option<Panel>,
}

fn sessions() -> Object {
    Object::gateway(Part::Sessions)
}

pub(super) async fn page(
    State(shared): State<Shared>,
    viewer: Viewer,
    filter: Result<Query<Filter>, Problem>,
) -> Answer {
    match made(&shared, &viewer, filter).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn made(
    shared: &Shared,
    viewer: &Viewer,
    filter: Result<Query<Filter>, Problem>,
) -> Result<Answer, Problem> {
    let Query(filter) = filter?;
    let filter = filter.read();
    viewer.caller.may(Action::Read, &sessions()).await?;
    let minutes = filter.minutes();
    let (mut fault, now) = (None, clock::now());
    let span = match filter.span(now) {
        Ok(span) => span,
        Err(why) => {
            fault = Some(why);
            Span::last(minutes, now)
        }
    };
    let (mut figures, mut busy) = (None, None);
    if viewer.caller.could(Action::Audit, &Object::gateway(Part::Ledger)) {
        figures = measured::figures(shared, viewer, &filter, span).await?;
        busy = figures.is_none().then_some(BUSY);
    }
    let (query, whole_query) = (filter.query(), filter.whole_query());
    let table = table(shared, viewer, &filter, &mut Rates::default());
    let filter = &filter;
    let page =
        Page { chrome: &viewer.chrome, filter, query, whole_query, minutes, fault, busy, figures, table };
    Ok(page::show(&page))
}

pub(super) async fn live(
    State(shared): State<Shared>,
    viewer: Viewer,
    filter: Result<Query<Filter>, Problem>,
) -> Response {
    let filter = filter.map(|Query(filter)| filter).unwrap_or_default().read();
    let mut rates = Rates::default();
    streaming::stream(shared, viewer, EVERY, move |shared, viewer| {
        let allowed = viewer.caller.could(Action::Read, &sessions());
        allowed.then(|| table(shared, viewer, &filter, &mut rates).render().ok()).flatten()
    })
}

pub(super) async fn kill(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let why = Why { reason: form.get("reason").unwrap_or_default() };
    if why.reason.is_empty() {
        return page::refuse(&chrome, &caller.unusable(&"say why the session is to end"));
    }
    match api::kill(State(shared), caller, Path(id.clone()), Body(why)).await {
        Ok(_) => page::see_other(&format!("/console/sessions/{id}")),
        Err(problem) => page::refuse(&chrome, &problem),
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
    let unknown = || Problem::bad_id(&caller.correlation, "session", id);
    let session = SessionId::parse(id).ok_or_else(unknown)?.to_string();
    caller.may_with(Action::Read, &sessions(), |draft| draft.session(session.clone())).await?;
    let live = shared.broker.live().into_iter().find(|one| one.id == session);
    let ledger = Object::gateway(Part::Ledger);
    let mut records = None;
    if caller.could(Action::Audit, &ledger) {
        caller.may_with(Action::Audit, &ledger, |draft| draft.session(session.clone())).await?;
        let named = Selection { sessions: vec![session.clone()], ..Selection::default() };
        let all = panel::in_ledger("session", &session);
        records = Some(panel::newest(shared, viewer, named, RECORDS, all).await?.in_order());
    }
    // Where nothing could be read, nothing is known of it.
    let known = records.as_ref().is_some_and(|records| !records.rows.is_empty() || records.note.is_some());
    if live.is_none() && !known {
        return Err(unknown());
    }
    let page = One {
        chrome: &viewer.chrome,
        id: &session,
        live: live.map(|one| shown(one, None, clock::now())),
        may_end: caller.could(Action::Admin, &sessions()),
        records,
    };
    Ok(page::show(&page))
}

/// What each session had moved at the last look.
#[derive(Default)]
struct Rates {
    last: HashMap<String, (u64, u64)>,
    at: Option<Instant>,
}

fn table<'a>(shared: &Shared, viewer: &'a Viewer, filter: &Filter, rates: &mut Rates) -> Table<'a> {
    let (mut views, mut live) = (shared.routes.views(), shared.broker.live());
    filter.chosen(&mut views, &mut live);
    let ends = live.iter().map(|session| (session.tunnel.as_str(), session.subject.as_str()));
    let drawing = topology::draw(&views, ends);
    let mut visitors: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for session in &live {
        *visitors.entry(session.tunnel.clone()).or_default().entry(session.subject.clone()).or_default() += 1;
    }
    let all_tunnels = views.len();
    let tunnels = views.into_iter().take(SHOWN).map(|view| {
        let of = visitors.get(&view.name).cloned().unwrap_or_default();
        TunnelRow {
            since: minute(view.since),
            sessions: of.values().sum(),
            more: of.len().saturating_sub(8),
            visitors: of.keys().take(8).map(|who| (who.clone(), only(&view.name, who))).collect(),
            view,
        }
    });
    let (now, today) = (clock::monotonic(), clock::now());
    let elapsed = rates.at.map(|at| now.saturating_duration_since(at).as_secs_f64()).filter(|s| *s > 0.1);
    let mut next = HashMap::new();
    let (mut up, mut down) = (0.0, 0.0);
    let mut rows: Vec<SessionRow> = Vec::new();
    let all = live.len();
    for session in live {
        let moved = (session.bytes_up, session.bytes_down);
        let rate = elapsed.and_then(|elapsed| {
            let before = rates.last.get(&session.id)?;
            let per = |now: u64, before: u64| per_second(now.saturating_sub(before), elapsed);
            Some((per(moved.0, before.0), per(moved.1, before.1)))
        });
        up += rate.map_or(0.0, |rate| rate.0);
        down += rate.map_or(0.0, |rate| rate.1);
        next.insert(session.id.clone(), moved);
        rows.push(shown(session, rate, today));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.session.opened));
    rows.truncate(SHOWN);
    *rates = Rates { last: next, at: Some(now) };
    Table {
        chrome: &viewer.chrome,
        may_end: viewer.caller.could(Action::Admin, &sessions()),
        drawing,
        tunnels: tunnels.collect(),
        all_tunnels,
        rows,
        all,
        up: rate_text(up),
        down: rate_text(down),
    }
}

/// The query for one tunnel and one person.
fn only(tunnel: &str, subject: &str) -> String {
    serde_urlencoded::to_string([("tunnel", tunnel), ("subject", subject)]).unwrap_or_default()
}

fn shown(session: LiveSession, rate: Option<(f64, f64)>, now: Timestamp) -> SessionRow {
    SessionRow {
        opened: since(session.opened, now),
        sent: size_text(session.bytes_up),
        received: size_text(session.bytes_down),
        rate: rate.map_or_else(String::new, |rate| rate_text(rate.0 + rate.1)),
        session,
    }
}

/// A moment, with its day if that is not today.
fn since(at: Timestamp, now: Timestamp) -> String {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    at.strftime(if day(at) == day(now) { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" }).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with two digits")]
fn per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds
}

fn rate_text(rate: f64) -> String {
    figures::scaled(rate, "B/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_has_been_open_since_another_day_says_which() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-03-04T00:00:07Z");
        assert_eq!(since(at("2026-03-04T00:00:01Z"), now), "00:00:01 UTC");
        assert_eq!(since(at("2026-03-03T23:59:59Z"), now), "2026-03-03 23:59:59 UTC");
        assert_eq!(since(at("2025-03-04T00:00:01Z"), now), "2025-03-04 00:00:01 UTC");
    }

    #[test]
    fn a_session_can_be_ended_while_others_read_the_ledger() {
        let chrome = Chrome {
            subject: "user:admin".to_owned(),
            domain: "localhost".to_owned(),
            csrf: "mark".to_owned(),
            pages: Vec::new(),
        };
        let session = LiveSession {
            id: "sess-7".to_owned(),
            subject: "user:vic".to_owned(),
            tunnel: "demo".to_owned(),
            protocol: "http",
            grant: None,
            source: "203.0.113.7:1".to_owned(),
            opened: Timestamp::UNIX_EPOCH,
            bytes_up: 0,
            bytes_down: 0,
            requests: 0,
        };
        let records =
            Panel { note: Some(BUSY.to_owned()), all: "/console/ledger".to_owned(), ..Panel::default() };
        let live = Some(shown(session, None, Timestamp::UNIX_EPOCH));
        let page = One { chrome: &chrome, id: "sess-7", live, may_end: true, records: Some(records) };
        let text = page.render().unwrap();
        assert!(text.contains("action=\"/console/sessions/sess-7/kill\"") && text.contains(BUSY), "{text}");
    }
}
