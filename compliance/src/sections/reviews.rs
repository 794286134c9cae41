//! Access reviews: what was reviewed, by when, and what came of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet};

const KINDS: &[Kind] = &[Kind::ReviewStarted, Kind::ReviewDecided, Kind::ReviewClosed];

struct Review {
    started: Timestamp,
    /// It began in the period, and not before.
    inside: bool,
    items: Cell,
    deadline: Option<Timestamp>,
    digest: String,
    decided: u64,
    /// Decisions that took less than two seconds.
    hasty: u64,
    closed: Option<Timestamp>,
    kept: Cell,
    revoked: Cell,
    unreviewed: u64,
    record: Cell,
}

pub(super) struct Reviews {
    book: Book,
    begun: BTreeMap<String, Review>,
    /// Decisions of the period, and those of them that took less than two seconds.
    decisions: u64,
    hasty: u64,
}

impl Default for Reviews {
    fn default() -> Self {
        Self { book: Book::since_the_beginning(KINDS), begun: BTreeMap::new(), decisions: 0, hasty: 0 }
    }
}

impl Section for Reviews {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) || !seen.done() {
            return;
        }
        let Some(id) = seen.text("review") else { return };
        if seen.record.kind == Kind::ReviewStarted {
            let review = Review {
                started: seen.record.time,
                inside: seen.inside,
                items: seen.number("items").into(),
                deadline: seen.time_in("deadline"),
                digest: seen.text("digest").unwrap_or_default().to_owned(),
                decided: 0,
                hasty: 0,
                closed: None,
                kept: Cell::Nothing,
                revoked: Cell::Nothing,
                unreviewed: 0,
                record: seen.seq(),
            };
            self.begun.insert(id.to_owned(), review);
        } else if seen.record.kind == Kind::ReviewClosed && !seen.inside {
            // Whatever ended before the period began is the matter of an earlier report.
            self.begun.remove(id);
        } else if let Some(review) = self.begun.get_mut(id) {
            if seen.record.kind == Kind::ReviewDecided {
                let hasty = u64::from(seen.number("took").is_some_and(|took| took < 2));
                review.decided += 1;
                review.hasty += hasty;
                if seen.inside {
                    self.decisions += 1;
                    self.hasty += hasty;
                }
            } else {
                review.closed = Some(seen.record.time);
                (review.kept, review.revoked) = (seen.number("kept").into(), seen.number("revoked").into());
                review.unreviewed = seen.number("unreviewed").unwrap_or(0);
            }
        }
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, begun: reviews, decisions, hasty } = *self;
        let before = reviews.values().filter(|review| !review.inside).count();
        let late = |review: &&Review| {
            review.closed.is_none() && review.deadline.is_some_and(|deadline| deadline < end.period.to)
        };
        let overdue = reviews.values().filter(late).count() as u64;
        let unreviewed: u64 = reviews.values().map(|review| review.unreviewed).sum();
        let sheet = book
            .sheet(
                "reviews",
                "Access reviews",
                "Reviews that began in the period, and those that were not closed when it began. What nobody decided on in \
                 time was ended by the gateway; a decision that took less than two seconds may be a rubber stamp. The \
                 figures count the decisions of the period, the rows those of the whole review up to its end.",
            )
            .figure("reviews begun", reviews.len() - before)
            .figure("from before the period, not closed when it began", before)
            .figure("decisions", decisions)
            .figure("decisions in less than two seconds", hasty)
            .exception("overdue", overdue)
            .exception("unreviewed", unreviewed);
        let rows = reviews.into_iter().map(|(id, review)| {
            vec![
                review.started.into(),
                id.into(),
                review.items,
                review.decided.into(),
                review.hasty.into(),
                review.kept,
                review.revoked,
                review.unreviewed.into(),
                review.deadline.into(),
                review.closed.into(),
                review.digest.into(),
                review.record,
            ]
        });
        let columns = [
            "started",
            "review",
            "items",
            "decided",
            "in less than two seconds",
            "kept",
            "revoked",
            "not reviewed",
            "deadline",
            "closed",
            "digest of the population",
            "record",
        ];
        sheet.rows(&columns, rows.collect::<Vec<_>>())
    }
}
