//! Searches the ledger, by who did it, too, for those who may audit. Each search is itself recorded before it is made:
//! what was asked in plain words, and whom it was about and which text as personal values.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sallyport_audit::index::search::Order;
use sallyport_audit::selection::{self, Selection};
use sallyport_audit::{Kind, Outcome, Search, Seq};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Query;
use super::records::joined;
use crate::access::{Action, Object, Part};

const MOST: usize = 1000;
const USUAL: usize = 100;

/// The longest value of a condition, in bytes: longer than any id or name, and short enough to be recorded.
const LONGEST: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    subject: Option<String>,
    target: Option<String>,
    kind: Option<String>,
    result: Option<String>,
    action: Option<String>,
    object: Option<String>,
    session: Option<String>,
    grant: Option<String>,
    correlation: Option<String>,
    text: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    from_time: Option<String>,
    to_time: Option<String>,
    order: Option<String>,
    limit: Option<usize>,
    cursor: Option<u64>,
}

pub(super) async fn search(
    State(shared): State<Shared>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    let search = asked.search().map_err(|fault| caller.unusable(&fault))?;
    let plain = asked.plain();
    let ledger = Object::gateway(Part::Ledger);
    let more = |draft: sallyport_audit::Draft| {
        let mut draft = draft.detail("search", plain);
        // Who is looked for is nobody's business but theirs: sealed, like every name.
        if let Some(person) = asked.subject.as_ref().or(asked.target.as_ref()) {
            draft = draft.target(person.as_str());
        }
        match &asked.text {
            Some(text) => draft.reason(text.as_str()),
            None => draft,
        }
    };
    caller.may_with(Action::Audit, &ledger, more).await?;
    let failed = |error: &dyn std::fmt::Display| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let detail = format!("the ledger cannot be searched: {error}");
        Problem::new(
            &caller.correlation,
            status,
            "ledger-unreadable",
            detail,
            "check the ledger with `auditctl verify`",
        )
    };
    // Reads the disk: not on a thread that serves others.
    let reader = shared.ledger.reader();
    let found = tokio::task::spawn_blocking(move || reader.search(&search)).await;
    let page = found.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let records = page.entries.iter().map(joined).collect::<Result<Vec<_>, _>>();
    let records = records.map_err(|error| failed(&error))?;
    Ok(Json(json!({ "records": records, "cursor": page.next })))
}

impl Asked {
    fn search(&self) -> Result<Search, String> {
        for value in self.values().into_iter().flatten() {
            if value.is_empty() || value.len() > LONGEST {
                return Err(format!("a condition has 1 to {LONGEST} bytes; leave it out to have none"));
            }
        }
        let order = match self.order.as_deref() {
            None | Some("newest") => Order::NewestFirst,
            Some("oldest") => Order::OldestFirst,
            Some(other) => return Err(format!("there is no order `{other}`: newest or oldest first")),
        };
        let kinds = match self.kind.as_deref() {
            None => Vec::new(),
            Some(text) => match Kind::named(text) {
                kinds if kinds.is_empty() => return Err(format!("there is no kind of record `{text}`")),
                kinds => kinds,
            },
        };
        let outcomes = [Outcome::Success, Outcome::Denied, Outcome::Failure];
        let result = |text: &str| outcomes.into_iter().find(|outcome| outcome.as_str() == text);
        let results = match self.result.as_deref() {
            None => Vec::new(),
            Some(text) => vec![result(text).ok_or("a result is success, denied or failure")?],
        };
        let list = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let mut selection = Selection {
            from: Seq::new(self.from.unwrap_or(0)),
            to: self.to.map(Seq::new),
            kinds,
            results,
            actions: list(&self.action),
            objects: list(&self.object),
            sessions: list(&self.session),
            grants: list(&self.grant),
            correlations: list(&self.correlation),
            from_time: self.from_time.as_deref().map(selection::beginning).transpose()?,
            to_time: self.to_time.as_deref().map(selection::end).transpose()?,
        };
        if let Some(cursor) = self.cursor.map(Seq::new) {
            match order {
                Order::OldestFirst => selection.from = selection.from.max(cursor),
                Order::NewestFirst => selection.to = Some(selection.to.map_or(cursor, |to| to.min(cursor))),
            }
        }
        Ok(Search {
            selection,
            texts: list(&self.text),
            subjects: list(&self.subject),
            targets: list(&self.target),
            order,
            limit: self.limit.unwrap_or(USUAL).clamp(1, MOST),
        })
    }

    fn values(&self) -> [Option<&String>; 10] {
        let Self { subject, target, kind, result, action, object, session, grant, correlation, text, .. } =
            self;
        [subject, target, kind, result, action, object, session, grant, correlation, text].map(Option::as_ref)
    }

    /// What was asked, without what is personal: that stands in the record sealed.
    fn plain(&self) -> Value {
        let mut plain = json!({
            "kind": self.kind, "result": self.result, "action": self.action, "object": self.object,
            "session": self.session, "grant": self.grant, "correlation": self.correlation,
            "from": self.from, "to": self.to, "from_time": self.from_time, "to_time": self.to_time,
            "order": self.order, "cursor": self.cursor,
            "subject": self.subject.as_ref().map(|_| "sealed"), "target": self.target.as_ref().map(|_| "sealed"),
            "text": self.text.as_ref().map(|_| "sealed"),
        });
        if let Some(fields) = plain.as_object_mut() {
            // A number that no record can hold is no number of one.
            let fits = |value: &Value| value.as_u64().is_none_or(|number| number < 1 << 53);
            fields.retain(|_, value| !value.is_null() && fits(value));
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Value) -> Asked {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_condition_that_cannot_be_meant_is_refused_with_what_is_possible() {
        for (value, word) in [
            (json!({ "kind": "session.imagined" }), "session.imagined"),
            (json!({ "result": "maybe" }), "denied"),
            (json!({ "order": "random" }), "newest"),
            (json!({ "from_time": "yesterday" }), "2026-01-31"),
            (json!({ "subject": "" }), "leave it out"),
            (json!({ "text": "x".repeat(600) }), "512"),
        ] {
            let fault = asked(value.clone()).search().unwrap_err();
            assert!(fault.contains(word), "{value}: {fault}");
        }
    }

    #[test]
    fn the_record_of_a_search_names_nobody() {
        let asked = asked(
            json!({ "subject": "user:alice", "text": "password", "kind": "session", "from": u64::MAX }),
        );
        let plain = asked.plain().to_string();
        assert!(
            !plain.contains("alice") && !plain.contains("password") && !plain.contains("1844"),
            "{plain}"
        );
        assert!(
            plain.contains("\"kind\":\"session\"") && plain.contains("\"subject\":\"sealed\""),
            "{plain}"
        );
    }

    #[test]
    fn a_cursor_goes_on_in_the_order_of_the_search() {
        let search = |value| asked(value).search().unwrap().selection;
        assert_eq!(search(json!({ "cursor": 7, "to": 9 })).to, Some(Seq::new(7)));
        assert_eq!(search(json!({ "cursor": 7, "from": 3, "order": "oldest" })).from, Seq::new(7));
    }
}
