//! Connections to an app that are made before anybody needs them, so that no visitor waits for one.
//!
//! Promised: they are made one at a time, and not while a visitor's own request is connecting: that one comes first. An app that is
//! not there, or that does not let connections rest, is tried less and less often, down to once a minute.
//!
//! What decides is pure: [`Warmth`] hears what became of connections, and says whether one is to be made. The pool
//! ([`super::pool`]) does it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::event::{AppConnectionTurn, Event};
use super::has_room_for_requests;

/// Between two of them, and between two looks whether nobody is connecting.
const PAUSE: Duration = Duration::from_millis(50);
/// An app that closes one sooner, before anybody used it, does not let connections rest.
const SETTLED: Duration = Duration::from_secs(10);
/// Less often than once a minute it is not worth the trouble, more often than once a second it would be one.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
    give_up_after: None,
    settled_after: Duration::ZERO,
};

/// What to do about an app's connections now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make one.
    Make,
    /// Look again then, if nothing is told before.
    LookAt(Instant),
    /// There are enough.
    Nothing,
}

/// How many are to be ready, and how it went so far.
pub(super) struct Warmth {
    wanted: usize,
    /// Attempts in a row that came to nothing.
    failed: u32,
    /// Looks in a row at which the app had closed what it was not asked on yet.
    closed: u32,
    not_before: Option<Instant>,
}

impl Warmth {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, failed: 0, closed: 0, not_before: None }
    }

    /// `ready` are there; `busy`: somebody's own request is connecting.
    pub(super) fn next(&self, now: Instant, ready: usize, busy: bool) -> Next {
        if ready >= self.wanted {
            return Next::Nothing;
        }
        match self.not_before.filter(|then| *then > now) {
            Some(then) => Next::LookAt(then),
            None if busy => Next::LookAt(now + PAUSE),
            None => Next::Make,
        }
    }

    /// One was made.
    pub(super) fn made(&mut self, now: Instant) {
        self.failed = 0;
        let pause = now + PAUSE;
        self.not_before = Some(self.not_before.map_or(pause, |then| then.max(pause)));
    }

    /// One could not be made. `random` is any number, all equally likely.
    pub(super) fn failed(&mut self, now: Instant, random: u32) {
        self.failed = self.failed.saturating_add(1);
        self.wait(now, self.failed, random);
    }

    /// The app had closed some, of which the one that lived shortest, unused, lived for so long; `None`: each had been used.
    pub(super) fn closed(&mut self, now: Instant, shortest: Option<Duration>, random: u32) {
        match shortest {
            Some(life) if life < SETTLED => {
                self.closed = self.closed.saturating_add(1);
                self.wait(now, self.closed, random);
            }
            Some(_) => self.closed = 0,
            None => {}
        }
    }

    /// One that nobody used has lived for so long, and lives.
    pub(super) fn lives(&mut self, life: Duration) {
        if life >= SETTLED {
            self.closed = 0;
        }
    }

    fn wait(&mut self, now: Instant, failures: u32, random: u32) {
        let pause = BACKOFF.delay(failures, random).unwrap_or(BACKOFF.longest);
        self.not_before = Some(now + pause);
    }
}

/// Who hears what becomes of an app's connections: the log, and whoever shows events, as long as the publisher runs.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) tunnel: String,
    pub(super) events: Option<mpsc::WeakSender<Event>>,
}

impl Told {
    pub(super) fn tell(&self, turn: AppConnectionTurn, reason: &str) {
        tracing::debug!(tunnel = self.tunnel, turn = turn.word(), reason, "a connection to an app");
        let events = self.events.as_ref().and_then(mpsc::WeakSender::upgrade);
        if let Some(events) = events.filter(has_room_for_requests) {
            let (tunnel, reason) = (self.tunnel.clone(), reason.to_owned());
            // Whoever shows events may be slow; nobody waits for it.
            let _shown = events.try_send(Event::AppConnection { tunnel, turn, reason });
        }
    }
}

/// Never, if there is no time.
pub(super) async fn sleep_until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Without randomness the pauses are the longest.
pub(super) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// Of the longest pauses.
    const MOST: u32 = u32::MAX;

    #[test]
    fn as_many_are_made_as_are_wanted_one_after_the_other() {
        let (mut warmth, now) = (Warmth::new(2), Instant::now());
        assert_eq!(warmth.next(now, 0, false), Next::Make);
        warmth.made(now);
        assert_eq!(warmth.next(now, 1, false), Next::LookAt(now + PAUSE));
        assert_eq!(warmth.next(now + PAUSE, 1, false), Next::Make);
        assert_eq!(warmth.next(now + PAUSE, 2, false), Next::Nothing);
        assert_eq!(Warmth::new(0).next(now, 0, false), Next::Nothing);
    }

    #[test]
    fn none_is_made_while_a_request_is_connecting() {
        let (warmth, now) = (Warmth::new(1), Instant::now());
        assert_eq!(warmth.next(now, 0, true), Next::LookAt(now + PAUSE));
    }

    #[test]
    fn an_app_that_is_not_there_is_tried_less_and_less_often_and_at_once_again_when_it_is() {
        let (mut warmth, now) = (Warmth::new(2), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            warmth.failed(now, MOST);
            assert_eq!(warmth.next(now, 0, false), Next::LookAt(now + seconds * SECOND));
        }
        let back = now + 60 * SECOND;
        warmth.made(back);
        assert_eq!(warmth.next(back, 1, false), Next::LookAt(back + PAUSE));
    }

    #[test]
    fn an_app_that_closes_what_rests_at_once_gets_less_and_less_until_it_lets_one_rest() {
        let (mut warmth, mut now) = (Warmth::new(1), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            warmth.made(now);
            now += 5 * SECOND;
            warmth.closed(now, Some(5 * SECOND), MOST);
            assert_eq!(warmth.next(now, 0, false), Next::LookAt(now + seconds * SECOND));
            now += seconds * SECOND;
        }
        warmth.lives(SETTLED);
        warmth.closed(now, Some(5 * SECOND), MOST);
        assert_eq!(warmth.next(now, 0, false), Next::LookAt(now + SECOND), "it had let one rest");
    }

    #[test]
    fn what_was_used_or_has_rested_for_a_while_an_app_may_close() {
        let (mut warmth, now) = (Warmth::new(1), Instant::now());
        warmth.closed(now, None, MOST);
        warmth.closed(now, Some(SETTLED), MOST);
        assert_eq!(warmth.next(now, 0, false), Next::Make);
    }
}
