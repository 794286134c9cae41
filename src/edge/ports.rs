//! Which public ports are open for which tunnels, of TCP or of UDP.
//!
//! Publishers that share a name share its port, and one may come while another leaves. So a port is held by each registration that is
//! under way, from when it looks for one until it is complete or given up, and is closed only when nobody holds it and the tunnel has no
//! use for it any more. Looking and opening are one step: two publishers that come at the same time get the same port.
//!
//! Binding asks the kernel alone, which does not keep us waiting: it is done under the lock.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::tunnel::TunnelName;

/// The ports that are open; clones share them.
#[derive(Clone, Default)]
pub(super) struct Ports(Arc<Mutex<HashMap<TunnelName, Vec<Open>>>>);

/// One of them.
struct Open {
    number: u16,
    /// Ends what listens there.
    stop: CancellationToken,
    /// Whether it is the tunnel's. Of one name at most one is.
    kept: bool,
    /// Registrations under way that were told of it.
    held: usize,
}

impl Ports {
    /// The port on which `name` is reached, if `fits` likes its number; or else the one that `open` binds, and which listens until the
    /// token is cancelled.
    pub(super) fn hold<E>(
        &self,
        name: &TunnelName,
        fits: impl Fn(u16) -> bool,
        open: impl FnOnce(CancellationToken) -> Result<u16, E>,
    ) -> Result<Port, E> {
        let mut table = self.table();
        let its = table.entry(name.clone()).or_default();
        // The tunnel's own before one that is about to be.
        its.sort_by_key(|open| !open.kept);
        let number = match its.iter_mut().find(|open| fits(open.number)) {
            Some(open) => {
                open.held += 1;
                open.number
            }
            None => {
                let stop = CancellationToken::new();
                let bound = open(stop.clone());
                if let Ok(number) = bound {
                    its.push(Open { number, stop, kept: false, held: 1 });
                } else if its.is_empty() {
                    table.remove(name);
                }
                bound?
            }
        };
        drop(table);
        Ok(Port { number, name: name.clone(), ports: self.clone() })
    }

    /// Gives up the port of `name`, if that is so `once` nobody can get it any more. One that a registration holds stays open for that.
    pub(super) fn close_if(&self, name: &TunnelName, once: impl FnOnce() -> bool) {
        let mut table = self.table();
        // Looked at under the lock: whoever publishes the name, and then keeps its port, does so before this or after it.
        if once() {
            table.entry(name.clone()).or_default().iter_mut().for_each(|open| open.kept = false);
            sweep(&mut table, name);
        }
    }

    /// Stops all that listens.
    pub(super) fn close_all(&self) {
        for open in self.table().drain().flat_map(|(_, its)| its) {
            open.stop.cancel();
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<TunnelName, Vec<Open>>> {
        // Every change is complete before the lock is let go: a panic elsewhere leaves the table whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what nobody has a use for.
fn sweep(table: &mut HashMap<TunnelName, Vec<Open>>, name: &TunnelName) {
    let Some(its) = table.get_mut(name) else { return };
    its.retain(|open| {
        let used = open.kept || open.held > 0;
        if !used {
            open.stop.cancel();
        }
        used
    });
    if its.is_empty() {
        table.remove(name);
    }
}

/// A port that a registration holds. Dropped before it is kept, it is closed again unless it is the tunnel's already, or another
/// registration holds it too.
#[must_use]
pub(super) struct Port {
    pub(super) number: u16,
    name: TunnelName,
    ports: Ports,
}

impl Port {
    /// The registration is complete: from here on the port is the tunnel's, in place of one that it had.
    pub(super) fn keep(self) {
        for open in self.ports.table().get_mut(&self.name).into_iter().flatten() {
            open.kept = open.number == self.number;
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut table = self.ports.table();
        let mut its = table.get_mut(&self.name).into_iter().flatten();
        if let Some(open) = its.find(|open| open.number == self.number) {
            open.held = open.held.saturating_sub(1);
        }
        sweep(&mut table, &self.name);
    }
}

/// Binds the first of `numbers` that is free.
pub(super) fn first_free<S>(
    numbers: impl IntoIterator<Item = u16>,
    bind: impl Fn(u16) -> io::Result<S>,
) -> Option<(u16, S)> {
    numbers.into_iter().find_map(|number| Some((number, bind(number).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db() -> TunnelName {
        TunnelName::parse("db").unwrap()
    }

    /// Holds the port of `db`, which is `number` if it must be opened; and the token, if it was.
    fn hold(ports: &Ports, number: u16) -> (Port, Option<CancellationToken>) {
        let mut opened = None;
        let port = ports.hold(
            &db(),
            |_| true,
            |stop| {
                opened = Some(stop);
                Ok::<_, io::Error>(number)
            },
        );
        (port.unwrap(), opened)
    }

    #[test]
    fn publishers_that_come_at_the_same_time_get_the_same_port_and_one_that_is_given_up_leaves_it_to_the_other()
     {
        let ports = Ports::default();
        let (first, opened) = hold(&ports, 7);
        let (second, none) = hold(&ports, 8);
        assert_eq!((first.number, second.number, none.is_none()), (7, 7, true));
        drop(first);
        second.keep();
        assert!(!opened.unwrap().is_cancelled());
    }

    #[test]
    fn a_port_stays_open_for_a_registration_that_was_told_of_it_when_the_last_publisher_leaves_meanwhile() {
        let ports = Ports::default();
        let (first, opened) = hold(&ports, 7);
        first.keep();
        let opened = opened.unwrap();
        let (second, _) = hold(&ports, 8);
        ports.close_if(&db(), || true);
        assert!(!opened.is_cancelled(), "nobody would listen at the port that the second is told");
        second.keep();
        ports.close_if(&db(), || false);
        assert!(!opened.is_cancelled());
        ports.close_if(&db(), || true);
        assert!(opened.is_cancelled());
        assert_eq!(hold(&ports, 9).0.number, 9);
    }

    #[test]
    fn a_port_that_was_left_to_a_registration_is_closed_when_that_is_given_up() {
        let ports = Ports::default();
        let (first, opened) = hold(&ports, 7);
        first.keep();
        let (second, _) = hold(&ports, 8);
        ports.close_if(&db(), || true);
        drop(second);
        assert!(opened.unwrap().is_cancelled());
    }

    #[test]
    fn a_tunnel_that_wants_another_port_has_its_own_until_the_registration_is_complete() {
        let ports = Ports::default();
        let (first, old) = hold(&ports, 7);
        first.keep();
        let old = old.unwrap();
        let other = || ports.hold(&db(), |number| number == 8, |_| Ok::<_, io::Error>(8)).unwrap();
        drop(other());
        assert!(!old.is_cancelled());
        other().keep();
        assert!(old.is_cancelled());
        assert_eq!(hold(&ports, 9).0.number, 8);
    }
}
