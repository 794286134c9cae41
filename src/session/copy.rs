//! Moves the bytes of a TCP session, both ways, until both sides are done or the session is cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::live::{Ending, Session};
use super::readers::Reading;

/// Bytes taken from one side at a time. Large enough to fill TLS records, small enough for thousands of sessions.
const BUFFER: usize = 32 * 1024;

/// How the bytes of a session came to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Copied {
    /// Both directions ended, each by its own side's word.
    InOrder,
    /// The session was cut, or one of the sides broke: whoever reads must not take this for the end.
    BrokenOff,
}

/// Copies between `visitor` and `publisher`. Half-close is kept: the end of one direction leaves the other one open.
pub async fn copy_both_ways<V, P>(session: &Session, visitor: V, publisher: P) -> Copied
where
    V: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    let mut visitor = Counting { inner: visitor, session, side: Side::Visitor, reading: None };
    let reading = Some(session.reads());
    let mut publisher = Counting { inner: publisher, session, side: Side::Publisher, reading };
    tokio::select! {
        // Asked first: once the session is cut, no byte moves that was ready at the same time.
        biased;
        () = session.cut() => Copied::BrokenOff,
        // Which side ended it was noted by that side.
        result = tokio::io::copy_bidirectional_with_sizes(&mut visitor, &mut publisher, BUFFER, BUFFER) => {
            if result.is_ok() { Copied::InOrder } else { Copied::BrokenOff }
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Visitor,
    Publisher,
}

/// Counts what is read from one side; what is read from it is what the other side is given.
struct Counting<'s, S> {
    inner: S,
    session: &'s Session,
    side: Side,
    /// Whom what is read from the publisher is for.
    reading: Option<Reading>,
}

impl<S> Counting<'_, S> {
    /// This side has ended, in order or not. The first word counts.
    fn note_end(&self) {
        self.session.note_ending(match self.side {
            Side::Visitor => Ending::VisitorClosed,
            Side::Publisher => Ending::PublisherClosed,
        });
    }

    /// The same, if what was tried failed.
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(outcome, Poll::Ready(Err(_))) {
            self.note_end();
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.inner).poll_read(context, buffer);
        match &this.reading {
            Some(reading) if outcome.is_ready() => reading.given(),
            Some(reading) => reading.waits(),
            None => {}
        }
        ready!(this.noted(outcome))?;
        let read = buffer.filled().len() - before;
        match this.side {
            Side::Visitor => this.session.count_up(read),
            Side::Publisher => this.session.count_down(read),
        }
        if read == 0 {
            // What is not sent yet holds nothing of the publisher's any more.
            this.reading = None;
            this.note_end();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<'_, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.noted(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        this.noted(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_shutdown(context);
        this.noted(outcome)
    }
}
