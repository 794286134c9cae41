//! When a group is closed: when whoever may come has come.
//!
//! Each group costs a signature and a sync, however many records it has. Callers that wait for their answers come
//! back with their next drafts right behind them; a group that is closed when the first of them are back is small,
//! and costs those who come a moment later another signature's wait. So a group waits for those who were answered
//! last, but no longer than the group before took on its whole way (or than so many callers need to make their
//! drafts, where they are many), and never longer than [`LONGEST`]. It waits as well while the group before is still
//! being written, as its callers are about to come back; if that takes longer, it is signed meanwhile.
//!
//! A group for which nobody waits has time: it is open for as long as the options say, or until it is full or somebody's draft comes
//! into it. So a stream of drafts that were only enqueued costs some dozen signatures in a second, however long it is.

use std::time::{Duration, Instant};

/// The longest that a group waits for drafts which may not come.
pub(super) const LONGEST: Duration = Duration::from_millis(2);

/// What each of many callers needs of the processors until its next draft is here.
const EACH: Duration = Duration::from_micros(5);

/// Who may come back, and since when they have been awaited.
pub(super) struct Gathering {
    /// Callers that were answered last and have not come back.
    away: usize,
    /// Groups that are being signed or written.
    flying: usize,
    ordered: Instant,
    /// How long the last group took from its order to its answers.
    took: Duration,
    since: Instant,
    /// How long a group is kept open for which nobody waits.
    patience: Duration,
    /// When the open group got its first draft.
    opened: Option<Instant>,
    /// Whether somebody waits for the open group.
    awaited: bool,
}

/// What the open group waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// So many drafts of callers, for so long.
    Callers(usize, Duration),
    /// Somebody who waits for it, for so long.
    Anybody(Duration),
}

impl Gathering {
    pub(super) fn new(patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            away: 0,
            flying: 0,
            ordered: now,
            took: Duration::ZERO,
            since: now,
            patience,
            opened: None,
            awaited: false,
        }
    }

    /// A draft is in the open group; `awaited`: somebody waits until it is durable.
    pub(super) fn numbered(&mut self, awaited: bool) {
        self.opened.get_or_insert_with(Instant::now);
        self.awaited |= awaited;
    }

    /// A group is on its way; who did not come in time is not awaited any more.
    pub(super) fn ordered(&mut self) {
        self.away = 0;
        self.flying += 1;
        self.ordered = Instant::now();
        (self.opened, self.awaited) = (None, false);
    }

    /// A caller brought a draft.
    pub(super) fn came(&mut self) {
        self.away = self.away.saturating_sub(1);
    }

    /// So many callers have their answers.
    pub(super) fn answered(&mut self, callers: usize) {
        self.away += callers;
        self.since = Instant::now();
        self.took = self.since.duration_since(self.ordered);
    }

    /// A group is at its end.
    pub(super) fn written(&mut self) {
        self.flying = self.flying.saturating_sub(1);
    }

    /// What was on its way has failed; nobody in particular is awaited.
    pub(super) fn failed(&mut self) {
        *self = Self::new(self.patience);
    }

    /// What the open group waits for, and how long; `None` when it waits for nothing more.
    pub(super) fn left(&self) -> Option<Wait> {
        if let Some(opened) = self.opened.filter(|_| !self.awaited) {
            return self.patience.checked_sub(opened.elapsed()).map(Wait::Anybody);
        }
        if self.flying > 0 {
            // Signed and written like the one before.
            let left = self.took.min(LONGEST).checked_sub(self.ordered.elapsed())?;
            return Some(Wait::Callers(usize::MAX, left));
        }
        if self.away == 0 {
            return None;
        }
        let all = EACH.saturating_mul(u32::try_from(self.away).unwrap_or(u32::MAX));
        let left = self.took.max(all).min(LONGEST).checked_sub(self.since.elapsed())?;
        Some(Wait::Callers(self.away, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    /// Ten callers were answered just now, however long this test is kept waiting.
    fn answered_ten() -> Gathering {
        let mut gathering = Gathering::new(PATIENCE);
        gathering.ordered();
        gathering.answered(10);
        gathering.written();
        (gathering.took, gathering.since) = (LONGEST, Instant::now() + LONGEST);
        gathering
    }

    #[test]
    fn a_group_waits_for_those_who_were_answered_and_for_nobody_else() {
        assert_eq!(Gathering::new(PATIENCE).left(), None, "nobody is known who could come back");
        let mut gathering = answered_ten();
        for _ in 0..4 {
            gathering.came();
        }
        assert_eq!(gathering.left(), Some(Wait::Callers(6, LONGEST)));
        for _ in 0..7 {
            gathering.came();
        }
        assert_eq!(gathering.left(), None);
    }

    #[test]
    fn a_group_waits_no_longer_than_the_one_before_took_and_never_long() {
        let mut gathering = answered_ten();
        gathering.since = Instant::now().checked_sub(LONGEST).unwrap();
        gathering.took = Duration::from_mins(1);
        assert_eq!(gathering.left(), None);
        (gathering.took, gathering.since) = (Duration::ZERO, Instant::now() + LONGEST);
        assert_eq!(gathering.left(), Some(Wait::Callers(10, EACH * 10)));
    }

    #[test]
    fn who_did_not_come_in_time_is_not_awaited_again() {
        let mut gathering = answered_ten();
        gathering.ordered();
        gathering.written();
        assert_eq!(gathering.left(), None);
        let mut gathering = answered_ten();
        gathering.failed();
        assert_eq!(gathering.left(), None);
    }

    #[test]
    fn while_a_group_is_written_the_next_one_grows_but_not_for_long() {
        let mut gathering = answered_ten();
        gathering.ordered();
        gathering.ordered = Instant::now() + LONGEST;
        assert_eq!(gathering.left(), Some(Wait::Callers(usize::MAX, LONGEST)));
        gathering.ordered = Instant::now().checked_sub(LONGEST).unwrap();
        assert_eq!(gathering.left(), None);
    }

    #[test]
    fn a_group_for_which_nobody_waits_has_time_until_somebody_does() {
        let mut gathering = Gathering::new(PATIENCE);
        gathering.numbered(false);
        gathering.opened = Some(Instant::now() + PATIENCE);
        assert_eq!(gathering.left(), Some(Wait::Anybody(PATIENCE)));
        gathering.numbered(true);
        assert_eq!(gathering.left(), None, "somebody waits now");
        gathering.ordered();
        gathering.written();
        gathering.numbered(false);
        gathering.opened = Instant::now().checked_sub(PATIENCE * 2);
        assert_eq!(gathering.left(), None, "patience has an end");
    }
}
