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

#[cfg(test)]
mod tests {
    use sallyport_audit::retention::{held_draft, released_draft};
    use sallyport_audit::testing::{PlainVault, SoftwareSigner};
    use sallyport_audit::{Draft, Ledger, LedgerOptions, Outcome, Seq};

    use super::*;
    use crate::console::Holds as _;

    #[tokio::test]
    async fn a_hold_is_over_whoever_did_what_it_holds_or_had_it_done_to_them_and_over_nobody_else() {
        const ORIGIN: &str = "example.org/ledger";
        let folder = tempfile::tempdir().unwrap();
        let options = LedgerOptions::new(folder.path(), ORIGIN, "gw-1");
        let signer = Box::new(SoftwareSigner::new(ORIGIN, [1; 32]));
        let (ledger, _) = Ledger::open(options, signer, std::sync::Arc::new(PlainVault)).unwrap();
        let draft = |by: &str, to: &str| {
            Draft::new(Kind::HttpRequest, Outcome::Success).subject(by).target(to).object("tunnel:payments")
        };
        ledger.append(draft("user:alice", "user:bob")).await.unwrap();
        ledger.append(draft("user:carol", "user:carol").object("tunnel:wiki")).await.unwrap();
        let person = |name: &str| name.parse::<Subject>().unwrap();
        let holds = LegalHolds(ledger.reader());
        assert_eq!(holds.over(&person("user:alice")), None, "nothing is held");

        let payments = Selection { objects: vec!["tunnel:payments".to_owned()], ..Selection::default() };
        let placed = held_draft("case-1", "a court asked", &payments, &holds.standing().unwrap()).unwrap();
        ledger.append(placed).await.unwrap();
        for name in ["user:alice", "user:bob"] {
            assert!(holds.over(&person(name)).unwrap().contains("case-1"), "{name}");
        }
        assert_eq!(holds.over(&person("user:carol")), None);
        assert!(ledger.reader().get(Seq::new(2)).unwrap().is_some());

        let lifted = released_draft("case-1", "settled", &holds.standing().unwrap()).unwrap();
        ledger.append(lifted).await.unwrap();
        assert_eq!(holds.over(&person("user:alice")), None);
        // Whoever cannot look does not erase.
        ledger.close().await.unwrap();
        assert!(holds.over(&person("user:alice")).unwrap().contains("cannot be read"));
    }
}
