//! Who publishes which name, and how to reach them.
//!
//! A name belongs to whoever registered it first, until its publisher leaves, or is lost and stays away longer than the
//! grace period. While a publisher is away its name is kept for its owner: the same publisher takes it back, or one that the
//! owner started in its place; nobody else can. Publishers of one owner who all say so share a name: each visitor is sent to one
//! of them, and when one goes the others go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use super::reservation::{Doubted, NotReserved, Reservation, Wanted};
use super::route::{Route, RouteView};
use super::slot::{Member, Slot};
use crate::access::TunnelFacts;
use crate::tunnel::{Farewell, FarewellCode, Link, Offer, TunnelKind, TunnelName};

/// Visitors who may wait for the publisher of one name that is away, and for all of them together. One more is refused at once.
const MOST_WAITING: (usize, usize) = (100, 1000);

/// Answer to "where does this name lead?".
pub enum Lookup {
    /// To a publisher that is there.
    Live(Arc<Route>),
    /// To a publisher that was lost, and whose name is still kept; or to one that is about to come.
    Away,
    /// Nowhere.
    Unknown,
}

/// The table of routes; clones share it.
#[derive(Clone)]
pub struct Routes {
    table: Arc<Mutex<Table>>,
    grace: Duration,
    /// Told when a name is published, or free.
    pub(super) moved: Arc<Notify>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) slots: HashMap<TunnelName, Slot>,
    reservations: u64,
}

impl Routes {
    /// An empty table that keeps the name of a lost publisher for `grace`.
    pub fn new(grace: Duration) -> Self {
        let places = Arc::new(Semaphore::new(MOST_WAITING.1));
        Self { table: Arc::default(), grace, moved: Arc::default(), places }
    }

    /// Holds all the names, or none. From here on nobody else can have them.
    pub fn reserve(&self, wanted: &Wanted<'_>, now: Instant) -> Result<Reservation, NotReserved> {
        let mut table = self.table();
        let known = |ticket: &&str| {
            let its = |slot: &Slot| slot.members.iter().any(|member| member.publisher == **ticket);
            table.slots.values().any(|slot| slot.owner == wanted.owner && its(slot))
        };
        let ticket = wanted.publisher.filter(known);
        let publisher = ticket.unwrap_or(wanted.fresh).to_owned();
        for Offer { name, kind, join } in wanted.offers {
            let claim = (wanted.owner, publisher.as_str(), *kind, *join);
            if let Some(slot) = table.slots.get(name).filter(|slot| slot.holds_against(claim, now)) {
                return Err(NotReserved::Taken {
                    name: name.clone(),
                    same_owner: slot.owner == wanted.owner,
                });
            }
        }
        let names: Vec<TunnelName> = wanted.offers.iter().map(|offer| offer.name.clone()).collect();
        let another =
            |(name, slot): &(&TunnelName, &Slot)| slot.owner == wanted.owner && !names.contains(name);
        let others = table.slots.iter().filter(another).count();
        if others + names.len() > wanted.most {
            return Err(NotReserved::TooMany { others, most: wanted.most });
        }
        table.reservations += 1;
        let id = table.reservations;
        for Offer { name, kind, join } in wanted.offers {
            let slot = table.slots.entry(name.clone()).or_insert_with(|| Slot {
                owner: wanted.owner.to_owned(),
                shared: *join,
                kind: *kind,
                members: Vec::new(),
                reserved_by: Vec::new(),
                turn: 0,
                places: Arc::new(Semaphore::new(MOST_WAITING.0)),
                line: Arc::default(),
            });
            slot.reserved_by.push(id);
        }
        let resumed = ticket.is_some();
        let owner = wanted.owner.to_owned();
        let offers = wanted.offers.to_vec();
        Ok(Reservation { routes: self.clone(), id, owner, publisher, resumed, offers, doubted: None })
    }

    /// The publisher of registration `id` was lost: its name is kept for the grace period. `false` if it is not a present
    /// one.
    pub fn lost(&self, name: &TunnelName, id: &str, now: Instant) -> bool {
        let mut table = self.table();
        let member = table.slots.get_mut(name).and_then(|slot| slot.member(id));
        let Some(member) = member else { return false };
        member.kept_until = Some(now + self.grace);
        self.moved.notify_waiters();
        true
    }

    /// Takes these publishers for lost until what is returned is dropped: their user may put others in their place meanwhile.
    pub fn doubt(&self, members: Vec<Arc<Route>>, now: Instant) -> Doubted {
        for route in &members {
            self.lost(&route.name, &route.id, now);
        }
        Doubted { routes: self.clone(), members }
    }

    /// The publisher of registration `id` left on purpose, or its grace is over: if it was the last, the name is free. `false`
    /// if it is not a present one, or came back.
    pub fn free(&self, name: &TunnelName, id: &str) -> bool {
        let mut table = self.table();
        let Some(slot) = table.slots.get_mut(name).filter(|slot| slot.has(id)) else { return false };
        slot.members.retain(|member| member.route.id != id);
        // A registration that is under way keeps its hold on the name.
        if slot.is_empty() {
            table.slots.remove(name);
        }
        self.moved.notify_waiters();
        true
    }

    /// Takes a tunnel away from its publishers: the name is free. What was there is returned, to be closed.
    pub fn delete(&self, name: &TunnelName) -> Vec<Arc<Route>> {
        let mut table = self.table();
        let Some(slot) = table.slots.get_mut(name) else { return Vec::new() };
        let routes = slot.members.drain(..).map(|member| member.route).collect();
        // A registration that is under way keeps its hold on the name.
        if slot.is_empty() {
            table.slots.remove(name);
        }
        self.moved.notify_waiters();
        routes
    }

    /// Where `name` leads: of several publishers, to one whose app is well and who has the least to do, in turns.
    pub fn lookup(&self, name: &TunnelName, now: Instant) -> Lookup {
        let mut table = self.table();
        let Some(slot) = table.slots.get_mut(name) else { return Lookup::Unknown };
        slot.turn = slot.turn.wrapping_add(1);
        let (turn, count) = (slot.turn, slot.members.len());
        let there = slot.members.iter().enumerate().filter(|(_, member)| member.kept_until.is_none());
        let best = there.min_by_key(|(place, member)| {
            let route = &member.route;
            let busy = if count == 1 { 0 } else { route.app.load() };
            (!route.link.is_open(), !route.is_fit(now), busy, place.wrapping_add(turn) % count)
        });
        if let Some((_, member)) = best {
            return Lookup::Live(Arc::clone(&member.route));
        }
        let kept = |member: &Member| member.kept_until.is_some_and(|until| now < until);
        // The publisher hears that it is registered before its route stands here: whoever it tells may be faster.
        let comes = slot.members.is_empty() && !slot.reserved_by.is_empty();
        if comes || slot.members.iter().any(kept) { Lookup::Away } else { Lookup::Unknown }
    }

    /// How many publishers of `name` are there.
    pub fn publishers(&self, name: &TunnelName) -> usize {
        self.table().slots.get(name).map_or(0, |slot| slot.present().count())
    }

    /// What the tunnel of this name carries, also while its publisher is away.
    pub fn kind(&self, name: &TunnelName) -> Option<TunnelKind> {
        let table = self.table();
        let slot = table.slots.get(name).filter(|slot| !slot.members.is_empty())?;
        Some(slot.kind)
    }

    /// Waits for the lost publisher of `name` to come back, for `patience` at most. Those who wait go on in the order in which they
    /// came. `None` if it does not come, or too many wait already.
    pub async fn returned(&self, name: &TunnelName, patience: Duration) -> Option<Arc<Route>> {
        // Of its own first: visitors of one name must not take the places of all others.
        let (own, line) = {
            let table = self.table();
            let slot = table.slots.get(name)?;
            (Arc::clone(&slot.places), Arc::clone(&slot.line))
        };
        let _own = own.try_acquire().ok()?;
        let _place = self.places.try_acquire().ok()?;
        let back = async {
            let _first = line.lock().await;
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
        let slots = table.slots.values().filter(|slot| slot.owner == owner);
        let its = slots.flat_map(Slot::present).filter(|member| member.publisher == publisher);
        its.map(|member| Arc::clone(&member.route)).collect()
    }

    /// Publishers of `name` that are there, if they are of this user.
    pub fn held(&self, owner: &str, name: &TunnelName) -> Vec<Arc<Route>> {
        let table = self.table();
        let slot = table.slots.get(name).filter(|slot| slot.owner == owner);
        slot.into_iter().flat_map(Slot::present).map(|member| Arc::clone(&member.route)).collect()
    }

    /// What the handshake of a tunnel of this name was agreed on, while its publisher is there.
    pub fn protection(&self, name: &TunnelName) -> Option<TunnelFacts> {
        self.table().slots.get(name)?.present().next().map(|member| member.route.protection)
    }

    /// Publishers that are there, each once, however many names it has.
    pub fn links(&self) -> Vec<Link> {
        let table = self.table();
        let links = table.slots.values().flat_map(Slot::present).map(|member| &member.route.link);
        let each: HashMap<_, _> = links.map(|link| (link.id(), link.clone())).collect();
        each.into_values().collect()
    }

    /// Tells every publisher that the gateway is about to stop. What was let in before may still be on its way to them.
    pub fn announce_farewell(&self) {
        for link in self.links() {
            link.announce(FarewellCode::Draining);
        }
    }

    /// Takes leave of every publisher; their streams may go on for `grace`.
    pub fn farewell(&self, grace: Duration) {
        for member in self.table().slots.values().flat_map(Slot::present) {
            member.route.link.close(Farewell { code: FarewellCode::Draining, grace });
        }
    }

    /// How many visitors wait for each publisher that is away.
    pub fn waiting(&self) -> Vec<(TunnelName, usize)> {
        let taken = |slot: &Slot| MOST_WAITING.0.saturating_sub(slot.places.available_permits());
        let table = self.table();
        let each = table.slots.iter().map(|(name, slot)| (name.clone(), taken(slot)));
        each.filter(|(_, waiting)| *waiting > 0).collect()
    }

    /// How long the name of a lost publisher is kept.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// All routes, by name.
    pub fn views(&self) -> Vec<RouteView> {
        let table = self.table();
        let view = |member: &Member| {
            let route = &member.route;
            RouteView {
                name: route.name.to_string(),
                kind: route.kind.as_str(),
                owner: route.owner.clone(),
                id: route.id.clone(),
                since: route.since,
                state: route.state(member.kept_until.is_some()),
                transport: route.transport,
                connections: route.link.lanes(),
                streams: route.link.streams(),
                windows: route.link.windows(),
                resting: route.breaker.is_open(),
            }
        };
        let mut views: Vec<_> = table.slots.values().flat_map(|slot| &slot.members).map(view).collect();
        views.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        views
    }

    pub(super) fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Every change is complete before the lock is let go: a panic elsewhere leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn wanted<'a>(owner: &'a str, fresh: &'a str, offers: &'a [Offer]) -> Wanted<'a> {
        Wanted { owner, publisher: None, fresh, offers, most: 2 }
    }

    fn names(texts: &[&str]) -> Vec<Offer> {
        let offer = |text: &&str| Offer {
            name: TunnelName::parse(text).unwrap(),
            kind: TunnelKind::Http,
            join: false,
        };
        texts.iter().map(offer).collect()
    }

    fn joining(texts: &[&str]) -> Vec<Offer> {
        names(texts).into_iter().map(|offer| Offer { join: true, ..offer }).collect()
    }

    #[test]
    fn a_reserved_name_is_nobody_elses_until_the_reservation_is_dropped() {
        let (routes, now, demo) = (Routes::new(Duration::ZERO), Instant::now(), names(&["demo"]));
        let held = routes.reserve(&wanted("user:a", "p1", &demo), now).ok().unwrap();
        assert!(matches!(
            routes.reserve(&wanted("user:b", "p2", &demo), now),
            Err(NotReserved::Taken { same_owner: false, .. })
        ));
        assert!(matches!(routes.lookup(&demo[0].name, now), Lookup::Away), "its publisher is about to come");
        drop(held);
        assert!(matches!(routes.lookup(&demo[0].name, now), Lookup::Unknown));
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

    #[test]
    fn a_name_is_shared_by_publishers_of_one_owner_who_all_say_so_and_carry_the_same() {
        let (routes, now) = (Routes::new(Duration::ZERO), Instant::now());
        let (shared, alone) = (joining(&["demo"]), names(&["demo"]));
        let _first = routes.reserve(&wanted("user:a", "p1", &shared), now).ok().unwrap();
        assert!(routes.reserve(&wanted("user:a", "p2", &shared), now).is_ok());
        assert!(routes.reserve(&wanted("user:a", "p3", &alone), now).is_err(), "it does not say so");
        assert!(routes.reserve(&wanted("user:b", "p4", &shared), now).is_err(), "another owner");
        let other = [Offer { kind: TunnelKind::Tls, ..shared[0].clone() }];
        assert!(routes.reserve(&wanted("user:a", "p5", &other), now).is_err(), "it carries something else");
    }

    #[tokio::test]
    async fn those_who_wait_for_one_publisher_take_no_places_of_those_who_wait_for_another() {
        let (routes, now, minute) = (Routes::new(Duration::ZERO), Instant::now(), Duration::from_mins(1));
        let both = names(&["one", "two"]);
        let _comes = routes.reserve(&wanted("user:a", "p1", &both), now).ok().unwrap();
        let wait = |offer: &Offer| {
            let (routes, name) = (routes.clone(), offer.name.clone());
            let mut wait = Box::pin(async move { routes.returned(&name, minute).await.is_some() });
            let ended = (&mut wait).now_or_never();
            (wait, ended)
        };
        let waiting: Vec<_> = (0..MOST_WAITING.0).map(|_| wait(&both[0])).collect();
        assert!(waiting.iter().all(|(_, ended)| ended.is_none()));
        assert_eq!(routes.waiting(), [(both[0].name.clone(), MOST_WAITING.0)]);
        assert_eq!(wait(&both[0]).1, Some(false), "one more is refused at once");
        assert_eq!(wait(&both[1]).1, None, "another's has room");
        drop(waiting);
        assert_eq!(wait(&both[0]).1, None);
    }

    #[test]
    fn a_name_that_is_not_shared_is_nobodys_to_join() {
        let (routes, now) = (Routes::new(Duration::ZERO), Instant::now());
        let _first = routes.reserve(&wanted("user:a", "p1", &names(&["demo"])), now).ok().unwrap();
        assert!(routes.reserve(&wanted("user:a", "p2", &joining(&["demo"])), now).is_err());
    }
}
