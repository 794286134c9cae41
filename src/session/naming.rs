//! Who is still to be named in a record: whatever may yet write a person's name holds a [`Naming`] of theirs.
//!
//! Promised: when nobody holds one, every record that names the person is on its way to the ledger, so that their data key
//! can be destroyed and no name is sealed under a new one. Whoever takes one looks afterwards whether the person still
//! stands: one that was taken too late to be waited for is of somebody who does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How many things may still name each person; clones share one table.
#[derive(Clone, Default)]
pub(super) struct Named(Arc<Table>);

#[derive(Default)]
struct Table {
    counts: Mutex<HashMap<String, usize>>,
    /// Told when somebody is no longer to be named.
    gone: Notify,
}

/// While this is held, a person may still be named.
pub struct Naming {
    of: Named,
    subject: String,
}

impl Named {
    pub(super) fn hold(&self, subject: &str) -> Naming {
        *self.counts().entry(subject.to_owned()).or_default() += 1;
        Naming { of: self.clone(), subject: subject.to_owned() }
    }

    /// Waits until nothing may name this person any more; `false` if something still may after `patience`.
    pub(super) async fn nobody_names(&self, subject: &str, patience: Duration) -> bool {
        let silent = async {
            loop {
                // Asked for before the look, so that an end in between is not missed.
                let gone = self.0.gone.notified();
                if !self.counts().contains_key(subject) {
                    return;
                }
                gone.await;
            }
        };
        tokio::time::timeout(patience, silent).await.is_ok()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Each change is one step: a panic elsewhere leaves the counts whole.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Naming {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.subject) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.subject);
                self.of.0.gone.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_person_is_waited_for_until_the_last_that_may_name_them_is_gone() {
        let named = Named::default();
        let (session, registration) = (named.hold("user:alice"), named.hold("user:alice"));
        assert!(named.nobody_names("user:bob", Duration::ZERO).await);
        drop(session);
        assert!(!named.nobody_names("user:alice", Duration::ZERO).await, "one may still name her");
        let patience = Duration::from_mins(1);
        let (silent, ()) = tokio::join!(named.nobody_names("user:alice", patience), async {
            tokio::task::yield_now().await;
            drop(registration);
        });
        assert!(silent);
    }
}
