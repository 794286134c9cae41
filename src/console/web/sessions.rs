//! Tunnels and sessions as they are now: who serves what to whom, how fast, with what errors; one of them in detail; and the
//! switch that ends it. What the ledger says of answered requests becomes latencies and errors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use askama::Template;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use jiff::{SignedDuration, Timestamp};
use sallyport_audit::index::search::Order as Direction;
use sallyport_audit::selection::{self, Selection};
use sallyport_audit::{Kind, Search};
use serde::Deserialize;
use serde_json::Value;

use super::ledger::{Row, row};
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
use crate::console::{records, search as searching};
use crate::session::{LiveSession, RouteView, SessionId};

/// Rates are told so often.
const EVERY: Duration = Duration::from_secs(2);

/// The most sessions, and the most tunnels, that one page shows; all sessions are in the export.
const SHOWN: usize = 200;

/// The most requests from which latencies are made.
const SAMPLE: usize = 5_000;

/// The records of one session that its page shows.
const RECORDS: usize = 100;

#[derive(Deserialize, Default, Clone)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    tunnel: String,
    subject: String,
    /// Whose tunnels, with the sessions at them.
    publisher: String,
    minutes: Option<u32>,
    /// Day or instant; with either of these `minutes` says nothing.
    from_time: String,
    to_time: String,
}

#[derive(Template)]
#[template(path = "console/sessions.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    filter: &'a Filter,
    query: String,
    minutes: u32,
    fault: Option<String>,
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
    records: Vec<Row>,
    may_read: bool,
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
    viewer.caller.may(Action::Read, &sessions()).await?;
    let minutes = filter.minutes.unwrap_or(60).clamp(1, 24 * 60);
    let (mut fault, now) = (None, clock::now());
    let span = match Span::of(&filter, minutes, now) {
        Ok(span) => span,
        Err(why) => {
            fault = Some(why);
            Span::last(minutes, now)
        }
    };
    let ledger = Object::gateway(Part::Ledger);
    let figures = if viewer.caller.could(Action::Audit, &ledger) {
        let search = requests_within(&filter, span);
        let asked = asked(&search.selection);
        viewer.caller.may_with(Action::Audit, &ledger, |draft| draft.detail("search", asked)).await?;
        Some(measured(shared, viewer, search, span).await?)
    } else {
        None
    };
    let query = filter.query();
    let table = table(shared, viewer, &filter, &mut Rates::default());
    let page = Page { chrome: &viewer.chrome, filter: &filter, query, minutes, fault, figures, table };
    Ok(page::show(&page))
}

impl Filter {
    /// What of the page's query says which tunnels and sessions are shown.
    fn query(&self) -> String {
        let fields = [("tunnel", &self.tunnel), ("subject", &self.subject), ("publisher", &self.publisher)];
        serde_urlencoded::to_string(fields).unwrap_or_default()
    }
}

/// The time of which figures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    fn last(minutes: u32, now: Timestamp) -> Self {
        let from = now.saturating_sub(SignedDuration::from_mins(i64::from(minutes)));
        Self { from: from.unwrap_or(Timestamp::UNIX_EPOCH), to: now }
    }

    /// What was asked for: from a time on, up to one, or both; a day is taken whole.
    fn of(filter: &Filter, minutes: u32, now: Timestamp) -> Result<Self, String> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (from, to) = (given(&filter.from_time), given(&filter.to_time));
        if from.is_none() && to.is_none() {
            return Ok(Self::last(minutes, now));
        }
        let to = to.map_or(Ok(now), |text| selection::end(&text))?.min(now);
        let from = from.map_or(Ok(Self::last(minutes, to).from), |text| selection::beginning(&text))?;
        if from >= to {
            return Err("the time that was asked for ends before it begins".to_owned());
        }
        Ok(Self { from, to })
    }

    fn minutes(self) -> u32 {
        let minutes = self.to.duration_since(self.from).as_mins().max(1);
        u32::try_from(minutes).unwrap_or(u32::MAX)
    }
}

/// The records of requests in the time that was asked for.
fn requests_within(filter: &Filter, span: Span) -> Search {
    let object = Object::tunnel(&filter.tunnel).ok().map(|object| object.as_str().to_owned());
    Search {
        selection: Selection {
            kinds: vec![Kind::HttpRequest],
            objects: object.into_iter().collect(),
            from_time: Some(span.from),
            to_time: Some(span.to),
            ..Selection::default()
        },
        texts: Vec::new(),
        subjects: Vec::new(),
        targets: Vec::new(),
        order: Direction::NewestFirst,
        limit: SAMPLE,
    }
}

/// The search as it is recorded: ids and times alone.
fn asked(selection: &Selection) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let asked = [
        ("kind", Some(Kind::HttpRequest.as_str().to_owned())),
        ("object", selection.objects.first().cloned()),
        ("from_time", time(selection.from_time)),
        ("to_time", time(selection.to_time)),
    ];
    asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Latencies and errors, from the records of requests. That they are read is recorded.
async fn measured(
    shared: &Shared,
    viewer: &Viewer,
    search: Search,
    span: Span,
) -> Result<figures::Figures, Problem> {
    let page = searching::found(shared, &viewer.caller, search).await?;
    Ok(figures::of(page.entries.iter().map(|entry| entry.bytes.as_ref()), span.minutes(), span.to))
}

pub(super) async fn live(
    State(shared): State<Shared>,
    viewer: Viewer,
    filter: Result<Query<Filter>, Problem>,
) -> Response {
    let filter = filter.map(|Query(filter)| filter).unwrap_or_default();
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
    let may_read = caller.could(Action::Audit, &ledger);
    let mut rows = Vec::new();
    if may_read {
        caller.may_with(Action::Audit, &ledger, |draft| draft.session(session.clone())).await?;
        let search = Search {
            selection: Selection { sessions: vec![session.clone()], ..Selection::default() },
            texts: Vec::new(),
            subjects: Vec::new(),
            targets: Vec::new(),
            order: Direction::OldestFirst,
            limit: RECORDS,
        };
        let page = searching::found(shared, caller, search).await?;
        rows = page
            .entries
            .iter()
            .filter_map(|entry| records::joined(entry).ok())
            .map(|record| row(&record))
            .collect();
    }
    if live.is_none() && rows.is_empty() {
        return Err(unknown());
    }
    let page = One {
        chrome: &viewer.chrome,
        id: &session,
        live: live.map(|one| shown(one, None)),
        may_end: caller.could(Action::Admin, &sessions()),
        records: rows,
        may_read,
    };
    Ok(page::show(&page))
}

/// All live sessions, as the API lists them, to keep.
pub(super) async fn export(State(shared): State<Shared>, viewer: Viewer, Path(form): Path<String>) -> Answer {
    let Viewer { caller, chrome } = viewer;
    let listed = match api::all(&shared, &caller).await {
        Ok(listed) => listed,
        Err(problem) => return page::refuse(&chrome, &problem),
    };
    let (kind, name, text) = if form == "json" {
        ("application/json", "sessions.json", serde_json::to_string_pretty(&listed).unwrap_or_default())
    } else {
        ("text/csv; charset=utf-8", "sessions.csv", csv(&listed))
    };
    let name = format!("attachment; filename=\"{name}\"");
    let nosniff = ("x-content-type-options".to_owned(), "nosniff".to_owned());
    let store = ("cache-control".to_owned(), "no-store".to_owned());
    let heads = [
        (CONTENT_TYPE.to_string(), kind.to_owned()),
        (CONTENT_DISPOSITION.to_string(), name),
        nosniff,
        store,
    ];
    (axum::response::AppendHeaders(heads), text).into_response()
}

/// RFC 4180, and no cell that a spreadsheet would take for a formula.
fn csv(listed: &[api::Shown]) -> String {
    let columns = [
        "id",
        "subject",
        "tunnel",
        "protocol",
        "grant",
        "source",
        "opened",
        "bytes_up",
        "bytes_down",
        "requests",
    ];
    let mut text = columns.join(",") + "\r\n";
    for session in listed {
        let value = serde_json::to_value(session).unwrap_or_default();
        let cell = |name: &&str| cell(value.get(name).unwrap_or(&Value::Null));
        text.push_str(&columns.iter().map(cell).collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// What each session had moved at the last look.
#[derive(Default)]
struct Rates {
    last: HashMap<String, (u64, u64)>,
    at: Option<Instant>,
}

fn table<'a>(shared: &Shared, viewer: &'a Viewer, filter: &Filter, rates: &mut Rates) -> Table<'a> {
    let (tunnel, subject) = (filter.tunnel.trim(), filter.subject.trim());
    let publisher = filter.publisher.trim();
    let mut views = shared.routes.views();
    views.retain(|view| {
        (tunnel.is_empty() || view.name == tunnel) && (publisher.is_empty() || view.owner == publisher)
    });
    let theirs: HashSet<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let mut live = shared.broker.live();
    live.retain(|session| {
        (tunnel.is_empty() || session.tunnel == tunnel)
            && (subject.is_empty() || session.subject.contains(subject))
            && (publisher.is_empty() || theirs.contains(session.tunnel.as_str()))
    });
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
    let now = clock::monotonic();
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
        rows.push(shown(session, rate));
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

fn shown(session: LiveSession, rate: Option<(f64, f64)>) -> SessionRow {
    SessionRow {
        opened: since(session.opened),
        sent: size_text(session.bytes_up),
        received: size_text(session.bytes_down),
        rate: rate.map_or_else(String::new, |rate| rate_text(rate.0 + rate.1)),
        session,
    }
}

fn since(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with two digits")]
fn per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with two digits")]
fn size_text(bytes: u64) -> String {
    figures::scaled(bytes as f64, "B")
}

fn rate_text(rate: f64) -> String {
    figures::scaled(rate, "B/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_an_export_is_a_formula_or_breaks_out_of_its_place() {
        assert_eq!(cell(&"=HYPERLINK(\"x\")".into()), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell(&"user:vic".into()), "\"user:vic\"");
        assert_eq!(cell(&7.into()), "\"7\"");
        assert_eq!(cell(&Value::Null), "\"\"");
    }

    #[test]
    fn figures_are_of_the_minutes_before_now_or_of_the_days_that_were_asked_for() {
        let now: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let of = |from: &str, to: &str| {
            let filter = Filter { from_time: from.into(), to_time: to.into(), ..Filter::default() };
            Span::of(&filter, 60, now)
        };
        assert_eq!(of("", " ").unwrap(), Span { from: at("2026-03-04T11:00:00Z"), to: now });
        let days = of("2026-03-01", "2026-03-02").unwrap();
        assert_eq!(days, Span { from: at("2026-03-01T00:00:00Z"), to: at("2026-03-03T00:00:00Z") });
        assert_eq!(days.minutes(), 2 * 24 * 60);
        assert_eq!(of("2026-03-04", "").unwrap().to, now, "not beyond now");
        assert_eq!(of("", "2026-03-02").unwrap().from, at("2026-03-02T23:00:00Z"), "as many minutes before");
        assert!(of("2026-03-03", "2026-03-01").unwrap_err().contains("ends before it begins"));
        assert!(of("yesterday", "").unwrap_err().contains("2026-01-31"));
    }
}
