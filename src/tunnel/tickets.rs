//! The gateway's side of coming back: who may, once each.
//!
//! Kept in memory and nowhere else. So there is no key that opens tickets and could be stolen, one that was used is
//! gone, and a restart ends them all. What a ticket stands for is only who somebody *was*: whether they may still do
//! what they did is decided anew each time, by the caller, from the same proof.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::handshake::{Known, TicketId};

/// How long a ticket is good: then the gateway shows its identity again.
pub const TICKET_LIFE: Duration = Duration::from_hours(24);
/// Most tickets at a time, of some kilobytes each. Beyond that a client that comes back does the whole handshake.
const MOST: usize = 16_384;

/// The tickets of a gateway's process; clones share them.
#[derive(Clone, Default)]
pub struct Tickets(Arc<Mutex<HashMap<TicketId, (Instant, Known)>>>);

impl Tickets {
    /// Keeps what is known of a client under the ticket that it was given.
    pub(crate) fn keep(&self, id: TicketId, known: Known, now: Instant) {
        let mut table = self.table();
        if table.len() >= MOST {
            table.retain(|_, (ends, _)| now < *ends);
        }
        if table.len() < MOST {
            table.insert(id, (now + TICKET_LIFE, known));
        }
    }

    /// What is known under this ticket, if it is good and `fits` says that its holder asks. Then it is gone: nobody can
    /// use it a second time. A wrong holder doesn't use it up.
    pub(crate) fn redeem(
        &self,
        id: &TicketId,
        now: Instant,
        fits: impl FnOnce(&Known) -> bool,
    ) -> Option<Known> {
        let mut table = self.table();
        let good = table.get(id).is_some_and(|(ends, known)| now < *ends && fits(known));
        if good { table.remove(id).map(|(_, known)| known) } else { None }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<TicketId, (Instant, Known)>> {
        // Every change is complete before the lock is let go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
