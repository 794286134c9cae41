//! Names that are held for a publisher while it registers, so that it gets all of them or none.

use std::sync::Arc;

use super::route::Route;
use super::routes::Routes;
use super::slot::Member;
use crate::tunnel::{Offer, TunnelName};

/// Why a publisher does not get the names that it wants.
#[derive(Debug, thiserror::Error)]
pub enum NotReserved {
    /// A name is another publisher's.
    #[error("the name `{name}` is in use by {}", if *.same_owner { "another publisher of yours" } else { "somebody else" })]
    Taken {
        /// The name.
        name: TunnelName,
        /// Whether the same user holds it.
        same_owner: bool,
    },
    /// The user would have more than allowed.
    #[error("you have {others} other tunnels, and {most} are allowed")]
    TooMany {
        /// Tunnels besides the wanted ones.
        others: usize,
        /// The bound.
        most: usize,
    },
}

/// Who wants names.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The user.
    pub owner: &'a str,
    /// The publisher that shows this ticket as its own; `None` is a new one.
    pub publisher: Option<&'a str>,
    /// The name of a publisher that is new, or whose ticket nobody remembers.
    pub fresh: &'a str,
    /// The names, and what they carry.
    pub offers: &'a [Offer],
    /// How many tunnels the user may have in all.
    pub most: usize,
}

/// Names that are held for one registration until it is complete. Dropped before that, they are free again.
pub struct Reservation {
    pub(super) routes: Routes,
    pub(super) id: u64,
    /// Which publisher this is.
    pub publisher: String,
    /// Whether it came back for what was its own.
    pub resumed: bool,
    pub(super) owner: String,
    pub(super) offers: Vec<Offer>,
    /// In whose place it is to come.
    pub(super) doubted: Option<Doubted>,
}

/// Publishers that did not say in time that they are there, and whose names another of the same user may have for that. Once it is
/// known that nobody came in their place, each that is there after all has its own again.
pub struct Doubted {
    pub(super) routes: Routes,
    pub(super) members: Vec<Arc<Route>>,
}

impl Drop for Doubted {
    fn drop(&mut self) {
        let mut table = self.routes.table();
        for route in &self.members {
            let member = table.slots.get_mut(&route.name).and_then(|slot| slot.member(&route.id));
            // One whose link is gone is lost, whoever found it out.
            if let Some(member) = member.filter(|_| route.link.is_open()) {
                member.kept_until = None;
            }
        }
        self.routes.moved.notify_waiters();
    }
}

impl Reservation {
    /// Was had because these were doubted.
    #[must_use]
    pub fn in_place_of(self, doubted: Option<Doubted>) -> Self {
        let mut reservation = self;
        reservation.doubted = doubted;
        reservation
    }

    /// Puts a route in place of its reservation; what was there before in its place is returned, to be closed.
    pub fn publish(&self, route: Route) -> Vec<Arc<Route>> {
        self.succeed(route, |_, _| {})
    }

    /// The same; `follows` hears which registration this one follows, where it is that of the same publisher, come back with the same
    /// protection. In one step: whoever looks up the name finds the one before it was told, or the other after.
    pub fn succeed(&self, route: Route, follows: impl Fn(&Route, &Arc<Route>)) -> Vec<Arc<Route>> {
        let mut table = self.routes.table();
        let offer = self.offers.iter().find(|offer| offer.name == route.name);
        let slot = table.slots.get_mut(&route.name).filter(|slot| slot.reserved_by.contains(&self.id));
        let (Some(offer), Some(slot)) = (offer, slot) else { return Vec::new() };
        slot.reserved_by.retain(|id| *id != self.id);
        // Beside others who share the name it takes its own place alone; else it takes the place of whoever was there.
        let beside = slot.shared && offer.join && slot.owner == self.owner && slot.kind.is_like(route.kind);
        let (gone, stay) = std::mem::take(&mut slot.members)
            .into_iter()
            .partition(|member| !beside || member.publisher == self.publisher);
        slot.members = stay;
        slot.owner.clone_from(&self.owner);
        slot.shared = offer.join;
        slot.kind = route.kind;
        let gone: Vec<Member> = gone;
        let route = Arc::new(route);
        let same = |one: &&Member| {
            let is_like = one.route.kind.is_like(route.kind) && one.route.protection == route.protection;
            self.resumed && one.publisher == self.publisher && is_like
        };
        gone.iter().filter(same).for_each(|one| follows(&one.route, &route));
        slot.members.push(Member { publisher: self.publisher.clone(), route, kept_until: None });
        self.routes.moved.notify_waiters();
        gone.into_iter().map(|member| member.route).collect()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut table = self.routes.table();
        for Offer { name, .. } in &self.offers {
            let Some(slot) = table.slots.get_mut(name).filter(|slot| slot.reserved_by.contains(&self.id))
            else {
                continue;
            };
            slot.reserved_by.retain(|id| *id != self.id);
            if slot.is_empty() {
                table.slots.remove(name);
            }
        }
        // Whoever waited for it is told that nobody comes.
        self.routes.moved.notify_waiters();
    }
}
