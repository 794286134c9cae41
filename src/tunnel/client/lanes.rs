//! The connections of one publisher: the first registers its tunnels, the others join it, and each that is lost is dialled again
//! while another is left. The publisher is gone only when all of them are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::GatewayAddress;
use super::connection::{Ending, Ends, Established, Kept, serve};
use super::event::Event;
use super::origin::Origin;
use super::socket::GatewaySocket;
use super::{Publisher, tell};
use crate::tunnel::FarewellCode;
use crate::tunnel::handshake::SessionLimits;
use crate::tunnel::transport::MessageStream;

/// A connection that is up.
pub(super) struct Up {
    pub(super) stream: MessageStream<GatewaySocket>,
    pub(super) limits: SessionLimits,
    pub(super) window: u32,
}

/// What all connections of a publisher share.
pub(super) struct Lanes<'a> {
    pub(super) publisher: &'a Publisher,
    pub(super) gateway: &'a GatewayAddress,
    /// By which the gateway knows the publisher.
    pub(super) name: Vec<u8>,
    pub(super) origin: &'a Arc<Origin>,
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) stop: &'a CancellationToken,
    /// Cancelled when the publisher goes elsewhere.
    pub(super) leave: &'a CancellationToken,
    /// What is left behind then.
    pub(super) leaving: &'a TaskTracker,
    /// Connections that are up.
    pub(super) up: AtomicUsize,
    /// Whether the gateway said that it goes away.
    pub(super) draining: AtomicBool,
}

impl Lanes<'_> {
    /// Serves on `first` and on as many more as the publisher is to have, until all of them have ended.
    pub(super) async fn serve(&self, first: Up) -> Ending {
        let ending = self.leave.child_token();
        let mut slots = FuturesUnordered::new();
        self.up.store(1, Ordering::Relaxed);
        slots.push(self.slot(Some(first), &ending));
        for _ in 1..self.publisher.connections {
            slots.push(self.slot(None, &ending));
        }
        let last = slots.next().await.unwrap_or(Ending::Stopped);
        // The others let what is under way on them end, each behind this.
        ending.cancel();
        while slots.next().await.is_some() {}
        last
    }

    /// One connection after another, until the publisher ends or the last of its connections is lost.
    async fn slot(&self, first: Option<Up>, ending: &CancellationToken) -> Ending {
        let (mut next, mut failures) = (first, 0);
        loop {
            if let Some(Up { stream, limits, window }) = next.take() {
                let ends = Ends { stop: self.stop, leave: ending, leaving: self.leaving };
                let end = serve(stream, (limits, window), Arc::clone(self.origin), ends).await;
                self.hear(&end);
                let left = self.up.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
                if left == 0 || matches!(end, Ending::Stopped | Ending::Left | Ending::Farewell(_)) {
                    return end;
                }
                tell(self.events, Event::Narrowed { reason: end.to_string(), left });
                failures = 1;
            }
            let joined = tokio::select! {
                () = self.stop.cancelled() => return Ending::Stopped,
                () = ending.cancelled() => return Ending::Left,
                joined = self.join(failures) => joined,
            };
            match joined {
                Some(up) => {
                    (next, failures) = (Some(up), 0);
                }
                None => failures += 1,
            }
        }
    }

    /// The gateway says goodbye, on each connection.
    fn hear(&self, end: &Ending) {
        if *end == Ending::Farewell(FarewellCode::Draining) && !self.draining.swap(true, Ordering::Relaxed) {
            // Whoever shows events may be slow; what is under way does not wait for it.
            let _shown = self.events.try_send(Event::Draining);
        }
    }

    /// Dials once more, after a pause if it failed before.
    async fn join(&self, failures: u32) -> Option<Up> {
        if failures > 0 {
            let never_give_up = super::Backoff { give_up_after: None, ..self.publisher.backoff };
            let pause = never_give_up.delay(failures, getrandom::u32().unwrap_or(u32::MAX));
            tokio::time::sleep(pause.unwrap_or_default()).await;
        }
        let kept = Kept { publisher: self.name.clone(), ticket: None };
        match self.publisher.further(self.gateway, kept, self.events).await {
            Ok(Established { stream, accepted, transport, window, .. }) => {
                let connections = self.up.fetch_add(1, Ordering::Relaxed) + 1;
                tell(self.events, Event::Widened { transport, connections });
                Some(Up { stream, limits: accepted.limits, window })
            }
            Err(error) => {
                tell(self.events, Event::NotWidened { reason: error.to_string(), hint: error.hint() });
                None
            }
        }
    }
}
