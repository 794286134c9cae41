//! Byte streams that outlive the connection under them.
//!
//! A network changes, a NAT forgets, one of several connections breaks: none of that is the end of what a visitor and an app have to
//! say to each other. So both ends keep what they have sent until the other one has handed it on, and when the connection is lost
//! the gateway brings the stream to another one of the same publisher and each end sends what the other lacks.
//!
//! Promised: no byte is lost, doubled or moved, and no end comes before all of it; where that can't be kept the stream breaks at both
//! ends, and it breaks at once where one of them broke it off. Memory is bounded ([`end`]), and so is the time without a connection.
//!
//! Not trusted: what the other end says on the stream. Trusted: that connections are those of the same publisher, which the gateway
//! decides ([`Way`]) and the publisher knows by its ticket ([`crate::tunnel::client`]).
//!
//! [`end`] and [`frame`] are pure; [`shared`] has the connections; who brings another one when one is lost is a [`Keeper`].

mod allowance;
mod ask;
pub(crate) mod end;
pub(crate) mod frame;
mod roll;
mod shared;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

pub(crate) use allowance::Allowances;
pub(crate) use ask::{Answered, Ask, StreamId};
pub(crate) use roll::Roll;
pub(crate) use shared::{Carrier, Keeper, Loss, NotAttached, Shared, Under};
pub(crate) use stream::Resumable;

use super::link::Link;
use super::stream::TunnelStream;

/// Where a stream of the gateway's goes on when its connection is lost.
pub trait Way: Send + Sync + 'static {
    /// A link over which it goes on, as soon as there is one. `None`: there will be none.
    fn onward(&self) -> Pin<Box<dyn Future<Output = Option<Link>> + Send + '_>>;

    /// Whether it may go on now.
    fn is_open(&self) -> bool;

    /// It went on: the publisher said something over another connection.
    fn resumed(&self);

    /// It did not, and broke.
    fn failed(&self);
}

/// How a stream outlives its connection.
pub struct Lasting {
    /// How long it may be without one.
    pub within: Duration,
    /// Where it goes on.
    pub way: Box<dyn Way>,
}

/// A byte stream through a tunnel, whether it outlives its connection or not.
pub enum ByteStream {
    /// It breaks with the connection.
    Plain(Box<TunnelStream>),
    /// It doesn't.
    Resumable(Resumable),
}

impl ByteStream {
    /// Cancelled when it breaks, also while nobody reads or writes. Of a plain one never.
    pub fn broken(&self) -> CancellationToken {
        match self {
            Self::Plain(_) => CancellationToken::new(),
            Self::Resumable(stream) => stream.broken(),
        }
    }

    /// Has its end, if it is dropped before it was shut down, say that it was [`super::Stalled`].
    pub(crate) fn stall(&self) {
        match self {
            Self::Plain(stream) => stream.stall(),
            Self::Resumable(stream) => stream.stall(),
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Resumable(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Resumable(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Resumable(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Resumable(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
