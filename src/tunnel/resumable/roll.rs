//! The resumable streams of a publisher, by their ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::ask::StreamId;
use super::shared::Shared;

/// Clones share it. Keeps none of them alive.
#[derive(Clone, Default)]
pub(crate) struct Roll(Arc<Mutex<HashMap<StreamId, Weak<Shared>>>>);

impl Roll {
    pub(crate) fn enter(&self, stream: &Arc<Shared>) {
        self.all().insert(stream.id(), Arc::downgrade(stream));
    }

    pub(crate) fn leave(&self, id: StreamId) {
        self.all().remove(&id);
    }

    pub(crate) fn find(&self, id: StreamId) -> Option<Arc<Shared>> {
        self.all().get(&id).and_then(Weak::upgrade)
    }

    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// None gets another connection.
    pub(crate) fn give_up(&self) {
        for stream in self.present() {
            stream.give_up();
        }
    }

    /// Each locks itself, and leaves this roll while it does.
    fn present(&self) -> Vec<Arc<Shared>> {
        self.all().values().filter_map(Weak::upgrade).collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<StreamId, Weak<Shared>>> {
        // Only inserted into and removed from: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
