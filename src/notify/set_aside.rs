//! Messages that can't be brought to somebody yet, set aside so that everybody else gets theirs meanwhile.
//!
//! Bounded: with too many set aside the next one is waited for, as if there were nobody else. What is set aside is on no disk; the
//! cursor stays at the oldest of them, and a next start tells all from there again.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::news::News;
use super::way::Message;
use crate::access::Subject;

/// Attempts before a message is set aside.
const ATTEMPTS: u64 = 3;
/// How many are, at the most.
const MOST: usize = 1_024;
/// Pauses between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// A message that is on its way to somebody, or to the place that all messages go to.
pub(super) struct Sending {
    pub(super) news: News,
    pub(super) message: Message,
    /// None where the way is to nobody in person.
    pub(super) to: Option<Subject>,
    /// Made so far.
    pub(super) attempts: u64,
    pauses: ExponentialBackoff,
    again: Instant,
}

impl Sending {
    pub(super) fn new(news: &News, message: &Message, to: Option<&Subject>) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(PAUSES.0)
            .with_max_delay(PAUSES.1)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .build();
        let (news, message, to) = (news.clone(), message.clone(), to.cloned());
        Self { news, message, to, attempts: 0, pauses, again: Instant::now() }
    }

    /// How long to wait for the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.pauses.next().unwrap_or(PAUSES.1);
        self.again = Instant::now() + pause;
        pause
    }
}

/// Those that wait for their next attempt.
#[derive(Default)]
pub(super) struct SetAside(Vec<Sending>);

impl SetAside {
    /// Whether others should go on without this one. Reminders are waited for: what tells of them is the time, not a record.
    pub(super) fn takes(&self, sending: &Sending) -> bool {
        let in_person = sending.to.is_some() && !sending.news.event.is_reminder();
        // To whom nothing gets through, the next one does not either.
        let often = sending.attempts >= ATTEMPTS || self.0.iter().any(|other| other.to == sending.to);
        in_person && often && self.0.len() < MOST
    }

    pub(super) fn add(&mut self, sending: Sending) {
        self.0.push(sending);
    }

    /// One whose time has come.
    pub(super) fn take_due(&mut self) -> Option<Sending> {
        let now = Instant::now();
        let at = self.0.iter().position(|sending| sending.again <= now)?;
        Some(self.0.swap_remove(at))
    }

    /// Waits until one of them is due; for ever with none.
    pub(super) async fn wait(&self) {
        match self.0.iter().map(|sending| sending.again).min() {
            Some(when) => tokio::time::sleep_until(when).await,
            None => std::future::pending().await,
        }
    }

    /// The oldest record that one of them tells of.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.iter().map(|sending| sending.news.record).min()
    }
}
