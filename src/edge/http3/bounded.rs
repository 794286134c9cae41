//! A bound on what the HTTP/3 library keeps of a peer's frames.
//!
//! It keeps a frame until all of it is there, whatever length the peer announced; only the payload of DATA is handed on as it
//! comes. So each stream's bytes are looked at before it gets them: a frame of any other kind that announces more than the
//! bound ends its stream with `H3_EXCESSIVE_LOAD`, before a byte of it is kept.
//!
//! It also takes DATA without payload for the end of a body, and the next DATA for a fault of the whole connection. Such a frame, which
//! anybody may send (RFC 9114 section 7.2.1), never comes to it.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::quic::{
    BidiStream, Connection, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream,
    StreamErrorIncoming, StreamId, WriteBuf,
};

use super::frames::Frames;

/// `H3_EXCESSIVE_LOAD`.
const EXCESSIVE_LOAD: u64 = 0x0107;

/// A stream whose frames are bounded.
pub(in crate::edge) struct Bounded<S> {
    stream: S,
    frames: Frames,
}

impl<S: RecvStream<Buf = Bytes>> RecvStream for Bounded<S> {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            let Some(bytes) = ready!(self.stream.poll_data(cx))? else {
                // In the middle of a frame: the library says what is wrong with that.
                let rest = self.frames.rest();
                return Poll::Ready(Ok((!rest.is_empty()).then_some(rest)));
            };
            let Ok(passed) = self.frames.pass(bytes) else {
                self.stream.stop_sending(EXCESSIVE_LOAD);
                let error_code = EXCESSIVE_LOAD;
                return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
            };
            if !passed.is_empty() {
                return Poll::Ready(Ok(Some(passed)));
            }
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.stream.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.stream.recv_id()
    }
}

impl<B: Buf, S: SendStream<B>> SendStream<B> for Bounded<S> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.stream.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.stream.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.stream.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.stream.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.stream.send_id()
    }
}

impl<B: Buf, S: BidiStream<B> + RecvStream<Buf = Bytes>> BidiStream<B> for Bounded<S>
where
    S::RecvStream: RecvStream<Buf = Bytes>,
{
    type SendStream = S::SendStream;
    type RecvStream = Bounded<S::RecvStream>;

    fn split(self) -> (Self::SendStream, Self::RecvStream) {
        let (send, receive) = self.stream.split();
        (send, Bounded { stream: receive, frames: self.frames })
    }
}

/// A QUIC connection, or what opens streams on it, whose streams are bounded.
pub(in crate::edge) struct BoundedConnection<C> {
    connection: C,
    most: u64,
}

impl<C> BoundedConnection<C> {
    /// Frames of `connection` have at most `most` bytes, but for the payload of DATA.
    pub(super) fn new(connection: C, most: u64) -> Self {
        Self { connection, most }
    }
}

impl<B: Buf, C: OpenStreams<B>> OpenStreams<B> for BoundedConnection<C>
where
    C::BidiStream: RecvStream<Buf = Bytes>,
{
    type BidiStream = Bounded<C::BidiStream>;
    type SendStream = C::SendStream;

    fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        let frames = Frames::of_request(self.most);
        self.connection.poll_open_bidi(cx).map_ok(|stream| Bounded { stream, frames })
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        self.connection.poll_open_send(cx)
    }

    fn close(&mut self, code: h3::error::Code, reason: &[u8]) {
        self.connection.close(code, reason);
    }
}

impl<B: Buf, C: Connection<B>> Connection<B> for BoundedConnection<C>
where
    C::BidiStream: RecvStream<Buf = Bytes>,
    C::RecvStream: RecvStream<Buf = Bytes>,
{
    type RecvStream = Bounded<C::RecvStream>;
    type OpenStreams = BoundedConnection<C::OpenStreams>;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        let frames = Frames::of_one_way(self.most);
        self.connection.poll_accept_recv(cx).map_ok(|stream| Bounded { stream, frames })
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        let frames = Frames::of_request(self.most);
        self.connection.poll_accept_bidi(cx).map_ok(|stream| Bounded { stream, frames })
    }

    fn opener(&self) -> Self::OpenStreams {
        BoundedConnection { connection: self.connection.opener(), most: self.most }
    }
}
