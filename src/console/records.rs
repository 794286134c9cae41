//! Records with their personal values, for those who may audit. Reading them is itself recorded.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sallyport_audit::{Entry, ReadError, Seq, Value as Known, Values};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::Shared;
use super::caller::Caller;
use super::errors::Problem;
use super::extract::Query;
use super::listing::{List, Page, cursor};
use crate::access::{Action, Object, Part};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// The first sequence number.
    #[serde(default)]
    from: u64,
    /// The most entries of the page; 100 if it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Records in their order, with their personal values; reading them is recorded
#[utoipa::path(get, path = "/api/v1/records", tag = "ledger", operation_id = "list_records", params(Span),
    responses((status = 200, description = "A page of them", body = List<Value>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    Query(asked): Query<Span>,
) -> Result<Json<List<Value>>, Problem> {
    let ledger = Object::gateway(Part::Ledger);
    let page = Page::asked(&caller, asked.limit, asked.cursor.as_deref())?;
    // The document says int64, and no ledger gets there.
    if i64::try_from(asked.from).is_err() {
        return Err(caller.unusable(&"`from` is no number of a record"));
    }
    let from = asked.from.max(page.number(&caller)?.unwrap_or(0));
    let limit = page.limit();
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(
            &caller.correlation,
            StatusCode::INTERNAL_SERVER_ERROR,
            "ledger-unreadable",
            format!("records from {from} cannot be read: {error}"),
            "check the ledger with `auditctl verify`",
        )
    };
    // Reads the disk: not on a thread that serves others.
    let reader = shared.ledger.reader();
    let read = tokio::task::spawn_blocking(move || {
        let entries = reader.range(Seq::new(from), limit)?;
        let next = onward(entries.last().map(|last| last.record.seq), reader.len());
        Ok::<_, ReadError>((entries, next))
    });
    let (entries, next) = read.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    // Following the log asks twice a second: only a page that shows something is an access worth a record.
    if !entries.is_empty() || !caller.could(Action::Audit, &ledger) {
        caller.may(Action::Audit, &ledger).await?;
    }
    let records = entries.iter().map(joined).collect::<Result<Vec<_>, _>>();
    let items = records.map_err(|error| failed(&error))?;
    Ok(Json(List { items, next: next.map(|next| cursor(&next.to_string())) }))
}

/// Where the next page begins. Of a ledger that was pruned, numbers are away: how many a page has says nothing of it.
fn onward(last: Option<Seq>, records: u64) -> Option<u64> {
    last.map(|last| last.next().get()).filter(|next| *next < records)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_on_behind_its_last_record_whatever_was_pruned_before_it() {
        assert_eq!(onward(Some(Seq::new(20)), 1_000), Some(21), "three records, numbered 0, 10 and 20");
        assert_eq!(onward(Some(Seq::new(998)), 1_000), Some(999));
        assert_eq!(onward(Some(Seq::new(999)), 1_000), None);
        assert_eq!(onward(None, 1_000), None);
    }
}
