//! What the records of a period do not cover: missing numbers, and times in which nothing was recorded.
//!
//! Silence proves nothing by itself, so it is shown with its likely cause and never left out.

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::{Kind, Record};
use serde::Serialize;

use crate::period::Period;

/// Numbers between two records of the period that the period does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The last number before.
    pub after: u64,
    /// The first number behind.
    pub before: u64,
    /// Whether the records exist and lie outside the period by their time (the clock was moved).
    pub outside_by_time: bool,
}

/// A time in which nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// Its beginning, within the period.
    pub from: Timestamp,
    /// Its end, within the period.
    pub to: Timestamp,
    /// How long it is.
    pub seconds: i64,
    /// What the records around it say about it.
    pub cause: Cause,
}

/// Why nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The ledger had not begun.
    BeforeFirst,
    /// The first record that is still there is not the ledger's first.
    Pruned,
    /// No record of the ledger bears a time in the period.
    NoRecord,
    /// The ledger ends here; what came after is not known.
    AfterLast,
    /// The gateway had been stopped on purpose.
    Stopped,
    /// The gateway ended without saying so, and was started again.
    Interrupted,
    /// The gateway ran, by all that is known, and recorded nothing.
    Unexplained,
}

impl Cause {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeFirst => "before the ledger's first record",
            Self::Pruned => "before the first record that is still there; what stood before it was pruned",
            Self::NoRecord => "no record of the ledger bears a time in the period",
            Self::AfterLast => "after the ledger's last record; what happened then is not known",
            Self::Stopped => "the gateway was stopped on purpose",
            Self::Interrupted => "the gateway ended without a word and was started again",
            Self::Unexplained => "the gateway ran and recorded nothing",
        }
    }
}

/// Watches the records go by, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Coverage {
    period: Period,
    limit: SignedDuration,
    last: Option<(u64, Timestamp, Kind)>,
    last_inside: Option<u64>,
    skipped: bool,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) silences: Vec<Silence>,
}

impl Coverage {
    pub(crate) fn new(period: Period, limit: SignedDuration) -> Self {
        Self {
            period,
            limit,
            last: None,
            last_inside: None,
            skipped: false,
            gaps: Vec::new(),
            silences: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, record: &Record) {
        match self.last {
            None => self.silence(self.period.from, record.time, self.before(record)),
            Some((_, before, kind)) => self.silence(before, record.time, between(kind, record.kind)),
        }
        let seq = record.seq.get();
        self.last = Some((seq, record.time, record.kind));
        if !self.period.contains(record.time) {
            self.skipped = true;
            return;
        }
        if let Some(after) = self.last_inside
            && seq != after.saturating_add(1)
        {
            self.gaps.push(Gap { after, before: seq, outside_by_time: self.skipped });
        }
        self.last_inside = Some(seq);
        self.skipped = false;
    }

    pub(crate) fn finish(&mut self) {
        let from = self.last.map_or(self.period.from, |(_, time, _)| time);
        let cause = match self.last {
            None => Cause::NoRecord,
            Some((_, _, Kind::GatewayStopped)) => Cause::Stopped,
            Some(_) => Cause::AfterLast,
        };
        self.silence(from, self.period.to, cause);
    }

    /// Why nothing was recorded before the first record that is shown.
    fn before(&self, first: &Record) -> Cause {
        if first.seq.get() == 0 {
            Cause::BeforeFirst
        } else if self.period.contains(first.time) {
            // The one before it would have been shown, too.
            Cause::Pruned
        } else {
            Cause::Unexplained
        }
    }

    fn silence(&mut self, from: Timestamp, to: Timestamp, cause: Cause) {
        let (from, to) = (from.max(self.period.from), to.min(self.period.to));
        let length = to.duration_since(from);
        if length > self.limit {
            self.silences.push(Silence { from, to, seconds: length.as_secs(), cause });
        }
    }
}

fn between(before: Kind, after: Kind) -> Cause {
    match (before, after) {
        (Kind::GatewayStopped, _) => Cause::Stopped,
        // Opening a ledger writes records of its own before the gateway says that it started.
        (_, Kind::GatewayStarted | Kind::LedgerRecovered | Kind::LedgerRebuilt | Kind::LedgerResumed) => {
            Cause::Interrupted
        }
        _ => Cause::Unexplained,
    }
}
