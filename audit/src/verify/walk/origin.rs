//! Which origin the next segment and the next head must name.
//!
//! The first one that is met is the ledger's; all others must be the same. What record 0 says of it is
//! compared at the end, by the verdict.

/// The origin that a ledger's headers and heads name.
#[derive(Clone, Default)]
pub(in crate::verify) struct Origin(Option<String>);

impl Origin {
    /// This one, known beforehand.
    pub(in crate::verify) fn known(origin: String) -> Self {
        Self(Some(origin))
    }

    /// The origin, once one was met.
    pub(in crate::verify) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Takes the origin that stands in the next header or head. An error says why it cannot stand there.
    pub(super) fn expect(&mut self, found: &str) -> Result<(), String> {
        match &self.0 {
            None => self.0 = Some(found.to_owned()),
            Some(known) if known == found => {}
            Some(known) => {
                return Err(format!("it belongs to the ledger {found:?}, and those before it to {known:?}"));
            }
        }
        Ok(())
    }
}
