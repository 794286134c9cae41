//! One tunnel: how it is now, and its states since it is known, each with when, by whom and why. What is told of it comes from the records
//! `tunnel.*`; who reads them is recorded.

use askama::Template;
use axum::extract::State;
use sallyport_audit::index::search::Order;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Entry, Kind, Search};
use serde_json::Value;

use super::panel::{self, BUSY, unless_busy};
use super::requests::minute;
use super::viewer::{Chrome, Viewer};
use super::{Answer, page};
use crate::access::{Action, Object};
use crate::console::errors::Problem;
use crate::console::extract::Path;
use crate::console::{Shared, records, search as searching};
use crate::session::RouteView;

/// How many turns are shown.
const SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "console/timeline.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    name: &'a str,
    now: Vec<Now>,
    turns: Vec<Turn>,
    note: Option<&'static str>,
    /// Where every record about the tunnel is found.
    all: String,
}

/// One publisher of it, as it is now.
struct Now {
    view: RouteView,
    since: String,
}

/// One change.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    seq: u64,
    time: String,
    /// What it became, in a word.
    state: &'static str,
    /// How that word looks.
    class: &'static str,
    who: String,
    why: String,
}

pub(super) async fn page(State(shared): State<Shared>, viewer: Viewer, Path(name): Path<String>) -> Answer {
    match made(&shared, &viewer, &name).await {
        Ok(answer) => answer,
        Err(problem) => page::refuse(&viewer.chrome, &problem),
    }
}

async fn made(shared: &Shared, viewer: &Viewer, name: &str) -> Result<Answer, Problem> {
    let caller = &viewer.caller;
    let object = Object::tunnel(name).map_err(|error| caller.unusable(&error))?;
    // As with the API's activity of a tunnel.
    let action = if caller.could(Action::Audit, &object) { Action::Audit } else { Action::Share };
    caller.may(action, &object).await?;
    let search = Search {
        selection: Selection {
            kinds: Kind::named("tunnel"),
            objects: vec![object.as_str().to_owned()],
            ..Selection::default()
        },
        order: Order::NewestFirst,
        limit: SHOWN + 1,
        ..Search::default()
    };
    let found = unless_busy(searching::found(shared, caller, search).await)?;
    let mut views = shared.routes.views();
    views.retain(|view| view.name == name);
    let known = found.as_ref().is_none_or(|found| !found.entries.is_empty());
    if views.is_empty() && !known {
        return Err(Problem::bad_id(&caller.correlation, "tunnel that is known", name));
    }
    let note = match &found {
        None => Some(BUSY),
        Some(found) if found.entries.len() > SHOWN || found.next.is_some() => {
            Some("The newest are shown; there are older ones.")
        }
        Some(_) => None,
    };
    let entries = found.map(|found| found.entries).unwrap_or_default();
    let page = Page {
        chrome: &viewer.chrome,
        name,
        now: views.into_iter().map(|view| Now { since: minute(view.since), view }).collect(),
        turns: entries.iter().take(SHOWN).filter_map(turn).collect(),
        note,
        all: panel::in_ledger("object", object.as_str()),
    };
    Ok(page::show(&page))
}

/// What a record says the tunnel became.
fn turn(entry: &Entry) -> Option<Turn> {
    let record = &entry.record;
    let detail = |name: &str| record.details.get(name);
    let (state, class) = match record.kind {
        Kind::TunnelRegistered if detail("resumed").and_then(Value::as_bool) == Some(true) => {
            ("back", "live")
        }
        Kind::TunnelRegistered => ("up", "live"),
        Kind::TunnelLost => ("away", "away"),
        Kind::TunnelClosed => ("down", "down"),
        Kind::TunnelDeleted => ("deleted", "down"),
        Kind::TunnelRefused => ("refused", "denied"),
        Kind::TunnelDescribed => ("described", ""),
        Kind::TunnelHealth => {
            match (detail("well").and_then(Value::as_bool), detail("breaker").and_then(Value::as_str)) {
                (Some(true), _) => ("app well", "live"),
                (Some(false), _) => ("app unwell", "unwell"),
                (None, Some("opened")) => ("left alone", "resting"),
                (None, Some("half-open")) => ("tried again", "away"),
                (None, _) => ("answers again", "live"),
            }
        }
        _ => return None,
    };
    let joined = records::joined(entry).ok()?;
    let told = |group: &str, name: &str| {
        let text = joined.get(group).and_then(|group| group.get(name)).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let why = [
        told("values", "reason"),
        told("details", "why"),
        told("details", "reason"),
        told("details", "transport"),
    ];
    Some(Turn {
        seq: record.seq.get(),
        time: record.time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        state,
        class,
        who: told("values", "subject").unwrap_or_default(),
        why: why.into_iter().flatten().next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sallyport_audit::{Digest, Personal, Values};
    use serde_json::json;

    use super::*;

    fn told(kind: &str, details: &Value) -> Option<Turn> {
        let record = json!({
            "v": 1, "seq": 7, "time": "2026-11-29T01:00:03Z", "prev": Digest::ZERO, "kind": kind,
            "result": "success", "object": "tunnel:demo", "node": "n", "details": details,
        });
        let bytes = record.to_string().into_bytes();
        let who = BTreeMap::from([(Personal::Subject, "user:pub".to_owned())]);
        turn(&Entry::new(serde_json::from_value(record).unwrap(), bytes, Values::readable(who)))
    }

    #[test]
    fn each_record_of_a_tunnel_is_a_state_with_who_and_why() {
        for (kind, details, state, why) in [
            ("tunnel.registered", json!({ "resumed": false, "transport": "quic" }), "up", "quic"),
            ("tunnel.registered", json!({ "resumed": true, "transport": "tls" }), "back", "tls"),
            ("tunnel.lost", json!({ "reason": "heartbeat lost" }), "away", "heartbeat lost"),
            ("tunnel.closed", json!({ "reason": "goodbye" }), "down", "goodbye"),
            ("tunnel.deleted", json!({}), "deleted", ""),
            ("tunnel.refused", json!({ "reason": "name-taken" }), "refused", "name-taken"),
            ("tunnel.health", json!({ "well": false, "reason": "503" }), "app unwell", "503"),
            ("tunnel.health", json!({ "well": true }), "app well", ""),
            ("tunnel.health", json!({ "breaker": "opened" }), "left alone", ""),
            ("tunnel.health", json!({ "breaker": "half-open" }), "tried again", ""),
            ("tunnel.health", json!({ "breaker": "closed" }), "answers again", ""),
        ] {
            let turn = told(kind, &details).unwrap();
            assert_eq!((turn.state, turn.why.as_str()), (state, why), "{kind} {details}");
            assert_eq!((turn.who.as_str(), turn.time.as_str()), ("user:pub", "2026-11-29 01:00:03"));
        }
        assert_eq!(told("session.opened", &json!({})), None);
    }
}
