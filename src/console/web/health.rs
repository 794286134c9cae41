//! Keys and health: the state of the HSM, every key with where it lives and when it is due, sinks with what they lag behind,
//! the ledger's figures, the settings without their secrets, and what was refused or failed last.

use askama::Template;
use axum::extract::State;
use sallyport_audit::index::search::Order as Direction;
use sallyport_audit::selection::Selection;
use sallyport_audit::sink::SinkStatus;
use sallyport_audit::{Outcome, Search};
use serde_json::Value;

use super::ledger::{Row, row};
use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, page};
use crate::access::{Action, Object, Part};
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path};
use crate::console::keys::{self as api, Rotate};
use crate::console::{Shared, records, search as searching, status};

/// How many refusals and failures are shown.
const DETECTED: usize = 25;

#[derive(Template)]
#[template(path = "console/health.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    ready: bool,
    why_not: String,
    hsm: Vec<(String, String)>,
    keys: Vec<Key>,
    keys_fault: Option<String>,
    may_rotate: bool,
    sinks: Vec<SinkStatus>,
    ledger: Vec<(String, String)>,
    settings: &'a [(String, String)],
    detected: Option<Vec<Row>>,
}

struct Key {
    role: String,
    algorithm: String,
    id: String,
    home: String,
    created: String,
    due: String,
    warning: Option<String>,
    fingerprint: String,
}

pub(super) async fn page(State(shared): State<Shared>, viewer: Viewer) -> Answer {
    match made(&shared, &viewer).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn made(shared: &Shared, viewer: &Viewer) -> Result<Answer, Problem> {
    let told = status::told(shared, &viewer.caller).await?;
    let of = |name: &str| told.get(name).unwrap_or(&Value::Null);
    // The keys have an action of their own: whoever may see the status need not see them.
    let sees_keys = viewer.caller.could(Action::Read, &Object::gateway(Part::Keys));
    let listed = of("keys").as_array().filter(|_| sees_keys);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let ledger =
        [("records", "ledger/records"), ("damaged", "ledger/damaged"), ("read again", "scrub/state")];
    let pointer = |path: &str| told.pointer(&format!("/{path}")).map(text).unwrap_or_default();
    let mut facts: Vec<_> = ledger.map(|(name, path)| (name.to_owned(), pointer(path))).into();
    facts.push((
        "witnesses".to_owned(),
        told.pointer("/witnesses/state").map_or_else(|| "none".to_owned(), text),
    ));
    facts.push(("live sessions".to_owned(), text(of("sessions"))));
    facts.push(("tunnels".to_owned(), text(of("tunnels"))));
    facts.push(("version".to_owned(), text(of("version"))));
    let mut hsm = Vec::new();
    flatten("", of("hsm"), &mut hsm);
    let detected = if viewer.caller.could(Action::Audit, &Object::gateway(Part::Ledger)) {
        Some(detected(shared, viewer).await?)
    } else {
        None
    };
    let page = Page {
        chrome: &viewer.chrome,
        ready: of("ready").as_bool().unwrap_or(false),
        why_not: of("not_ready_because").as_str().unwrap_or_default().to_owned(),
        hsm,
        keys: listed.map(|keys| keys.iter().map(key).collect()).unwrap_or_default(),
        keys_fault: told.pointer("/keys/error").map(text),
        may_rotate: viewer.caller.could(Action::Admin, &Object::gateway(Part::Keys)),
        sinks: shared.sinks.iter().map(|sink| sink.borrow().clone()).collect(),
        ledger: facts,
        settings: if viewer.caller.could(Action::Admin, &Object::gateway(Part::Ledger)) {
            &shared.settings
        } else {
            &[]
        },
        detected,
    };
    Ok(page::show(&page))
}

/// What was refused or failed last.
async fn detected(shared: &Shared, viewer: &Viewer) -> Result<Vec<Row>, Problem> {
    viewer.caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
    let search = Search {
        selection: Selection { results: vec![Outcome::Denied, Outcome::Failure], ..Selection::default() },
        texts: Vec::new(),
        subjects: Vec::new(),
        targets: Vec::new(),
        order: Direction::NewestFirst,
        limit: DETECTED,
    };
    let found = searching::found(shared, &viewer.caller, search).await?;
    Ok(found
        .entries
        .iter()
        .filter_map(|entry| records::joined(entry).ok())
        .map(|record| row(&record))
        .collect())
}

fn key(listed: &Value) -> Key {
    let text = |name: &str| listed.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let day = |name: &str| text(name).get(..10).unwrap_or_default().to_owned();
    let mut home = Vec::new();
    flatten("", listed.get("home").unwrap_or(&Value::Null), &mut home);
    Key {
        role: text("role"),
        algorithm: text("algorithm"),
        id: text("id"),
        home: home.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" "),
        created: day("created"),
        due: day("due"),
        warning: listed.get("warning").and_then(Value::as_str).map(str::to_owned),
        fingerprint: text("fingerprint"),
    }
}

/// A document as lines: the way to each value, and the value.
fn flatten(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&below(&name.replace('_', " ")), value, into));
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, into));
        }
        Value::Null => {}
        Value::String(text) => into.push((path.to_owned(), text.clone())),
        other => into.push((path.to_owned(), other.to_string())),
    }
}

pub(super) async fn rotate(State(shared): State<Shared>, Path(role): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let rotate = Rotate { reason: form.get("reason").unwrap_or_default(), now: form.get("now").is_some() };
    match api::rotate(State(shared), caller, Path(role), Body(rotate)).await {
        Ok(_) => page::see_other("/console/health"),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_lines_and_nothing_of_it_is_lost() {
        let mut lines = Vec::new();
        flatten("", &serde_json::json!({ "a_b": { "c": 1, "d": null }, "e": ["x", true] }), &mut lines);
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(lines, [line("a b c", "1"), line("e 0", "x"), line("e 1", "true")]);
    }
}
