//! Why someone asks, approves or revokes, in their own words; and the ticket they name.
//!
//! Both come from a person at a keyboard or an API and end in records, pages and terminals. So they are bounded and
//! hold no control characters: a reason can't forge a log line or move a reader's cursor.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Longest reason in characters.
pub const MAX_REASON: usize = 500;
/// Longest ticket id in characters.
pub const MAX_TICKET: usize = 64;

/// A text that can't be a reason or a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but spaces.
    #[error("the {what} is empty")]
    Empty {
        /// What it should have been.
        what: &'static str,
    },
    /// More than the bound.
    #[error("the {what} has {length} characters; {bound} is the most")]
    TooLong {
        /// What it should have been.
        what: &'static str,
        /// Characters found.
        length: usize,
        /// Characters allowed.
        bound: usize,
    },
    /// A character that no ticket's id holds.
    #[error("a ticket's id is of A-Z a-z 0-9 . _ / # - alone; write everything else into the reason")]
    TicketCharacter,
    /// A line break, an escape or another character that isn't text.
    #[error("the {what} holds a control character; write it in one line of plain text")]
    Control {
        /// What it should have been.
        what: &'static str,
    },
}

/// Characters that reorder or hide the text around them (Unicode bidirectional controls, line separators).
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn parse(text: &str, what: &'static str, bound: usize) -> Result<Arc<str>, TextError> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 {
        return Err(TextError::Empty { what });
    }
    if length > bound {
        return Err(TextError::TooLong { what, length, bound });
    }
    if text.chars().any(deceives) {
        return Err(TextError::Control { what });
    }
    Ok(text.into())
}

/// Why, in a person's own words: 1 to 500 characters in one line. Personal data in records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(Arc<str>);

/// The id of a ticket in another system: 1 to 64 of A-Z a-z 0-9 . _ / # -. It stands in plain in records, so it has
/// no room for words about people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(Arc<str>);

macro_rules! line {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

impl Reason {
    /// What is left of the words of a person who was erased.
    pub fn erased() -> Self {
        Self("(erased)".into())
    }
}

line!(Reason);
line!(Ticket);

impl FromStr for Reason {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        parse(text, "reason", MAX_REASON).map(Self)
    }
}

impl FromStr for Ticket {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let text = parse(text, "ticket", MAX_TICKET)?;
        let known = |b: u8| b.is_ascii_alphanumeric() || b"._/#-".contains(&b);
        if text.bytes().all(known) { Ok(Self(text)) } else { Err(TextError::TicketCharacter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_an_id_and_no_sentence() {
        assert!("OPS-123".parse::<Ticket>().is_ok());
        assert!("org/repo#12".parse::<Ticket>().is_ok());
        assert!(matches!("call Bob".parse::<Ticket>(), Err(TextError::TicketCharacter)));
        assert!(matches!("1".repeat(MAX_TICKET + 1).parse::<Ticket>(), Err(TextError::TooLong { .. })));
    }

    #[test]
    fn a_reason_is_one_bounded_line_of_plain_text() {
        assert_eq!("  look at the demo ".parse::<Reason>().unwrap().as_str(), "look at the demo");
        assert!("é".repeat(MAX_REASON).parse::<Reason>().is_ok());
        assert!(matches!("a".repeat(MAX_REASON + 1).parse::<Reason>(), Err(TextError::TooLong { .. })));
        assert!(matches!(" \t ".parse::<Reason>(), Err(TextError::Empty { .. })));
        for bad in ["a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\0"] {
            assert!(matches!(bad.parse::<Reason>(), Err(TextError::Control { .. })), "{bad:?}");
        }
    }
}
