//! Reports to take along: the ledger is verified first, with the key that auditors have, and then read for one framework and
//! period. The same report comes from `auditctl report`, which needs no gateway.

use std::ops::ControlFlow;
use std::path::Path;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{AppendHeaders, IntoResponse as _};
use sallyport_audit::journal::Files;
use sallyport_audit::journal::scan::scan;
use sallyport_audit::note::PublicKey;
use sallyport_audit::verify::{Trust, directory};
use sallyport_audit::{Digest, Record, Seq};
use sallyport_compliance::{Builtin, Period, Reporter, html};
use serde::Deserialize;

use super::viewer::{Chrome, Viewer};
use super::{Answer, page};
use crate::access::{Action, Object, Part};
use crate::clock;
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::Query;

#[derive(Template)]
#[template(path = "console/reports.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    frameworks: Vec<&'static str>,
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    framework: String,
    from: String,
    to: String,
    form: String,
}

pub(super) async fn page(viewer: Viewer) -> Answer {
    let day = |days: i64| {
        let at = clock::now().saturating_sub(jiff::SignedDuration::from_hours(24 * days));
        at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    let frameworks = Builtin::ALL.iter().map(|framework| framework.as_str()).collect();
    page::show(&Page { chrome: &viewer.chrome, frameworks, from: day(90), to: day(0) })
}

pub(super) async fn make(
    State(shared): State<Shared>,
    viewer: Viewer,
    wanted: Result<Query<Wanted>, Problem>,
) -> Answer {
    match made(&shared, &viewer, wanted).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn made(
    shared: &Shared,
    viewer: &Viewer,
    wanted: Result<Query<Wanted>, Problem>,
) -> Result<Answer, Problem> {
    let Query(wanted) = wanted?;
    let caller = &viewer.caller;
    let framework: Builtin = caller.parse(&wanted.framework)?;
    let period = Period::parse(&wanted.from, &wanted.to).map_err(|error| caller.unusable(&error))?;
    let ledger = Object::gateway(Part::Ledger);
    caller.may_with(Action::Audit, &ledger, |draft| draft.detail("report", framework.as_str())).await?;
    let _seat = caller.seat(&shared.readers)?;
    let (place, key, page) =
        (shared.ledger_directory.clone(), shared.verifier_key.clone(), wanted.form == "html");
    let report = tokio::task::spawn_blocking(move || report(&place, &key, framework, period, page)).await;
    let failed = |why: String| {
        let hint = "make it with `auditctl report`, which says more";
        Problem::new(&caller.correlation, StatusCode::INTERNAL_SERVER_ERROR, "report-failed", why, hint)
    };
    let text = report.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    let (kind, end) = if page { ("text/html; charset=utf-8", "html") } else { ("application/json", "json") };
    let name = format!(
        "attachment; filename=\"{}-{}-{}.{end}\"",
        framework.as_str(),
        plain(&wanted.from),
        plain(&wanted.to)
    );
    let heads = [
        (CONTENT_TYPE.to_string(), kind.to_owned()),
        (CONTENT_DISPOSITION.to_string(), name),
        ("cache-control".to_owned(), "no-store".to_owned()),
        ("x-content-type-options".to_owned(), "nosniff".to_owned()),
    ];
    Ok((AppendHeaders(heads), text).into_response())
}

/// What may stand in the name of a file.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(30).collect()
}

/// Blocks, for as long as the ledger takes to be verified.
fn report(place: &Path, key: &str, framework: Builtin, period: Period, page: bool) -> Result<String, String> {
    let key = PublicKey::parse(key).map_err(|error| error.to_string())?;
    let trust = Trust { keys: vec![key], ..Trust::default() };
    let framework = framework.load().map_err(|error| error.to_string())?;
    let verdict = directory(place, &trust).map_err(|error| error.to_string())?;
    let verified = Seq::new(verdict.ledger.records);
    let mut reporter = Reporter::new(&framework, period);
    let mut visit = |seq: Seq, bytes: &[u8], _: &[u8]| {
        // What was written since then belongs to the next report; what can't be read was not verified either.
        let Ok(record) = Record::parse(bytes) else { return ControlFlow::Break(()) };
        if seq >= verified {
            return ControlFlow::Break(());
        }
        reporter.take(&record, Digest::leaf(bytes));
        ControlFlow::Continue(())
    };
    scan(&Files::new(place.to_owned()), Seq::ZERO, &mut visit).map_err(|error| error.to_string())?;
    let report = reporter.finish(verdict);
    if page {
        html(&report).map_err(|error| error.to_string())
    } else {
        report.json().map_err(|error| error.to_string())
    }
}
