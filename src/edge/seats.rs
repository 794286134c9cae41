//! Seats for connections, in all and by address. Whoever holds a connection holds its seat: also a WebSocket that outlives the
//! HTTP request it began as, and a TCP visitor who never speaks HTTP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::session::subscriber;

/// Hands out seats; clones share them.
#[derive(Clone)]
pub struct Seats {
    most: usize,
    most_by_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Whether somebody was refused since a seat was free: a flood leaves one record, not one for each attempt.
    told: bool,
}

/// One connection's seat, given back when it is dropped.
pub(super) struct Seat {
    seats: Seats,
    /// `None` until it is known.
    address: Option<IpAddr>,
}

/// There is no seat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Whether this is the first refusal since a seat was free.
    pub(super) first: bool,
}

impl Seats {
    /// So many in all, and so many for one address.
    pub fn new(most: usize, most_by_address: usize) -> Self {
        Self { most, most_by_address, taken: Arc::default() }
    }

    /// A seat for a connection from `address`.
    pub(super) fn take(&self, address: IpAddr) -> Result<Seat, Full> {
        let address = subscriber(address);
        let mut taken = self.taken();
        let own = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= self.most || own >= self.most_by_address {
            return Err(Full { first: !std::mem::replace(&mut taken.told, true) });
        }
        taken.all += 1;
        taken.by_address.insert(address, own + 1);
        Ok(Seat { seats: self.clone(), address: Some(address) })
    }

    /// A seat for a connection that a front brings: for whom, it tells in the first bytes.
    pub(super) fn take_for_front(&self) -> Result<Seat, Full> {
        let mut taken = self.taken();
        if taken.all >= self.most {
            return Err(Full { first: !std::mem::replace(&mut taken.told, true) });
        }
        taken.all += 1;
        Ok(Seat { seats: self.clone(), address: None })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The same seat as one of `address`, if that one may have another.
    pub(super) fn of(mut self, address: IpAddr) -> Result<Self, Full> {
        let address = subscriber(address);
        {
            let mut taken = self.seats.taken();
            let own = taken.by_address.get(&address).copied().unwrap_or(0);
            if own >= self.seats.most_by_address {
                let first = !std::mem::replace(&mut taken.told, true);
                drop(taken);
                return Err(Full { first });
            }
            taken.by_address.insert(address, own + 1);
        }
        self.address = Some(address);
        Ok(self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all = taken.all.saturating_sub(1);
        taken.told = false;
        let Some(address) = self.address else { return };
        if let Some(own) = taken.by_address.get_mut(&address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats_and_gets_one_back_when_a_connection_ends() {
        let seats = Seats::new(10, 1);
        let (one, other) = ("203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap());
        let held = seats.take(one).ok().unwrap();
        assert_eq!(seats.take(one).err(), Some(Full { first: true }));
        assert_eq!(seats.take(one).err(), Some(Full { first: false }));
        assert!(seats.take(other).is_ok());
        drop(held);
        assert!(seats.take(one).is_ok());
    }

    #[test]
    fn a_front_has_as_many_seats_as_there_are_and_each_of_its_visitors_their_own() {
        let seats = Seats::new(3, 1);
        let visitor = "203.0.113.7".parse().unwrap();
        let brought = seats.take_for_front().unwrap_or_else(|_| panic!()).of(visitor).ok().unwrap();
        let more = seats.take_for_front().ok().unwrap().of(visitor);
        assert!(more.is_err(), "one visitor through a front is one visitor");
        assert_eq!(seats.taken().all, 1, "the seat of whoever was refused is free again");
        drop(brought);
        assert!(seats.take_for_front().ok().unwrap().of(visitor).is_ok());
    }

    #[test]
    fn refused_addresses_are_not_remembered() {
        let seats = Seats::new(0, 1);
        assert!(seats.take("203.0.113.7".parse().unwrap()).is_err());
        assert!(seats.taken().by_address.is_empty());
    }

    #[test]
    fn a_whole_network_of_one_subscriber_counts_as_one_address() {
        let seats = Seats::new(10, 1);
        let _held = seats.take("2001:db8::1".parse().unwrap()).ok().unwrap();
        assert!(seats.take("2001:db8::2".parse().unwrap()).is_err());
        assert!(seats.take("2001:db8:0:1::2".parse().unwrap()).is_ok());
    }
}
