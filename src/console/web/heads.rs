//! Heads of the ledger that can be held against it later: those that witnesses were shown, and those that stand at the beginnings of its
//! segments. And each witness: what it cosigned last, and how far the ledger has gone on since.

use sallyport_audit::index::search::Order;
use sallyport_audit::journal::Files;
use sallyport_audit::journal::files::read_header;
use sallyport_audit::selection::Selection;
use sallyport_audit::witnessing::{WitnessState, Witnessed};
use sallyport_audit::{Checkpoint, Kind, Record, Search};
use serde_json::Value;

use super::panel::unless_busy;
use super::requests::minute;
use super::viewer::Viewer;
use crate::console::errors::Problem;
use crate::console::{Shared, search as searching};

/// How many heads are shown.
const SHOWN: usize = 10;

/// One head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How many records it covers.
    pub(super) size: u64,
    pub(super) root: String,
    /// When witnesses were shown it; nothing where that is not known.
    pub(super) time: String,
    /// Who stands for it, or where it is kept.
    pub(super) said: String,
    /// The record that tells of it.
    pub(super) record: Option<u64>,
}

/// One witness.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WitnessRow {
    pub(super) name: String,
    /// When it cosigned last, by its clock.
    pub(super) last: String,
    /// How many records that head covers, and how many came since; nothing if it never did.
    pub(super) covers: Option<(u64, u64)>,
    pub(super) trouble: String,
    pub(super) disputes: bool,
}

/// The newest heads, or nothing if others read the ledger already.
pub(super) async fn newest(shared: &Shared, viewer: &Viewer) -> Result<Option<Vec<Head>>, Problem> {
    let search = Search {
        selection: Selection { kinds: vec![Kind::LedgerWitnessed], ..Selection::default() },
        order: Order::NewestFirst,
        limit: SHOWN,
        ..Search::default()
    };
    let found = match &shared.witnesses {
        // Nobody was asked: there is nothing to look for.
        None => Some(sallyport_audit::Page::default()),
        Some(_) => unless_busy(searching::found(shared, &viewer.caller, search).await)?,
    };
    let Some(found) = found else { return Ok(None) };
    let directory = shared.ledger_directory.clone();
    // Reads the disk: not on a thread that serves others.
    let kept = tokio::task::spawn_blocking(move || of_segments(&Files::new(directory))).await;
    let shown = found.entries.iter().filter_map(|entry| witnessed(&entry.record));
    Ok(Some(joined(shown.collect(), kept.unwrap_or_default())))
}

/// The largest first, and of those over the same records the one that witnesses were shown.
fn joined(shown: Vec<Head>, kept: Vec<Head>) -> Vec<Head> {
    let mut heads: Vec<Head> = shown.into_iter().chain(kept).collect();
    heads.sort_by_key(|head| std::cmp::Reverse(head.size));
    heads.dedup_by_key(|head| head.size);
    heads.truncate(SHOWN);
    heads
}

/// The heads that the newest segments begin behind. One that cannot be read is for the scrub to tell of.
fn of_segments(files: &Files) -> Vec<Head> {
    let segments = files.segments().unwrap_or_default();
    let newest = segments.iter().rev().take(SHOWN);
    newest
        .filter_map(|segment| {
            let note = read_header(&segment.path).ok()??.note;
            let (head, _) = Checkpoint::from_note(&note).ok()?;
            let said = "kept where a segment of the journal begins".to_owned();
            Some(Head {
                size: head.size,
                root: head.root.to_string(),
                time: String::new(),
                said,
                record: None,
            })
        })
        .collect()
}

/// The head that a record of witnessing tells of.
fn witnessed(record: &Record) -> Option<Head> {
    let detail = |name: &str| record.details.get(name);
    let names = |list: &str| {
        let list = detail(list).and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(|one| one.get("witness").and_then(Value::as_str));
        names.map(str::to_owned).collect::<Vec<_>>().join(", ")
    };
    let (by, missing) = (names("by"), names("missing"));
    let by = if by.is_empty() { "cosigned by nobody".to_owned() } else { format!("cosigned by {by}") };
    Some(Head {
        size: detail("records").and_then(Value::as_u64)?,
        root: detail("root").and_then(Value::as_str)?.to_owned(),
        time: minute(record.time),
        said: if missing.is_empty() { by } else { format!("{by}; not by {missing}") },
        record: Some(record.seq.get()),
    })
}

/// Each witness beside a ledger of so many records.
pub(super) fn rows(status: &Witnessed, size: u64) -> Vec<WitnessRow> {
    let row = |state: &WitnessState| WitnessRow {
        name: state.name.clone(),
        last: state.time.map_or_else(|| "never".to_owned(), minute),
        covers: (state.records > 0).then(|| (state.records, size.saturating_sub(state.records))),
        trouble: state.trouble.clone().unwrap_or_default(),
        disputes: state.disputes,
    };
    status.witnesses.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn head(size: u64, said: &str) -> Head {
        let (root, time) = ("r".to_owned(), String::new());
        Head { size, root, time, said: said.to_owned(), record: None }
    }

    #[test]
    fn heads_stand_in_order_and_what_witnesses_were_shown_comes_before_what_a_segment_keeps() {
        let heads = joined(vec![head(9, "w"), head(5, "w")], vec![head(9, "s"), head(7, "s")]);
        assert_eq!(heads, [head(9, "w"), head(7, "s"), head(5, "w")]);
        let many = joined((0..40).map(|size| head(size, "w")).collect(), Vec::new());
        assert_eq!((many.len(), many.first()), (SHOWN, Some(&head(39, "w"))));
    }

    #[test]
    fn a_record_of_witnessing_says_who_cosigned_and_who_did_not() {
        let record = |by: Value, missing: Value| {
            let record = serde_json::json!({
                "v": 1, "seq": 7, "time": "2026-11-29T01:02:03.456Z", "prev": sallyport_audit::Digest::ZERO,
                "kind": "ledger.witnessed", "result": "success", "node": "n",
                "details": { "by": by, "missing": missing, "records": 42, "root": "ab", "quorum": 1, "reached": true },
            });
            witnessed(&serde_json::from_value(record).unwrap()).unwrap()
        };
        let two = record(
            serde_json::json!([{ "witness": "w1", "time": 1 }]),
            serde_json::json!([{ "witness": "w2", "why": "x" }]),
        );
        assert_eq!((two.size, two.said.as_str(), two.record), (42, "cosigned by w1; not by w2", Some(7)));
        assert_eq!(two.time, "2026-11-29 01:02 UTC");
        assert_eq!(record(Value::Null, Value::Null).said, "cosigned by nobody");
    }

    #[test]
    fn a_witness_is_so_many_records_behind_or_has_never_cosigned() {
        let state = |name: &str, records, time: Option<Timestamp>, trouble: Option<&str>| WitnessState {
            name: name.to_owned(),
            records,
            time,
            trouble: trouble.map(str::to_owned),
            disputes: false,
        };
        let all = vec![
            state("w1", 90, Some(Timestamp::UNIX_EPOCH), None),
            state("w2", 0, None, Some("no connection")),
        ];
        let status = Witnessed { quorum: 1, head: None, fresh: false, witnesses: all };
        let rows = rows(&status, 100);
        assert_eq!((rows[0].covers, rows[0].last.as_str()), (Some((90, 10)), "1970-01-01 00:00 UTC"));
        assert_eq!((rows[1].covers, rows[1].last.as_str()), (None, "never"));
        assert_eq!(rows[1].trouble, "no connection");
    }
}
