//! Searches the ledger, by who did it, too, for those who may audit. Each search is itself recorded before it is made:
//! what was asked in plain, which is ids and words of closed sets alone; whom it was about as a personal value, if the ledger
//! knows them; of a text only its length, because it may name somebody whom it would outlive.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sallyport_audit::index::search::Order;
use sallyport_audit::selection::{self, Selection};
use sallyport_audit::{Kind, Outcome, Search, Seq};
use sallyport_hsm::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Query;
use super::listing::{List, Page, cursor};
use super::records::joined;
use crate::access::{Action, GrantId, Object, Part};
use crate::tunnel::TunnelName;

/// The longest value of a condition, in bytes: longer than any id or name, and short enough to be recorded.
const LONGEST: usize = 512;

#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Who did it. Not together with `target`.
    #[param(min_length = 1, max_length = 512, example = "user:alice")]
    pub(super) subject: Option<String>,
    /// To whom it was done.
    #[param(min_length = 1, max_length = 512)]
    pub(super) target: Option<String>,
    /// A kind, such as `session.opened`, or a family of kinds, such as `session`.
    #[param(min_length = 1, max_length = 512)]
    pub(super) kind: Option<String>,
    /// `success`, `denied` or `failure`.
    #[param(min_length = 1, max_length = 512)]
    pub(super) result: Option<String>,
    /// What was done, such as `connect`.
    #[param(min_length = 1, max_length = 512)]
    pub(super) action: Option<String>,
    /// To what, such as `tunnel:demo`.
    #[param(min_length = 1, max_length = 512)]
    pub(super) object: Option<String>,
    /// In which session.
    #[param(min_length = 1, max_length = 512)]
    pub(super) session: Option<String>,
    /// Under which grant.
    #[param(min_length = 1, max_length = 512)]
    pub(super) grant: Option<String>,
    /// With which correlation id.
    #[param(min_length = 1, max_length = 512)]
    pub(super) correlation: Option<String>,
    /// A text that stands somewhere in the record.
    #[param(min_length = 1, max_length = 512)]
    pub(super) text: Option<String>,
    /// First sequence number.
    pub(super) from: Option<u64>,
    /// Last sequence number.
    pub(super) to: Option<u64>,
    /// From this day or instant on, in UTC.
    pub(super) from_time: Option<String>,
    /// Up to this day, included, or before this instant, in UTC.
    pub(super) to_time: Option<String>,
    /// `newest` or `oldest` first.
    pub(super) order: Option<String>,
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Find records, by who did it, too; each search is itself recorded
#[utoipa::path(get, path = "/api/v1/audit/records", tag = "ledger", operation_id = "search_records", params(Asked),
    responses((status = 200, description = "A page of what was found", body = List<Value>)))]
pub(super) async fn search(
    State(shared): State<Shared>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<List<Value>>, Problem> {
    sought(&shared, &caller, &asked).await.map(Json)
}

/// The same, for whoever asks.
pub(super) async fn sought(shared: &Shared, caller: &Caller, asked: &Asked) -> Result<List<Value>, Problem> {
    let page = Page::asked(caller, asked.limit, asked.cursor.as_deref())?;
    let start = page.number(caller)?;
    let search = asked.search(page.limit(), start).map_err(|fault| caller.unusable(&fault))?;
    recorded(shared, caller, asked, &search.selection, start).await?;
    let found = found(shared, caller, search).await?;
    let items = found.entries.iter().map(joined).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(|error| unreadable(caller, &error))?;
    Ok(List { items, next: found.next.map(|next| cursor(&next.to_string())) })
}

/// Records what is searched for, for whoever may.
pub(super) async fn recorded(
    shared: &Shared,
    caller: &Caller,
    asked: &Asked,
    selection: &Selection,
    start: Option<u64>,
) -> Result<(), Problem> {
    // Whom the ledger does not know has no data key, and gets none by being searched for.
    let person = asked.subject.as_deref().or(asked.target.as_deref());
    // Held until the record is made: the key is not destroyed, and made anew, in between.
    let naming = person.map(|person| shared.broker.naming(person));
    let person = person.filter(|person| shared.data_keys.has(person));
    let plain = asked.plain(selection, start, person.is_some());
    let ledger = Object::gateway(Part::Ledger);
    let more = |draft: sallyport_audit::Draft| {
        let draft = draft.detail("search", plain);
        // Who is looked for is nobody's business but theirs: sealed, like every name.
        match person {
            Some(person) => draft.target(person),
            None => draft,
        }
    };
    caller.may_with(Action::Audit, &ledger, more).await?;
    drop(naming);
    Ok(())
}

/// Makes a search that was recorded.
pub(super) async fn found(
    shared: &Shared,
    caller: &Caller,
    search: Search,
) -> Result<sallyport_audit::Page, Problem> {
    let _seat = caller.seat_soon(&shared.readers).await?;
    // Reads the disk: not on a thread that serves others.
    let reader = shared.ledger.reader();
    let found = tokio::task::spawn_blocking(move || reader.search(&search)).await;
    found.map_err(|error| unreadable(caller, &error))?.map_err(|error| unreadable(caller, &error))
}

fn unreadable(caller: &Caller, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        &caller.correlation,
        StatusCode::INTERNAL_SERVER_ERROR,
        "ledger-unreadable",
        format!("the ledger cannot be searched: {error}"),
        "check the ledger with `auditctl verify`",
    )
}

impl Asked {
    fn search(&self, limit: usize, start: Option<u64>) -> Result<Search, String> {
        for value in self.values().into_iter().flatten() {
            if value.is_empty() || value.len() > LONGEST {
                return Err(format!("a condition has 1 to {LONGEST} bytes; leave it out to have none"));
            }
        }
        if self.subject.is_some() && self.target.is_some() {
            return Err("search by who did it or by to whom it was done, not by both".to_owned());
        }
        // The document says int64, and no ledger gets there.
        if [self.from, self.to].into_iter().flatten().any(|number| i64::try_from(number).is_err()) {
            return Err("`from` and `to` are numbers of records".to_owned());
        }
        self.is_plain()?;
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
        if let Some(start) = start.map(Seq::new) {
            match order {
                Order::OldestFirst => selection.from = selection.from.max(start),
                Order::NewestFirst => selection.to = Some(selection.to.map_or(start, |to| to.min(start))),
            }
        }
        Ok(Search {
            selection,
            texts: list(&self.text),
            subjects: list(&self.subject),
            targets: list(&self.target),
            order,
            limit,
        })
    }

    fn values(&self) -> [Option<&String>; 10] {
        let Self { subject, target, kind, result, action, object, session, grant, correlation, text, .. } =
            self;
        [subject, target, kind, result, action, object, session, grant, correlation, text].map(Option::as_ref)
    }

    /// Whether all that stands in the record in plain is an id, or a word that no person chose.
    fn is_plain(&self) -> Result<(), String> {
        let check = |value: &Option<String>, is: &dyn Fn(&str) -> bool, rule: &str| match value {
            Some(text) if !is(text) => Err(rule.to_owned()),
            _ => Ok(()),
        };
        check(&self.action, &is_action, "an action is such as connect, or a method of HTTP such as GET")?;
        check(&self.object, &is_object, "an object is such as tunnel:demo, gateway:ledger or key:tls")?;
        check(&self.session, &|text| is_id("sess-", text), "a session is `sess-` and 32 hexadecimal digits")?;
        check(
            &self.grant,
            &|text| text.parse::<GrantId>().is_ok(),
            "a grant is `grant-` and 32 hexadecimal digits",
        )?;
        check(
            &self.correlation,
            &|text| is_id("cor-", text),
            "a correlation id is `cor-` and 32 hexadecimal digits",
        )
    }

    /// What was asked, without what is personal.
    fn plain(&self, selection: &Selection, start: Option<u64>, known: bool) -> Value {
        let who = |name: &Option<String>| name.as_ref().map(|_| if known { "sealed" } else { "unknown" });
        let mut plain = json!({
            "kind": self.kind, "result": self.result, "action": self.action, "object": self.object,
            "session": self.session, "grant": self.grant, "correlation": self.correlation,
            "from": self.from, "to": self.to,
            "from_time": selection.from_time.map(|time| time.to_string()),
            "to_time": selection.to_time.map(|time| time.to_string()),
            "order": self.order, "cursor": start,
            "subject": who(&self.subject), "target": who(&self.target),
            "text_bytes": self.text.as_ref().map(String::len),
        });
        if let Some(fields) = plain.as_object_mut() {
            // A number that no record can hold is no number of one.
            let fits = |value: &Value| value.as_u64().is_none_or(|number| number < 1 << 53);
            fields.retain(|_, value| !value.is_null() && fits(value));
        }
        plain
    }
}

fn is_id(prefix: &str, text: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_action(text: &str) -> bool {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    text.parse::<Action>().is_ok() || methods.contains(&text)
}

/// What policy speaks of, and what else records are about.
fn is_object(text: &str) -> bool {
    let key =
        text.strip_prefix("key:").is_some_and(|role| Role::ALL.iter().any(|known| known.name() == role));
    // A sink has its name from the operator, as a tunnel has it from its publisher.
    let sink = text.strip_prefix("sink:").is_some_and(|name| TunnelName::parse(name).is_ok());
    text.parse::<Object>().is_ok()
        || matches!(text, "gateway:api" | "gateway:connect" | "gateway:console")
        || key
        || sink
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
            (json!({ "subject": "user:alice", "target": "user:bob" }), "not by both"),
            (json!({ "object": "user:alice" }), "tunnel:demo"),
            (json!({ "object": "gateway:alice" }), "tunnel:demo"),
            (json!({ "action": "ask alice" }), "connect"),
            (json!({ "session": "alice" }), "sess-"),
            (json!({ "grant": "alice" }), "grant-"),
            (json!({ "correlation": "cor-alice" }), "cor-"),
        ] {
            let fault = asked(value.clone()).search(1, None).unwrap_err();
            assert!(fault.contains(word), "{value}: {fault}");
        }
    }

    #[test]
    fn the_record_of_a_search_names_nobody() {
        let asked = asked(
            json!({ "subject": "user:alice", "text": "password", "kind": "session", "from": i64::MAX }),
        );
        let search = asked.search(1, None).unwrap();
        let unknown = asked.plain(&search.selection, None, false).to_string();
        assert!(unknown.contains("\"subject\":\"unknown\""), "{unknown}");
        let plain = asked.plain(&search.selection, None, true).to_string();
        assert!(
            !plain.contains("alice") && !plain.contains("password") && !plain.contains("9223"),
            "{plain}"
        );
        assert!(
            plain.contains("\"kind\":\"session\"")
                && plain.contains("\"subject\":\"sealed\"")
                && plain.contains("\"text_bytes\":8"),
            "{plain}"
        );
    }

    #[test]
    fn a_cursor_goes_on_in_the_order_of_the_search() {
        let search = |value| asked(value).search(1, Some(7)).unwrap().selection;
        assert_eq!(search(json!({ "to": 9 })).to, Some(Seq::new(7)));
        assert_eq!(search(json!({ "from": 3, "order": "oldest" })).from, Seq::new(7));
    }
}
