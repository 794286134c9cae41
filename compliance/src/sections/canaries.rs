//! Canary controls: what must be refused was tried on purpose. A silence is an exception, too.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::Kind;

use super::{Book, Cell, End, Section, Seen, Sheet, seconds};
use crate::coverage::Cause;

const KINDS: &[Kind] = &[Kind::LedgerCreated, Kind::CanaryTried];

/// When the ledger began: nothing can have been tried before.
const BEFORE: &[Kind] = &[Kind::LedgerCreated];

/// The controls that a gateway tries, with what each must show.
const CONTROLS: &[(&str, &str)] = &[
    ("self-approval", "nobody approves their own request"),
    ("expired-grant", "an expired grant lets nobody in, and puts out who is in"),
    ("revoked-token", "a revoked token proves nobody"),
    ("altered-record", "a record that was altered is found"),
];

#[derive(Default)]
struct Tries {
    held: u64,
    failed: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    every: u64,
    /// The longest time between two tries, or between one and the period's beginning or end.
    longest: u64,
    answer: String,
    record: Cell,
}

pub(super) struct Canaries {
    book: Book,
    begun: Option<Timestamp>,
    controls: BTreeMap<String, Tries>,
}

impl Default for Canaries {
    fn default() -> Self {
        Self { book: Book::remembering(KINDS, BEFORE), begun: None, controls: BTreeMap::new() }
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
        let tries = self.controls.entry(seen.text("control").unwrap_or("unnamed").to_owned()).or_default();
        let time = seen.record.time;
        tries.longest = tries.longest.max(tries.last.map_or(0, |last| seconds(last, time)));
        tries.first.get_or_insert(time);
        tries.last = Some(time);
        tries.every = seen.number("every_secs").unwrap_or(tries.every);
        seen.text("answer").unwrap_or_default().clone_into(&mut tries.answer);
        tries.record = seen.seq();
        if seen.done() { tries.held += 1 } else { tries.failed += 1 }
    }

    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet {
        let Self { book, begun, mut controls } = *self;
        let from = begun.map_or(end.period.from, |begun| begun.max(end.period.from));
        // Behind the ledger's last record nothing is known, which the report says among its silences.
        let beyond = end.silences.last().filter(|silence| {
            silence.to == end.period.to && matches!(silence.cause, Cause::AfterLast | Cause::Stopped)
        });
        let to = beyond.map_or(end.period.to, |silence| silence.from);
        for tries in controls.values_mut() {
            tries.longest = tries.longest.max(tries.first.map_or(0, |first| seconds(from, first)));
            tries.longest = tries.longest.max(tries.last.map_or(0, |last| seconds(last, to)));
        }
        let any = !controls.is_empty();
        let failed = controls.values().map(|tries| tries.failed).sum();
        // Twice the interval: a start and the time that trying takes are no silence.
        let silent = controls.values().filter(|tries| tries.longest > 2 * tries.every.max(1)).count() as u64;
        let never =
            CONTROLS.iter().filter(|(control, _)| any && !controls.contains_key(*control)).count() as u64;
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for (control, shows) in CONTROLS {
            let none = Tries::default();
            let tries = controls.get(*control).unwrap_or(&none);
            rows.push(vec![
                (*control).into(),
                (*shows).into(),
                tries.held.into(),
                tries.failed.into(),
                tries.last.into(),
                tries.answer.clone().into(),
                tries.longest.into(),
                tries.record.clone(),
            ]);
        }
        let about = "What the gateway must refuse, tried by itself on purpose; the refusal is the evidence (method: test). \
                     Self-approval and the expired grant are tried in a rehearsal with the gateway's own decision code, the \
                     revoked token at the running gateway, the altered record on a copy. If nothing was tried in the \
                     period, this is not evaluated.";
        book.sheet("canaries", "Canary controls", about)
            .figure("tried", if any { "yes" } else { "not evaluated: no canary was tried in the period" })
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
