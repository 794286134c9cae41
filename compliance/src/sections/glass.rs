//! Break-glass: leave that somebody took without the approval that policy demands, and its review.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;
use sallyport_audit::commitment::Personal;

use super::{Book, Cell, End, Section, Seen, Sheet, count, seconds};

const KINDS: &[Kind] = &[Kind::GlassTold, Kind::GlassBroken, Kind::GlassReviewed];

struct Broken {
    time: Timestamp,
    /// It was in the period, and not before.
    inside: bool,
    object: String,
    skipped: Cell,
    ends: Option<Timestamp>,
    reviewed: Option<Timestamp>,
    verdict: String,
    person: Cell,
    record: Cell,
}

pub(super) struct Glass {
    book: Book,
    broken: BTreeMap<String, Broken>,
    told: BTreeMap<String, u64>,
}

impl Default for Glass {
    fn default() -> Self {
        Self { book: Book::since_the_beginning(KINDS), broken: BTreeMap::new(), told: BTreeMap::new() }
    }
}

impl Section for Glass {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) || !seen.done() {
            return;
        }
        let Some(grant) = seen.record.grant.clone() else { return };
        match seen.record.kind {
            Kind::GlassTold => count(&mut self.told, grant),
            Kind::GlassBroken => {
                let broken = Broken {
                    time: seen.record.time,
                    inside: seen.inside,
                    object: seen.object(),
                    skipped: seen.number("skipped").into(),
                    ends: seen.time_in("ends"),
                    reviewed: None,
                    verdict: String::new(),
                    person: seen.person(Personal::Subject),
                    record: seen.seq(),
                };
                self.broken.insert(grant, broken);
            }
            // Whatever was reviewed before the period began is the matter of an earlier report.
            _ if !seen.inside => {
                self.broken.remove(&grant);
                self.told.remove(&grant);
            }
            _ => {
                if let Some(broken) = self.broken.get_mut(&grant) {
                    broken.reviewed = Some(seen.record.time);
                    seen.text("verdict").unwrap_or_default().clone_into(&mut broken.verdict);
                }
            }
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, broken, told } = *self;
        let open = broken.values().filter(|broken| broken.reviewed.is_none()).count() as u64;
        let before = broken.values().filter(|broken| !broken.inside).count();
        let wrong = broken.values().filter(|broken| broken.verdict == "unjustified").count() as u64;
        let sheet = book
            .sheet(
                "glass",
                "Break-glass and its reviews",
                "Each time that somebody took leave without approval in the period, and each from before that nobody had \
                 reviewed when it began: how many approvers were skipped, how many of them were told, and what the review \
                 by another person said.",
            )
            .figure("times", broken.len())
            .figure("of them from before the period", before)
            .figure("reviewed", broken.len() as u64 - open)
            .exception("unreviewed", open)
            .exception("unjustified", wrong);
        let rows = broken.into_iter().map(|(grant, broken)| {
            let told = told.get(&grant).copied().unwrap_or(0);
            vec![
                broken.time.into(),
                grant.into(),
                broken.object.into(),
                broken.person,
                broken.skipped,
                told.into(),
                broken.ends.into(),
                broken.reviewed.into(),
                broken.reviewed.map(|reviewed| seconds(broken.time, reviewed)).into(),
                broken.verdict.into(),
                broken.record,
            ]
        });
        let columns = [
            "time",
            "grant",
            "object",
            "person",
            "approvers skipped",
            "approvers told",
            "ends",
            "reviewed",
            "seconds to review",
            "verdict",
            "record",
        ];
        sheet.rows(&columns, rows.collect::<Vec<_>>())
    }
}
