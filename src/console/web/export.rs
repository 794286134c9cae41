//! What the page of sessions shows, to keep: sessions and figures, by the same filter and of the same time. JSON holds both; CSV one of them.
//!
//! Sessions are those that are open, and, for those who may audit the ledger, those that ended in that time: what their closing records
//! say. Who takes an export is recorded before it is made.

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use jiff::{SignedDuration, Timestamp};
use sallyport_audit::{Entry, Personal};
use serde::Serialize;
use serde_json::{Value, json};

use super::ended;
use super::figures::Figures;
use super::measured::{self, Filter, Span};
use super::viewer::Viewer;
use super::{Answer, page};
use crate::access::{Action, Object, Part};
use crate::clock;
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::{Path, Query};
use crate::session::LiveSession;

/// One session.
#[derive(Debug, Serialize)]
struct Session {
    id: String,
    /// `open` or `closed`; in a table that has not all of them, `partial` in its last row.
    state: &'static str,
    subject: Option<String>,
    tunnel: String,
    /// Of an open one.
    protocol: Option<&'static str>,
    grant: Option<String>,
    /// Of an open one.
    source: Option<String>,
    opened: Option<Timestamp>,
    closed: Option<Timestamp>,
    /// Why it ended.
    reason: Option<String>,
    bytes_up: u64,
    bytes_down: u64,
    requests: u64,
}

impl Session {
    /// What stands for those that an export has no room for.
    fn more() -> Self {
        Self {
            id: String::new(),
            state: "partial",
            subject: None,
            tunnel: String::new(),
            protocol: None,
            grant: None,
            source: None,
            opened: None,
            closed: None,
            reason: Some("more ended before these: ask for a shorter time".to_owned()),
            bytes_up: 0,
            bytes_down: 0,
            requests: 0,
        }
    }
}

const COLUMNS: [&str; 13] = [
    "id",
    "state",
    "subject",
    "tunnel",
    "protocol",
    "grant",
    "source",
    "opened",
    "closed",
    "reason",
    "bytes_up",
    "bytes_down",
    "requests",
];

pub(super) async fn take(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(form): Path<String>,
    filter: Result<Query<Filter>, Problem>,
) -> Answer {
    match made(&shared, &viewer, &form, filter).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn made(
    shared: &Shared,
    viewer: &Viewer,
    form: &str,
    filter: Result<Query<Filter>, Problem>,
) -> Result<Answer, Problem> {
    let Query(filter) = filter?;
    let (filter, caller, now) = (filter.read(), &viewer.caller, clock::now());
    caller.may(Action::Read, &Object::gateway(Part::Sessions)).await?;
    let span = filter.span(now).map_err(|fault| caller.unusable(&fault))?;
    let audits = caller.could(Action::Audit, &Object::gateway(Part::Ledger));
    Ok(match form {
        "json" => {
            let (sessions, partial) = sessions(shared, viewer, &filter, span, audits).await?;
            let figures = if audits { Some(figures(shared, viewer, &filter, span).await?) } else { None };
            let text = document(&filter, span, (&sessions, partial), figures.as_ref());
            kept("application/json", "sessions.json", text)
        }
        "csv" => {
            let (sessions, partial) = sessions(shared, viewer, &filter, span, audits).await?;
            kept("text/csv; charset=utf-8", "sessions.csv", table(&sessions, partial))
        }
        "figures" => {
            caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
            let figures = figures(shared, viewer, &filter, span).await?;
            kept("text/csv; charset=utf-8", "figures.csv", list(span, &figures))
        }
        other => return Err(Problem::bad_id(&caller.correlation, "form of an export", other)),
    })
}

/// Part of a document is not one: unlike the page, an export is not made while others read the ledger.
async fn figures(shared: &Shared, viewer: &Viewer, filter: &Filter, span: Span) -> Result<Figures, Problem> {
    let figures = measured::figures(shared, viewer, filter, span).await?;
    figures.ok_or_else(|| viewer.caller.no_seat())
}

/// All of them, and whether more had ended than one export has.
async fn sessions(
    shared: &Shared,
    viewer: &Viewer,
    filter: &Filter,
    span: Span,
    audits: bool,
) -> Result<(Vec<Session>, bool), Problem> {
    let (mut views, mut live) = (shared.routes.views(), shared.broker.live());
    filter.chosen(&mut views, &mut live);
    live.retain(|session| session.opened < span.to);
    let mut all: Vec<Session> = live.into_iter().map(open).collect();
    let mut partial = false;
    if audits {
        let (records, more) = ended::of(shared, viewer, filter, span, closed).await?;
        all.extend(records);
        partial = more;
    }
    Ok((all, partial))
}

fn open(session: LiveSession) -> Session {
    let LiveSession { id, subject, tunnel, protocol, grant, source, opened, bytes_up, bytes_down, requests } =
        session;
    Session {
        id,
        state: "open",
        subject: Some(subject),
        tunnel,
        protocol: Some(protocol),
        grant,
        source: Some(source),
        opened: Some(opened),
        closed: None,
        reason: None,
        bytes_up,
        bytes_down,
        requests,
    }
}

/// What a closing record says.
fn closed(entry: &Entry) -> Session {
    let record = &entry.record;
    let number = |name: &str| record.details.get(name).and_then(Value::as_u64).unwrap_or_default();
    let lasted = i64::try_from(number("duration_ms")).unwrap_or(i64::MAX);
    let object = record.object.as_deref().unwrap_or_default();
    Session {
        id: record.session.clone().unwrap_or_default(),
        state: "closed",
        subject: entry.personal.text(Personal::Subject).map(str::to_owned),
        tunnel: object.strip_prefix("tunnel:").unwrap_or(object).to_owned(),
        protocol: None,
        grant: record.grant.clone(),
        source: None,
        opened: record.time.checked_sub(SignedDuration::from_millis(lasted)).ok(),
        closed: Some(record.time),
        reason: record.details.get("reason").and_then(Value::as_str).map(str::to_owned),
        bytes_up: number("bytes_up"),
        bytes_down: number("bytes_down"),
        requests: number("requests"),
    }
}

fn document(
    filter: &Filter,
    span: Span,
    (sessions, partial): (&[Session], bool),
    figures: Option<&Figures>,
) -> String {
    let series = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let figures = figures.map(|figures| {
        let [p50, p95, p99] = figures.quantiles_us;
        let [histogram, traffic] = [&figures.histogram, &figures.traffic].map(|text| series(text));
        json!({
            "requests": figures.requests, "partial": figures.partial,
            "p50_us": p50, "p95_us": p95, "p99_us": p99,
            "errors": figures.errors.iter().map(|(kind, count)| ((*kind).to_owned(), (*count).into())).collect::<serde_json::Map<_, _>>(),
            "latency": { "up_to_ms": histogram.get(0), "requests": histogram.get(1) },
            "traffic": { "up_to": traffic.get(0), "requests": traffic.get(1), "errors": traffic.get(2) },
        })
    });
    let whole = json!({
        "from": span.from, "to": span.to,
        "filter": { "tunnel": filter.tunnel, "subject": filter.subject, "publisher": filter.publisher },
        "sessions": sessions, "partial": partial, "figures": figures,
    });
    serde_json::to_string_pretty(&whole).unwrap_or_default()
}

/// Sessions as CSV (RFC 4180). It has no place beside its rows: that it is not the whole, its last row says.
fn table(sessions: &[Session], partial: bool) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    let more = partial.then(Session::more);
    for session in sessions.iter().chain(&more) {
        let value = serde_json::to_value(session).unwrap_or_default();
        line(&mut text, COLUMNS.iter().map(|name| value.get(name).unwrap_or(&Value::Null)));
    }
    text
}

/// Figures as CSV: what, of what, and how many.
fn list(span: Span, figures: &Figures) -> String {
    let mut text = "figure,of,value\r\n".to_owned();
    let mut put =
        |figure: &str, of: Value, value: Value| line(&mut text, [&figure.into(), &of, &value].into_iter());
    put("from", Value::Null, json!(span.from));
    put("to", Value::Null, json!(span.to));
    put("requests", Value::Null, figures.requests.into());
    put("partial", Value::Null, figures.partial.into());
    for (name, value) in ["p50_us", "p95_us", "p99_us"].into_iter().zip(figures.quantiles_us) {
        put(name, Value::Null, json!(value));
    }
    for (kind, count) in &figures.errors {
        put("errors", (*kind).into(), (*count).into());
    }
    let series = |text: &str| serde_json::from_str::<Vec<Vec<i64>>>(text).unwrap_or_default();
    let mut columns = |names: &[&str], series: &[Vec<i64>], of: &dyn Fn(i64) -> Value| {
        let (at, counts) =
            series.split_first().map_or((&[][..], &[][..]), |(at, counts)| (at.as_slice(), counts));
        for (name, counts) in names.iter().zip(counts) {
            for (at, count) in at.iter().zip(counts) {
                put(name, of(*at), (*count).into());
            }
        }
    };
    columns(&["answered within ms"], &series(&figures.histogram), &|bound| bound.into());
    let instant = |second: i64| json!(Timestamp::from_second(second).ok());
    columns(&["requests until", "errors until"], &series(&figures.traffic), &instant);
    text
}

fn line<'v>(text: &mut String, cells: impl Iterator<Item = &'v Value>) {
    text.push_str(&cells.map(cell).collect::<Vec<_>>().join(","));
    text.push_str("\r\n");
}

/// No cell that a spreadsheet would take for a formula.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("\"{}\"", sallyport_compliance::harmless(&text).replace('"', "\"\""))
}

fn kept(kind: &str, name: &str, text: String) -> Response {
    let heads = [
        (CONTENT_TYPE.as_str(), kind.to_owned()),
        (CONTENT_DISPOSITION.as_str(), format!("attachment; filename=\"{name}\"")),
        ("x-content-type-options", "nosniff".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    (axum::response::AppendHeaders(heads), text).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sallyport_audit::{Digest, Values};

    use super::*;

    fn span() -> Span {
        Span { from: Timestamp::UNIX_EPOCH, to: Timestamp::from_second(3_600).unwrap() }
    }

    fn ended() -> Session {
        let record = json!({
            "v": 1, "seq": 7, "time": "2026-11-29T01:00:03Z", "prev": Digest::ZERO, "kind": "session.closed",
            "result": "success", "object": "tunnel:demo", "session": "sess-7", "node": "n",
            "details": { "duration_ms": 3_000, "bytes_up": 1, "bytes_down": 2, "requests": 3, "reason": "idle" },
        });
        let who = BTreeMap::from([(Personal::Subject, "=user:vic".to_owned())]);
        closed(&Entry::new(serde_json::from_value(record).unwrap(), Vec::new(), Values::readable(who)))
    }

    #[test]
    fn no_cell_of_an_export_is_a_formula_or_breaks_out_of_its_place() {
        assert_eq!(cell(&"=HYPERLINK(\"x\")".into()), "\"'=HYPERLINK(\"\"x\"\")\"");
        for text in ["\n=1", "\u{ff1d}1"] {
            assert!(cell(&text.into()).starts_with("\"'"), "{text:?}");
        }
        assert_eq!(cell(&"user:vic".into()), "\"user:vic\"");
        assert_eq!(cell(&7.into()), "\"7\"");
        assert_eq!(cell(&Value::Null), "\"\"");
    }

    #[test]
    fn a_session_that_ended_is_what_its_closing_record_says() {
        let text = table(&[ended()], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], COLUMNS.join(","));
        assert_eq!(
            lines[1],
            "\"sess-7\",\"closed\",\"'=user:vic\",\"demo\",\"\",\"\",\"\",\"2026-11-29T01:00:00Z\",\"2026-11-29T01:00:03Z\",\"idle\",\"1\",\"2\",\"3\""
        );
    }

    #[test]
    fn figures_are_kept_as_the_page_shows_them() {
        let record = |second: i64, status: u16| {
            let time = Timestamp::from_second(second).unwrap().to_string();
            json!({ "time": time, "details": { "elapsed_us": 1_500, "status": status, "whole": true } })
                .to_string()
        };
        let records = [record(3_599, 200), record(3_599, 503)];
        let figures = super::super::figures::of(records.iter().map(String::as_bytes), true, 60, span().to);
        let filter = Filter { tunnel: "demo".to_owned(), ..Filter::default() };
        let whole: Value =
            serde_json::from_str(&document(&filter, span(), (&[ended()], false), Some(&figures))).unwrap();
        assert_eq!(whole["filter"]["tunnel"], "demo");
        assert_eq!(
            (&whole["from"], &whole["to"]),
            (&json!("1970-01-01T00:00:00Z"), &json!("1970-01-01T01:00:00Z"))
        );
        assert_eq!(whole["sessions"][0]["reason"], "idle");
        let told = &whole["figures"];
        assert_eq!(
            (&told["requests"], &told["partial"], &told["p99_us"]),
            (&json!(2), &json!(true), &json!(1_500))
        );
        assert_eq!(told["errors"]["publisher or app away (502 to 504)"], 1);
        assert_eq!(told["traffic"]["errors"].as_array().unwrap().last(), Some(&json!(1)));

        let text = list(span(), &figures);
        for line in [
            "\"requests\",\"\",\"2\"",
            "\"partial\",\"\",\"true\"",
            "\"p50_us\",\"\",\"1500\"",
            "\"answered within ms\",\"2\",\"2\"",
            "\"errors until\",\"1970-01-01T01:00:00Z\",\"1\"",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert_eq!(document(&filter, span(), (&[], false), None).matches("\"figures\": null").count(), 1);
    }

    #[test]
    fn an_export_that_is_not_the_whole_says_so_in_each_of_its_forms() {
        let filter = Filter::default();
        for partial in [false, true] {
            let whole: Value =
                serde_json::from_str(&document(&filter, span(), (&[ended()], partial), None)).unwrap();
            assert_eq!(whole["partial"], partial);
            let text = table(&[ended()], partial);
            assert_eq!(text.lines().count(), if partial { 3 } else { 2 }, "{text}");
            assert_eq!(text.lines().last().unwrap().starts_with("\"\",\"partial\","), partial, "{text}");
        }
    }
}
