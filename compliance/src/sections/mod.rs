//! Tables that an auditor asks for whatever the framework: who had access, who approved, what changed, how fast a
//! revocation took hold.
//!
//! One file is one table. Each sees the records go by in order, and gives a [`Sheet`] that says which records it was
//! made from. People stand in records as commitments: a table names them by the record in which they can be disclosed.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use sallyport_audit::commitment::Personal;
use sallyport_audit::{Digest, Kind, Outcome, Record};
use serde::Serialize;
use serde_json::Value;

use crate::coverage::Silence;
use crate::period::Period;
use crate::tally::{Sum, Tally};

mod access;
mod activity;
mod canaries;
mod changes;
mod duties;
mod glass;
mod integrity;
mod kills;
mod people;
mod refusals;
mod requests;
mod retention;
mod reviews;
mod rules;
mod sessions;
mod sinks;

pub use rules::TableRule;

/// Rows that one table holds at most; all are counted.
pub(crate) const MAX_ROWS: usize = 50_000;

/// One table of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// Its short name, and that of its CSV file.
    pub id: &'static str,
    /// What it is.
    pub title: &'static str,
    /// How to read it, and what it does not show.
    pub about: &'static str,
    /// The records it was made from, in words.
    pub query: String,
    /// How many records those are, from where to where.
    #[serde(flatten)]
    pub source: Sum,
    /// What to see at one glance.
    pub figures: Vec<Figure>,
    /// What has to be explained, with how many rows or records.
    pub exceptions: Vec<Exception>,
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// How many more rows there are than are listed.
    pub more: u64,
    /// SHA-256 of the table as its CSV file has it.
    pub csv_sha256: String,
    /// A picture of it, as SVG.
    #[serde(skip)]
    pub chart: Option<String>,
}

/// One number with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// The number, with its unit.
    pub value: String,
}

/// Something that the organisation should explain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The rule's short name within its table.
    pub rule: &'static str,
    /// What.
    pub what: &'static str,
    /// How often.
    pub count: u64,
}

/// What stands in one place of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Nothing.
    #[default]
    Nothing,
    /// A whole number.
    Number(i64),
    /// A time.
    Time(Timestamp),
    /// Words, of which a record may have brought some.
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Text(number.to_string()), Self::Number)
    }
}

impl From<Timestamp> for Cell {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

/// A record that goes by.
pub(crate) struct Seen<'a> {
    pub(crate) record: &'a Record,
    pub(crate) leaf: Digest,
    /// It belongs to the period; else it comes from before.
    pub(crate) inside: bool,
}

impl Seen<'_> {
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.record.details.get(key).and_then(Value::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.record.details.get(key).and_then(Value::as_u64)
    }

    pub(crate) fn time_in(&self, key: &str) -> Option<Timestamp> {
        self.text(key).and_then(|text| text.parse().ok())
    }

    pub(crate) fn words(&self, key: &str) -> String {
        let list = self.record.details.get(key).and_then(Value::as_array);
        let words: Vec<_> = list.into_iter().flatten().filter_map(Value::as_str).collect();
        words.join(" ")
    }

    pub(crate) fn done(&self) -> bool {
        self.record.result == Outcome::Success
    }

    pub(crate) fn object(&self) -> String {
        self.record.object.clone().unwrap_or_default()
    }

    /// Who it was, as far as the record says it without being opened.
    pub(crate) fn person(&self, field: Personal) -> Cell {
        match self.record.personal.get(&field) {
            Some(commitment) => {
                let commitment = commitment.to_string();
                let short = commitment.get(..12).unwrap_or(&commitment);
                format!("{field} {short}, record {}", self.record.seq).into()
            }
            None => self.text("by").map(str::to_owned).into(),
        }
    }

    pub(crate) fn seq(&self) -> Cell {
        self.record.seq.get().into()
    }
}

/// What is known when all records went by.
pub(crate) struct End<'a> {
    pub(crate) period: Period,
    pub(crate) zone: &'a TimeZone,
    pub(crate) silences: &'a [Silence],
}

/// One table in the making.
pub(crate) trait Section {
    /// The next record: of the period, or one from before that left something behind.
    fn take(&mut self, seen: &Seen<'_>);
    /// The table.
    fn finish(self: Box<Self>, end: &End<'_>) -> Sheet;
}

/// All tables, in the order in which they are shown.
pub(crate) fn all(period: Period, zone: &TimeZone) -> Vec<Box<dyn Section>> {
    vec![
        Box::new(activity::Activity::new(zone.clone())),
        Box::new(access::AccessList::default()),
        Box::new(people::People::default()),
        Box::new(requests::Requests::default()),
        Box::new(duties::Duties::default()),
        Box::new(refusals::Refusals::new(zone.clone())),
        Box::new(glass::Glass::default()),
        Box::new(reviews::Reviews::default()),
        Box::new(changes::Changes::default()),
        Box::new(sessions::Sessions::default()),
        Box::new(kills::Kills::default()),
        Box::new(canaries::Canaries::new(period)),
        Box::new(integrity::Integrity::default()),
        Box::new(sinks::Sinks::new(period)),
        Box::new(retention::Retention::default()),
    ]
}

/// The records that one table is made from.
pub(crate) struct Book {
    kinds: &'static [Kind],
    /// Those that are taken from before the period, too.
    history: &'static [Kind],
    tally: Tally,
}

impl Book {
    /// Records of these kinds within the period.
    pub(crate) fn of(kinds: &'static [Kind]) -> Self {
        Self::remembering(kinds, &[])
    }

    /// Records of these kinds from the ledger's beginning to the period's end.
    pub(crate) fn since_the_beginning(kinds: &'static [Kind]) -> Self {
        Self::remembering(kinds, kinds)
    }

    /// Records of `kinds` within the period, and those of `history` from before it.
    pub(crate) fn remembering(kinds: &'static [Kind], history: &'static [Kind]) -> Self {
        debug_assert!(history.iter().all(|kind| crate::scope::HISTORY.contains(kind)));
        Self { kinds, history, tally: Tally::default() }
    }

    /// Whether this record belongs to them; it is counted then.
    pub(crate) fn takes(&mut self, seen: &Seen<'_>) -> bool {
        let kinds = if seen.inside { self.kinds } else { self.history };
        let wanted = kinds.contains(&seen.record.kind);
        if wanted {
            self.tally.take(seen.record, seen.leaf);
        }
        wanted
    }

    /// A table of these records.
    pub(crate) fn sheet(self, id: &'static str, title: &'static str, about: &'static str) -> Sheet {
        let words = |kinds: &[Kind]| {
            let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            if kinds == Kind::ALL { "any".to_owned() } else { words.join(" or ") }
        };
        let (kinds, history) = (words(self.kinds), words(self.history));
        let query = if self.history.is_empty() {
            format!("time is in the period; kind is {kinds}")
        } else if self.history == self.kinds {
            format!("time is before the period's end; kind is {kinds}")
        } else {
            format!("time is in the period; kind is {kinds}; or time is before it; kind is {history}")
        };
        Sheet {
            id,
            title,
            about,
            query,
            source: self.tally.sum(),
            figures: Vec::new(),
            exceptions: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            more: 0,
            csv_sha256: String::new(),
            chart: None,
        }
    }
}

impl Sheet {
    #[expect(clippy::needless_pass_by_value, reason = "counts and texts are handed over alike")]
    pub(crate) fn figure(mut self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        self.figures.push(Figure { name: name.to_owned(), value });
        self
    }

    /// Something to explain by one of the table's [`RULES`](rules::RULES), if it happened at all.
    pub(crate) fn exception(mut self, rule: &'static str, count: u64) -> Self {
        if count > 0 {
            let known = rules::RULES.iter().find(|known| (known.table, known.name) == (self.id, rule));
            debug_assert!(known.is_some(), "{}.{rule} is no rule", self.id);
            self.exceptions.push(Exception { rule, what: known.map_or(rule, |known| known.what), count });
        }
        self
    }

    pub(crate) fn rows(
        mut self,
        columns: &[&'static str],
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Self {
        self.columns = columns.to_vec();
        for row in rows {
            if self.rows.len() < MAX_ROWS { self.rows.push(row) } else { self.more += 1 }
        }
        self
    }
}

/// Seconds from one time to a later one.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// Adds one to a count in a table.
pub(crate) fn count<K: Ord>(table: &mut BTreeMap<K, u64>, key: K) {
    let count = table.entry(key).or_default();
    *count = count.saturating_add(1);
}

/// A share in percent, with one digit behind the point; `none` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
