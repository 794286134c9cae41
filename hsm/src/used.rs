//! When each key was used last, as far as this program saw it: providers do not tell.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use crate::pulse::now;
use crate::role::Role;

/// Seconds since 1970 by role, in the order of [`Role::ALL`]; 0 is never.
#[derive(Default)]
pub(crate) struct Used([AtomicI64; Role::ALL.len()]);

impl Used {
    pub(crate) fn now(&self, role: Role) {
        if let Some(at) = self.at(role) {
            at.store(now().as_second(), Ordering::Relaxed);
        }
    }

    pub(crate) fn last(&self, role: Role) -> Option<Timestamp> {
        let seconds = self.at(role)?.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
    }

    fn at(&self, role: Role) -> Option<&AtomicI64> {
        let place = Role::ALL.iter().position(|other| *other == role)?;
        self.0.get(place)
    }
}
