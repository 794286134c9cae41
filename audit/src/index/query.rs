//! What is asked for.

use memchr::memmem::Finder;

use super::term::{Field, Term};
use crate::commitment::Personal;
use crate::keys::Vault;
use crate::record::{Outcome, Record};
use crate::selection::Selection;
use crate::sidecar::{ANONYMOUS, key_of};

/// Conditions which a record must all meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// By what stands in the record in plain.
    pub selection: Selection,
    /// Texts that must all stand somewhere in the record, in any field or detail. Not indexed.
    pub texts: Vec<String>,
    /// By who did it or to whom it was done.
    pub people: People,
}

/// People to be found, by the names of their data keys. Only the gateway knows whose a key is, so only it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Of each list one must fit.
    any_of: Vec<Vec<Term>>,
}

impl People {
    /// Who did it, and to whom it was done; an empty list is no condition. Whoever asks compares the values
    /// themselves: this only says where to look. Nobody is found whose data key was erased.
    pub fn new(vault: &dyn Vault, subjects: &[String], targets: &[String]) -> Self {
        let lists = [(Field::Subject, subjects), (Field::Target, targets)];
        // Whom no name is known of has no key of their own.
        let named = |names: &[String]| !names.is_empty() && names.iter().all(|name| name != ANONYMOUS);
        let any_of = lists.into_iter().filter(|(_, names)| named(names)).map(|(field, names)| {
            let keys = names.iter().filter_map(|name| vault.key_of(name));
            keys.map(|key| Term::new(field, key.as_bytes())).collect::<Vec<_>>()
        });
        Self { any_of: any_of.collect() }
    }
}

/// Whom a record can be found by, from what lies beside it.
pub(super) fn people(sealed: &[u8]) -> impl Iterator<Item = Term> {
    let fields = [(Personal::Subject, Field::Subject), (Personal::Target, Field::Target)];
    fields
        .into_iter()
        .filter_map(|(personal, field)| key_of(sealed, personal).map(|key| Term::new(field, key.as_bytes())))
}

impl Query {
    /// Only what the selection says.
    pub fn new(selection: Selection) -> Self {
        Self { selection, ..Self::default() }
    }

    /// Whether every record is wanted whose number is.
    pub fn is_range(&self) -> bool {
        self.selection.is_range() && self.texts.is_empty() && self.people.any_of.is_empty()
    }

    /// Whether the counts of an index tell how many records fit, if their numbers and times do.
    pub(super) fn is_counted(&self) -> bool {
        let Selection { from, to, from_time, to_time, kinds, results, .. } = &self.selection;
        let counted = Selection {
            from: *from,
            to: *to,
            from_time: *from_time,
            to_time: *to_time,
            kinds: kinds.clone(),
            results: results.clone(),
            ..Selection::default()
        };
        *self == Self::new(counted)
    }

    /// Whether this record is wanted, as far as it can be told without personal values.
    pub fn matches(&self, record: &Record, bytes: &[u8]) -> bool {
        self.selection.matches(record)
            && self.texts.iter().all(|text| memchr::memmem::find(bytes, inside(text).as_bytes()).is_some())
    }

    /// Whether a record of such a time can be wanted: not before the one second, and not after the other.
    pub(super) fn may_lie_within(&self, first: i64, last: i64) -> bool {
        let Selection { from_time, to_time, .. } = &self.selection;
        from_time.is_none_or(|time| time.as_second() <= last)
            && to_time.is_none_or(|time| time.as_second() >= first)
    }

    /// The terms of which one of each list must fit.
    pub(super) fn terms(&self) -> Vec<Vec<Term>> {
        let plain = self
            .texts_by_field()
            .into_iter()
            .map(|(field, texts)| texts.iter().map(|text| Term::new(field, text.as_bytes())).collect());
        plain.chain(self.people.any_of.iter().cloned()).collect()
    }

    /// Finds out from the bytes alone that a record cannot be wanted.
    pub(super) fn sieve(&self) -> Sieve {
        let exact = |field: Field, texts: &[&str]| -> Vec<Finder<'static>> {
            let needle = |text: &&str| format!("\"{}\":\"{}\"", field.as_str(), inside(text));
            texts.iter().map(|text| Finder::new(&needle(text)).into_owned()).collect()
        };
        let fields = self.texts_by_field();
        // Looking for many is slower than reading the record.
        let fields = fields.iter().filter(|(_, texts)| texts.len() <= 4);
        let mut any_of: Vec<_> = fields.map(|(field, texts)| exact(*field, texts)).collect();
        any_of.extend(self.texts.iter().map(|text| vec![Finder::new(&inside(text)).into_owned()]));
        Sieve { any_of }
    }

    fn texts_by_field(&self) -> Vec<(Field, Vec<&str>)> {
        let Selection { kinds, results, actions, objects, sessions, grants, correlations, .. } =
            &self.selection;
        let mut fields = vec![
            (Field::Session, plain(sessions)),
            (Field::Correlation, plain(correlations)),
            (Field::Grant, plain(grants)),
            (Field::Object, plain(objects)),
            (Field::Action, plain(actions)),
            (Field::Kind, kinds.iter().map(|kind| kind.as_str()).collect()),
            (Field::Result, results.iter().copied().map(Outcome::as_str).collect()),
        ];
        fields.retain(|(_, texts): &(Field, Vec<&str>)| !texts.is_empty());
        fields
    }
}

fn plain(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// A text as it stands within a string of canonical JSON.
fn inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// See [`Query::sieve`]. A record in canonical form writes each field in one way.
pub(super) struct Sieve {
    any_of: Vec<Vec<Finder<'static>>>,
}

impl Sieve {
    /// Whether these bytes can be a wanted record.
    pub(super) fn passes(&self, record: &[u8]) -> bool {
        self.any_of.iter().all(|one| one.iter().any(|finder| finder.find(record).is_some()))
    }
}
