//! Counts records, by what index files say where that is enough.

use std::ops::ControlFlow;

use super::search::{Order, SearchError, Searched, open, search};
use super::summary::day;
pub use super::summary::{Amount, Group, Summary};
use super::{Directories, Query};
use crate::journal::Files;
use crate::journal::records::Records;
use crate::record::Seq;

/// What there is how often.
#[derive(Debug, Default)]
pub struct Statistics {
    /// By day, kind and result.
    pub summary: Summary,
    /// How many of the records were counted by an index, and not read.
    pub from_index: u64,
    /// How reading the others ended.
    pub searched: Searched,
}

/// Counts what fits the query.
pub fn statistics(files: &Files, indexes: &Directories, query: &Query) -> Result<Statistics, SearchError> {
    let mut statistics = Statistics::default();
    let (mut from, until) = (query.selection.from, query.selection.to);
    if query.is_counted() {
        for span in &indexes.spans() {
            if span.first < from {
                continue;
            }
            let Ok(index) = open(span, &mut Records::new(files)) else { continue };
            let last = Seq::new(index.header.end_seq().get().saturating_sub(1));
            let in_range = span.first >= from && until.is_none_or(|until| last <= until);
            let in_time = |from_index: &Summary| {
                let earliest = query.selection.from_time;
                let latest = query.selection.to_time;
                from_index.values().all(|amount| {
                    earliest.is_none_or(|time| amount.first >= time)
                        && latest.is_none_or(|time| amount.last < time)
                })
            };
            let Some(summary) = index.summary().ok().filter(|summary| in_range && in_time(summary)) else {
                continue;
            };
            if from < span.first {
                let before = Seq::new(span.first.get().saturating_sub(1));
                statistics.read(files, indexes, query, from, Some(before))?;
            }
            statistics.take(query, summary);
            from = index.header.end_seq();
        }
    }
    if until.is_none_or(|until| from <= until) {
        statistics.read(files, indexes, query, from, until)?;
    }
    Ok(statistics)
}

impl Statistics {
    fn take(&mut self, query: &Query, summary: Summary) {
        let wanted = |group: &Group| {
            let (kinds, results) = (&query.selection.kinds, &query.selection.results);
            (kinds.is_empty() || kinds.iter().any(|kind| kind.as_str() == group.kind))
                && (results.is_empty() || results.iter().any(|result| result.as_str() == group.result))
        };
        for (group, amount) in summary.into_iter().filter(|(group, _)| wanted(group)) {
            self.from_index += amount.records;
            self.add(group, amount);
        }
    }

    fn add(&mut self, group: Group, amount: Amount) {
        self.summary.entry(group).and_modify(|sum| sum.add(&amount)).or_insert(amount);
    }

    /// Reads what fits between two numbers.
    fn read(
        &mut self,
        files: &Files,
        indexes: &Directories,
        query: &Query,
        from: Seq,
        to: Option<Seq>,
    ) -> Result<(), SearchError> {
        let mut query = query.clone();
        (query.selection.from, query.selection.to) = (from, to);
        let mut searched = search(files, indexes, &query, Order::OldestFirst, None, &mut |hit| {
            let record = hit.record;
            let group = Group {
                day: day(record.time),
                kind: record.kind.as_str().to_owned(),
                result: record.result.as_str().to_owned(),
            };
            self.add(group, Amount::one(record.time, hit.bytes.len(), hit.sealed.len()));
            ControlFlow::Continue(())
        })?;
        searched.faults.extend(std::mem::take(&mut self.searched.faults));
        searched.faults.dedup_by(|one, other| one.0 == other.0);
        searched.end = searched.end.or(self.searched.end.take());
        self.searched = searched;
        Ok(())
    }
}
