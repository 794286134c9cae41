//! Whether the log was kept: uptime of recording, interruptions, repairs, clock.

use std::collections::BTreeMap;

use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, percent, seconds};

const KINDS: &[Kind] = &[
    Kind::GatewayStarted,
    Kind::GatewayStopped,
    Kind::GatewayHeartbeat,
    Kind::LedgerCreated,
    Kind::LedgerRecovered,
    Kind::LedgerRebuilt,
    Kind::LedgerResumed,
    Kind::LedgerWitnessed,
    Kind::LedgerScrubbed,
    Kind::ClockJumped,
    Kind::HsmDown,
    Kind::HsmUp,
];

#[derive(Default)]
struct Count {
    success: u64,
    other: u64,
    last: Option<Cell>,
}

pub(super) struct Integrity {
    book: Book,
    counts: BTreeMap<&'static str, Count>,
}

impl Default for Integrity {
    fn default() -> Self {
        Self { book: Book::of(KINDS), counts: BTreeMap::new() }
    }
}

impl Section for Integrity {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        let count = self.counts.entry(seen.record.kind.as_str()).or_default();
        if seen.done() {
            count.success += 1;
        } else {
            count.other += 1;
        }
        count.last = Some(seen.seq());
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, counts } = *self;
        let whole = seconds(end.period.from, end.period.to);
        let silent: u64 =
            end.silences.iter().map(|silence| u64::try_from(silence.seconds).unwrap_or(0)).sum();
        let of = |kind: Kind| counts.get(kind.as_str()).map_or(0, |count| count.success + count.other);
        let rows: Vec<_> = KINDS
            .iter()
            .map(|kind| {
                let count = counts.get(kind.as_str());
                let last = count.and_then(|count| count.last.clone());
                vec![
                    kind.as_str().into(),
                    count.map_or(0, |count| count.success).into(),
                    count.map_or(0, |count| count.other).into(),
                    last.into(),
                ]
            })
            .collect();
        let damaged = counts.get(Kind::LedgerScrubbed.as_str()).map_or(0, |count| count.other);
        let unwitnessed = counts.get(Kind::LedgerWitnessed.as_str()).map_or(0, |count| count.other);
        book.sheet(
            "integrity",
            "Was the log kept?",
            "Time covered is the period without the times of more than 15 minutes in which nothing was recorded; they are \
             listed with their causes above. A gateway that has nothing else to say records a heartbeat.",
        )
        .figure("time covered by records", percent(whole.saturating_sub(silent), whole))
        .figure("seconds of silence", silent)
        .figure("heartbeats", of(Kind::GatewayHeartbeat))
        .exception("clock", of(Kind::ClockJumped))
        .exception("repaired", {
            of(Kind::LedgerRecovered) + of(Kind::LedgerRebuilt) + of(Kind::LedgerResumed)
        })
        .exception("damaged", damaged)
        .exception("unwitnessed", unwitnessed)
        .exception("provider", of(Kind::HsmDown))
        .rows(&["kind", "success", "denied or failure", "last record"], rows)
    }
}
