//! What a run adds up, and the dice it throws.

/// What was tried, and what must stay zero.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) cases: std::collections::BTreeMap<&'static str, u64>,
    pub(crate) acknowledged: u64,
    /// How often the query store had to be made anew.
    pub(crate) stores_rebuilt: u64,
    /// How often an unfinished end was set aside.
    pub(crate) torn_ends: u64,
    pub(crate) lost: Vec<String>,
    pub(crate) gaps: Vec<String>,
    pub(crate) false_passes: Vec<String>,
    pub(crate) not_opened: Vec<String>,
}

impl Counts {
    pub(crate) fn case(&mut self, class: &'static str) {
        *self.cases.entry(class).or_default() += 1;
    }

    pub(crate) fn problems(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.lost
            .iter()
            .map(|what| ("LOST", what))
            .chain(self.gaps.iter().map(|what| ("GAP", what)))
            .chain(self.false_passes.iter().map(|what| ("FALSE PASS", what)))
            .chain(self.not_opened.iter().map(|what| ("DOES NOT OPEN", what)))
    }
}

/// A small generator of numbers that can be repeated (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
