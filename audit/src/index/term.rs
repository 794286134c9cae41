//! What a record can be found by: a field and a value, as a number of 64 bits.
//!
//! A hash in place of the text keeps the table small and of one width, and is no weakness: two values that
//! fall together cost the reading of a record that is then refused.

use std::collections::{BTreeMap, HashMap};

use crate::digest::Digest;

/// The fields that are indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// What happened.
    Kind,
    /// How it ended.
    Result,
    /// What was done.
    Action,
    /// To what it was done.
    Object,
    /// In which session.
    Session,
    /// Under which grant.
    Grant,
    /// What ties it to others.
    Correlation,
    /// Who did it: by the name of their data key, which says nothing about whose it is.
    Subject,
    /// To whom it was done: the same.
    Target,
}

impl Field {
    /// Its name in the hash, and in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Result => "result",
            Self::Action => "action",
            Self::Object => "object",
            Self::Session => "session",
            Self::Grant => "grant",
            Self::Correlation => "correlation",
            Self::Subject => "subject",
            Self::Target => "target",
        }
    }
}

/// A field with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub(super) u64);

const DOMAIN: &[u8] = b"sallyport.audit/term/v1\0";

impl Term {
    /// Of a value that stands in the record in plain, or of the name of a data key beside it.
    pub fn new(field: Field, value: &[u8]) -> Self {
        let digest = Digest::of(&[DOMAIN, field.as_str().as_bytes(), &[0], value]);
        let first = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        Self(u64::from_le_bytes(first))
    }
}

/// Remembers the terms of a span: the same few values come again and again, and hashing each costs more than all
/// else that is done with it.
#[derive(Default)]
pub(super) struct Terms(BTreeMap<Field, HashMap<Box<[u8]>, Term>>);

impl Terms {
    pub(super) fn term(&mut self, field: Field, value: &[u8]) -> Term {
        let known = self.0.entry(field).or_default();
        match known.get(value) {
            Some(term) => *term,
            None => *known.entry(value.into()).or_insert(Term::new(field, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_in_two_fields_is_two_terms() {
        assert_ne!(Term::new(Field::Session, b"x"), Term::new(Field::Grant, b"x"));
        assert_ne!(Term::new(Field::Session, b"x"), Term::new(Field::Session, b"y"));
        assert_eq!(Term::new(Field::Session, b"x"), Term::new(Field::Session, b"x"));
    }
}
