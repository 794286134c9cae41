//! Canary controls: what must be refused was tried on purpose. A silence is an exception, too.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, seconds};
use crate::coverage::Cause;
use crate::period::Period;

const KINDS: &[Kind] = &[Kind::LedgerCreated, Kind::CanaryTried];

/// When the ledger began: nothing can have been tried before. And what was tried before the period, so that a control
/// that is tried no more is missed.
const BEFORE: &[Kind] = KINDS;

/// The controls that a gateway tries, with what each must show.
const CONTROLS: &[(&str, &str)] = &[
    ("self-approval", "nobody approves their own request"),
    ("expired-grant", "an expired grant lets nobody in, and puts out who is in"),
    ("revoked-token", "a revoked token proves nobody"),
    ("altered-record", "a record that was altered is found"),
];

/// One control, and how it was tried.
#[derive(Default)]
struct Tries {
    held: u64,
    failed: u64,
    /// The last one, of before the period if there was none in it, and after how many seconds it promised the next.
    last: Option<(Timestamp, u64)>,
    /// The longest time between two tries of which the second is in the period, or between one and the period's beginning
    /// or end.
    longest: u64,
    /// Some pause was longer than it may be.
    silent: bool,
    answer: String,
    record: Cell,
}

impl Tries {
    fn hear(&mut self, seen: &Seen<'_>, begun: Timestamp) {
        let time = seen.record.time;
        let every = seen.number("every_secs").unwrap_or(self.last.map_or(0, |(_, every)| every));
        if seen.inside {
            // Before the first of all there is nothing to go by but what it says itself.
            let (since, promised) = self.last.unwrap_or((begun, every));
            self.pause(seconds(since, time), promised);
            if seen.done() { self.held += 1 } else { self.failed += 1 }
        }
        self.last = Some((time, every));
        seen.text("answer").unwrap_or_default().clone_into(&mut self.answer);
        self.record = seen.seq();
    }

    /// Twice the interval: a start and the time that trying takes are no silence.
    fn pause(&mut self, pause: u64, every: u64) {
        self.longest = self.longest.max(pause);
        self.silent |= pause > every.max(1).saturating_mul(2);
    }

    fn count(&self) -> u64 {
        self.held + self.failed
    }
}

pub(super) struct Canaries {
    book: Book,
    period: Period,
    begun: Option<Timestamp>,
    controls: BTreeMap<String, Tries>,
}

impl Canaries {
    pub(super) fn new(period: Period) -> Self {
        Self { book: Book::remembering(KINDS, BEFORE), period, begun: None, controls: BTreeMap::new() }
    }
}

impl Section for Canaries {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        if seen.record.kind == Kind::LedgerCreated {
            self.begun = Some(seen.record.time);
            return;
        }
        let begun = self.begun.map_or(self.period.from, |begun| begun.max(self.period.from));
        let control = seen.text("control").unwrap_or("unnamed").to_owned();
        self.controls.entry(control).or_default().hear(seen, begun);
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, mut controls, .. } = *self;
        // Behind the ledger's last record nothing is known, which the report says among its silences.
        let beyond = end.silences.last().filter(|silence| {
            silence.to == end.period.to && matches!(silence.cause, Cause::AfterLast | Cause::Stopped)
        });
        let to = beyond.map_or(end.period.to, |silence| silence.from);
        for tries in controls.values_mut() {
            if let Some((last, every)) = tries.last {
                tries.pause(seconds(last, to), every);
            }
        }
        let in_period = controls.values().any(|tries| tries.count() > 0);
        let word = match (in_period, controls.is_empty()) {
            (true, _) => "yes",
            (false, false) => "no, but before the period",
            (false, true) => "not evaluated: no canary was tried up to the period's end",
        };
        let failed = controls.values().map(|tries| tries.failed).sum();
        let silent = controls.values().filter(|tries| tries.silent).count() as u64;
        let never = CONTROLS
            .iter()
            .filter(|(control, _)| !controls.is_empty() && !controls.contains_key(*control))
            .count() as u64;
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for (control, shows) in CONTROLS {
            let none = Tries::default();
            let tries = controls.get(*control).unwrap_or(&none);
            rows.push(vec![
                (*control).into(),
                (*shows).into(),
                tries.held.into(),
                tries.failed.into(),
                tries.last.map(|(last, _)| last).into(),
                tries.answer.clone().into(),
                tries.longest.into(),
                tries.record.clone(),
            ]);
        }
        let about = "What the gateway must refuse, tried by itself on purpose; the refusal is the evidence (method: test). \
                     Self-approval and the expired grant are tried in a rehearsal with the gateway's own decision code, the \
                     revoked token at the running gateway, the altered record on a copy. A pause is judged by the \
                     interval that the try before it states, and counted as a whole, also where it began before the \
                     period. If nothing was ever tried, this is not evaluated.";
        book.sheet("canaries", "Canary controls", about)
            .figure("tried", word)
            .exception("failed", failed)
            .exception("silent", silent)
            .exception("never", never)
            .rows(
                &[
                    "control",
                    "shows",
                    "held",
                    "not held",
                    "last",
                    "last answer",
                    "longest pause, seconds",
                    "record",
                ],
                rows,
            )
    }
}
