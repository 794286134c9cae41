//! The time in which a stopping gateway lets open sessions finish, and what it tells of it: once a second how many are left and for
//! how long still, so that whoever waits for the process knows what it waits for.

use std::time::Duration;

use tokio::time::{Instant, interval_at};
use tracing::info;

use crate::session::{Broker, Routes};

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);

/// Lets open sessions finish for `grace`, and cuts those that are left. Telling ends with the last of them.
pub(super) async fn drain(broker: &Broker, routes: &Routes, grace: Duration) {
    let end = Instant::now() + grace;
    let mut beat = interval_at(Instant::now() + EVERY, EVERY);
    let mut draining = std::pin::pin!(broker.drain(grace));
    loop {
        tokio::select! {
            () = &mut draining => return,
            now = beat.tick() => {
                let seconds_left = end.saturating_duration_since(now).as_secs();
                let streams: usize = routes.links().iter().map(|link| link.streams().0).sum();
                let sessions = broker.live().len();
                info!(sessions, streams, seconds_left, "stopping: open sessions finish");
            }
        }
    }
}
