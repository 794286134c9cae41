//! Byte streams that outlive the connection that they began on, at the gateway's end: how they begin, and how another connection is
//! brought to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::task::AbortHandle;

use super::requests::{joined, opened, stream_request};
use super::{Link, LinkError};
use crate::tunnel::TunnelName;
use crate::tunnel::protocol::{Ends, RESUME};
use crate::tunnel::resumable::{
    Allowances, Answered, Ask, ByteStream, Keeper, Lasting, Loss, Resumable, Shared, StreamId, Under, Way,
};
use crate::tunnel::room::Whose;
use crate::tunnel::stream::{TunnelStream, outgoing};

/// How long the publisher may take to answer to a stream that goes on: it connects to nobody for it.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long after an attempt that failed the next one begins, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Link {
    /// [`Link::connect_of`], but what comes of it outlives its connection if the publisher's program knows how, as `lasting` says.
    pub async fn connect_lasting(
        &self,
        person: &str,
        tunnel: &TunnelName,
        (ends, trace): (Option<Ends>, Option<HeaderValue>),
        lasting: Option<Lasting>,
    ) -> Result<ByteStream, LinkError> {
        let mut random = [0; 16];
        // Without randomness the stream has no name, and is as any other.
        let named = lasting.filter(|_| getrandom::fill(&mut random).is_ok());
        let Some(Lasting { within, way }) = named else {
            let plain = self.connect_of(person, tunnel, ends, trace).await?;
            return Ok(ByteStream::Plain(Box::new(plain)));
        };
        let id = StreamId::new(random);
        let (outgoing, body) = outgoing();
        let mut request = stream_request(tunnel, trace, body)?;
        if let Some(ends) = ends {
            ends.write(request.headers_mut());
        }
        // The publisher may see the loss at once, and this end when a heartbeat is missed; and then it asks.
        let grace = within + self.0.notices + ATTEMPT;
        if let Some(ask) = (Ask::New { id, grace }).value() {
            request.headers_mut().insert(RESUME, ask);
        }
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let response = opened(self.send(Whose::Of(person), request).await?)?;
        let answered = response.headers().get(RESUME).and_then(Answered::read);
        let stream = joined(response, outgoing);
        if answered != Some(Answered::Received(0)) {
            return Ok(ByteStream::Plain(Box::new(stream)));
        }
        let of = Of {
            person: person.to_owned(),
            tunnel: tunnel.clone(),
            within,
            way,
            attempts: AtomicU64::new(0),
            allowances: self.0.allowances.clone(),
        };
        let under = Under { stream: Box::new(stream), carrier: None };
        let keeper = Box::new(Returning(Arc::new(of)));
        Ok(ByteStream::Resumable(Resumable::new(id, tunnel.clone(), under, keeper)))
    }

    /// Has a stream go on over one of the lanes.
    async fn again(&self, of: &Of, ask: Ask) -> Result<(TunnelStream, Option<Answered>), LinkError> {
        let (outgoing, body) = outgoing();
        let mut request = stream_request(&of.tunnel, None, body)?;
        if let Some(ask) = ask.value() {
            request.headers_mut().insert(RESUME, ask);
        }
        let response = opened(self.send(Whose::Of(&of.person), request).await?)?;
        let answered = response.headers().get(RESUME).and_then(Answered::read);
        Ok((joined(response, outgoing), answered))
    }
}

/// Whose stream it is, and where it goes on.
struct Of {
    person: String,
    tunnel: TunnelName,
    within: Duration,
    way: Box<dyn Way>,
    attempts: AtomicU64,
    /// Of the link on which it began.
    allowances: Allowances,
}

/// Brings a stream that lost its connection to the next one.
struct Returning(Arc<Of>);

impl Keeper for Returning {
    fn lost(&self, stream: &Arc<Shared>, loss: Loss) -> Option<AbortHandle> {
        if !self.0.way.is_open() {
            return None;
        }
        tracing::debug!(tunnel = %self.0.tunnel, "a byte stream lost its connection");
        let (of, stream) = (Arc::clone(&self.0), Arc::clone(stream));
        let bringing = async move {
            // A publisher that takes a stream and lets go of it is not asked again and again.
            let at_first = if loss.heard { Duration::ZERO } else { PAUSE.1 };
            let bound = loss.since + of.within;
            let brought = tokio::time::timeout_at(bound, of.bring(&stream, at_first)).await.unwrap_or(false);
            if !brought {
                // One whose session is over did not fail.
                if of.way.is_open() {
                    of.way.failed();
                }
                stream.give_up();
            }
        };
        Some(tokio::spawn(bringing).abort_handle())
    }

    fn resumed(&self, _stream: &Shared) {
        self.0.way.resumed();
    }

    fn allowances(&self) -> &Allowances {
        &self.0.allowances
    }

    fn over(&self, _stream: &Shared, _finished: bool) {}
}

impl Of {
    /// Tries until a connection takes it; `false` if none ever will.
    async fn bring(&self, stream: &Arc<Shared>, at_first: Duration) -> bool {
        tokio::time::sleep(at_first).await;
        let (mut pause, longest) = PAUSE;
        while let Some(link) = self.way.onward().await {
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
            let ask = Ask::Again { id: stream.id(), received: stream.received(), attempt };
            match tokio::time::timeout(ATTEMPT, link.again(self, ask)).await {
                Ok(Ok((under, Some(Answered::Received(received))))) => {
                    let under = Under { stream: Box::new(under), carrier: None };
                    return stream.attach(under, (received, attempt), || self.way.is_open()).is_ok();
                }
                Ok(Ok((_, Some(Answered::Finished)))) => {
                    stream.other_has_finished();
                    return true;
                }
                Ok(Ok((_, None)) | Err(LinkError::Origin { .. } | LinkError::UnexpectedStatus(_))) => {
                    return false;
                }
                // The lane broke, or has no room, or the answer is late: the next one may do better.
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        false
    }
}
