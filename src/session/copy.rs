//! Moves the bytes of a TCP session, both ways, until both sides are done or the session is cut.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handle::Session;
use super::live::Ending;
use super::readers::Reading;
use crate::tunnel::Stalled;

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

/// What one pair of streams of a session was given.
#[derive(Debug, Default)]
pub struct Passed {
    up: AtomicU64,
    down: AtomicU64,
}

impl Passed {
    /// Bytes that the publisher was given.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Bytes that the visitor was given.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

/// Copies between `visitor` and `publisher`. Half-close is kept: the end of one direction leaves the other one open.
pub async fn copy_both_ways<V, P>(session: &Session, visitor: V, publisher: P) -> Copied
where
    V: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    copy_and_count(session, visitor, publisher, &Passed::default()).await
}

/// The same, where not only the session wants to know how much passed.
pub async fn copy_and_count<V, P>(session: &Session, visitor: V, publisher: P, passed: &Passed) -> Copied
where
    V: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    let mut visitor = Counting { inner: visitor, session, passed, side: Side::Visitor, reading: None };
    let reading = Some(session.reads());
    let mut publisher = Counting { inner: publisher, session, passed, side: Side::Publisher, reading };
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

/// One side, and what it is given: that is counted, and not what was read for it and had nowhere to go when the session was cut.
struct Counting<'s, S> {
    inner: S,
    session: &'s Session,
    passed: &'s Passed,
    side: Side,
    /// Whom what is read from the publisher is for.
    reading: Option<Reading>,
}

impl<S> Counting<'_, S> {
    /// This side has ended, in order or by this error. The first word counts.
    fn note_end(&self, error: Option<&io::Error>) {
        self.session.note_ending(match (self.side, error) {
            (Side::Visitor, _) => Ending::VisitorClosed,
            (Side::Publisher, Some(error)) if Stalled::is_behind(error) => Ending::AppStalled,
            (Side::Publisher, _) => Ending::PublisherClosed,
        });
    }

    /// So many bytes of the other side's were given to this one.
    fn given(&self, written: &Poll<io::Result<usize>>) {
        let Poll::Ready(Ok(written)) = written else { return };
        let count = match self.side {
            Side::Visitor => {
                self.session.count_down(*written);
                &self.passed.down
            }
            Side::Publisher => {
                self.session.count_up(*written);
                &self.passed.up
            }
        };
        count.fetch_add(*written as u64, Ordering::Relaxed);
    }

    /// [`Self::note_end`], if what was tried failed.
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            self.note_end(Some(error));
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
        let read = buffer.filled().len() - before;
        match &this.reading {
            Some(reading) if outcome.is_ready() => reading.given(read),
            Some(reading) => reading.waits(),
            None => {}
        }
        ready!(this.noted(outcome))?;
        if read == 0 {
            // What is not sent yet holds nothing of the publisher's any more.
            this.reading = None;
            this.note_end(None);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<'_, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.given(&outcome);
        this.noted(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        this.given(&outcome);
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::bed;
    use super::*;

    #[tokio::test]
    async fn of_a_session_that_is_cut_what_was_given_is_counted_and_not_what_had_nowhere_to_go() {
        let folder = tempfile::tempdir().unwrap();
        let (live, _) = bed::open(folder.path(), "192.0.2.1:1");
        let session = live.handle();
        // The visitor's side takes 100 bytes more than are read, the publisher's any number.
        let (mut visitor, visitors) = duplex(100);
        let (mut publisher, publishers) = duplex(1 << 20);
        publisher.write_all(&[7; 10_000]).await.unwrap();
        visitor.write_all(b"asked").await.unwrap();
        let copying = copy_both_ways(&session, visitors, publishers);
        let looking = async {
            publisher.read_exact(&mut [0; 5]).await.unwrap();
            visitor.read_exact(&mut [0; 1000]).await.unwrap();
            live.cut.cancel();
        };
        let (copied, ()) = tokio::join!(copying, looking);
        assert_eq!(copied, Copied::BrokenOff);
        let mut rest = Vec::new();
        visitor.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() <= 100, "{}", rest.len());
        let (up, down, _) = live.counts();
        assert_eq!((up, down), (5, 1000 + rest.len() as u64));
    }
}
