//! The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.
//!
//! Records hold what visitors and publishers chose to call themselves, so everything is escaped by the template engine,
//! and the page forbids scripts in its own policy as well. It prints on paper as it is.

use askama::Template;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit, tz::TimeZone};

use crate::cryptography::Protection;
use crate::report::{Report, Standing};
use crate::sections::{Cell, Sheet};

/// Rows of a table that stand on the page; all are in its CSV file.
const ROWS: usize = 200;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    zone: TimeZone,
}

/// The page. The same report gives the same bytes.
pub fn html(report: &Report) -> Result<String, askama::Error> {
    Page { report, zone: TimeZone::get(&report.time_zone).unwrap_or(TimeZone::UTC) }.render()
}

/// The second in which it was: what was at 23:59:59.6 was on that day.
fn second(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    time.round(down).unwrap_or(time)
}

impl Page<'_> {
    fn evaluated(&self) -> usize {
        self.count(|state| matches!(state, Standing::Evidence))
    }

    fn excepted(&self) -> usize {
        self.count(|state| matches!(state, Standing::Exceptions { .. }))
    }

    fn unevaluated(&self) -> usize {
        self.count(|state| matches!(state, Standing::NotEvaluated { .. }))
    }

    fn count(&self, wanted: impl Fn(&Standing) -> bool) -> usize {
        self.report.controls.iter().filter(|control| wanted(&control.state)).count()
    }

    /// Every kind of exception that there is, once: of controls, then of tables.
    fn exceptions(&self) -> Vec<(String, &str, u64)> {
        let controls = self.report.controls.iter().flat_map(|control| {
            let listings = control.exceptions.iter().filter(|listing| listing.table.sum.count > 0);
            listings
                .map(|listing| (control.id.clone(), listing.table.shows.as_str(), listing.table.sum.count))
        });
        let sheets = self.report.sheets.iter().flat_map(|sheet| {
            sheet.exceptions.iter().map(|found| (sheet.title.to_owned(), found.what, found.count))
        });
        controls.chain(sheets).collect()
    }

    fn sides(&self) -> [(&'static str, &Protection); 2] {
        let cryptography = &self.report.cryptography;
        [("Sessions", &cryptography.sessions), ("Tunnel registrations", &cryptography.tunnels)]
    }

    fn span(first: Option<&u64>, last: Option<&u64>) -> String {
        match (first, last) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "none".to_owned(),
        }
    }

    /// A time as people of the report's time zone read it.
    fn at(&self, time: &Timestamp) -> String {
        if self.report.time_zone == "UTC" {
            return time.to_string();
        }
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    fn cell(&self, cell: &Cell) -> String {
        match cell {
            Cell::Nothing => String::new(),
            Cell::Number(number) => number.to_string(),
            Cell::Time(time) => self.at(&second(*time)),
            Cell::Text(text) => text.clone(),
        }
    }

    fn is_number(cell: &Cell) -> bool {
        matches!(cell, Cell::Number(_))
    }

    /// Whether a column holds numbers, so that its head stands over them.
    fn numeric(sheet: &Sheet, column: &str) -> bool {
        let place = sheet.columns.iter().position(|name| *name == column);
        let mut cells = sheet.rows.iter().filter_map(|row| row.get(place?));
        cells.find(|cell| **cell != Cell::Nothing).is_some_and(Self::is_number)
    }

    fn shown(sheet: &Sheet) -> &[Vec<Cell>] {
        sheet.rows.get(..ROWS).unwrap_or(&sheet.rows)
    }

    fn rest(sheet: &Sheet) -> u64 {
        sheet.rows.len().saturating_sub(ROWS) as u64 + sheet.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_the_page_is_never_later_than_it_was() {
        for (time, shown) in [
            ("2026-01-31T23:59:59.999Z", "2026-01-31T23:59:59Z"),
            ("2026-01-31T23:59:59Z", "2026-01-31T23:59:59Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(second(time.parse().unwrap()).to_string(), shown);
        }
    }
}
