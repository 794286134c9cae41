//! Who publishes which name, and how to reach them.
//!
//! A name belongs to whoever registered it first, until its publisher leaves, or is lost and stays away longer than the
//! grace period. While a publisher is away its name is kept for its owner: the same publisher takes it back, or one that the
//! owner started in its place; nobody else can.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::tunnel::{Farewell, FarewellCode, Link, TunnelKind, TunnelName};

/// A published tunnel.
#[derive(Clone)]
pub struct Route {
    /// Its name.
    pub name: TunnelName,
    /// HTTP or TCP.
    pub kind: TunnelKind,
    /// Subject that published it.
    pub owner: String,
    /// Which running publisher: the same one may take its name back after a lost connection.
    pub publisher: String,
    /// Id of this registration, `tun-…`.
    pub id: String,
    /// When it was registered.
    pub since: Timestamp,
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

/// The name is another publisher's.
#[derive(Debug, thiserror::Error)]
#[error("the name `{name}` is in use by {}", if *.same_owner { "another publisher of yours" } else { "somebody else" })]
pub struct NameTaken {
    /// The name that was asked for.
    pub name: TunnelName,
    /// Whether the same user holds it.
    pub same_owner: bool,
}

struct Slot {
    route: Arc<Route>,
    /// Set while the publisher is away.
    kept_until: Option<Instant>,
}

/// The table of routes; clones share it.
#[derive(Clone)]
pub struct Routes {
    slots: Arc<Mutex<HashMap<TunnelName, Slot>>>,
    grace: Duration,
}

impl Routes {
    /// An empty table that keeps the name of a lost publisher for `grace`.
    pub fn new(grace: Duration) -> Self {
        Self { slots: Arc::default(), grace }
    }

    /// Whether `publisher` of `owner` may have `name` now.
    pub fn check(
        &self,
        name: &TunnelName,
        owner: &str,
        publisher: &str,
        now: Instant,
    ) -> Result<(), NameTaken> {
        match self.slots().get(name) {
            Some(slot) if slot.holds_against(owner, publisher, now) => {
                Err(NameTaken { name: name.clone(), same_owner: slot.route.owner == owner })
            }
            _ => Ok(()),
        }
    }

    /// Names that `owner` holds now through publishers other than `publisher`.
    pub fn count_of(&self, owner: &str, publisher: &str) -> usize {
        let others = |slot: &&Slot| slot.route.owner == owner && slot.route.publisher != publisher;
        self.slots().values().filter(others).count()
    }

    /// Puts a route in place; what the same publisher had under that name before is returned, to be closed.
    pub fn register(&self, route: Route, now: Instant) -> Result<Option<Arc<Route>>, NameTaken> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(&route.name)
            && slot.holds_against(&route.owner, &route.publisher, now)
        {
            return Err(NameTaken { name: route.name.clone(), same_owner: slot.route.owner == route.owner });
        }
        let slot = Slot { route: Arc::new(route.clone()), kept_until: None };
        Ok(slots.insert(route.name, slot).map(|old| old.route))
    }

    /// The publisher of registration `id` was lost: its name is kept for the grace period. `false` if it is not the
    /// present one.
    pub fn lost(&self, name: &TunnelName, id: &str, now: Instant) -> bool {
        let mut slots = self.slots();
        match slots.get_mut(name) {
            Some(slot) if slot.route.id == id => {
                slot.kept_until = Some(now + self.grace);
                true
            }
            _ => false,
        }
    }

    /// The publisher of registration `id` left on purpose, or its grace is over: the name is free. `false` if it is not
    /// the present one, or came back.
    pub fn free(&self, name: &TunnelName, id: &str) -> bool {
        let mut slots = self.slots();
        let ours = slots.get(name).is_some_and(|slot| slot.route.id == id);
        if ours {
            slots.remove(name);
        }
        ours
    }

    /// Where `name` leads.
    pub fn lookup(&self, name: &TunnelName, now: Instant) -> Lookup {
        match self.slots().get(name) {
            None => Lookup::Unknown,
            Some(Slot { kept_until: Some(until), .. }) if *until <= now => Lookup::Unknown,
            Some(Slot { kept_until: Some(_), .. }) => Lookup::Away,
            Some(slot) => Lookup::Live(Arc::clone(&slot.route)),
        }
    }

    /// Tells every publisher that the gateway stops; their streams may go on for `grace`.
    pub fn farewell(&self, grace: Duration) {
        for slot in self.slots().values().filter(|slot| slot.kept_until.is_none()) {
            slot.route.link.close(Farewell { code: FarewellCode::Draining, grace });
        }
    }

    /// How long the name of a lost publisher is kept.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// All routes, by name.
    pub fn views(&self) -> Vec<RouteView> {
        let mut views: Vec<_> = self
            .slots()
            .values()
            .map(|slot| RouteView {
                name: slot.route.name.to_string(),
                kind: slot.route.kind.as_str(),
                owner: slot.route.owner.clone(),
                id: slot.route.id.clone(),
                since: slot.route.since,
                state: if slot.kept_until.is_some() { "away" } else { "live" },
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<TunnelName, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn holds_against(&self, owner: &str, publisher: &str, now: Instant) -> bool {
        let away = self.kept_until.is_some();
        let same = self.route.owner == owner && (self.route.publisher == publisher || away);
        let over = self.kept_until.is_some_and(|until| until <= now);
        !same && !over
    }
}
