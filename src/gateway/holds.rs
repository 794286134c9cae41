//! Legal holds, as far as they stand against erasing a person.
//!
//! A hold is a record, and says which records it holds. A person whose name, or whatever else is personal, lies sealed
//! beside one of those must not be erased while it stands: what the court asked for would become unreadable. If the
//! ledger cannot be asked, the answer is the same.

use sallyport_audit::ledger::{ReadError, Search};
use sallyport_audit::retention::Holds;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Kind, Reader};

use crate::access::Subject;
use crate::console;

/// The holds of an open ledger.
pub(super) struct LegalHolds(pub(super) Reader);

impl console::Holds for LegalHolds {
    fn over(&self, person: &Subject) -> Option<String> {
        match self.first_over(person.as_str()) {
            Ok(held) => held.map(|name| format!("records about them are under the legal hold `{name}`")),
            Err(error) => Some(format!("whether a legal hold stands cannot be read ({error})")),
        }
    }
}

impl LegalHolds {
    /// The name of a hold on a record that the person did something in, or in which something was done to them.
    fn first_over(&self, person: &str) -> Result<Option<String>, ReadError> {
        for hold in self.standing()?.iter() {
            let person = vec![person.to_owned()];
            let held = Search { selection: hold.selection.clone(), limit: 1, ..Search::default() };
            let by = Search { subjects: person.clone(), ..held.clone() };
            let to = Search { targets: person, ..held };
            if self.any(by)? || self.any(to)? {
                return Ok(Some(hold.name.clone()));
            }
        }
        Ok(None)
    }

    fn standing(&self) -> Result<Holds, ReadError> {
        let kinds = vec![Kind::RetentionHeld, Kind::RetentionReleased];
        let selection = Selection { kinds, ..Selection::default() };
        let mut search = Search { selection, limit: usize::MAX, ..Search::default() };
        let mut holds = Holds::default();
        loop {
            let page = self.0.search(&search)?;
            page.entries.iter().for_each(|entry| holds.apply(&entry.record));
            match page.next {
                Some(next) => search.selection.from = next,
                None => return Ok(holds),
            }
        }
    }

    fn any(&self, mut search: Search) -> Result<bool, ReadError> {
        loop {
            let page = self.0.search(&search)?;
            match page.next {
                _ if !page.entries.is_empty() => return Ok(true),
                Some(next) => search.selection.from = next,
                None => return Ok(false),
            }
        }
    }
}
