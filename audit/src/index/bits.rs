//! A set of records within one span.

/// One bit for each record of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: u32,
}

impl Bits {
    /// None of `count` records.
    pub(super) fn none(count: u32) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize], count }
    }

    /// The records from `from` up to, not including, `to`.
    pub(super) fn range(count: u32, from: u32, to: u32) -> Self {
        let mut bits = Self::none(count);
        for (at, word) in (0_u32..).step_by(64).zip(&mut bits.words) {
            let low = from.saturating_sub(at).min(64);
            let high = to.min(count).saturating_sub(at).min(64);
            let below = |bit: u32| if bit >= 64 { u64::MAX } else { (1 << bit) - 1 };
            *word = below(high) & !below(low);
        }
        bits
    }

    /// Adds one; beyond the end nothing happens.
    pub(super) fn insert(&mut self, at: u32) {
        if at < self.count
            && let Some(word) = self.words.get_mut((at / 64) as usize)
        {
            *word |= 1 << (at % 64);
        }
    }

    /// Keeps those that are also in `other`.
    pub(super) fn intersect(&mut self, other: &Self) {
        for (at, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(at).copied().unwrap_or_default();
        }
    }

    /// Adds those of `other`.
    pub(super) fn unite(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// In order, from either end.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        let set = |(at, word): (u32, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        };
        (0..u32::try_from(self.words.len()).unwrap_or(u32::MAX)).zip(&self.words).flat_map(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(
            count in 1_u32..300, some in proptest::collection::btree_set(0_u32..300, 0..40),
            others in proptest::collection::btree_set(0_u32..300, 0..40), from in 0_u32..310, to in 0_u32..310,
        ) {
            let set = |numbers: &std::collections::BTreeSet<u32>| {
                let mut bits = Bits::none(count);
                for number in numbers {
                    bits.insert(*number);
                }
                bits
            };
            let inside: Vec<u32> = some.iter().copied().filter(|number| *number < count).collect();
            let mut bits = set(&some);
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), inside.clone());
            prop_assert_eq!(bits.iter().rev().collect::<Vec<_>>(), inside.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.len() as usize, inside.len());
            prop_assert_eq!(bits.is_empty(), inside.is_empty());
            let mut both = bits.clone();
            both.unite(&set(&others));
            let either = some.union(&others).copied().filter(|number| *number < count);
            prop_assert_eq!(both.iter().collect::<Vec<_>>(), either.collect::<Vec<_>>());
            bits.intersect(&set(&others));
            let common = some.intersection(&others).copied().filter(|number| *number < count);
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), common.collect::<Vec<_>>());
            let range = (from..to).filter(|number| *number < count).collect::<Vec<_>>();
            prop_assert_eq!(Bits::range(count, from, to).iter().collect::<Vec<_>>(), range);
        }
    }
}
