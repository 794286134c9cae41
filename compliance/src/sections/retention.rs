//! Retention: how far back the ledger reaches, what was pruned, what is held.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, seconds};

const KINDS: &[Kind] =
    &[Kind::LedgerCreated, Kind::RetentionPruned, Kind::RetentionHeld, Kind::RetentionReleased];

pub(super) struct Retention {
    book: Book,
    oldest: Option<Timestamp>,
    rows: Vec<Vec<Cell>>,
    holds: BTreeMap<String, Cell>,
    pruned: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            book: Book::since_the_beginning(KINDS),
            oldest: None,
            rows: Vec::new(),
            holds: BTreeMap::new(),
            pruned: 0,
        }
    }
}

impl Section for Retention {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        self.oldest.get_or_insert(seen.record.time);
        let hold = seen.text("hold").or_else(|| seen.text("name")).unwrap_or_default().to_owned();
        let size = seen.number("size");
        if seen.done() {
            match seen.record.kind {
                Kind::RetentionHeld => drop(self.holds.insert(hold.clone(), seen.seq())),
                Kind::RetentionReleased => drop(self.holds.remove(&hold)),
                Kind::RetentionPruned => self.pruned = self.pruned.max(size.unwrap_or(0)),
                _ => {}
            }
        }
        if seen.inside {
            self.rows.push(vec![
                seen.record.time.into(),
                seen.record.kind.as_str().into(),
                seen.record.result.as_str().into(),
                hold.into(),
                size.into(),
                seen.number("omitted").into(),
                seen.text("archive").map(str::to_owned).into(),
                seen.text("manifest_sha256").map(str::to_owned).into(),
                seen.seq(),
            ]);
        }
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, oldest, rows, holds, pruned } = *self;
        let days = oldest.map_or(0, |oldest| seconds(oldest, end.period.to) / 86_400);
        book.sheet(
            "retention",
            "Retention and legal holds",
            "How many days before the period's end the ledger begins, what was taken out of it after a copy was archived, \
             and which holds forbid that. Whether that is long enough is set by the framework and by counsel.",
        )
        .figure("days from the ledger's first record to the period's end", days)
        .figure("records below this number may be in the archive alone", pruned)
        .figure("holds in force at the period's end", holds.len())
        .rows(
            &["time", "kind", "result", "hold", "records before", "left out", "archive", "manifest SHA-256", "record"],
            rows,
        )
    }
}
