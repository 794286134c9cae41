//! The one value of health, shared by all threads, and the bell that wakes the one which recovers.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use crate::error::KeyError;
use crate::health::{Cause, Event, Health, Outage};

/// How many beginnings and ends of outages are kept for a reader that is slow. Recovery pauses, so this is minutes.
const TURNS: usize = 256;

/// An outage began or ended. Unlike the state, which only has a present, none of these is passed over.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Keys cannot be used from now on.
    Down(Outage),
    /// They can be used again.
    Up {
        /// What is over, as it was seen last.
        outage: Outage,
        /// When it was over.
        at: Timestamp,
    },
}

#[derive(Clone)]
pub(crate) struct Pulse {
    health: watch::Sender<Health>,
    turns: broadcast::Sender<Turn>,
    /// How many outages are over; changed only while `health` is locked.
    outages: Arc<AtomicU64>,
    /// A person says that the PIN may be presented again.
    told: Arc<AtomicBool>,
    /// Holds one ring: who finds it full knows that somebody has rung.
    bell: SyncSender<()>,
}

impl Pulse {
    pub(crate) fn new(bell: SyncSender<()>) -> Self {
        Self {
            health: watch::Sender::new(Health::Up),
            turns: broadcast::Sender::new(TURNS),
            outages: Arc::default(),
            told: Arc::default(),
            bell,
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(crate) fn turns(&self) -> broadcast::Receiver<Turn> {
        self.turns.subscribe()
    }

    /// Refuses while the provider is down.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        match self.health.borrow().outage() {
            None => Ok(()),
            Some(outage) => Err(KeyError::Down { since: outage.since, reason: outage.reason.clone() }),
        }
    }

    /// How many outages are over.
    pub(crate) fn outages(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// A call failed, and perhaps the provider did.
    pub(crate) fn doubt(&self) {
        self.tell(None, &Event::Doubted);
    }

    /// It did not.
    pub(crate) fn clear(&self) {
        self.tell(None, &Event::Cleared);
    }

    /// Tells everybody that keys cannot be used, and wakes recovery.
    pub(crate) fn down(&self, error: &KeyError) {
        self.fail(None, error);
    }

    /// As [`Pulse::down`], unless an outage ended since `outages` were over: then what was seen is old news.
    pub(crate) fn down_during(&self, outages: u64, error: &KeyError) {
        self.fail(Some(outages), error);
    }

    fn fail(&self, during: Option<u64>, error: &KeyError) {
        let (cause, reason) = (Cause::of(error), told(error));
        if self.tell(during, &Event::Failed(cause, reason.clone())) {
            tracing::warn!(%reason, cause = cause.as_str(), hint = error.hint(), "the key provider is down");
        }
        self.ring();
    }

    pub(crate) fn trying(&self) {
        self.tell(None, &Event::Trying);
    }

    pub(crate) fn resumed(&self) {
        self.tell(None, &Event::Resumed);
    }

    pub(crate) fn up(&self) {
        self.tell(None, &Event::Recovered);
    }

    fn tell(&self, during: Option<u64>, event: &Event) -> bool {
        let now = now();
        self.health.send_if_modified(|health| {
            if during.is_some_and(|outages| outages != self.outages()) {
                return false;
            }
            let Some(next) = health.after(event, now) else { return false };
            // Under the lock of `health`, so that turns stand in the order in which they happened.
            match (health.outage(), next.outage()) {
                (None, Some(outage)) => {
                    let _nobody_listens = self.turns.send(Turn::Down(outage.clone()));
                }
                (Some(outage), None) => {
                    self.outages.fetch_add(1, Ordering::Relaxed);
                    let down_ms = now.duration_since(outage.since).as_millis();
                    tracing::info!(down_ms, attempts = outage.attempts, "the key provider is up again");
                    let _nobody_listens = self.turns.send(Turn::Up { outage: outage.clone(), at: now });
                }
                _ => {}
            }
            *health = next;
            true
        })
    }

    /// A person says that the PIN may be presented again.
    pub(crate) fn retry_pin(&self) {
        self.told.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether a person has said so since this was asked last.
    pub(crate) fn was_told(&self) -> bool {
        self.told.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn ring(&self) {
        let _full_or_gone = self.bell.try_send(());
    }
}

/// An error with its causes, on one line.
fn told(error: &KeyError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "an outage begins when it is seen; only people read this time")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
