//! What an index needs of a record, read without making sure that the bytes are canonical.
//!
//! The index decides nothing, so what it reads need not be held to the letter; a record that is shown is.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::term::{Field, Term};
use crate::digest::Digest;

/// The indexed fields of one record.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    pub(super) time: Timestamp,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) result: Cow<'a, str>,
    action: Option<String>,
    object: Option<String>,
    session: Option<String>,
    grant: Option<String>,
    correlation: Option<String>,
}

impl<'a> Fields<'a> {
    /// `None` when it is no record.
    pub(super) fn read(record: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(record).ok()
    }

    /// What the record can be found by.
    pub(super) fn terms(&self) -> impl Iterator<Item = Term> {
        [
            (Field::Kind, Some(self.kind.as_ref())),
            (Field::Result, Some(self.result.as_ref())),
            (Field::Action, self.action.as_deref()),
            (Field::Object, self.object.as_deref()),
            (Field::Session, self.session.as_deref()),
            (Field::Grant, self.grant.as_deref()),
            (Field::Correlation, self.correlation.as_deref()),
        ]
        .into_iter()
        .filter_map(|(field, value)| Some(Term::new(field, value?.as_bytes())))
    }
}

/// The link that a record holds of the one before it.
pub(super) fn prev(record: &[u8]) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Link {
        prev: Digest,
    }
    serde_json::from_slice::<Link>(record).ok().map(|link| link.prev)
}
