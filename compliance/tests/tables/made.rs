//! A ledger in the making, and what a report of February 2026 says of it.

use jiff::tz::TimeZone;
use sallyport_audit::snapshot::Shown;
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::{Segment, Trust, verify};
use sallyport_audit::{Checkpoint, Digest, Draft, Kind, Outcome, Record, Seq};
use sallyport_compliance::{Builtin, Cell, HISTORY, Period, Report, Reporter, Sheet, Survey};

const ORIGIN: &str = "sallyport.example/ledger";

pub(crate) fn done(kind: Kind) -> Draft {
    Draft::new(kind, Outcome::Success)
}

pub(crate) fn denied(kind: Kind) -> Draft {
    Draft::new(kind, Outcome::Denied)
}

pub(crate) fn failed(kind: Kind) -> Draft {
    Draft::new(kind, Outcome::Failure)
}

/// A ledger that began on 1 January 2026, a month before the period of the report.
pub(crate) struct Made {
    journal: JournalBuilder,
}

impl Made {
    pub(crate) fn ledger() -> Self {
        let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
        let key = signer.verifier().to_string();
        let journal = JournalBuilder::new(ORIGIN, signer);
        let made = Self { journal };
        made.then(done(Kind::LedgerCreated).detail("origin", ORIGIN).detail("key", key))
    }

    /// From here on it is this time of 2026, as `02-03T10:00:00`.
    pub(crate) fn at(mut self, time: &str) -> Self {
        self.journal.time = format!("2026-{time}Z").parse().unwrap();
        self
    }

    pub(crate) fn then(mut self, draft: Draft) -> Self {
        self.journal.group([draft]);
        self
    }

    /// The SOC 2 report of February.
    pub(crate) fn report(&self) -> Report {
        let period = Period::parse("2026-02-01", "2026-02-28").unwrap();
        let framework = Builtin::Soc2.load().unwrap();
        let segments = self.journal.segments.iter();
        let segments = segments.map(|(name, bytes)| Ok(Segment { name: name.clone(), bytes: bytes.clone() }));
        let trust = Trust { keys: vec![self.journal.signer.verifier()], ..Trust::default() };
        let verdict = verify(segments, Some(&self.journal.head_file()), &trust);
        let (head, _) = Checkpoint::from_note(&self.journal.note).unwrap();
        let bytes = self.journal.records();
        let records: Vec<Record> = bytes.iter().map(|bytes| Record::parse(bytes).unwrap()).collect();
        let mut survey = Survey::new(period);
        for record in &records {
            survey.take(record.seq, record.time);
        }
        let scope = survey.finish();
        let reporter = || Reporter::new(&framework, period, &TimeZone::UTC, scope);
        let mut whole = reporter();
        for (seq, bytes) in (0..).zip(&bytes) {
            whole.take(Shown::Record { seq: Seq::new(seq), bytes, leaf: Digest::leaf(bytes) }).unwrap();
        }
        let whole = whole.finish(verdict.clone(), &head);
        // A pack carries less, and must give the same tables.
        let mut packed = reporter();
        let first = scope.map_or(0, |scope| scope.first);
        for (record, bytes) in records.iter().zip(&bytes) {
            let leaf = Digest::leaf(bytes);
            if record.seq.get() >= first {
                packed.take(Shown::Record { seq: record.seq, bytes, leaf }).unwrap();
            } else if HISTORY.contains(&record.kind) {
                packed.remember(bytes, leaf).unwrap();
            }
        }
        assert_eq!(packed.finish(verdict, &head).sheets, whole.sheets);
        whole
    }

    pub(crate) fn table(&self, id: &str) -> Table {
        Table(self.report().sheets.into_iter().find(|sheet| sheet.id == id).unwrap())
    }
}

/// One table of the report.
pub(crate) struct Table(pub(crate) Sheet);

impl Table {
    #[track_caller]
    pub(crate) fn figure(&self, name: &str) -> &str {
        let figure = self.0.figures.iter().find(|figure| figure.name == name);
        &figure.unwrap_or_else(|| panic!("{name:?} is none of {:?}", self.0.figures)).value
    }

    /// What has to be explained: rule and count.
    pub(crate) fn found(&self) -> Vec<(&str, u64)> {
        self.0.exceptions.iter().map(|found| (found.rule, found.count)).collect()
    }

    /// One column, as a reader sees it.
    #[track_caller]
    pub(crate) fn column(&self, name: &str) -> Vec<String> {
        let place = self.0.columns.iter().position(|column| *column == name);
        let place = place.unwrap_or_else(|| panic!("{name:?} is none of {:?}", self.0.columns));
        self.0.rows.iter().map(|row| text(&row[place])).collect()
    }

    /// The row that has this text in its first or second place: what is in these columns of it.
    #[track_caller]
    pub(crate) fn row<const N: usize>(&self, name: &str, columns: [&str; N]) -> [String; N] {
        let row = self.0.rows.iter().position(|row| row.iter().take(2).any(|cell| text(cell) == name));
        let row = row.unwrap_or_else(|| panic!("no row of {name:?} in {:?}", self.0.rows));
        columns.map(|column| self.column(column)[row].clone())
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Number(number) => number.to_string(),
        Cell::Time(time) => time.strftime("%m-%dT%H:%M:%S").to_string(),
        Cell::Text(text) => text.clone(),
    }
}
