//! Streams of QUIC as the HTTP/3 library wants them.
//!
//! Why not those that come with it, for requests: one of theirs that is dropped ends in order, so that what is cut would look
//! whole; they do not tell that a visitor has given a request up, nor when it has all of an answer. One-way streams are theirs.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, unfold};
use h3::error::Code;
use h3::quic::{
    BidiStream, Connection, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream,
    StreamErrorIncoming, StreamId, WriteBuf,
};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// What a visitor's connection accepts.
type Accepting = BoxStream<'static, Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>;

/// A visitor's connection.
pub(in crate::edge) struct Quic {
    library: h3_quinn::Connection,
    accepting: Accepting,
    latest: Latest,
}

/// Tells of the request that was accepted last when its visitor gives it up. Clones look at the same connection.
#[derive(Clone, Default)]
pub(super) struct Latest(Arc<Mutex<Option<Stopped>>>);

impl Latest {
    /// Returns when the visitor wants no answer any more, or is gone. To be called once for each request, before the next one is
    /// accepted.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match stopped {
                Some(stopped) => drop(stopped.await),
                None => std::future::pending().await,
            }
        }
    }
}

impl Quic {
    pub(super) fn new(quic: &quinn::Connection) -> Self {
        let accepting =
            unfold(quic.clone(), |quic| async move { Some((quic.accept_bi().await, quic)) }).boxed();
        Self { library: h3_quinn::Connection::new(quic.clone()), accepting, latest: Latest::default() }
    }

    pub(super) fn latest(&self) -> Latest {
        self.latest.clone()
    }
}

impl<B: Buf> OpenStreams<B> for Quic {
    type BidiStream = Both<B>;
    type SendStream = h3_quinn::SendStream<B>;

    fn poll_open_bidi(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Both<B>, StreamErrorIncoming>> {
        Poll::Ready(Err(not_opened()))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        OpenStreams::<B>::poll_open_send(&mut self.library, cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        OpenStreams::<B>::close(&mut self.library, code, reason);
    }
}

impl<B: Buf> Connection<B> for Quic {
    type RecvStream = h3_quinn::RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        Connection::<B>::poll_accept_recv(&mut self.library, cx)
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both<B>, ConnectionErrorIncoming>> {
        let Some(accepted) = ready!(self.accepting.poll_next_unpin(cx)) else { return Poll::Pending };
        let (send, receive) = accepted.map_err(lost)?;
        let no_request = |_| ConnectionErrorIncoming::InternalError("a stream has no number".to_owned());
        let id = StreamId::try_from(u64::from(send.id())).map_err(no_request)?;
        *self.latest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(send.stopped()));
        let send = Outgoing { stream: send, id, writing: None, acknowledged: None };
        Poll::Ready(Ok(Both { send, receive: Incoming { stream: receive, id } }))
    }

    fn opener(&self) -> Opener {
        Opener(Connection::<B>::opener(&self.library))
    }
}

/// Opens one-way streams; requests are for visitors to open.
pub(in crate::edge) struct Opener(h3_quinn::OpenStreams);

impl<B: Buf> OpenStreams<B> for Opener {
    type BidiStream = Both<B>;
    type SendStream = h3_quinn::SendStream<B>;

    fn poll_open_bidi(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Both<B>, StreamErrorIncoming>> {
        Poll::Ready(Err(not_opened()))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        OpenStreams::<B>::poll_open_send(&mut self.0, cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        OpenStreams::<B>::close(&mut self.0, code, reason);
    }
}

fn not_opened() -> StreamErrorIncoming {
    StreamErrorIncoming::Unknown("a server opens no requests".into())
}

/// A request's stream, both ways.
pub(in crate::edge) struct Both<B: Buf> {
    send: Outgoing<B>,
    receive: Incoming,
}

impl<B: Buf> BidiStream<B> for Both<B> {
    type SendStream = Outgoing<B>;
    type RecvStream = Incoming;

    fn split(self) -> (Outgoing<B>, Incoming) {
        (self.send, self.receive)
    }
}

impl<B: Buf> SendStream<B> for Both<B> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.id
    }
}

impl<B: Buf> RecvStream for Both<B> {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.receive.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.id
    }
}

/// Our direction. Dropped before it was finished, it is reset.
pub(in crate::edge) struct Outgoing<B: Buf> {
    stream: quinn::SendStream,
    id: StreamId,
    writing: Option<WriteBuf<B>>,
    /// Set once it has ended in order.
    acknowledged: Option<Stopped>,
}

impl<B: Buf> SendStream<B> for Outgoing<B> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let stream = Pin::new(&mut self.stream);
                let written = ready!(stream.poll_write(cx, data.chunk())).map_err(not_written)?;
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown("the library writes before the stream is ready".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    /// Returns when the visitor has all of it: a connection that is closed before throws away what is still on its way.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let acknowledged = match &mut self.acknowledged {
            Some(acknowledged) => acknowledged,
            None => {
                // A direction that the visitor has stopped needs no end.
                let _stopped = self.stream.finish();
                self.acknowledged.insert(Box::pin(self.stream.stopped()))
            }
        };
        Poll::Ready(match ready!(acknowledged.as_mut().poll(cx)) {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }),
            Err(error) => Err(StreamErrorIncoming::Unknown(Box::new(error))),
        })
    }

    fn reset(&mut self, reset_code: u64) {
        // One that has ended already needs no reset.
        let _ended = self.stream.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}

impl<B: Buf> Drop for Outgoing<B> {
    fn drop(&mut self) {
        if self.acknowledged.is_none() {
            SendStream::<B>::reset(self, Code::H3_REQUEST_CANCELLED.value());
        }
    }
}

/// The visitor's direction.
pub(in crate::edge) struct Incoming {
    stream: quinn::RecvStream,
    id: StreamId,
}

impl RecvStream for Incoming {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // Nothing is kept in the future between two looks: the connection itself remembers who waits.
        let chunk = ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx)).map_err(not_read)?;
        Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes)))
    }

    fn stop_sending(&mut self, error_code: u64) {
        // One that has ended already needs no stop.
        let _ended = self.stream.stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX));
    }

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn with_connection(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
}

fn not_written(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => with_connection(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn not_read(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => with_connection(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
