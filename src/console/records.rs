//! Records with their personal values, for those who may audit. Reading them is itself recorded.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sallyport_audit::{Entry, Seq, Value as Known, Values};
use serde::Deserialize;
use serde_json::Value;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Query;
use crate::access::{Action, Object, Part};

const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Value>>, Problem> {
    let ledger = Object::gateway(Part::Ledger);
    let limit = page.limit.unwrap_or(100).min(MOST);
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(
            &caller.correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "ledger-unreadable",
            format!("records from {} cannot be read: {error}", page.from),
            "check the ledger with `auditctl verify`",
        )
    };
    // Reads the disk: not on a thread that serves others.
    let reader = shared.ledger.reader();
    let read = tokio::task::spawn_blocking(move || reader.range(Seq::new(page.from), limit)).await;
    let entries = read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    // Following the log asks twice a second: only a page that shows something is an access worth a record.
    if !entries.is_empty() || !caller.could(Action::Audit, &ledger) {
        caller.may(Action::Audit, &ledger).await?;
    }
    let records = entries.iter().map(joined).collect::<Result<Vec<_>, _>>();
    Ok(Json(records.map_err(|error| failed(&error))?))
}

/// A record with what is known of its personal values.
pub(super) fn joined(entry: &Entry) -> Result<Value, serde_json::Error> {
    let mut record: Value = serde_json::from_slice(&entry.bytes)?;
    if let Some(fields) = record.as_object_mut() {
        fields.insert("values".to_owned(), values(&entry.personal));
        fields.insert("erased".to_owned(), erased(&entry.personal));
    }
    Ok(record)
}

/// The values that can be read.
fn values(personal: &Values) -> Value {
    personal.iter().filter_map(|(field, _)| Some((field.as_str(), personal.text(field)?))).collect()
}

/// The fields whose values were erased.
fn erased(personal: &Values) -> Value {
    let erased = personal.iter().filter(|(_, value)| matches!(value, Known::Erased { .. }));
    erased.map(|(field, _)| field.as_str()).collect()
}
