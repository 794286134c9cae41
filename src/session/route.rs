//! One publisher's registration of a name: the way to it, how its app is, and how much there is to do for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::breaker::Breaker;
use super::heir::Heir;
use crate::access::TunnelFacts;
use crate::tunnel::{Link, TunnelKind, TunnelName};

/// A published tunnel.
#[derive(Clone)]
pub struct Route {
    /// Its name.
    pub name: TunnelName,
    /// HTTP, TCP or UDP.
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
    /// Spares an app that fails.
    pub breaker: Arc<Breaker>,
    /// How the publisher finds its app.
    pub app: Arc<AppHealth>,
    /// The registration that follows, when the publisher was lost and came back.
    pub heir: Heir,
}

/// How a publisher finds its app, and how much there is to do for it.
#[derive(Debug, Default)]
pub struct AppHealth {
    unwell: AtomicBool,
    busy: TaskTracker,
}

impl AppHealth {
    /// Whether its publisher says that it is well, or says nothing.
    pub fn is_well(&self) -> bool {
        !self.unwell.load(Ordering::Relaxed)
    }

    /// Hears what the publisher says. `true` if that is news.
    pub fn set_well(&self, well: bool) -> bool {
        self.unwell.swap(!well, Ordering::Relaxed) == well
    }

    /// How much there is to do.
    pub(super) fn load(&self) -> usize {
        self.busy.len()
    }

    /// Counts a visitor's session or request until what is returned is dropped.
    pub fn busy(&self) -> Busy {
        Busy { _token: self.busy.token() }
    }

    /// Waits until there is nothing to do, where nothing more comes.
    pub async fn idle(&self) {
        self.busy.close();
        self.busy.wait().await;
    }
}

/// See [`AppHealth::busy`].
#[derive(Debug)]
pub struct Busy {
    _token: TaskTrackerToken,
}

impl Route {
    /// Whether a visitor is better sent here than to one of which this is not true.
    pub(super) fn is_fit(&self, now: Instant) -> bool {
        self.app.is_well() && self.breaker.wait(now).is_none()
    }

    pub(super) fn state(&self, away: bool) -> &'static str {
        if away {
            "away"
        } else if !self.app.is_well() {
            "unwell"
        } else if self.breaker.is_open() {
            "resting"
        } else {
            "live"
        }
    }
}

/// What an admin sees of a route.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RouteView {
    /// Name of the tunnel.
    pub name: String,
    /// `http`, `tcp`, `udp` or `tls`.
    pub kind: &'static str,
    /// Subject that published it.
    pub owner: String,
    /// `tun-…`
    pub id: String,
    /// When it was registered.
    pub since: Timestamp,
    /// `live`; `away` while the name is kept for a lost publisher; `unwell` while the publisher says that its app is; `resting`
    /// while an app that failed is left alone.
    pub state: &'static str,
    /// What carries it: `quic`, `tls` or `websocket`.
    pub transport: &'static str,
    /// How many connections its publisher has.
    pub connections: usize,
    /// Streams that visitors have on these, and how many they may have.
    #[serde(skip)]
    pub streams: (usize, usize),
    /// How many bytes each stream may have under way now, and how long the publisher took to answer the last ping.
    #[serde(skip)]
    pub windows: (u32, Option<Duration>),
    /// Whether its app failed and is left alone, whatever its state says.
    #[serde(skip)]
    pub resting: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_publisher_says_of_its_app_is_news_once() {
        let health = Arc::new(AppHealth::default());
        assert!(health.is_well() && !health.set_well(true));
        assert!(health.set_well(false) && !health.set_well(false) && !health.is_well());
        assert!(health.set_well(true));
    }
}
