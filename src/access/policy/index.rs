//! Which rows can match at all: found by who and by object, not by looking at every row.
//!
//! Rows of one tenant and one action stand here under whom they name, and there under the object's whole text or, with
//! a `*`, under the text before it. A question looks up the person and each of their roles, and for each the object and
//! its beginnings: a few look-ups, whatever the number of rows. What is found is exactly what casbin finds when it is
//! shown all rows; a property test holds the two together, and every answer of casbin is held against it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rows::Rule;
use crate::access::object::Object;

/// The rows of one tenant and action, by number.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_who: HashMap<Box<str>, Patterns>,
}

#[derive(Debug, Default)]
struct Patterns {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By the length of the text before the `*`, then by that text.
    starred: BTreeMap<usize, HashMap<Box<str>, Vec<usize>>>,
}

impl Index {
    pub(super) fn build(rules: &[Arc<Rule>]) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            let patterns = index.by_who.entry(rule.who.as_str().into()).or_default();
            let rows = match rule.objects.as_str().split_once('*') {
                None => patterns.exact.entry(rule.objects.as_str().into()).or_default(),
                Some((before, _)) => {
                    patterns.starred.entry(before.len()).or_default().entry(before.into()).or_default()
                }
            };
            rows.push(number);
        }
        index
    }

    /// The rows that name one of `principals` and this object, in the order of the files.
    pub(super) fn candidates<'a>(
        &self,
        rules: &[Arc<Rule>],
        principals: impl IntoIterator<Item = &'a str>,
        object: &Object,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        for who in principals {
            let Some(patterns) = self.by_who.get(who) else { continue };
            found.extend(patterns.exact.get(object.as_str()).into_iter().flatten().copied());
            for (length, prefixes) in &patterns.starred {
                let Some(before) = object.as_str().get(..*length) else { continue };
                let rows = prefixes.get(before).into_iter().flatten().copied();
                found.extend(
                    rows.filter(|row| rules.get(*row).is_some_and(|rule| rule.objects.matches(object))),
                );
            }
        }
        found.sort_unstable();
        found
    }
}
