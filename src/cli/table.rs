//! Lists for people: plain columns, no borders, so that they can be read, cut and pasted.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with these column heads.
pub(super) fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    table
}

/// A moment as people write it, to the second, in UTC.
pub(super) fn moment(text: &str) -> String {
    text.split_once('.').map_or_else(|| text.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}
