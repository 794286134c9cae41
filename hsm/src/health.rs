//! Whether the keys can be used, visible to everybody and decided in one place.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::error::KeyError;

/// The provider's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// Keys can be used.
    Up,
    /// Keys cannot be used; recovery goes on by itself.
    Down {
        /// Since when.
        since: Timestamp,
        /// What was seen last.
        reason: String,
    },
}

/// The one value of health, and the bell that wakes the thread which recovers.
#[derive(Clone)]
pub(crate) struct Pulse {
    health: watch::Sender<Health>,
    /// How many outages are over; changed only while `health` is locked.
    outages: Arc<AtomicU64>,
    /// Holds one ring: who finds it full knows that somebody has rung.
    bell: SyncSender<()>,
}

impl Pulse {
    pub(crate) fn new(bell: SyncSender<()>) -> Self {
        Self { health: watch::Sender::new(Health::Up), outages: Arc::default(), bell }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Refuses while the provider is down.
    pub(crate) fn check(&self) -> Result<(), KeyError> {
        match &*self.health.borrow() {
            Health::Up => Ok(()),
            Health::Down { since, reason } => Err(KeyError::Down { since: *since, reason: reason.clone() }),
        }
    }

    /// How many outages are over.
    pub(crate) fn outages(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// Tells everybody that keys cannot be used, and wakes recovery.
    pub(crate) fn down(&self, error: &KeyError) {
        self.report(None, error);
    }

    /// As [`Pulse::down`], unless an outage ended since `outages` were over: then what was seen is old news.
    pub(crate) fn down_during(&self, outages: u64, error: &KeyError) {
        self.report(Some(outages), error);
    }

    fn report(&self, during: Option<u64>, error: &KeyError) {
        let reason = told(error);
        self.health.send_if_modified(|health| match health {
            _ if during.is_some_and(|outages| outages != self.outages()) => false,
            Health::Down { reason: known, .. } if *known == reason => false,
            Health::Down { reason: known, .. } => {
                tracing::warn!(%reason, hint = error.hint(), "the key provider is still down");
                *known = reason;
                true
            }
            Health::Up => {
                tracing::warn!(%reason, hint = error.hint(), "the key provider is down");
                *health = Health::Down { since: now(), reason };
                true
            }
        });
        self.ring();
    }

    pub(crate) fn up(&self) {
        self.health.send_if_modified(|health| {
            let was_down = *health != Health::Up;
            if was_down {
                tracing::info!("the key provider is up again");
                *health = Health::Up;
                self.outages.fetch_add(1, Ordering::Relaxed);
            }
            was_down
        });
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
fn now() -> Timestamp {
    Timestamp::now()
}
