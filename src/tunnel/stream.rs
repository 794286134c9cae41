//! A byte stream through the HTTP/2 connection: the two bodies of one POST, one per direction.
//!
//! Not CONNECT, although that is what it amounts to: hyper's upgraded streams turn a reset into an orderly end, in both
//! directions, so that a database dump cut in the middle would look complete. A body that breaks off is an error at the
//! other end. Here an orderly end is what [`AsyncWrite::poll_shutdown`] says, and nothing else: a stream that is dropped
//! before is reset.
//!
//! Backpressure is HTTP/2's flow control; beyond it a direction holds at most [`CHUNKS`] writes of 64 KiB.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::arriving::Arriving;
use super::gather::{Answers, Gathered};
use super::room::Place;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Writes that may wait for HTTP/2: one on its way and one behind it keep a fast direction busy.
const CHUNKS: usize = 2;
/// Largest write that is taken at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// How long the other end may take to say its last of a stream that has ended.
const PARTING: Duration = Duration::from_secs(10);

/// The stream was dropped before it was shut down.
#[derive(Debug, thiserror::Error)]
#[error("the byte stream was cut off")]
struct CutOff;

/// The local app did not take what was sent to it. As an error of a body it resets its stream with [`STALLED`], so that the other
/// end can tell it from an app that broke off.
#[derive(Debug)]
pub(crate) struct Stalled;

/// RFC 9113 section 7: the peer has behaviour that might generate excessive load.
const STALLED: h2::Reason = h2::Reason::ENHANCE_YOUR_CALM;

impl Stalled {
    /// Whether it is why `error` came.
    pub(crate) fn is_behind(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.downcast_ref::<h2::Error>().is_some_and(|error| error.reason() == Some(STALLED)) {
                return true;
            }
            // An I/O error's own source is that of what it holds.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(held) => Some(held as &(dyn std::error::Error + 'static)),
                None => error.source(),
            };
        }
        false
    }
}

impl From<Stalled> for BoxError {
    fn from(_: Stalled) -> Self {
        h2::Error::from(STALLED).into()
    }
}

enum Chunk {
    Data(Bytes),
    End,
}

/// The half of a stream that is still to be joined with the other direction's body.
pub(crate) struct Outgoing {
    chunks: PollSender<Chunk>,
    parting: Arc<Parting>,
    answers: Answers,
}

struct OutgoingBody {
    chunks: mpsc::Receiver<Chunk>,
    parting: Arc<Parting>,
    ended: bool,
}

/// What the two halves of a direction say to each other when one of them is dropped.
#[derive(Default)]
struct Parting {
    /// Of a stream that is dropped: it was [`Stalled`].
    stalled: AtomicBool,
    /// Of the connection that lets go of it.
    gone: Mutex<Gone>,
}

/// Whether the connection has let go of a direction, and who wants to know.
#[derive(Default)]
enum Gone {
    #[default]
    NotYet,
    Tell(Box<dyn FnOnce() + Send>),
    Already,
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        // Replaced as a whole; not held while others are told.
        let before = std::mem::replace(
            &mut *self.parting.gone.lock().unwrap_or_else(PoisonError::into_inner),
            Gone::Already,
        );
        if let Gone::Tell(tell) = before {
            tell();
        }
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = ready!(self.chunks.poll_recv(cx));
        Poll::Ready(match chunk {
            Some(Chunk::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Chunk::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                let stalled = self.parting.stalled.load(Ordering::Acquire);
                Some(Err(if stalled { Stalled.into() } else { CutOff.into() }))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// A new direction: what is written to the first comes out of the second.
pub(crate) fn outgoing() -> (Outgoing, UnsyncBoxBody<Bytes, BoxError>) {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let parting = Arc::<Parting>::default();
    let answers = Answers::default();
    let outgoing =
        Outgoing { chunks: PollSender::new(sender), parting: Arc::clone(&parting), answers: answers.clone() };
    let body = OutgoingBody { chunks, parting, ended: false };
    (outgoing, Gathered::in_conversation(body, answers).boxed_unsync())
}

/// What the other end sends.
pub(crate) enum Coming {
    /// To a publisher, from the gateway.
    Question(Incoming),
    /// To the gateway, from a publisher.
    Answer(Arriving),
}

impl Coming {
    /// The next piece. Trailers mean nothing on a byte stream.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = |frame: Frame<Bytes>| frame.into_data().unwrap_or_default();
        match self {
            Self::Question(body) => Pin::new(body).poll_frame(cx).map_ok(piece).map_err(reset),
            Self::Answer(body) => Pin::new(body).poll_frame(cx).map_ok(piece).map_err(reset),
        }
    }
}

/// A byte stream through a tunnel. Shutting down the write side leaves the read side open; dropping it before resets it.
pub struct TunnelStream {
    incoming: Coming,
    chunk: Bytes,
    read_ended: bool,
    outgoing: PollSender<Chunk>,
    parting: Arc<Parting>,
    answers: Answers,
    /// On the connection, at the gateway's end.
    _place: Option<Place>,
}

impl TunnelStream {
    pub(crate) fn join(incoming: Coming, outgoing: Outgoing) -> Self {
        let Outgoing { chunks, parting, answers } = outgoing;
        Self {
            incoming,
            chunk: Bytes::new(),
            read_ended: false,
            outgoing: chunks,
            parting,
            answers,
            _place: None,
        }
    }

    /// Keeps its place as long as it lives.
    pub(super) fn at(self, place: Option<Place>) -> Self {
        Self { _place: place, ..self }
    }

    /// Has its end, if it is dropped before it was shut down, say that it was [`Stalled`].
    pub(crate) fn stall(&self) {
        self.parting.stalled.store(true, Ordering::Release);
    }

    /// Ends it behind what was sent, and waits a while for the other end to do so: a stream that nobody holds on to counts as given
    /// up on HTTP/2, and what is still to be sent for it is dropped.
    pub(super) fn end_in_order(mut self: Box<Self>) {
        let parting = async move {
            // If it fails nobody waits for it any more.
            let _ended = self.shutdown().await;
            while let Some(Ok(_)) = std::future::poll_fn(|cx| self.poll_piece(cx)).await {
                tokio::task::consume_budget().await;
            }
        };
        tokio::spawn(tokio::time::timeout(PARTING, parting));
    }

    /// Has `tell` called when the connection lets go of what this end sends, as it does when it is lost, also while nobody reads or
    /// writes here. `false`: it has already, and nobody is called.
    pub(super) fn when_gone(&self, tell: impl FnOnce() + Send + 'static) -> bool {
        let mut gone = self.parting.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = !matches!(*gone, Gone::Already);
        if is_there {
            *gone = Gone::Tell(Box::new(tell));
        }
        is_there
    }

    /// The next piece that came, for whoever keeps frames of their own on it; `None` is the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let came = ready!(self.incoming.poll_piece(cx));
        if matches!(came, Some(Ok(_))) {
            self.answers.count();
        }
        Poll::Ready(came)
    }

    /// Waits until a piece may be sent. `false`: none may any more, and why stands in the direction that came.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.outgoing.poll_reserve(cx).map(|reserved| reserved.is_ok())
    }

    /// Sends a piece, where there was room for it.
    pub(super) fn send_piece(&mut self, piece: Bytes) {
        // It fails as `poll_room` does, which is asked again before the next.
        let _too_late = self.send(Chunk::Data(piece));
    }

    fn send(&mut self, chunk: Chunk) -> io::Result<()> {
        self.outgoing.send_item(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reserved = ready!(self.outgoing.poll_reserve(cx));
        Poll::Ready(reserved.map_err(|_| self.why_broken(cx)))
    }

    /// The other end takes no more. If it has reset the stream, why stands in the direction that it sent; what it sent before is
    /// of no use then.
    fn why_broken(&mut self, cx: &mut Context<'_>) -> io::Error {
        loop {
            match self.incoming.poll_piece(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return error,
                Poll::Ready(None) | Poll::Pending => return io::ErrorKind::BrokenPipe.into(),
            }
        }
    }
}

/// Whether the connection was lost, by which alone this error came: neither end said anything, of this stream or of all of them.
pub(super) fn is_lost(error: &io::Error) -> bool {
    let mut next = error.get_ref().map(|held| held as &(dyn std::error::Error + 'static));
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_io();
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    false
}

fn reset(error: impl Into<BoxError>) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.chunk.is_empty() && !this.read_ended {
            match ready!(this.incoming.poll_piece(cx)) {
                Some(Ok(piece)) => {
                    this.answers.count();
                    this.chunk = piece;
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => this.read_ended = true,
            }
        }
        let length = this.chunk.len().min(buf.remaining());
        buf.put_slice(this.chunk.get(..length).unwrap_or_default());
        this.chunk.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_reserve(cx))?;
        let taken = buf.get(..CHUNK).unwrap_or(buf);
        self.send(Chunk::Data(Bytes::copy_from_slice(taken)))?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was taken is on its way: the connection's task sends without being asked.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_closed() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_reserve(cx))?;
        self.send(Chunk::End)?;
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
