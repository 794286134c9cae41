//! How far witnessing has come, for whoever decides about sessions and for the operator.

use jiff::Timestamp;
use serde::Serialize;

/// The last head that enough witnesses cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessedHead {
    /// How many records it covers.
    pub records: u64,
    /// When it had been cosigned, by the clock of the witness that was last.
    pub time: Timestamp,
    /// Who cosigned it.
    pub by: Vec<String>,
}

/// One witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WitnessState {
    /// What the operator calls it.
    pub name: String,
    /// How many records the last head covers that it cosigned for us; 0 if not known.
    pub records: u64,
    /// When that was, by its clock.
    pub time: Option<Timestamp>,
    /// What was wrong when it was asked last.
    pub trouble: Option<String>,
    /// Whether it says that it has seen another history of this ledger.
    pub disputes: bool,
}

/// How far witnessing has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// How many witnesses are needed.
    pub quorum: usize,
    /// The last head that as many cosigned.
    pub head: Option<WitnessedHead>,
    /// Whether that is not longer ago than it may be.
    pub fresh: bool,
    /// Each witness.
    pub witnesses: Vec<WitnessState>,
}

impl Witnessed {
    /// A sentence for the operator.
    pub fn sentence(&self) -> String {
        let of = self.witnesses.len();
        let disputing: Vec<_> =
            self.witnesses.iter().filter(|one| one.disputes).map(|one| one.name.as_str()).collect();
        let dispute = match disputing.as_slice() {
            [] => String::new(),
            names => format!("; ANOTHER HISTORY OF THIS LEDGER WAS SEEN BY {}", names.join(", ")),
        };
        let state = match &self.head {
            None => format!("not witnessed: never cosigned by {} of {of} witnesses", self.quorum),
            Some(head) if self.fresh => {
                format!("witnessed: {} records at {:.0} by {}", head.records, head.time, head.by.join(", "))
            }
            Some(head) => {
                format!("not witnessed since {:.0}: {} of {of} witnesses are needed", head.time, self.quorum)
            }
        };
        format!("{state}{dispute}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_since_when_and_who_disputes() {
        let time = Timestamp::UNIX_EPOCH;
        let one = WitnessState { name: "w1".to_owned(), ..WitnessState::default() };
        let mut state = Witnessed { quorum: 1, head: None, fresh: false, witnesses: vec![one] };
        assert_eq!(state.sentence(), "not witnessed: never cosigned by 1 of 1 witnesses");
        state.head = Some(WitnessedHead { records: 7, time, by: vec!["w1".to_owned()] });
        assert_eq!(state.sentence(), "not witnessed since 1970-01-01T00:00:00Z: 1 of 1 witnesses are needed");
        state.fresh = true;
        assert_eq!(state.sentence(), "witnessed: 7 records at 1970-01-01T00:00:00Z by w1");
        state.witnesses[0].disputes = true;
        assert!(state.sentence().ends_with("; ANOTHER HISTORY OF THIS LEDGER WAS SEEN BY w1"));
    }
}
