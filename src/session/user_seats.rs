//! How many sessions one person may have at a time, over all tunnels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::{Identity, Subject, Tenant};

/// Hands out seats; clones share them.
#[derive(Clone, Default)]
pub(super) struct UserSeats {
    /// `None`: any number.
    most: Option<usize>,
    taken: Arc<Mutex<HashMap<(Tenant, Subject), Taken>>>,
}

#[derive(Default)]
struct Taken {
    seats: usize,
    /// Whether somebody was refused since a seat was free: a burst leaves one record.
    told: bool,
}

/// One session's seat, given back when it is dropped.
pub(super) struct UserSeat {
    seats: UserSeats,
    /// `None` for who isn't counted.
    whose: Option<(Tenant, Subject)>,
}

/// There is no seat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) most: usize,
    /// Whether this is the first refusal since a seat was free.
    pub(super) first: bool,
}

impl UserSeats {
    /// So many for each person.
    pub(super) fn new(most: usize) -> Self {
        Self { most: Some(most), taken: Arc::default() }
    }

    /// A seat for one session. The visitor without a token is everybody, and isn't counted.
    pub(super) fn take(&self, who: &Identity) -> Result<UserSeat, Full> {
        let Some(most) = self.most.filter(|_| !who.is_anonymous()) else {
            return Ok(UserSeat { seats: self.clone(), whose: None });
        };
        let whose = (who.tenant().clone(), who.subject().clone());
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(whose.clone()).or_default();
        if taken.seats >= most {
            return Err(Full { most, first: !std::mem::replace(&mut taken.told, true) });
        }
        taken.seats += 1;
        Ok(UserSeat { seats: self.clone(), whose: Some(whose) })
    }
}

impl Drop for UserSeat {
    fn drop(&mut self) {
        let Some(whose) = &self.whose else { return };
        let mut all = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = all.get_mut(whose) else { return };
        taken.seats = taken.seats.saturating_sub(1);
        taken.told = false;
        if taken.seats == 0 {
            all.remove(whose);
        }
    }
}
