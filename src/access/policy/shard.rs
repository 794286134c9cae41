//! The rules of one tenant and one action, with their index.

use std::sync::Arc;

use super::index::Index;
use super::rows::Rule;
use crate::access::object::Object;

/// The rules of one tenant and one action, in the order of the files.
#[derive(Debug)]
pub(super) struct Shard {
    rules: Vec<Arc<Rule>>,
    index: Index,
}

impl Shard {
    pub(super) fn new(rules: Vec<Arc<Rule>>) -> Self {
        let index = Index::build(&rules);
        Self { rules, index }
    }

    /// The rules that name one of `principals` and this object.
    pub(super) fn candidates<'a>(
        &self,
        principals: impl IntoIterator<Item = &'a str>,
        object: &Object,
    ) -> Vec<Arc<Rule>> {
        let rows = self.index.candidates(&self.rules, principals, object);
        rows.into_iter().filter_map(|row| self.rules.get(row).cloned()).collect()
    }

    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}
