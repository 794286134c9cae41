//! Who publishes which name, and how to reach them.
//!
//! A name belongs to whoever registered it first, until its publisher leaves, or is lost and stays away longer than the
//! grace period. While a publisher is away its name is kept for its owner: the same publisher takes it back, or one that the
//! owner started in its place; nobody else can.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};

use crate::access::TunnelFacts;
use crate::tunnel::{Farewell, FarewellCode, Link, TunnelKind, TunnelName};

/// Visitors who may wait, in all, for publishers that are away. One more is refused at once.
const MOST_WAITING: usize = 100;

/// A published tunnel.
#[derive(Clone)]
pub struct Route {
    /// Its name.
    pub name: TunnelName,
    /// HTTP or TCP.
    pub kind: TunnelKind,
    /// Subject that published it.
    pub owner: String,
    /// Id of this registration, `tun-…`.
    pub id: String,
    /// When it was registered.
    pub since: Timestamp,
    /// What the tunnel's handshake was agreed on.
    pub protection: TunnelFacts,
    /// What carries it: `quic`, `tls` or `websocket`.
    pub transport: &'static str,
    /// The way to the publisher.
    pub link: Link,
}

/// What an admin sees of a route.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RouteView {
    /// Name of the tunnel.
    pub name: String,
    /// `http` or `tcp`.
    pub kind: &'static str,
    /// Subject that published it.
    pub owner: String,
    /// `tun-…`
    pub id: String,
    /// When it was registered.
    pub since: Timestamp,
    /// `live`, or `away` while the name is kept for a lost publisher.
    pub state: &'static str,
    /// What carries it: `quic`, `tls` or `websocket`.
    pub transport: &'static str,
    /// How many connections its publisher has.
    pub connections: usize,
}

/// Answer to "where does this name lead?".
pub enum Lookup {
    /// To a publisher that is there.
    Live(Arc<Route>),
    /// To a publisher that was lost, and whose name is still kept.
    Away,
    /// Nowhere.
    Unknown,
}

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

struct Slot {
    owner: String,
    publisher: String,
    route: Option<Arc<Route>>,
    /// Set while the publisher is away.
    kept_until: Option<Instant>,
    /// Set while a registration is under way.
    reserved_by: Option<u64>,
}

/// The table of routes; clones share it.
#[derive(Clone)]
pub struct Routes {
    table: Arc<Mutex<Table>>,
    grace: Duration,
    /// Told when a name is published, or free.
    moved: Arc<Notify>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Table {
    slots: HashMap<TunnelName, Slot>,
    reservations: u64,
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
    /// The names.
    pub names: &'a [TunnelName],
    /// How many tunnels the user may have in all.
    pub most: usize,
}

/// Names that are held for one registration until it is complete. Dropped before that, they are free again.
pub struct Reservation {
    routes: Routes,
    id: u64,
    /// Which publisher this is.
    pub publisher: String,
    /// Whether it came back for what was its own.
    pub resumed: bool,
    names: Vec<TunnelName>,
}

impl Routes {
    /// An empty table that keeps the name of a lost publisher for `grace`.
    pub fn new(grace: Duration) -> Self {
        let places = Arc::new(Semaphore::new(MOST_WAITING));
        Self { table: Arc::default(), grace, moved: Arc::default(), places }
    }

    /// Holds all the names, or none. From here on nobody else can have them.
    pub fn reserve(&self, wanted: &Wanted<'_>, now: Instant) -> Result<Reservation, NotReserved> {
        let mut table = self.table();
        let known = |ticket: &&str| {
            table.slots.values().any(|slot| slot.owner == wanted.owner && slot.publisher == **ticket)
        };
        let ticket = wanted.publisher.filter(known);
        let publisher = ticket.unwrap_or(wanted.fresh).to_owned();
        for name in wanted.names {
            if let Some(slot) =
                table.slots.get(name).filter(|slot| slot.holds_against(wanted.owner, &publisher, now))
            {
                return Err(NotReserved::Taken {
                    name: name.clone(),
                    same_owner: slot.owner == wanted.owner,
                });
            }
        }
        let another =
            |(name, slot): &(&TunnelName, &Slot)| slot.owner == wanted.owner && !wanted.names.contains(name);
        let others = table.slots.iter().filter(another).count();
        if others + wanted.names.len() > wanted.most {
            return Err(NotReserved::TooMany { others, most: wanted.most });
        }
        table.reservations += 1;
        let id = table.reservations;
        for name in wanted.names {
            match table.slots.get_mut(name) {
                Some(slot) => slot.reserved_by = Some(id),
                None => {
                    let slot = Slot {
                        owner: wanted.owner.to_owned(),
                        publisher: publisher.clone(),
                        route: None,
                        kept_until: None,
                        reserved_by: Some(id),
                    };
                    table.slots.insert(name.clone(), slot);
                }
            }
        }
        let resumed = ticket.is_some();
        Ok(Reservation { routes: self.clone(), id, publisher, resumed, names: wanted.names.to_vec() })
    }

    /// The publisher of registration `id` was lost: its name is kept for the grace period. `false` if it is not the
    /// present one.
    pub fn lost(&self, name: &TunnelName, id: &str, now: Instant) -> bool {
        let mut table = self.table();
        match table.slots.get_mut(name) {
            Some(slot) if slot.is(id) => {
                slot.kept_until = Some(now + self.grace);
                true
            }
            _ => false,
        }
    }

    /// The publisher of registration `id` left on purpose, or its grace is over: the name is free. `false` if it is not
    /// the present one, or came back.
    pub fn free(&self, name: &TunnelName, id: &str) -> bool {
        let mut table = self.table();
        let Some(slot) = table.slots.get_mut(name).filter(|slot| slot.is(id)) else { return false };
        slot.route = None;
        slot.kept_until = None;
        // A registration that is under way keeps its hold on the name.
        if slot.reserved_by.is_none() {
            table.slots.remove(name);
        }
        self.moved.notify_waiters();
        true
    }

    /// Takes a tunnel away from its publisher: the name is free. What was there is returned, to be closed.
    pub fn delete(&self, name: &TunnelName) -> Option<Arc<Route>> {
        let mut table = self.table();
        let slot = table.slots.get_mut(name)?;
        let route = slot.route.take()?;
        slot.kept_until = None;
        // A registration that is under way keeps its hold on the name.
        if slot.reserved_by.is_none() {
            table.slots.remove(name);
        }
        self.moved.notify_waiters();
        Some(route)
    }

    /// Where `name` leads.
    pub fn lookup(&self, name: &TunnelName, now: Instant) -> Lookup {
        match self.table().slots.get(name) {
            Some(Slot { kept_until: Some(until), .. }) if now < *until => Lookup::Away,
            Some(Slot { kept_until: None, route: Some(route), .. }) => Lookup::Live(Arc::clone(route)),
            _ => Lookup::Unknown,
        }
    }

    /// What the tunnel of this name carries, also while its publisher is away.
    pub fn kind(&self, name: &TunnelName) -> Option<TunnelKind> {
        self.table().slots.get(name)?.route.as_ref().map(|route| route.kind)
    }

    /// Waits for the lost publisher of `name` to come back, for `patience` at most. Those who wait go on in the order in which they
    /// came. `None` if it does not come, or too many wait already.
    pub async fn returned(&self, name: &TunnelName, patience: Duration) -> Option<Arc<Route>> {
        let _place = self.places.try_acquire().ok()?;
        let back = async {
            loop {
                // Asked for before the look, so that a return in between is not missed.
                let moved = self.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                match self.lookup(name, Instant::now()) {
                    Lookup::Live(route) if route.link.is_open() => return Some(route),
                    Lookup::Live(_) | Lookup::Away => moved.await,
                    Lookup::Unknown => return None,
                }
            }
        };
        tokio::time::timeout(patience, back).await.ok().flatten()
    }

    /// What the publisher of this ticket publishes now, if it is of this user.
    pub fn of_publisher(&self, owner: &str, publisher: &str) -> Vec<Arc<Route>> {
        let table = self.table();
        let its =
            |slot: &&Slot| slot.owner == owner && slot.publisher == publisher && slot.kept_until.is_none();
        table.slots.values().filter(its).filter_map(|slot| slot.route.clone()).collect()
    }

    /// What the handshake of the tunnel of this name was agreed on, while its publisher is there.
    pub fn protection(&self, name: &TunnelName) -> Option<TunnelFacts> {
        let table = self.table();
        let slot = table.slots.get(name).filter(|slot| slot.kept_until.is_none())?;
        slot.route.as_ref().map(|route| route.protection)
    }

    /// Tells every publisher that the gateway stops; their streams may go on for `grace`.
    pub fn farewell(&self, grace: Duration) {
        for slot in self.table().slots.values().filter(|slot| slot.kept_until.is_none()) {
            if let Some(route) = &slot.route {
                route.link.close(Farewell { code: FarewellCode::Draining, grace });
            }
        }
    }

    /// How long the name of a lost publisher is kept.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// All routes, by name.
    pub fn views(&self) -> Vec<RouteView> {
        let table = self.table();
        let view = |slot: &Slot| {
            let route = slot.route.as_ref()?;
            Some(RouteView {
                name: route.name.to_string(),
                kind: route.kind.as_str(),
                owner: route.owner.clone(),
                id: route.id.clone(),
                since: route.since,
                state: if slot.kept_until.is_some() { "away" } else { "live" },
                transport: route.transport,
                connections: route.link.lanes(),
            })
        };
        let mut views: Vec<_> = table.slots.values().filter_map(view).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Every change is complete before the lock is let go: a panic elsewhere leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Puts a route in place of its reservation; what was there before is returned, to be closed.
    pub fn publish(&self, route: Route) -> Option<Arc<Route>> {
        let mut table = self.routes.table();
        let slot = table.slots.get_mut(&route.name).filter(|slot| slot.reserved_by == Some(self.id))?;
        slot.publisher.clone_from(&self.publisher);
        slot.kept_until = None;
        slot.reserved_by = None;
        let old = slot.route.replace(Arc::new(route));
        self.routes.moved.notify_waiters();
        old
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut table = self.routes.table();
        for name in &self.names {
            let Some(slot) = table.slots.get_mut(name).filter(|slot| slot.reserved_by == Some(self.id))
            else {
                continue;
            };
            slot.reserved_by = None;
            if slot.route.is_none() {
                table.slots.remove(name);
            }
        }
    }
}

impl Slot {
    fn is(&self, id: &str) -> bool {
        self.route.as_ref().is_some_and(|route| route.id == id)
    }

    /// Whether somebody else than this publisher has the name. Its owner may take it back from a publisher that was lost, also
    /// with a new one.
    fn holds_against(&self, owner: &str, publisher: &str, now: Instant) -> bool {
        if self.reserved_by.is_some() {
            return true;
        }
        let same = self.owner == owner && (self.publisher == publisher || self.kept_until.is_some());
        let over = self.kept_until.is_some_and(|until| until <= now);
        !same && !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(owner: &'a str, fresh: &'a str, names: &'a [TunnelName]) -> Wanted<'a> {
        Wanted { owner, publisher: None, fresh, names, most: 2 }
    }

    fn names(texts: &[&str]) -> Vec<TunnelName> {
        texts.iter().map(|text| TunnelName::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_reserved_name_is_nobody_elses_until_the_reservation_is_dropped() {
        let (routes, now, demo) = (Routes::new(Duration::ZERO), Instant::now(), names(&["demo"]));
        let held = routes.reserve(&wanted("user:a", "p1", &demo), now).ok().unwrap();
        assert!(matches!(
            routes.reserve(&wanted("user:b", "p2", &demo), now),
            Err(NotReserved::Taken { same_owner: false, .. })
        ));
        assert!(matches!(routes.lookup(&demo[0], now), Lookup::Unknown));
        drop(held);
        assert!(routes.reserve(&wanted("user:b", "p2", &demo), now).is_ok());
    }

    #[test]
    fn either_all_names_are_held_or_none() {
        let (routes, now) = (Routes::new(Duration::ZERO), Instant::now());
        let (one, both, other) = (names(&["one"]), names(&["two", "one"]), names(&["two"]));
        let _held = routes.reserve(&wanted("user:a", "p1", &one), now).ok().unwrap();
        assert!(routes.reserve(&wanted("user:b", "p2", &both), now).is_err());
        assert!(routes.reserve(&wanted("user:c", "p3", &other), now).is_ok());
    }

    #[test]
    fn a_ticket_that_nobody_was_given_is_no_way_around_the_bound() {
        let (routes, now) = (Routes::new(Duration::ZERO), Instant::now());
        let (first, second, third) = (names(&["one"]), names(&["two"]), names(&["three"]));
        let made_up = Some("made-up");
        let _one = routes
            .reserve(&Wanted { publisher: made_up, ..wanted("user:a", "p1", &first) }, now)
            .ok()
            .unwrap();
        let _two = routes
            .reserve(&Wanted { publisher: made_up, ..wanted("user:a", "p2", &second) }, now)
            .ok()
            .unwrap();
        let refused = routes.reserve(&Wanted { publisher: made_up, ..wanted("user:a", "p3", &third) }, now);
        assert!(matches!(refused, Err(NotReserved::TooMany { others: 2, most: 2 })));
    }
}
