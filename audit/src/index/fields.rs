//! What an index needs of a record, read without making sure that the bytes are canonical.
//!
//! The index decides nothing, so what it reads need not be held to the letter; a record that is shown is. The reader
//! that holds to the letter is only asked first because it is the faster one.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::term::Field;
use crate::digest::Digest;
use crate::record::{RecordReader, RecordView};

/// The indexed fields of one record.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    pub(super) time: Timestamp,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) result: Cow<'a, str>,
    action: Option<Cow<'a, str>>,
    object: Option<Cow<'a, str>>,
    session: Option<Cow<'a, str>>,
    grant: Option<Cow<'a, str>>,
    correlation: Option<Cow<'a, str>>,
}

impl<'a> From<RecordView<'a>> for Fields<'a> {
    fn from(record: RecordView<'a>) -> Self {
        let RecordView { time, kind, result, action, object, session, grant, correlation, .. } = record;
        let (kind, result) = (kind.as_str().into(), result.as_str().into());
        Self { time, kind, result, action, object, session, grant, correlation }
    }
}

impl<'a> Fields<'a> {
    /// `None` when it is no record.
    pub(super) fn read(record: &'a [u8], reader: &mut RecordReader) -> Option<Self> {
        match reader.read(record) {
            Ok(view) => Some(view.into()),
            Err(_) => serde_json::from_slice(record).ok(),
        }
    }

    /// What the record can be found by.
    pub(super) fn values(&self) -> impl Iterator<Item = (Field, &str)> {
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
        .filter_map(|(field, value)| Some((field, value?)))
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
