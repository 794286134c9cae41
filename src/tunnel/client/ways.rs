//! The transports that lead to a gateway, tried one after the other until one of them carries the whole handshake.
//!
//! Why: that a transport comes up says little. Something on the way may let TLS or QUIC connect, and drop or mangle what it does not
//! know behind that. So a transport is good when the gateway has answered over it; and one that was not, where another was, is set back
//! for a while, lest each return of a publisher waits for it again.
//!
//! Not trusted: whoever is on the way. They can have the transport that they want; on each the gateway proves who it is anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::address::GatewayAddress;
use super::dial::dial_by;
use super::dial_error::DialError;
use super::event::Event;
use super::proxy::Proxies;
use super::socket::{GatewaySocket, Transport};

/// How long a transport is tried last that failed where another did not: networks change seldom, and are not asked each time.
const WHILE: Duration = Duration::from_mins(10);

/// Transports that are tried last for a while.
#[derive(Default)]
pub(super) struct SetBack(Mutex<HashMap<(String, Transport), Instant>>);

impl SetBack {
    fn table(&self) -> MutexGuard<'_, HashMap<(String, Transport), Instant>> {
        // Holds a whole value, whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, address: &str, failed: &[Transport], now: Instant) {
        let mut table = self.table();
        for transport in failed {
            table.insert((address.to_owned(), *transport), now);
        }
    }

    /// `wanted`, those that are set back behind the others.
    fn order(&self, address: &str, wanted: &[Transport], now: Instant) -> Vec<Transport> {
        let mut table = self.table();
        table.retain(|_, since| now.saturating_duration_since(*since) < WHILE);
        let mut order = wanted.to_vec();
        order.sort_by_key(|transport| table.contains_key(&(address.to_owned(), *transport)));
        order
    }
}

/// The way to one gateway: see the module.
pub(super) struct Ways<'a> {
    address: &'a GatewayAddress,
    way: (&'a Arc<rustls::ClientConfig>, &'a Proxies),
    patience: Duration,
    set_back: &'a SetBack,
    /// Whoever shows events may be slow: what was fallen back from is told if there is room.
    events: Option<&'a mpsc::Sender<Event>>,
    /// What is left to try, the next one last.
    left: Vec<Transport>,
    tried: Transport,
    failed: Vec<Transport>,
}

impl<'a> Ways<'a> {
    pub(super) fn to(
        address: &'a GatewayAddress,
        way: (&'a Arc<rustls::ClientConfig>, &'a Proxies),
        (wanted, set_back): (&[Transport], &'a SetBack),
        patience: Duration,
        events: Option<&'a mpsc::Sender<Event>>,
    ) -> Self {
        let mut left = set_back.order(&address.to_string(), wanted, Instant::now());
        left.reverse();
        let (tried, failed) = (Transport::WebSocket, Vec::new());
        Self { address, way, patience, set_back, events, left, tried, failed }
    }

    /// Opens the next that comes up.
    pub(super) async fn open(&mut self) -> Result<GatewaySocket, DialError> {
        loop {
            self.tried = self.left.pop().unwrap_or(Transport::WebSocket);
            match dial_by(self.tried, &self.left, self.address, self.way, self.patience).await {
                Err(reason) if !self.left.is_empty() => self.fell(&reason),
                outcome => return outcome,
            }
        }
    }

    /// Whether the next is to be tried, after the handshake failed so over the last.
    pub(super) fn go_on(&mut self, error: &DialError) -> bool {
        let goes_on = !self.left.is_empty() && error.is_of_the_way();
        if goes_on {
            self.fell(error);
        }
        goes_on
    }

    /// The last one is good.
    pub(super) fn arrived(self) {
        self.set_back.set(&self.address.to_string(), &self.failed, Instant::now());
    }

    fn fell(&mut self, reason: &DialError) {
        // That nothing answers on TCP says nothing of what is spoken there.
        if self.tried == Transport::Quic || !matches!(reason, DialError::Connect { .. }) {
            self.failed.push(self.tried);
        }
        if let Some(events) = self.events {
            let _full = events.try_send(Event::fallback(self.tried, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Transport::{Quic, Tls, WebSocket};
    use super::*;

    #[test]
    fn a_transport_that_failed_is_tried_last_for_a_while_and_only_towards_the_gateway_where_it_did() {
        let (set_back, now, wanted) = (SetBack::default(), Instant::now(), [Quic, Tls, WebSocket]);
        set_back.set("one:443", &[Tls], now);
        assert_eq!(set_back.order("one:443", &wanted, now), [Quic, WebSocket, Tls]);
        assert_eq!(set_back.order("two:443", &wanted, now), wanted);
        assert_eq!(set_back.order("one:443", &wanted, now + WHILE), wanted);
    }
}
