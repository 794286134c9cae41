//! A name in the table of routes: who publishes it, and who is about to.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, Semaphore};

use super::route::Route;
use crate::tunnel::TunnelKind;

/// A name, and who publishes it.
pub(super) struct Slot {
    pub(super) owner: String,
    /// Whether others of the same owner may publish it too.
    pub(super) shared: bool,
    pub(super) kind: TunnelKind,
    pub(super) members: Vec<Member>,
    /// Registrations that are under way.
    pub(super) reserved_by: Vec<u64>,
    /// Counts up with each look; the members take turns.
    pub(super) turn: usize,
    /// Places for those who wait for it.
    pub(super) places: Arc<Semaphore>,
    /// Held by the first of those; the others stand behind in the order in which they came.
    pub(super) line: Arc<Mutex<()>>,
}

/// A publisher of a name.
pub(super) struct Member {
    pub(super) publisher: String,
    pub(super) route: Arc<Route>,
    /// Set while it is away.
    pub(super) kept_until: Option<Instant>,
}

impl Slot {
    pub(super) fn member(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.route.id == id)
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.members.iter().any(|member| member.route.id == id)
    }

    pub(super) fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.kept_until.is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.reserved_by.is_empty()
    }

    /// Whether somebody else than this publisher has the name. Its owner may take it back from a publisher that was lost, also
    /// with a new one, and may share it with others who do.
    pub(super) fn holds_against(
        &self,
        (owner, publisher, kind, join): (&str, &str, TunnelKind, bool),
        now: Instant,
    ) -> bool {
        let same_owner = self.owner == owner;
        if same_owner && self.shared && join && self.kind.is_like(kind) {
            return false;
        }
        if !self.reserved_by.is_empty() {
            return true;
        }
        let gives_way = |member: &Member| {
            let same = same_owner && (member.publisher == publisher || member.kept_until.is_some());
            same || member.kept_until.is_some_and(|until| until <= now)
        };
        !self.members.iter().all(gives_way)
    }
}
