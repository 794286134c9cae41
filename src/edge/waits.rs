//! Visitors who wait for an answer. Their page loads itself again every two seconds and is refused each time: without bounds an
//! honest person who waits would fill the ledger, and look like somebody who tries again and again.
//!
//! Promised: of each request the first refusal from each address is recorded, and what lets somebody in always is.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::access::RequestId;
use crate::session::subscriber;

/// Waits that are remembered before all are forgotten: each then leaves one record more.
const MANY: usize = 10_000;

/// Requests whose refusals are recorded, with the address they came from.
#[derive(Default)]
pub struct Waits(Mutex<HashSet<(RequestId, IpAddr)>>);

impl Waits {
    /// Whether this is the first refusal from this address while this request waits.
    pub(super) fn begins(&self, request: RequestId, address: IpAddr) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANY {
            known.clear();
        }
        known.insert((request, subscriber(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> RequestId {
        format!("req-{number:032x}").parse().unwrap()
    }

    #[test]
    fn a_wait_begins_once_for_each_request_and_address() {
        let (waits, here, there) =
            (Waits::default(), IpAddr::from([203, 0, 113, 7]), IpAddr::from([203, 0, 113, 8]));
        assert!(waits.begins(request(1), here));
        assert!(!waits.begins(request(1), here), "the page has loaded itself again");
        assert!(waits.begins(request(1), there), "from elsewhere");
        assert!(waits.begins(request(2), here), "another request");
    }

    #[test]
    fn how_many_are_remembered_is_bounded() {
        let (waits, here) = (Waits::default(), IpAddr::from([203, 0, 113, 7]));
        for number in 0..MANY + 10 {
            assert!(waits.begins(request(number), here));
        }
        assert!(waits.0.lock().unwrap().len() <= MANY);
    }
}
