//! Searches what was acknowledged, by who did it, too.
//!
//! Of a span that has an index only the records are read that it names; the rest is read whole. Every record
//! comes from the query store and is asked the question again together with its personal values, so that a
//! wrong index can lose records and cannot show one that does not fit.

use super::reader::{Entry, Reader};
use super::{ReadError, store::Stored};
use crate::commitment::Personal;
use crate::index::query::People;
use crate::index::search::Order;
use crate::index::{Directories, Query};
use crate::journal::Files;
use crate::record::{Record, Seq};
use crate::selection::Selection;

/// What is asked of a ledger that is open.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// By what stands in the records in plain.
    pub selection: Selection,
    /// Texts that must all stand somewhere in the record.
    pub texts: Vec<String>,
    /// Who did it, such as `user:alice`: one of these.
    pub subjects: Vec<String>,
    /// To whom it was done: one of these.
    pub targets: Vec<String>,
    /// Which records come first.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// Where to go on: the first number, or the last one if the newest come first, that was not looked at.
    /// `None` when there is no more.
    pub next: Option<Seq>,
}

/// How many records are read from the store at once where there is no index.
const BATCH: u64 = 512;

/// The most records that one search reads before it gives back what it has.
const MOST_READ: u64 = 200_000;

impl Search {
    fn fits(&self, entry: &Entry) -> bool {
        let person = |wanted: &[String], field| {
            wanted.is_empty()
                || entry.personal.text(field).is_some_and(|found| wanted.iter().any(|one| one == found))
        };
        person(&self.subjects, Personal::Subject) && person(&self.targets, Personal::Target)
    }
}

impl Reader {
    /// Searches. Reads the disk, and gives back what it has after reading very many records, with where to go
    /// on.
    pub fn search(&self, search: &Search) -> Result<Page, ReadError> {
        let query = Query {
            selection: search.selection.clone(),
            texts: search.texts.clone(),
            people: People::new(&*self.shared.vault, &search.subjects, &search.targets),
        };
        let end = Seq::new(self.len());
        let from = query.selection.from.min(end);
        let to = query.selection.to.map_or(end, Seq::next).min(end);
        let mut looking =
            Looking { reader: self, search, query: &query, page: Page::default(), read: 0, from, to };
        looking.run(&self.shared.files)?;
        Ok(looking.page)
    }

    /// All records of one session, oldest first.
    pub fn session(&self, session: &str) -> Result<Vec<Entry>, ReadError> {
        self.all(Selection { sessions: vec![session.to_owned()], ..Selection::default() })
    }

    /// All records under one grant, oldest first.
    pub fn grant(&self, grant: &str) -> Result<Vec<Entry>, ReadError> {
        self.all(Selection { grants: vec![grant.to_owned()], ..Selection::default() })
    }

    fn all(&self, selection: Selection) -> Result<Vec<Entry>, ReadError> {
        let mut search = Search { selection, limit: usize::MAX, ..Search::default() };
        let mut entries = Vec::new();
        loop {
            let page = self.search(&search)?;
            entries.extend(page.entries);
            match page.next {
                Some(next) => search.selection.from = next,
                None => return Ok(entries),
            }
        }
    }
}

struct Looking<'a> {
    reader: &'a Reader,
    search: &'a Search,
    query: &'a Query,
    page: Page,
    read: u64,
    /// What was not looked at yet.
    from: Seq,
    to: Seq,
}

impl Looking<'_> {
    fn run(&mut self, files: &Files) -> Result<(), ReadError> {
        let newest = self.search.order == Order::NewestFirst;
        let mut spans = Directories::of(files, []).spans();
        if newest {
            spans.reverse();
        }
        for span in spans {
            if self.is_done() {
                break;
            }
            let stored = |seq| Ok(self.reader.stored_one(seq)?.map(|stored| stored.record));
            // What cannot be used is read whole; the thread that makes the index makes it again at the next start.
            let Some(named) = crate::index::search::named_by(&span, self.query, &stored)? else { continue };
            let (first, after) = (span.first.max(self.from), named.end.min(self.to));
            if first >= after {
                continue;
            }
            if newest {
                self.whole(after, self.to)?;
            } else {
                self.whole(self.from, first)?;
            }
            if self.is_done() {
                break;
            }
            self.some(&named.records, first, after)?;
        }
        if !self.is_done() {
            self.whole(self.from, self.to)?;
        }
        if self.from < self.to {
            self.page.next = Some(if newest { Seq::new(self.to.get().saturating_sub(1)) } else { self.from });
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.page.entries.len() >= self.search.limit || self.read >= MOST_READ || self.from >= self.to
    }

    /// What is left is only what lies behind `seq`, in the direction of the search.
    fn passed(&mut self, seq: Seq) {
        match self.search.order {
            Order::OldestFirst => self.from = seq.next(),
            Order::NewestFirst => self.to = seq,
        }
    }

    /// The records that an index names, of a range that it speaks for.
    fn some(&mut self, records: &[Seq], first: Seq, after: Seq) -> Result<(), ReadError> {
        let mut inside: Vec<_> =
            records.iter().copied().filter(|seq| *seq >= first && *seq < after).collect();
        if self.search.order == Order::NewestFirst {
            inside.reverse();
        }
        for seq in inside {
            if self.is_done() {
                return Ok(());
            }
            // An index from before may name what was pruned since.
            if let Some(stored) = self.reader.stored_one(seq)? {
                self.look(stored)?;
            }
        }
        match self.search.order {
            _ if self.is_done() => {}
            Order::OldestFirst => self.from = after,
            Order::NewestFirst => self.to = first,
        }
        Ok(())
    }

    /// All records from one number up to another that is not included.
    fn whole(&mut self, from: Seq, to: Seq) -> Result<(), ReadError> {
        let (mut from, mut to) = (from.get(), to.get());
        while from < to && !self.is_done() {
            let (start, end) = match self.search.order {
                Order::OldestFirst => (from, to.min(from.saturating_add(BATCH))),
                Order::NewestFirst => (from.max(to.saturating_sub(BATCH)), to),
            };
            let mut stored = self.reader.stored_between(Seq::new(start), Seq::new(end))?;
            match self.search.order {
                Order::OldestFirst => from = end,
                Order::NewestFirst => {
                    stored.reverse();
                    to = start;
                }
            }
            for one in stored {
                if self.is_done() {
                    return Ok(());
                }
                self.look(one)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, stored: Stored) -> Result<(), ReadError> {
        let seq = stored.seq;
        self.read += 1;
        let record = Record::parse(&stored.record).map_err(|source| ReadError::Record { seq, source })?;
        // Values are opened only of what fits otherwise.
        if self.query.matches(&record, &stored.record) {
            let entry = self.reader.joined(record, stored);
            if self.search.fits(&entry) {
                self.page.entries.push(entry);
            }
        }
        self.passed(seq);
        Ok(())
    }
}
