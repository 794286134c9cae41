//! Where things stand in `approvals.toml`, so that what is wrong with them is told with its line.

/// The lines of the file. What is written in some other way than as tables of its own isn't found, and has line 0: the whole
/// file.
pub(super) struct Lines<'a>(pub(super) &'a str);

impl Lines<'_> {
    /// The line of the header `[A.B]` for `["A", "B"]`.
    pub(super) fn table(&self, path: &[&str]) -> u32 {
        self.headers(path, "[").next().unwrap_or(0)
    }

    /// The line of the header `[[A.B]]` of the table of that number among its like, from 0.
    pub(super) fn entry(&self, path: &[&str], number: usize) -> u32 {
        self.headers(path, "[[").nth(number).unwrap_or(0)
    }

    /// The line of a key in the table whose header stands in that line; the header's own if it isn't found.
    pub(super) fn key(&self, table: u32, key: &str) -> u32 {
        let within = self.numbered().filter(|(number, _)| *number > table && table > 0);
        let mut within = within.take_while(|(_, line)| !line.trim_start().starts_with('['));
        let is_it = |line: &str| line.split_once('=').is_some_and(|(name, _)| bare(name) == key);
        within.find(|(_, line)| is_it(line)).map_or(table, |(number, _)| number)
    }

    /// The line in which a byte stands.
    pub(super) fn at(&self, offset: usize) -> u32 {
        let before = self.0.get(..offset).unwrap_or_default();
        u32::try_from(before.split('\n').count()).unwrap_or(0)
    }

    fn headers<'l>(&'l self, path: &'l [&str], opening: &'l str) -> impl Iterator<Item = u32> + 'l {
        let is_it = move |line: &str| {
            let inner = line.trim().strip_prefix(opening).filter(|inner| !inner.starts_with('['));
            let inner = inner.and_then(|inner| inner.split(']').next());
            inner.is_some_and(|inner| inner.split('.').map(bare).eq(path.iter().copied()))
        };
        self.numbered().filter(move |(_, line)| is_it(line)).map(|(number, _)| number)
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &str)> {
        (1..).zip(self.0.lines())
    }
}

/// A name without its quotation marks.
fn bare(name: &str) -> &str {
    name.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_entries_and_keys_are_found_however_they_are_spaced_and_quoted() {
        let lines = Lines(
            "# [workflow.a]\n[workflow.ab]\n\n [ workflow . \"a\" ] # it\nmax_minutes = 5\n[[workflow.a.step]]\nrole = 1\n[[workflow.a.step]]\npeople=2\n[reports.main]\n\"user:a\" = 1\n",
        );
        assert_eq!((lines.table(&["workflow", "ab"]), lines.table(&["workflow", "a"])), (2, 4));
        assert_eq!(lines.table(&["workflow", "b"]), 0);
        let step = ["workflow", "a", "step"];
        assert_eq!([0, 1, 2].map(|number| lines.entry(&step, number)), [6, 8, 0]);
        assert_eq!((lines.key(4, "max_minutes"), lines.key(8, "people"), lines.key(6, "people")), (5, 9, 6));
        assert_eq!((lines.key(10, "user:a"), lines.key(0, "role")), (11, 0));
        assert_eq!((lines.at(0), lines.at(15)), (1, 2));
    }
}
