//! Connections to an app of HTTP/1.1 that no request is on: which of them is used next, which are let go, and when one is made ahead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::AppConnectionTurn as Turn;
use super::upload::UploadBody;
use super::warm::{Next, Told, Warmth, random};

/// How long a connection rests at the most.
const REST: Duration = Duration::from_mins(1);
/// How long it is used at the most.
pub(super) const LIFE: Duration = Duration::from_hours(1);
/// How many rest at a time.
const MOST: usize = 256;
/// How often those that rested too long are let go, and new ones made in their place where such are wanted.
pub(super) const SWEEP: Duration = Duration::from_secs(10);

/// Those that no request is on.
#[derive(Default)]
pub(super) struct Resting {
    /// The one that began to rest last at the end.
    connections: Mutex<Vec<Connection>>,
    /// How many are to be ready before they are needed.
    wanted: usize,
    /// Requests that are connecting because they found none.
    pub(super) connecting: AtomicUsize,
    /// Told when fewer are left than are wanted.
    pub(super) changed: Arc<Notify>,
}

/// To an app, one request at a time.
pub(super) struct Connection {
    pub(super) sender: SendRequest<UploadBody>,
    pub(super) made: Instant,
    pub(super) rests_since: Instant,
    /// Whether a request has been on it.
    pub(super) used: bool,
}

impl Connection {
    fn is_fresh(&self, now: Instant) -> bool {
        !self.sender.is_closed()
            && now.saturating_duration_since(self.made) < LIFE
            && now.saturating_duration_since(self.rests_since) < REST
    }
}

impl Resting {
    /// None yet, of which so many are to be ready before they are needed.
    pub(super) fn wanting(wanted: usize) -> Self {
        Self { wanted, ..Self::default() }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A vector of whole connections, whatever panicked beside it.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, now: Instant) -> Option<Connection> {
        let mut connections = self.connections();
        // An answer may end before what was sent with it: then the connection is not ready, and perhaps never will be.
        let at = connections.iter().rposition(|one| one.sender.is_ready() && one.is_fresh(now))?;
        let mut taken = connections.remove(at);
        if connections.len() < self.wanted {
            self.changed.notify_one();
        }
        taken.used = true;
        Some(taken)
    }

    pub(super) fn give(&self, mut connection: Connection, now: Instant) {
        connection.rests_since = now;
        let mut connections = self.connections();
        if !connection.sender.is_closed() && connections.len() < MOST {
            connections.push(connection);
        }
    }

    /// Lets go those that are of no use any more.
    fn sweep(&self, now: Instant) -> Vec<Connection> {
        self.connections().extract_if(.., |one| !one.is_fresh(now)).collect()
    }

    /// Lets go those that are of no use any more, and says whether one is to be made.
    pub(super) fn look(&self, now: Instant, warmth: &mut Warmth, told: &Told) -> Next {
        let (closed, old): (Vec<_>, Vec<_>) =
            self.sweep(now).into_iter().partition(|one| one.sender.is_closed());
        let life = |one: &Connection| now.saturating_duration_since(one.made);
        for _ in &old {
            told.tell(Turn::Retired, "");
        }
        for _ in &closed {
            told.tell(Turn::Closed, "");
        }
        if !closed.is_empty() {
            let unused = closed.iter().filter(|one| !one.used);
            warmth.closed(now, unused.map(life).min(), random());
        }
        let ready = {
            let connections = self.connections();
            if let Some(life) = connections.iter().filter(|one| !one.used).map(life).max() {
                warmth.lives(life);
            }
            // As far as one can say, until the next look.
            connections.iter().filter(|one| one.is_fresh(now + SWEEP)).count()
        };
        warmth.next(now, ready, self.connecting.load(Ordering::Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::super::pool::begin;
    use super::*;

    /// A connection that rests since `now`, and the app's end of it.
    async fn rested(resting: &Resting, now: Instant) -> DuplexStream {
        let (ours, apps) = duplex(1024);
        let mut sender = begin(ours, Arc::clone(&resting.changed)).await.unwrap();
        sender.ready().await.unwrap();
        resting.give(Connection { sender, made: now, rests_since: now, used: false }, now);
        apps
    }

    #[tokio::test]
    async fn the_connection_that_rested_shortest_is_used_and_none_that_is_old_or_rested_long() {
        let (resting, began) = (Resting::default(), Instant::now());
        let _first = rested(&resting, began).await;
        let later = began + Duration::from_secs(1);
        let _second = rested(&resting, later).await;
        assert_eq!(resting.take(later).unwrap().made, later);
        let first = resting.take(later).unwrap();
        assert_eq!(first.made, began);
        assert!(resting.take(later).is_none());

        resting.give(first, began);
        assert!(resting.take(began + REST).is_none(), "rested too long");
        resting.sweep(began + REST);
        assert!(resting.connections().is_empty(), "nobody keeps it");

        let _old = rested(&resting, began).await;
        let old = resting.take(began).unwrap();
        resting.give(old, began + LIFE - Duration::from_secs(1));
        assert!(resting.take(began + LIFE).is_none(), "used too long");
    }

    #[tokio::test]
    async fn a_connection_that_the_app_closes_while_it_rests_is_not_used() {
        let (resting, now) = (Resting::default(), Instant::now());
        let app = rested(&resting, now).await;
        drop(app);
        // Its own task notices, without anybody who asks.
        while !resting.connections().iter().all(|one| one.sender.is_closed()) {
            tokio::task::yield_now().await;
        }
        assert!(resting.take(now).is_none());
        resting.sweep(now);
        assert!(resting.connections().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_rest() {
        let (resting, now) = (Resting::default(), Instant::now());
        let mut apps = Vec::new();
        for _ in 0..=MOST {
            apps.push(rested(&resting, now).await);
        }
        assert_eq!(resting.connections().len(), MOST);
    }
}
