//! The part of a page that shows records: the newest of them, with a sentence on what is left out and where that stands. When others
//! read the ledger already the part says so; the rest of the page, and its buttons, stay.

use sallyport_audit::index::search::Order;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Entry, Search};

use super::ledger::{Row, row};
use super::viewer::Viewer;
use crate::console::caller::found_no_seat;
use crate::console::errors::Problem;
use crate::console::{Shared, records, search as searching};

/// Said in the place of what would have been read.
pub(super) const BUSY: &str =
    "Others read the ledger right now, so this part is left out: load the page again in a few seconds.";

/// Records, as far as they are shown.
#[derive(Default)]
pub(super) struct Panel {
    /// The newest first.
    pub(super) rows: Vec<Row>,
    /// What isn't shown, or why nothing is.
    pub(super) note: Option<String>,
    /// Where all of them are found.
    pub(super) all: String,
}

impl Panel {
    /// At most `most` of these, of which there are `more`.
    fn of(entries: &[Entry], more: bool, most: usize, all: String) -> Self {
        let joined = entries.iter().take(most).filter_map(|entry| records::joined(entry).ok());
        let rows: Vec<Row> = joined.map(|record| row(&record)).collect();
        let more = more || entries.len() > most;
        let note = more.then(|| format!("The newest {} are shown; there are older ones.", rows.len()));
        Self { rows, note, all }
    }

    /// The same in the order in which it happened.
    pub(super) fn in_order(mut self) -> Self {
        self.rows.reverse();
        self
    }
}

/// The newest records of a selection, at most `most`; `all` is the address where all are. That somebody looks was recorded.
pub(super) async fn newest(
    shared: &Shared,
    viewer: &Viewer,
    selection: Selection,
    most: usize,
    all: String,
) -> Result<Panel, Problem> {
    let search = Search { selection, order: Order::NewestFirst, limit: most + 1, ..Search::default() };
    let found = unless_busy(searching::found(shared, &viewer.caller, search).await)?;
    Ok(match found {
        Some(found) => Panel::of(&found.entries, found.next.is_some(), most, all),
        None => Panel { note: Some(BUSY.to_owned()), all, ..Panel::default() },
    })
}

/// What was read, or nothing if others read already.
pub(super) fn unless_busy<T>(read: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(problem) if found_no_seat(&problem) => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The address of a search in the ledger.
pub(super) fn in_ledger(field: &str, value: &str) -> String {
    format!("/console/ledger?{}", serde_urlencoded::to_string([(field, value)]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use sallyport_audit::{Digest, Kind, Outcome, Record, Values};

    use super::*;
    use crate::edge::Correlation;

    fn entry(seq: u64) -> Entry {
        let record = serde_json::json!({
            "v": 1, "seq": seq, "time": "2026-11-29T01:02:03.456Z", "prev": Digest::ZERO, "kind": Kind::GrantRevoked,
            "result": Outcome::Success, "correlation": null, "node": "n", "personal": {}, "details": {},
        });
        let record: Record = serde_json::from_value(record).unwrap();
        Entry::new(record, format!("{{\"seq\":{seq}}}").into_bytes(), Values::default())
    }

    #[test]
    fn of_many_records_the_newest_are_shown_and_the_page_says_so() {
        let newest_first: Vec<Entry> = (0..4).rev().map(entry).collect();
        let seqs = |panel: &Panel| panel.rows.iter().map(|row| row.seq).collect::<Vec<_>>();
        let cut = Panel::of(&newest_first, false, 3, "/all".to_owned()).in_order();
        assert_eq!(seqs(&cut), [1, 2, 3], "the end, in order");
        assert_eq!(cut.note.as_deref(), Some("The newest 3 are shown; there are older ones."));
        let whole = Panel::of(&newest_first, false, 4, "/all".to_owned());
        assert_eq!((seqs(&whole).len(), whole.note), (4, None));
        let unread = Panel::of(&newest_first, true, 9, "/all".to_owned());
        assert!(unread.note.is_some(), "a search that gave up before the beginning says so");
    }

    #[test]
    fn whoever_finds_no_seat_still_has_the_page_and_every_other_refusal_stands() {
        let refused = |code| {
            let nobody = Correlation(String::new());
            Err::<(), _>(Problem::new(&nobody, StatusCode::TOO_MANY_REQUESTS, code, "others read", "wait"))
        };
        assert!(matches!(unless_busy(refused("too-many-readers")), Ok(None)));
        assert!(unless_busy(refused("ledger-unreadable")).is_err());
        assert!(matches!(unless_busy(Ok::<_, Problem>(7)), Ok(Some(7))));
    }
}
