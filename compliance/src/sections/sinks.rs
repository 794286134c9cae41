//! Whether records reached the SIEM: what each sink says of itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, seconds};

const KINDS: &[Kind] = &[Kind::SinkConnected, Kind::SinkFailed, Kind::SinkDelivered, Kind::SinkQuarantined];

#[derive(Default)]
struct Sink {
    connected: u64,
    failed: u64,
    delivered: u64,
    quarantined: u64,
    /// When its receiver was lost.
    since: Option<Timestamp>,
    away: u64,
    last: Option<Cell>,
}

pub(super) struct Sinks {
    book: Book,
    sinks: BTreeMap<String, Sink>,
}

impl Default for Sinks {
    fn default() -> Self {
        Self { book: Book::of(KINDS), sinks: BTreeMap::new() }
    }
}

impl Section for Sinks {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        let sink = self.sinks.entry(seen.object()).or_default();
        let time = seen.record.time;
        sink.last = Some(seen.seq());
        match seen.record.kind {
            Kind::SinkFailed => {
                sink.failed += 1;
                sink.since.get_or_insert(time);
            }
            Kind::SinkQuarantined => sink.quarantined += 1,
            kind => {
                if kind == Kind::SinkConnected {
                    sink.connected += 1;
                } else {
                    sink.delivered += 1;
                }
                sink.away += sink.since.take().map_or(0, |since| seconds(since, time));
            }
        }
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, mut sinks } = *self;
        for sink in sinks.values_mut() {
            sink.away += sink.since.map_or(0, |since| seconds(since, end.period.to));
        }
        let down = sinks.values().filter(|sink| sink.since.is_some()).count() as u64;
        let quarantined = sinks.values().map(|sink| sink.quarantined).sum();
        let rows: Vec<_> = sinks
            .iter()
            .map(|(name, sink)| {
                vec![
                    name.clone().into(),
                    sink.connected.into(),
                    sink.delivered.into(),
                    sink.failed.into(),
                    sink.away.into(),
                    sink.quarantined.into(),
                    sink.last.clone().into(),
                ]
            })
            .collect();
        book.sheet(
            "sinks",
            "Delivery to the SIEM",
            "What each sink recorded of itself in the period. That the receiver kept what it took is shown by comparing \
             its copy with the ledger.",
        )
        .figure("sinks that said something", sinks.len())
        .exception("sinks whose receiver was lost at the end of the period", down)
        .exception("records that a receiver would not take", quarantined)
        .rows(
            &["sink", "connected", "receipts", "lost", "seconds away", "quarantined", "last record"],
            rows,
        )
    }
}
