//! How long it took from the decision to end a session until its last byte.

use std::collections::BTreeMap;

use sallyport_audit::Kind;

use super::{Book, End, Section, Seen, Sheet};
use crate::chart;

const KINDS: &[Kind] = &[Kind::SessionClosed];

/// Later than this after the decision is worth an explanation, in microseconds.
const BOUND: u64 = 1_000_000;

#[derive(Default)]
struct Times {
    micros: Vec<u64>,
    held_on: u64,
}

impl Times {
    /// The nearest rank: the least time within which this share of the sessions ended.
    fn share(&self, per_mille: usize) -> u64 {
        let rank = (self.micros.len() * per_mille).div_ceil(1_000).max(1);
        self.micros.get(rank - 1).copied().unwrap_or_default()
    }
}

pub(super) struct Kills {
    book: Book,
    causes: BTreeMap<String, Times>,
}

impl Default for Kills {
    fn default() -> Self {
        Self { book: Book::of(KINDS), causes: BTreeMap::new() }
    }
}

impl Section for Kills {
    fn take(&mut self, seen: &Seen<'_>) {
        let decided = seen.text("cause").zip(seen.number("last_byte_after_us"));
        let Some((cause, micros)) = decided else { return };
        if self.book.takes(seen) {
            let times = self.causes.entry(cause.to_owned()).or_default();
            times.micros.push(micros);
            times.held_on += u64::from(!seen.done());
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, mut causes } = *self;
        for times in causes.values_mut() {
            times.micros.sort_unstable();
        }
        let late =
            causes.values().flat_map(|times| &times.micros).filter(|micros| **micros > BOUND).count() as u64;
        let held_on = causes.values().map(|times| times.held_on).sum();
        let sessions: usize = causes.values().map(|times| times.micros.len()).sum();
        let slowest = causes.values().map(|times| times.share(1_000)).max();
        let names: Vec<String> = causes.keys().cloned().collect();
        let drawn = chart::bars(
            "From the decision to the last byte, microseconds",
            &names,
            &[
                ("middle", causes.values().map(|times| times.share(500)).collect()),
                ("99 of 100", causes.values().map(|times| times.share(990)).collect()),
            ],
        );
        let mut sheet = book.sheet(
            "kills",
            "Sessions ended by a decision",
            "Each session that a decision ended (revoked, expired, locked, policy changed, killed) has in its closing record \
             how long its last byte came after that decision, as the gateway measured it, in microseconds. The query is \
             narrowed to closing records that name a cause.",
        );
        sheet.query.push_str("; details name cause and last_byte_after_us");
        sheet = sheet.figure("sessions", sessions);
        if let Some(slowest) = slowest {
            sheet = sheet.figure("longest", format!("{slowest} µs"));
        }
        let rows: Vec<_> = causes
            .iter()
            .map(|(cause, times)| {
                vec![
                    cause.clone().into(),
                    (times.micros.len() as u64).into(),
                    times.share(500).into(),
                    times.share(990).into(),
                    times.share(1_000).into(),
                    times.held_on.into(),
                ]
            })
            .collect();
        sheet.chart = drawn;
        sheet
            .exception("late", late)
            .exception("held-on", held_on)
            .rows(&["cause", "sessions", "middle", "99 of 100", "longest", "not let go of"], rows)
    }
}
