//! The ledger, to be looked through: search, one record with its decision explained and its neighbours, and its proof, which
//! the page checks by itself (`assets/verifier.wasm` is the auditor's verifier). Every look is a record, made before anything is shown.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use sallyport_audit::{Entry, Kind, Seq};
use serde::Deserialize;
use serde_json::Value;

use super::heads::{self, Head, WitnessRow};
use super::panel::BUSY;
use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, live as streaming, page};
use crate::access::{Action, Object, Part};
use crate::console::caller::{Caller, found_no_seat};
use crate::console::errors::Problem;
use crate::console::extract::Query;
use crate::console::search::{self as api, Asked};
use crate::console::{Shared, disclosing, ledger as orders, records};

/// How often it is told how far the ledger has been read again.
const EVERY: Duration = Duration::from_secs(1);

/// Records of one page.
const PAGE: usize = 50;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Fields {
    subject: String,
    target: String,
    kind: String,
    result: String,
    action: String,
    object: String,
    session: String,
    grant: String,
    text: String,
    from_time: String,
    to_time: String,
    order: String,
    cursor: String,
}

/// One record in a list.
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) time: String,
    pub(super) kind: String,
    pub(super) result: String,
    pub(super) subject: String,
    pub(super) action: String,
    pub(super) object: String,
    pub(super) why: String,
}

#[derive(Template)]
#[template(path = "console/ledger.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    fields: &'a Fields,
    kinds: Vec<&'static str>,
    rows: Vec<Row>,
    fault: Option<String>,
    more: Option<String>,
    checkpoint: String,
    scrub: Scrub,
    /// Nothing if others read the ledger already.
    heads: Option<Vec<Head>>,
    busy: &'static str,
}

/// How far the ledger is read again, and what was found: kept up to date while somebody looks.
#[derive(Template)]
#[template(path = "console/scrub.html")]
struct Scrub {
    csrf: String,
    size: u64,
    percent: Option<u64>,
    last: String,
    good: bool,
    witnesses: String,
    rows: Vec<WitnessRow>,
    may: bool,
}

#[derive(Template)]
#[template(path = "console/record.html")]
struct One<'a> {
    chrome: &'a Chrome,
    row: Row,
    json: String,
    personal: Vec<(String, String)>,
    erased: Vec<String>,
    /// By the name that `assets/verify.js` finds it under in the record, with a title for people.
    explained: Vec<(String, &'static str, String)>,
    digest: String,
    prev: String,
    previous: Option<Row>,
    next: Option<Row>,
    correlation: Option<String>,
    session: Option<String>,
    key: String,
}

fn ledger() -> Object {
    Object::gateway(Part::Ledger)
}

/// A line of a list from a record as the API shows it.
pub(super) fn row(record: &Value) -> Row {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let plain = |name: &str| text(record.get(name));
    let opened = |name: &str| text(record.get("values").and_then(|values| values.get(name)));
    let detail = |name: &str| text(record.get("details").and_then(|details| details.get(name)));
    let why =
        [opened("reason"), detail("why"), detail("reason"), detail("cause"), detail("code"), detail("says")];
    Row {
        seq: record.get("seq").and_then(Value::as_u64).unwrap_or_default(),
        time: plain("time").get(..19).unwrap_or_default().replace('T', " "),
        kind: plain("kind"),
        result: plain("result"),
        subject: opened("subject"),
        action: plain("action"),
        object: plain("object"),
        why: why.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
    }
}

impl Fields {
    fn asked(&self) -> Asked {
        let given = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        Asked {
            subject: given(&self.subject),
            target: given(&self.target),
            kind: given(&self.kind),
            result: given(&self.result),
            action: given(&self.action),
            object: given(&self.object),
            session: given(&self.session),
            grant: given(&self.grant),
            text: given(&self.text),
            from_time: given(&self.from_time),
            to_time: given(&self.to_time),
            order: given(&self.order),
            limit: Some(PAGE),
            cursor: given(&self.cursor),
            ..Asked::default()
        }
    }

    /// The address of the page that follows.
    fn after(&self, cursor: &str) -> String {
        let fields = [
            ("subject", &self.subject),
            ("target", &self.target),
            ("kind", &self.kind),
            ("result", &self.result),
            ("action", &self.action),
            ("object", &self.object),
            ("session", &self.session),
            ("grant", &self.grant),
            ("text", &self.text),
            ("from_time", &self.from_time),
            ("to_time", &self.to_time),
            ("order", &self.order),
            ("cursor", &cursor.to_owned()),
        ];
        let given: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        format!("/console/ledger?{}", serde_urlencoded::to_string(given).unwrap_or_default())
    }
}

pub(super) async fn page(
    State(shared): State<Shared>,
    viewer: Viewer,
    fields: Result<Query<Fields>, Problem>,
) -> Answer {
    match searched(&shared, &viewer, fields).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn searched(
    shared: &Shared,
    viewer: &Viewer,
    fields: Result<Query<Fields>, Problem>,
) -> Result<Answer, Problem> {
    let Viewer { caller, chrome } = viewer;
    let Query(fields) = fields?;
    let scrub = scrubbed(shared, caller, chrome);
    let (records, cursor, fault) = match api::sought(shared, caller, &fields.asked()).await {
        Ok(found) => (found.items, found.next, None),
        // What was asked cannot be meant: said beside the form that it was written in. Whoever may not look was refused.
        Err(problem) if problem.refusal.code == "unusable-value" => {
            caller.may(Action::Audit, &ledger()).await?;
            (Vec::new(), None, Some(problem.refusal.detail))
        }
        Err(problem) if found_no_seat(&problem) => (Vec::new(), None, Some(BUSY.to_owned())),
        Err(problem) => return Err(problem),
    };
    let heads = heads::newest(shared, viewer).await?;
    let page = Page {
        chrome,
        kinds: Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        rows: records.iter().map(row).collect(),
        fault,
        more: cursor.map(|cursor| fields.after(&cursor)),
        fields: &fields,
        checkpoint: shared.ledger.reader().checkpoint(),
        scrub,
        heads,
        busy: BUSY,
    };
    Ok(page::show(&page))
}

pub(super) async fn one(State(shared): State<Shared>, viewer: Viewer, Path(number): Path<String>) -> Answer {
    match detailed(&shared, &viewer, &number).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn detailed(shared: &Shared, viewer: &Viewer, number: &str) -> Result<Answer, Problem> {
    let seq = seen(viewer, number).await?;
    let first = seq.get().saturating_sub(1);
    let reader = shared.ledger.reader();
    let read = tokio::task::spawn_blocking(move || reader.range(Seq::new(first), 3)).await;
    let failed = |error: &dyn std::fmt::Display| disclosing::unreadable(&viewer.caller, seq, error);
    let entries = read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let of = |wanted: u64| entries.iter().find(|entry| entry.record.seq.get() == wanted);
    let unknown = || Problem::bad_id(&viewer.caller.correlation, "record", number);
    let entry = of(seq.get()).ok_or_else(unknown)?;
    let record = records::joined(entry).map_err(|error| failed(&error))?;
    let neighbour = |entry: &Entry| records::joined(entry).ok().map(|record| row(&record));
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| record.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let erased = record.get("erased").and_then(Value::as_array).cloned().unwrap_or_default();
    let page = One {
        chrome: &viewer.chrome,
        row: row(&record),
        personal: list("values")
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        erased: erased.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        explained: explained(&record),
        json: plain(&entry.bytes),
        digest: entry.digest().to_string(),
        prev: text("prev").unwrap_or_default(),
        previous: seq.get().checked_sub(1).and_then(of).and_then(neighbour),
        next: of(seq.get() + 1).and_then(neighbour),
        correlation: text("correlation"),
        session: text("session"),
        key: shared.verifier_key.borrow().clone(),
    };
    let mut response = page::show(&page);
    page::let_verifier_run(&mut response);
    Ok(response)
}

/// The number, once it is recorded that somebody looks at it.
async fn seen(viewer: &Viewer, number: &str) -> Result<Seq, Problem> {
    let unknown = || Problem::bad_id(&viewer.caller.correlation, "record", number);
    let seq = number.parse().ok().filter(|number| *number < 1_u64 << 53).map(Seq::new).ok_or_else(unknown)?;
    viewer.caller.may_with(Action::Audit, &ledger(), |draft| draft.detail("record", seq.get())).await?;
    Ok(seq)
}

/// The record as it is hashed, laid out for reading.
fn plain(bytes: &[u8]) -> String {
    let value: Result<Value, _> = serde_json::from_slice(bytes);
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_default()
}

/// Details that explain a decision, with what people call them.
const EXPLAINING: [(&str, &str); 10] = [
    ("decision", "Came out as"),
    ("rules", "Rules"),
    ("conditions", "Conditions"),
    ("workflows", "Workflows"),
    ("code", "Code"),
    ("why", "Because"),
    ("needs_approval", "Needs approval"),
    ("shares", "Shares"),
    ("claimed_roles", "Roles from outside"),
    ("severity", "Severity"),
];

/// What the record says of the decision behind it.
fn explained(record: &Value) -> Vec<(String, &'static str, String)> {
    let details = record.get("details").and_then(Value::as_object);
    let mut told: Vec<(String, &'static str, String)> = EXPLAINING
        .into_iter()
        .filter_map(|(name, title)| {
            let text = match details?.get(name)? {
                Value::String(text) => text.clone(),
                Value::Array(all) if all.is_empty() => return None,
                Value::Array(all) => {
                    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    all.iter().map(one).collect::<Vec<_>>().join("\n")
                }
                other => other.to_string(),
            };
            Some((format!("details.{name}"), title, text))
        })
        .collect();
    for (name, title) in [("grant", "Grant"), ("policy", "Policy")] {
        if let Some(text) = record.get(name).and_then(Value::as_str) {
            told.push((name.to_owned(), title, text.to_owned()));
        }
    }
    told
}

/// The proof of one record, as a file and for the page that checks it.
pub(super) async fn proof(
    State(shared): State<Shared>,
    viewer: Viewer,
    Path(number): Path<String>,
) -> Response {
    let proved = async {
        let seq = seen(&viewer, &number).await?;
        let _seat = viewer.caller.seat(&shared.readers)?;
        disclosing::prove(&shared, &viewer.caller, seq).await
    };
    match proved.await {
        Ok(proof) => {
            let heads = [
                (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
            ];
            (heads, proof.to_string()).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn scrubbed(shared: &Shared, caller: &Caller, chrome: &Chrome) -> Scrub {
    let status = shared.scrub.status.borrow().clone();
    let size = shared.ledger.reader().len();
    let watched = shared.witnesses.as_ref().map(|watched| watched.status.borrow().clone());
    let witnesses = watched.as_ref().map(sallyport_audit::witnessing::Witnessed::sentence);
    Scrub {
        csrf: chrome.csrf.clone(),
        size,
        rows: watched.map(|watched| heads::rows(&watched, size)).unwrap_or_default(),
        percent: status.percent(),
        last: status.sentence(),
        good: status.findings.is_good(),
        witnesses: witnesses.unwrap_or_else(|| "no witness is configured".to_owned()),
        may: caller.could(Action::Admin, &ledger()),
    }
}

/// What is told of it while it runs.
pub(super) async fn live(State(shared): State<Shared>, viewer: Viewer) -> Response {
    streaming::stream(shared, viewer, EVERY, |shared, viewer| {
        let allowed = viewer.caller.could(Action::Audit, &ledger());
        allowed.then(|| scrubbed(shared, &viewer.caller, &viewer.chrome).render().ok()).flatten()
    })
}

/// Has the whole ledger read again.
pub(super) async fn scrub(State(shared): State<Shared>, order: Order) -> Answer {
    let Viewer { caller, chrome } = order.viewer;
    match orders::scrub(State(shared), caller).await {
        Ok(_) => page::see_other("/console/ledger"),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_who_and_why_from_wherever_the_record_keeps_it() {
        let record = serde_json::json!({
            "seq": 7, "time": "2026-11-29T01:02:03.456Z", "kind": "session.closed", "result": "success",
            "values": { "subject": "user:vic" }, "details": { "cause": "grant-revoked" }, "object": "tunnel:demo",
        });
        let row = row(&record);
        assert_eq!((row.seq, row.time.as_str()), (7, "2026-11-29 01:02:03"));
        assert_eq!((row.subject.as_str(), row.why.as_str()), ("user:vic", "grant-revoked"));
    }

    #[test]
    fn the_browser_looks_for_every_detail_that_a_page_explains_and_for_no_other() {
        let names = EXPLAINING.map(|(name, _)| format!("\"{name}\"")).join(", ");
        let script = include_str!("assets/verify.js");
        assert!(script.contains(&format!("const DETAILS = [{names}];")), "{names}");
    }

    #[test]
    fn the_next_page_asks_the_same() {
        let fields = Fields {
            kind: "session".into(),
            text: "a&b".into(),
            grant: "grant-7".into(),
            ..Fields::default()
        };
        assert_eq!(fields.after("9"), "/console/ledger?kind=session&grant=grant-7&text=a%26b&cursor=9");
    }
}
