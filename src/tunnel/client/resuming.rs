//! Byte streams that outlive a connection to the gateway, at the publisher's end.
//!
//! They are the publisher's, not a connection's: the gateway may ask for one on any connection of the same publisher. Which
//! connections those are is decided by whoever makes them ([`super::Publisher`]): where the gateway doesn't know the publisher
//! again, there are others, and it can ask for none of these.
//!
//! Bounded: [`MOST`] of them, each with what [`crate::tunnel::resumable`] says; one more is a plain stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::origin::{ResponseBody, empty, fault};
use crate::clock;
use crate::tunnel::TunnelName;
use crate::tunnel::protocol::{OriginFault, RESUME};
use crate::tunnel::resumable::{
    Allowances, Answered, Ask, ByteStream, Carrier, Keeper, Loss, NotAttached, Resumable, Roll, Shared,
    StreamId, Under,
};
use crate::tunnel::stream::{Coming, TunnelStream, outgoing};

/// Streams at a time: as many as eight connections carry.
const MOST: usize = 8192;
/// The gateway says how long it waits; a broken one must not have us wait for ever.
const LONGEST: Duration = Duration::from_mins(10);
/// Streams that ended in order, which the gateway may not have heard.
const FINISHED: usize = MOST;

/// The streams of a publisher; clones share them.
#[derive(Clone, Default)]
pub(super) struct Streams {
    roll: Roll,
    allowances: Allowances,
    finished: Arc<Mutex<VecDeque<Finished>>>,
    /// Cancelled when none of them goes on any more.
    retired: CancellationToken,
}

/// One that ended in order.
struct Finished {
    id: StreamId,
    tunnel: TunnelName,
    /// Until when it is remembered.
    until: Instant,
}

/// Waits for the gateway to bring a stream to another connection.
struct Waiting {
    streams: Streams,
    grace: Duration,
}

/// What the gateway wants of a stream, if anything.
pub(super) fn asked<B>(request: &Request<B>) -> Option<Ask> {
    request.headers().get(RESUME).and_then(Ask::read)
}

impl Streams {
    /// A stream of the gateway's that begins; and what is to be answered if it outlives its connection.
    pub(super) fn begin(
        &self,
        ask: Option<Ask>,
        tunnel: &TunnelName,
        (stream, carrier): (TunnelStream, Carrier),
    ) -> (ByteStream, Option<HeaderValue>) {
        let Some(Ask::New { id, grace }) = ask else { return (ByteStream::Plain(Box::new(stream)), None) };
        let answer = Answered::Received(0).value();
        if grace.is_zero() || answer.is_none() || self.roll.len() >= MOST || self.roll.find(id).is_some() {
            return (ByteStream::Plain(Box::new(stream)), None);
        }
        let keeper = Waiting { streams: self.clone(), grace: grace.min(LONGEST) };
        let under = Under { stream: Box::new(stream), carrier: Some(carrier) };
        let stream = Resumable::new(id, tunnel.clone(), under, Box::new(keeper));
        self.roll.enter(stream.shared());
        if stream.shared().is_over() {
            // Before it was entered: its connection was lost as soon as it had begun.
            self.roll.leave(id);
        }
        (ByteStream::Resumable(stream), answer)
    }

    /// The gateway brings a stream to another connection.
    pub(super) fn again(
        &self,
        (id, received, attempt): (StreamId, u64, u64),
        tunnel: &TunnelName,
        (request, carrier): (Request<Incoming>, Carrier),
    ) -> Response<ResponseBody> {
        let found = self.roll.find(id).filter(|stream| stream.tunnel() == tunnel);
        let (outgoing, body) = outgoing();
        let stream = TunnelStream::join(Coming::Question(request.into_body()), outgoing);
        let under = Under { stream: Box::new(stream), carrier: Some(carrier) };
        let attached = match found {
            Some(stream) => stream.attach(under, (received, attempt), || true),
            None => Err(NotAttached::Broken),
        };
        let answer = match attached {
            Ok(received) => Answered::Received(received),
            Err(_) if self.has_finished(id, tunnel) => Answered::Finished,
            Err(_) => return fault(OriginFault::UnknownStream),
        };
        // Nothing is to come of one that is over; a body that breaks off would take the answer along.
        let body = if matches!(answer, Answered::Finished) { empty() } else { body };
        let mut response = Response::new(body);
        if let Some(answer) = answer.value() {
            response.headers_mut().insert(RESUME, answer);
        }
        response
    }

    /// None of them goes on any more. Those that have a connection end with it, as one that is left ends when all on it has.
    pub(super) fn retire(&self) {
        self.retired.cancel();
        self.roll.give_up();
    }

    fn has_finished(&self, id: StreamId, tunnel: &TunnelName) -> bool {
        let now = clock::monotonic();
        self.finished().iter().any(|one| one.id == id && one.tunnel == *tunnel && now < one.until)
    }

    fn finished(&self) -> MutexGuard<'_, VecDeque<Finished>> {
        // Each change is one step.
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for Waiting {
    fn lost(&self, stream: &Arc<Shared>, loss: Loss) -> Option<AbortHandle> {
        if self.streams.retired.is_cancelled() {
            return None;
        }
        tracing::debug!(tunnel = %stream.tunnel(), "a byte stream lost its connection and waits for another");
        let (bound, stream) = (loss.since + self.grace, Arc::clone(stream));
        let waiting = async move {
            tokio::time::sleep_until(bound).await;
            tracing::info!(tunnel = %stream.tunnel(), "a byte stream is broken off: the gateway did not come back for it");
            stream.give_up();
        };
        Some(tokio::spawn(waiting).abort_handle())
    }

    fn resumed(&self, stream: &Shared) {
        tracing::info!(tunnel = %stream.tunnel(), "a byte stream goes on over another connection");
    }

    fn allowances(&self) -> &Allowances {
        &self.streams.allowances
    }

    fn over(&self, stream: &Shared, finished: bool) {
        if finished {
            let mut all = self.streams.finished();
            if all.len() >= FINISHED {
                all.pop_front();
            }
            let until = clock::monotonic() + self.grace;
            all.push_back(Finished { id: stream.id(), tunnel: stream.tunnel().clone(), until });
        }
        // After that, lest the gateway ask in between and find neither.
        self.streams.roll.leave(stream.id());
    }
}
