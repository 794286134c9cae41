//! A byte stream over WebSocket binary messages, sealed when it must be.
//!
//! The same on both ends and for both uses: under the HTTP/2 of a tunnel, and for a visitor's `sallyport connect`. A
//! message carries at most 64 KiB; an empty one ends its direction, so a half-closed stream stays useful. Writes are
//! gathered until the message is full or the writer flushes, and then until all else that was ready has had its turn: answers that
//! come at once travel in one message, which costs one seal, one record of TLS and one call of the system. Nothing is read before
//! somebody wants it, so backpressure reaches the peer.
//!
//! Not trusted: the peer. A text message, one above the bound, or one that does not open ends the connection with an
//! error; pings are answered by the WebSocket library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::extract::ws::{self, WebSocket, WebSocketUpgrade};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};

use super::flow::DatagramPath;
use super::frame::{FrameKeys, MAX_PLAINTEXT, Opener, Sealer, TAG};
use super::handshake::{HandshakeError, MAX_MESSAGE, Session};

/// Largest WebSocket message that is accepted, in bytes: a full sealed frame.
pub const MAX_SOCKET_MESSAGE: usize = MAX_PLAINTEXT + TAG;
/// Bytes that the WebSocket library reads at once: two TLS records. It clears that much before every read and keeps it
/// for every connection, so more would cost time and memory.
const SOCKET_READ_BUFFER: usize = 32 * 1024;
/// We gather whole messages ourselves: each is written at once.
const SOCKET_WRITE_BUFFER: usize = 0;
/// Bytes that may wait in the WebSocket library when the network is slower than we are.
const MAX_SOCKET_BACKLOG: usize = 512 * 1024;

const _: () = assert!(MAX_MESSAGE <= MAX_SOCKET_MESSAGE);

/// The bounds of this module on a WebSocket that axum is about to accept. Without them a peer could make the gateway
/// buffer 64 MiB.
pub fn websocket_limits<F>(upgrade: WebSocketUpgrade<F>) -> WebSocketUpgrade<F> {
    upgrade
        .max_message_size(MAX_SOCKET_MESSAGE)
        .max_frame_size(MAX_SOCKET_MESSAGE)
        .read_buffer_size(SOCKET_READ_BUFFER)
        .write_buffer_size(SOCKET_WRITE_BUFFER)
        .max_write_buffer_size(MAX_SOCKET_BACKLOG)
}

/// The same bounds for tungstenite.
pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_SOCKET_MESSAGE))
        .max_frame_size(Some(MAX_SOCKET_MESSAGE))
        .read_buffer_size(SOCKET_READ_BUFFER)
        .write_buffer_size(SOCKET_WRITE_BUFFER)
        .max_write_buffer_size(MAX_SOCKET_BACKLOG)
}

/// A WebSocket as this module needs it: binary messages, polled.
pub trait MessageSocket: Unpin + Send + 'static {
    /// The next binary message; `None` when the peer closed in order.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
    /// Whether a message may be given to [`Self::start_send`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Takes a message to be sent.
    fn start_send(&mut self, message: Bytes) -> io::Result<()>;
    /// Sends what was taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Says goodbye, as of an end in order (a WebSocket's code 1000).
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// What carries datagrams beside it, if something does.
    #[doc(hidden)]
    fn datagrams(&self) -> Option<DatagramPath> {
        None
    }
}

fn not_binary() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a text message came where only binary ones belong")
}

impl MessageSocket for WebSocket {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut *self).poll_next(cx)) {
                Some(Ok(ws::Message::Binary(bytes))) => Some(Ok(bytes)),
                Some(Ok(ws::Message::Ping(_) | ws::Message::Pong(_))) => continue,
                Some(Ok(ws::Message::Text(_))) => Some(Err(not_binary())),
                Some(Ok(ws::Message::Close(_))) | None => None,
                Some(Err(error)) => Some(Err(from_axum(error))),
            });
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sink::poll_ready(Pin::new(self), cx).map_err(from_axum)
    }

    fn start_send(&mut self, message: Bytes) -> io::Result<()> {
        Sink::start_send(Pin::new(self), ws::Message::Binary(message)).map_err(from_axum)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sink::poll_flush(Pin::new(self), cx).map_err(from_axum)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(MessageSocket::poll_ready(self, cx))?;
        // The library's own goodbye has no code, which is told as 1005. A second one it refuses, as it should.
        let goodbye = ws::CloseFrame { code: ws::close_code::NORMAL, reason: ws::Utf8Bytes::default() };
        let _said = Sink::start_send(Pin::new(&mut *self), ws::Message::Close(Some(goodbye)));
        Sink::poll_close(Pin::new(self), cx).map_err(from_axum)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MessageSocket for WebSocketStream<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        use tungstenite::Message;
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut *self).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => Some(Ok(bytes)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Text(_))) => Some(Err(not_binary())),
                Some(Ok(Message::Close(_))) | None => None,
                Some(Err(error)) => Some(Err(from_tungstenite(error))),
            });
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sink::poll_ready(Pin::new(self), cx).map_err(from_tungstenite)
    }

    fn start_send(&mut self, message: Bytes) -> io::Result<()> {
        Sink::start_send(Pin::new(self), tungstenite::Message::Binary(message)).map_err(from_tungstenite)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Sink::poll_flush(Pin::new(self), cx).map_err(from_tungstenite)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        ready!(MessageSocket::poll_ready(self, cx))?;
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: tungstenite::Utf8Bytes::default() };
        let _said = Sink::start_send(Pin::new(&mut *self), tungstenite::Message::Close(Some(goodbye)));
        Sink::poll_close(Pin::new(self), cx).map_err(from_tungstenite)
    }
}

fn from_axum(error: axum::Error) -> io::Error {
    match error.into_inner().downcast::<tungstenite::Error>() {
        Ok(error) => from_tungstenite(*error),
        Err(error) => io::Error::other(error),
    }
}

fn from_tungstenite(error: tungstenite::Error) -> io::Error {
    use tungstenite::Error;
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::UnexpectedEof.into()
        }
        error @ (Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_)) => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        error => io::Error::other(error),
    }
}

/// Receives one message of the handshake.
pub(crate) async fn receive<M: MessageSocket>(socket: &mut M) -> io::Result<Bytes> {
    std::future::poll_fn(|cx| socket.poll_receive(cx))
        .await
        .unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()))
}

/// Sends one message of the handshake.
pub(crate) async fn send<M: MessageSocket>(socket: &mut M, message: Vec<u8>) -> io::Result<()> {
    std::future::poll_fn(|cx| socket.poll_ready(cx)).await?;
    socket.start_send(message.into())?;
    std::future::poll_fn(|cx| socket.poll_flush(cx)).await
}

/// Says goodbye as far as the peer listens.
pub(crate) async fn close<M: MessageSocket>(socket: &mut M) {
    // Nothing can be done about a peer that has gone already.
    let _gone = std::future::poll_fn(|cx| socket.poll_close(cx)).await;
}

/// Bytes that passed, unsealed, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

impl Traffic {
    /// Adds what another counted.
    pub(crate) fn add(&self, other: &Self) {
        self.sent.fetch_add(other.sent.load(Ordering::Relaxed), Ordering::Relaxed);
        self.received.fetch_add(other.received.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// A byte stream over a WebSocket.
pub struct MessageStream<M> {
    socket: M,
    incoming: Bytes,
    read_ended: bool,
    outgoing: BytesMut,
    /// What is flushed waits for others who are ready, while this is not over.
    turn: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    write_ended: bool,
    /// Whether the end of one direction is that of both.
    ends_whole: bool,
    seals: Option<(Sealer, Opener)>,
    traffic: Arc<Traffic>,
}

impl<M: MessageSocket> MessageStream<M> {
    /// A stream whose messages are as they are, protected by the TLS below.
    pub fn plain(socket: M) -> Self {
        Self {
            socket,
            incoming: Bytes::new(),
            read_ended: false,
            outgoing: BytesMut::new(),
            turn: None,
            write_ended: false,
            ends_whole: false,
            seals: None,
            traffic: Arc::default(),
        }
    }

    /// A stream protected as the handshake decided. HTTP/2 runs on it, which shuts it down when nothing is to come any more.
    pub(crate) fn after_handshake(socket: M, session: Session) -> Result<Self, HandshakeError> {
        let stream = match session.frames {
            Some(keys) => Self::sealed(socket, keys)?,
            None => Self::plain(socket),
        };
        Ok(Self { ends_whole: true, ..stream })
    }

    /// A stream whose messages are sealed with these keys.
    pub(crate) fn sealed(socket: M, keys: FrameKeys) -> Result<Self, HandshakeError> {
        Ok(Self { seals: Some(keys.split()?), ..Self::plain(socket) })
    }

    /// What carries datagrams beside it. Not where messages are sealed: nothing would seal those.
    pub(crate) fn datagrams(&self) -> Option<DatagramPath> {
        if self.seals.is_some() { None } else { self.socket.datagrams() }
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Hands what is gathered to the socket as one message; empty means the end of this direction.
    fn poll_dispatch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_ready(cx))?;
        let length = self.outgoing.len() as u64;
        let mut message = self.outgoing.split();
        if let Some((sealer, _)) = &mut self.seals {
            sealer.seal(&mut message)?;
        }
        self.socket.start_send(message.freeze())?;
        self.traffic.sent.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Gathers as much of `data` as the message still holds.
    fn gather(&mut self, data: &[u8]) -> usize {
        let room = MAX_PLAINTEXT.saturating_sub(self.outgoing.len());
        let fits = data.get(..room).unwrap_or(data);
        if self.outgoing.capacity() - self.outgoing.len() < fits.len() + TAG {
            // Small writes get a small buffer, a bulk transfer a whole message at once.
            let wanted = if fits.len() > 4096 { room } else { fits.len() };
            self.outgoing.reserve(wanted + TAG);
        }
        self.outgoing.extend_from_slice(fits);
        fits.len()
    }

    /// Lets all others who are ready have their turn, once for what is gathered now; they may have more for it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turn.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
        ready!(turn.as_mut().poll(cx));
        self.turn = None;
        Poll::Ready(())
    }

    fn poll_make_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.outgoing.len() >= MAX_PLAINTEXT { self.poll_dispatch(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl<M: MessageSocket> AsyncRead for MessageStream<M> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.incoming.is_empty() && !this.read_ended {
            match ready!(this.socket.poll_receive(cx)) {
                Some(message) => {
                    let message = message?;
                    this.incoming = match &mut this.seals {
                        Some((_, opener)) => opener.open(message)?,
                        None => message,
                    };
                    this.traffic.received.fetch_add(this.incoming.len() as u64, Ordering::Relaxed);
                    this.read_ended = this.incoming.is_empty();
                }
                // A relay can forge the goodbye of a WebSocket, but not the sealed end of a direction.
                None if this.seals.is_some() => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                None => this.read_ended = true,
            }
        }
        let length = this.incoming.len().min(buf.remaining());
        buf.put_slice(this.incoming.get(..length).unwrap_or_default());
        this.incoming.advance(length);
        if this.incoming.is_empty() {
            // Let go of, so that what it was read into may be read into again.
            this.incoming = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<M: MessageSocket> AsyncWrite for MessageStream<M> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_make_room(cx))?;
        Poll::Ready(Ok(self.gather(buf)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_make_room(cx))?;
        let mut written = 0;
        for buf in bufs {
            let gathered = self.gather(buf);
            written += gathered;
            if gathered < buf.len() {
                break;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.is_empty() {
            ready!(self.poll_turn(cx));
            ready!(self.poll_dispatch(cx))?;
        }
        self.socket.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            if !self.outgoing.is_empty() {
                ready!(self.poll_dispatch(cx))?;
            }
            ready!(self.poll_dispatch(cx))?;
            self.write_ended = true;
        }
        // With both directions ended the WebSocket has no more use; else it stays for the peer's direction.
        if self.read_ended || self.ends_whole {
            self.socket.poll_close(cx)
        } else {
            self.socket.poll_flush(cx)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Memory that tells whether it is still held.
    struct Held(Arc<[u8]>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    /// Brings one message, and nothing behind it.
    struct One(Option<Bytes>);

    impl MessageSocket for One {
        fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
            self.0.take().map_or(Poll::Pending, |message| Poll::Ready(Some(Ok(message))))
        }

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(&mut self, _: Bytes) -> io::Result<()> {
            Ok(())
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_message_that_was_read_is_let_go_of_before_the_next_one_is_waited_for() {
        let memory: Arc<[u8]> = Arc::from(&b"abc"[..]);
        let watched: Weak<[u8]> = Arc::downgrade(&memory);
        let mut stream = MessageStream::plain(One(Some(Bytes::from_owner(Held(memory)))));
        stream.read_exact(&mut [0; 2]).await.unwrap();
        assert!(watched.upgrade().is_some(), "a byte of it is left");
        stream.read_exact(&mut [0; 1]).await.unwrap();
        assert!(watched.upgrade().is_none());
    }
}
