//! A bounded memory of what was used last.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Holds at most so many values; the one that was not asked for the longest makes room.
pub(super) struct Recent<K, V> {
    most: usize,
    values: HashMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, values: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let (used, value) = self.values.get_mut(key)?;
        // The one used last is asked for most: nothing has to move for it.
        if *used != self.uses {
            self.by_use.remove(used);
            self.uses = self.uses.saturating_add(1);
            *used = self.uses;
            self.by_use.insert(self.uses, *key);
        }
        Some(value)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        self.remove(&key);
        while self.values.len() >= self.most.max(1) {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.values.remove(&oldest);
        }
        self.uses = self.uses.saturating_add(1);
        self.values.insert(key, (self.uses, value));
        self.by_use.insert(self.uses, key);
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some((used, _)) = self.values.remove(key) {
            self.by_use.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_not_asked_for_the_longest_makes_room() {
        let mut recent = Recent::new(2);
        recent.put(1, "a");
        recent.put(2, "b");
        assert_eq!(recent.get(&1), Some(&"a"));
        recent.put(3, "c");
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).copied()), [Some("a"), None, Some("c")]);
        recent.remove(&1);
        recent.put(4, "d");
        assert_eq!([1, 3, 4].map(|key| recent.get(&key).copied()), [None, Some("c"), Some("d")]);
        assert_eq!((recent.values.len(), recent.by_use.len()), (2, 2));
    }
}
