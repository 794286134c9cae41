//! Where a session's byte stream goes on when its publisher's connection is lost: over another connection of that publisher, or over
//! the registration with which it comes back, for as long as the session may.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::info;

use super::Edge;
use super::metrics::Metrics;
use crate::session::{Busy, LastingStream, Route, Session};
use crate::tunnel::{Lasting, Link, Way};

/// See the module.
struct Onward {
    stream: LastingStream,
    metrics: Metrics,
    /// The registration that it is on, and its place among what there is to do there. The first's is the session's own.
    on: Mutex<(Arc<Route>, Option<Busy>)>,
}

/// How a stream of `session` through `route` outlives its connection, if the operator lets it.
pub(super) fn lasting(edge: &Edge, session: &Session, route: &Arc<Route>) -> Option<Lasting> {
    let within = edge.bounds.resume;
    if within.is_zero() {
        return None;
    }
    let (stream, metrics) = (session.lasting(), edge.metrics.clone());
    let way = Onward { stream, metrics, on: Mutex::new((Arc::clone(route), None)) };
    Some(Lasting { within, way: Box::new(way) })
}

impl Onward {
    fn route(&self) -> Arc<Route> {
        Arc::clone(&self.on().0)
    }

    fn on(&self) -> MutexGuard<'_, (Arc<Route>, Option<Busy>)> {
        // Replaced as a whole.
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way for Onward {
    fn onward(&self) -> Pin<Box<dyn Future<Output = Option<Link>> + Send + '_>> {
        Box::pin(async move {
            loop {
                let route = self.route();
                // A session that was not moved to it has ended with the one before.
                if self.stream.is_of(&route.id) && route.link.is_open() {
                    return Some(route.link.clone());
                }
                let heir = route.heir.named().await?;
                let busy = heir.app.busy();
                *self.on() = (heir, Some(busy));
            }
        })
    }

    fn is_open(&self) -> bool {
        let route = self.route();
        self.stream.is_open() && !route.link.is_parting()
    }

    fn resumed(&self) {
        let route = self.route();
        self.stream.resumed();
        self.metrics.stream_resumed(&route.name);
        info!(tunnel = %route.name, "a byte stream went on over another connection of its publisher");
    }

    fn failed(&self) {
        let route = self.route();
        self.metrics.stream_lost(&route.name);
        info!(tunnel = %route.name, "a byte stream is broken off: its publisher did not come back for it");
    }
}
