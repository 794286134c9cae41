//! Whether a thread is in a call that should have ended. Such a thread cannot be stopped; its seat is given to
//! another, and it leaves when its call ends, if it ever does.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Seat(Mutex<State>);

#[derive(Default)]
struct State {
    /// Until when the present call should have ended.
    until: Option<Instant>,
    given_away: bool,
}

impl Seat {
    /// A call begins that should end within `patience`.
    pub(crate) fn enter(&self, now: Instant, patience: Duration) {
        self.0.lock().until = now.checked_add(patience);
    }

    /// The call ended. `false` if the seat was given away meanwhile: then the thread is to leave.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.0.lock();
        state.until = None;
        !state.given_away
    }

    /// Whether the thread is in a call that should have ended by `now`.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.0.lock().until.is_some_and(|until| until < now)
    }

    /// Gives the seat away if its call should have ended by `now`; `false` if it has.
    pub(crate) fn give_away(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        state.given_away = state.until.is_some_and(|until| until < now);
        state.given_away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_given_away_only_while_its_call_is_overdue() {
        let start = Instant::now();
        let (seat, second) = (Seat::default(), Duration::from_secs(1));
        assert!(!seat.is_overdue(start + second * 9), "it waits for work");
        seat.enter(start, second);
        assert!(!seat.is_overdue(start + second));
        assert!(!seat.give_away(start + second));
        assert!(seat.leave(), "it was in time");
        seat.enter(start, second);
        assert!(seat.is_overdue(start + second * 2) && seat.give_away(start + second * 2));
        assert!(!seat.leave(), "somebody else has the seat");
    }
}
