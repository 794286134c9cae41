//! Keys and health: the state of the HSM, every key with where it lives and when it is due, sinks with what they lag behind,
//! the ledger's figures, the settings without their secrets, and what was refused or failed last.

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;
use sallyport_audit::journal::Files;
use sallyport_audit::selection::Selection;
use sallyport_audit::sink::SinkStatus;
use sallyport_audit::{Checkpoint, Kind, Outcome};
use sallyport_hsm::Home;
use serde::Deserialize as _;
use serde_json::Value;

use super::panel::{self, Panel};
use super::requests::minute;
use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, figures, page};
use crate::access::{Action, Object, Part};
use crate::clock;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path};
use crate::console::keys::{self as api, Rotate};
use crate::console::{Shared, status};

/// How many refusals and failures are shown.
const SHOWN: usize = 25;
/// How many detections.
const FOUND: usize = 10;

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
    sinks: Vec<SinkRow>,
    rules: Vec<Rule>,
    found: Option<Panel>,
    ledger: Vec<(String, String)>,
    settings: &'a [(String, String)],
    refused: Option<Panel>,
}

/// One receiver, and what waits for it.
struct SinkRow {
    status: SinkStatus,
    lag: String,
    trouble: String,
}

/// One rule of detections.
struct Rule {
    name: String,
    severity: &'static str,
    raised: u64,
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
    let pointer = |path: &str| told.pointer(&format!("/{path}")).map(text).unwrap_or_default();
    let mut facts = vec![("records".to_owned(), pointer("ledger/records"))];
    facts.extend(of_the_files(shared).await);
    facts.push(("damaged".to_owned(), pointer("ledger/damaged")));
    facts.push(("read again".to_owned(), pointer("scrub/state")));
    facts.push((
        "witnesses".to_owned(),
        told.pointer("/witnesses/state").map_or_else(|| "none".to_owned(), text),
    ));
    facts.push(("live sessions".to_owned(), text(of("sessions"))));
    facts.push(("tunnels".to_owned(), text(of("tunnels"))));
    facts.push(("version".to_owned(), text(of("version"))));
    let mut hsm = Vec::new();
    flatten("", of("hsm"), &mut hsm);
    let (mut refused, mut found) = (None, None);
    if viewer.caller.could(Action::Audit, &Object::gateway(Part::Ledger)) {
        viewer.caller.may(Action::Audit, &Object::gateway(Part::Ledger)).await?;
        let results = vec![Outcome::Denied, Outcome::Failure];
        let all = panel::in_ledger("result", "denied");
        refused = Some(
            panel::newest(shared, viewer, Selection { results, ..Selection::default() }, SHOWN, all).await?,
        );
        let kinds = vec![Kind::DetectionRaised];
        let all = panel::in_ledger("kind", "detection.raised");
        found = Some(
            panel::newest(shared, viewer, Selection { kinds, ..Selection::default() }, FOUND, all).await?,
        );
    }
    let now = clock::now();
    let page = Page {
        chrome: &viewer.chrome,
        ready: of("ready").as_bool().unwrap_or(false),
        why_not: of("not_ready_because").as_str().unwrap_or_default().to_owned(),
        hsm,
        keys: listed.map(|keys| keys.iter().map(key).collect()).unwrap_or_default(),
        keys_fault: told.pointer("/keys/error").map(text),
        may_rotate: viewer.caller.could(Action::Admin, &Object::gateway(Part::Keys)),
        sinks: shared.sinks.iter().map(|sink| sink_row(sink.borrow().clone(), now)).collect(),
        rules: rules(shared),
        found,
        ledger: facts,
        settings: if viewer.caller.could(Action::Admin, &Object::gateway(Part::Ledger)) {
            &shared.settings
        } else {
            &[]
        },
        refused,
    };
    Ok(page::show(&page))
}

/// How large the ledger is, and its last signed head.
async fn of_the_files(shared: &Shared) -> Vec<(String, String)> {
    let directory = shared.ledger_directory.clone();
    // Looks at the disk: not on a thread that serves others.
    let size = tokio::task::spawn_blocking(move || {
        let segments = Files::new(directory).segments()?;
        let lengths = segments.iter().map(|segment| segment.path.metadata().map(|found| found.len()));
        lengths.sum::<std::io::Result<u64>>()
    });
    let size = match size.await {
        Ok(Ok(bytes)) => format!("{bytes} ({})", figures::size_text(bytes)),
        Ok(Err(error)) => format!("they cannot be counted: {error}"),
        Err(error) => format!("they cannot be counted: {error}"),
    };
    let head = match Checkpoint::from_note(&shared.ledger.reader().checkpoint()) {
        Ok((head, _)) => format!("{} records, root {}", head.size, head.root),
        Err(error) => format!("it cannot be read: {error}"),
    };
    vec![("bytes of the journal".to_owned(), size), ("last checkpoint".to_owned(), head)]
}

/// What each rule has found since the start, the most first.
fn rules(shared: &Shared) -> Vec<Rule> {
    let Some(status) = &shared.detections else { return Vec::new() };
    let status = status.borrow();
    let mut rules: Vec<Rule> = status
        .raised
        .iter()
        .map(|(name, raised)| Rule {
            name: name.clone(),
            severity: status.severity.get(name).copied().unwrap_or_default(),
            raised: *raised,
        })
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.raised));
    rules
}

fn sink_row(status: SinkStatus, now: Timestamp) -> SinkRow {
    let waiting = status.waiting_since.map(|since| now.duration_since(since).as_secs().max(0));
    let lag = match (status.lag, waiting) {
        (0, _) => "nothing".to_owned(),
        (lag, None) => lag.to_string(),
        (lag, Some(seconds)) => {
            let size = figures::size_text(lag.saturating_mul(status.octets_each));
            format!("{lag}, about {size}, the oldest for {seconds} s")
        }
    };
    let since = status.failing_since.map(|since| format!(" since {}", minute(since))).unwrap_or_default();
    let trouble = status.last_error.as_ref().map(|error| format!("{error}{since}")).unwrap_or_default();
    SinkRow { status, lag, trouble }
}

fn key(listed: &Value) -> Key {
    let text = |name: &str| listed.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let day = |name: &str| text(name).get(..10).unwrap_or_default().to_owned();
    Key {
        role: text("role"),
        algorithm: text("algorithm"),
        id: text("id"),
        home: listed.get("home").map(home).unwrap_or_default(),
        created: day("created"),
        due: day("due"),
        warning: listed.get("warning").and_then(Value::as_str).map(str::to_owned),
        fingerprint: text("fingerprint"),
    }
}

/// Where a key lives. Of a file the name: its folder is among the settings.
fn home(listed: &Value) -> String {
    let Ok(home) = Home::deserialize(listed) else { return String::new() };
    match &home {
        Home::Token { .. } => home.to_string(),
        Home::WrappedByToken { file, .. } | Home::Software { file } => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            format!("{home}: {name}")
        }
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
    fn where_a_key_lives_is_said_in_words_and_a_file_without_its_folder() {
        let token = serde_json::json!({ "kind": "token", "label": "sallyport", "serial": "1f" });
        assert_eq!(home(&token), "token sallyport (serial 1f)");
        let file = "/var/lib/sallyport/keys/ledger-pq.json";
        let wrapped = serde_json::json!({ "kind": "wrapped-by-token", "file": file, "wrapping_key": "02" });
        assert_eq!(home(&wrapped), "file, wrapped by a key in the token: ledger-pq.json");
        assert_eq!(home(&serde_json::json!({ "kind": "drawer" })), "");
    }

    #[test]
    fn a_document_becomes_lines_and_nothing_of_it_is_lost() {
        let mut lines = Vec::new();
        flatten("", &serde_json::json!({ "a_b": { "c": 1, "d": null }, "e": ["x", true] }), &mut lines);
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(lines, [line("a b c", "1"), line("e 0", "x"), line("e 1", "true")]);
    }
}
