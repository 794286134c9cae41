//! A table as a CSV file (RFC 4180) that a spreadsheet may open.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula and run it. Records hold what strangers
//! chose to call themselves, so such a text gets an apostrophe before it; numbers and times are ours and stay as they are.

use sha2::{Digest as _, Sha256};

use crate::sections::{Cell, Sheet};

/// The table with the checksum of its file in it.
pub(crate) fn sealed(mut sheet: Sheet) -> Sheet {
    sheet.csv_sha256 = hex::encode(Sha256::digest(of_sheet(&sheet)));
    sheet
}

/// The file of a table.
pub(crate) fn of_sheet(sheet: &Sheet) -> Vec<u8> {
    let rows = sheet.rows.iter().map(|row| row.iter().map(cell).collect());
    write(sheet.columns.iter().map(|column| (*column).to_owned()).collect(), rows)
}

/// A file with a line of names and rows of texts that are already harmless.
fn write(columns: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in std::iter::once(columns).chain(rows) {
        // Writing to memory cannot fail.
        let _ = writer.write_record(row);
    }
    writer.into_inner().unwrap_or_default()
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Number(number) => number.to_string(),
        Cell::Time(time) => time.to_string(),
        Cell::Text(text) => harmless(text),
    }
}

/// `text`, so that no spreadsheet takes it for a formula.
pub(crate) fn harmless(text: &str) -> String {
    if text
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
    {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// The exceptions of all controls, one row each.
pub(crate) fn of_exceptions(report: &crate::Report) -> Vec<u8> {
    let columns = ["control", "rule", "record", "time", "kind", "result", "object", "reference", "leaf"];
    let rows = report.controls.iter().flat_map(|control| {
        control.exceptions.iter().flat_map(move |listing| {
            listing.rows.iter().map(move |row| {
                vec![
                    harmless(&control.id),
                    harmless(&listing.table.shows),
                    row.seq.to_string(),
                    row.time.to_string(),
                    row.kind.to_owned(),
                    row.result.to_owned(),
                    harmless(row.object.as_deref().unwrap_or_default()),
                    harmless(row.reference.as_deref().unwrap_or_default()),
                    row.leaf.to_string(),
                ]
            })
        })
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

/// The queries of all controls, one row each: what was found, and its checksum.
pub(crate) fn of_controls(report: &crate::Report) -> Vec<u8> {
    let columns = ["control", "state", "part", "shows", "query", "records", "first", "last", "checksum"];
    let rows = report.controls.iter().flat_map(|control| {
        let state = match &control.state {
            crate::Standing::Evidence => "evidence".to_owned(),
            crate::Standing::Exceptions { count } => format!("{count} to explain"),
            crate::Standing::NotEvaluated { reason } => format!("not evaluated: {reason}"),
        };
        let evidence = control.evidence.iter().map(|table| ("evidence", table));
        let exceptions = control.exceptions.iter().map(|listing| ("exception", &listing.table));
        let row = |part: &str, shows: &str, query: &str, numbers: [String; 4]| {
            let [count, first, last, checksum] = numbers;
            vec![
                harmless(&control.id),
                harmless(&state),
                part.to_owned(),
                harmless(shows),
                query.to_owned(),
                count,
                first,
                last,
                checksum,
            ]
        };
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let mut rows: Vec<Vec<String>> = evidence
            .chain(exceptions)
            .map(|(part, table)| {
                let sum = &table.sum;
                let numbers =
                    [sum.count.to_string(), number(sum.first), number(sum.last), sum.checksum.clone()];
                row(part, &table.shows, &table.query, numbers)
            })
            .collect();
        rows.extend(control.not_evaluated.iter().map(|limit| {
            row("not evaluated", &format!("{}: {}", limit.what, limit.why), "", Default::default())
        }));
        rows
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_never_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert!(harmless(text).starts_with('\''), "{text:?}");
        }
        assert_eq!(harmless("tunnel:demo"), "tunnel:demo");
        assert_eq!(cell(&Cell::Number(-1)), "-1", "a number of ours is a number");
    }

    #[test]
    fn commas_quotes_and_line_breaks_stay_within_their_cell() {
        let file =
            write(vec!["a".to_owned()], std::iter::once(vec!["x,\"y\"\nz".to_owned(), "2".to_owned()]));
        assert_eq!(String::from_utf8(file).unwrap(), "a\r\n\"x,\"\"y\"\"\nz\",2\r\n");
    }
}
