//! A table as a CSV file (RFC 4180) that a spreadsheet may open.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula and run it. Records hold what strangers
//! chose to call themselves, so such a text gets an apostrophe before it; numbers and times are ours and stay as they are.

use sha2::{Digest as _, Sha256};

use crate::cryptography::{Cryptography, Protection};
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
    let mut writer = csv::WriterBuilder::new()
        .flexible(true)
        .terminator(csv::Terminator::CRLF)
        // Where a comma is the decimal sign, spreadsheets split at semicolons; within quotes they do not.
        .quote_style(csv::QuoteStyle::Always)
        .from_writer(Vec::new());
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
pub fn harmless(text: &str) -> String {
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
        // What a table found stands row by row in that table's own file.
        let tables = control.tables.iter().filter(|found| found.count > 0).map(move |found| {
            let none = String::new;
            vec![
                harmless(&control.id),
                found.what.to_owned(),
                none(),
                none(),
                none(),
                none(),
                format!("tables/{}.csv", found.table),
                format!("{} found", found.count),
                none(),
            ]
        });
        let records = control.exceptions.iter().flat_map(move |listing| {
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
        });
        records.chain(tables)
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

/// The keys, as they were last recorded before the period's end.
pub(crate) fn of_keys(cryptography: &Cryptography) -> Vec<u8> {
    let columns = ["role", "key", "algorithm", "lives in", "can it leave", "made", "due", "state", "record"];
    let rows = cryptography.inventory.keys.iter().map(|key| {
        vec![
            harmless(&key.role),
            harmless(&key.name),
            harmless(&key.algorithm),
            harmless(&key.home),
            harmless(&key.extractable),
            harmless(key.created.as_deref().unwrap_or_default()),
            harmless(key.due.as_deref().unwrap_or_default()),
            key.state.as_str().to_owned(),
            key.seq.to_string(),
        ]
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

/// What became of keys in the period.
pub(crate) fn of_key_changes(cryptography: &Cryptography) -> Vec<u8> {
    let columns = ["record", "time", "kind", "role", "old key", "key", "by", "leaf"];
    let rows = cryptography.changes.rows.iter().map(|change| {
        vec![
            change.seq.to_string(),
            change.time.to_string(),
            change.kind.to_owned(),
            harmless(&change.role),
            harmless(change.old.as_deref().unwrap_or_default()),
            harmless(change.new.as_deref().unwrap_or_default()),
            change.by.to_owned(),
            change.leaf.to_string(),
        ]
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

/// How sessions and registrations of tunnels were protected, and how often each way.
pub(crate) fn of_protection(cryptography: &Cryptography) -> Vec<u8> {
    let columns = ["what", "agreed by TLS", "by the tunnel's own handshake", "records"];
    let rows = sides(cryptography).into_iter().flat_map(|(what, side)| {
        side.ways.iter().map(move |way| {
            vec![what.to_owned(), harmless(&way.tls), harmless(&way.tunnel), way.count.to_string()]
        })
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

/// The sessions and registrations that were not hybrid, or whose records do not say.
pub(crate) fn of_not_hybrid(cryptography: &Cryptography) -> Vec<u8> {
    let columns = ["what", "record", "time", "object", "reference", "leaf"];
    let rows = sides(cryptography).into_iter().flat_map(|(what, side)| {
        side.others.iter().map(move |row| {
            vec![
                what.to_owned(),
                row.seq.to_string(),
                row.time.to_string(),
                harmless(row.object.as_deref().unwrap_or_default()),
                harmless(row.reference.as_deref().unwrap_or_default()),
                row.leaf.to_string(),
            ]
        })
    });
    write(columns.map(str::to_owned).to_vec(), rows)
}

fn sides(cryptography: &Cryptography) -> [(&'static str, &Protection); 2] {
    [("session", &cryptography.sessions), ("tunnel registration", &cryptography.tunnels)]
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
        rows.extend(control.tables.iter().map(|found| {
            let numbers = [found.count.to_string(), String::new(), String::new(), String::new()];
            row("table", found.what, &format!("table {}, rule {}", found.table, found.rule), numbers)
        }));
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
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            assert!(harmless(text).starts_with('\''), "{text:?}");
        }
        assert_eq!(harmless("tunnel:demo"), "tunnel:demo");
        assert_eq!(cell(&Cell::Number(-1)), "-1", "a number of ours is a number");
    }

    #[test]
    fn commas_semicolons_quotes_and_line_breaks_stay_within_their_cell() {
        let row = vec!["x,\"y\"\nz".to_owned(), "a;=1+1".to_owned(), "2".to_owned()];
        let file = write(vec!["a".to_owned()], std::iter::once(row));
        assert_eq!(String::from_utf8(file).unwrap(), "\"a\"\r\n\"x,\"\"y\"\"\nz\",\"a;=1+1\",\"2\"\r\n");
    }
}
