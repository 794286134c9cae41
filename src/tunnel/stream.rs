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
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Writes that may wait for HTTP/2: one on its way and one behind it keep a fast direction busy.
const CHUNKS: usize = 2;
/// Largest write that is taken at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// The stream was dropped before it was shut down.
#[derive(Debug, thiserror::Error)]
#[error("the byte stream was cut off")]
struct CutOff;

enum Chunk {
    Data(Bytes),
    End,
}

/// The half of a stream that is still to be joined with the other direction's body.
pub(crate) struct Outgoing(PollSender<Chunk>);

struct OutgoingBody {
    chunks: mpsc::Receiver<Chunk>,
    ended: bool,
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
                Some(Err(CutOff.into()))
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
    (Outgoing(PollSender::new(sender)), OutgoingBody { chunks, ended: false }.boxed_unsync())
}

/// A byte stream through a tunnel. Shutting down the write side leaves the read side open; dropping it before resets it.
pub struct TunnelStream {
    incoming: Incoming,
    chunk: Bytes,
    read_ended: bool,
    outgoing: PollSender<Chunk>,
}

impl TunnelStream {
    pub(crate) fn join(incoming: Incoming, outgoing: Outgoing) -> Self {
        Self { incoming, chunk: Bytes::new(), read_ended: false, outgoing: outgoing.0 }
    }

    fn send(&mut self, chunk: Chunk) -> io::Result<()> {
        self.outgoing.send_item(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_reserve(cx).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.chunk.is_empty() && !this.read_ended {
            match ready!(Pin::new(&mut this.incoming).poll_frame(cx)) {
                // Trailers mean nothing on a byte stream.
                Some(Ok(frame)) => this.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
                }
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
