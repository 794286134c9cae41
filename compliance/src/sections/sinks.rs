//! Whether records reached the SIEM: what each sink says of itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, seconds};
use crate::period::Period;

const KINDS: &[Kind] = &[
    Kind::GatewayStarted,
    Kind::SinkConnected,
    Kind::SinkFailed,
    Kind::SinkDelivered,
    Kind::SinkQuarantined,
    Kind::SinkLate,
];

/// What tells that a receiver was away when the period began. A start is among them, as it is within the period: a sink that
/// is still configured then says anew how it is, and of one that is not nobody waits for a word.
const BEFORE: &[Kind] = &[Kind::GatewayStarted, Kind::SinkConnected, Kind::SinkFailed];

#[derive(Default)]
struct Sink {
    connected: u64,
    failed: u64,
    delivered: u64,
    quarantined: u64,
    late: u64,
    /// When its receiver was lost.
    since: Option<Timestamp>,
    away: u64,
    last: Option<Cell>,
}

impl Sink {
    /// Its receiver is not away any more, or not known to be.
    fn back(&mut self, time: Timestamp) {
        self.away += self.since.take().map_or(0, |since| seconds(since, time));
    }
}

pub(super) struct Sinks {
    book: Book,
    period: Period,
    known: BTreeMap<String, Sink>,
}

impl Sinks {
    pub(super) fn new(period: Period) -> Self {
        Self { book: Book::remembering(KINDS, BEFORE), period, known: BTreeMap::new() }
    }

    /// A sink whose receiver was away when the period began is a sink of the period, even if it says nothing in it.
    fn remember(&mut self, seen: &Seen<'_>) {
        match seen.record.kind {
            Kind::SinkFailed => {
                let sink = Sink { since: Some(self.period.from), last: Some(seen.seq()), ..Sink::default() };
                self.known.insert(seen.object(), sink);
            }
            Kind::GatewayStarted => self.known.clear(),
            _ => drop(self.known.remove(&seen.object())),
        }
    }
}

impl Section for Sinks {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        if !seen.inside {
            self.remember(seen);
            return;
        }
        let time = seen.record.time;
        if seen.record.kind == Kind::GatewayStarted {
            self.known.values_mut().for_each(|sink| sink.back(time));
            return;
        }
        let sink = self.known.entry(seen.object()).or_default();
        sink.last = Some(seen.seq());
        match seen.record.kind {
            Kind::SinkFailed => {
                sink.failed += 1;
                sink.since.get_or_insert(time);
            }
            Kind::SinkQuarantined => sink.quarantined += 1,
            Kind::SinkLate => sink.late += 1,
            kind => {
                if kind == Kind::SinkConnected {
                    sink.connected += 1;
                } else {
                    sink.delivered += 1;
                }
                sink.back(time);
            }
        }
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, known: mut sinks, .. } = *self;
        for sink in sinks.values_mut() {
            sink.away += sink.since.map_or(0, |since| seconds(since, end.period.to));
        }
        let down = sinks.values().filter(|sink| sink.since.is_some()).count() as u64;
        let quarantined = sinks.values().map(|sink| sink.quarantined).sum();
        let late = sinks.values().map(|sink| sink.late).sum();
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
                    sink.late.into(),
                    sink.last.clone().into(),
                ]
            })
            .collect();
        book.sheet(
            "sinks",
            "Delivery to the SIEM",
            "What each sink recorded of itself in the period; a receiver that was away when the period began is away from \
             then on until its sink says otherwise, or the gateway starts: a sink that is still there says then how it is. That the \
             receiver kept what it took is shown by comparing its copy \
             with the ledger.",
        )
        .figure("sinks", sinks.len())
        .exception("lost", down)
        .exception("quarantined", quarantined)
        .exception("late", late)
        .rows(
            &["sink", "connected", "receipts", "lost", "seconds away", "quarantined", "late", "last record"],
            rows,
        )
    }
}
