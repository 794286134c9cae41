//! A bound on what the HTTP/3 library keeps of a peer's frames.
//!
//! It keeps a frame until all of it is there, whatever length the peer announced; only the payload of DATA is handed on as it
//! comes. So each stream's bytes are looked at before it gets them: a frame of any other kind that announces more than the
//! bound ends its stream with `H3_EXCESSIVE_LOAD`, before a byte of it is kept.

use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h3::quic::{
    BidiStream, Connection, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream,
    StreamErrorIncoming, StreamId, WriteBuf,
};

/// DATA (RFC 9114 section 7.2.1).
const DATA: u64 = 0;
/// The type of a control stream (section 6.2.1); the only one-way stream that the library reads beyond its type.
const CONTROL: u64 = 0;
/// `H3_EXCESSIVE_LOAD`.
const EXCESSIVE_LOAD: u64 = 0x0107;

/// Where in a stream the next byte is.
enum At {
    /// In the type of a one-way stream.
    Stream(Number),
    /// In the type of a frame.
    Kind(Number),
    /// In the length of a frame of this kind.
    Length(u64, Number),
    /// In its payload, so many bytes before its end.
    Payload(u64),
    /// In something that nobody reads.
    Unread,
}

/// A number of variable length (RFC 9000 section 16) that has come in part.
#[derive(Clone, Copy, Default)]
struct Number {
    value: u64,
    left: Option<u8>,
}

impl Number {
    /// The number, once `byte` completes it.
    fn take(&mut self, byte: u8) -> Option<u64> {
        let left = match self.left {
            None => {
                self.value = u64::from(byte & 0x3f);
                (1_u8 << (byte >> 6)) - 1
            }
            Some(left) => {
                self.value = (self.value << 8) | u64::from(byte);
                left - 1
            }
        };
        self.left = Some(left);
        (left == 0).then_some(self.value)
    }
}

/// Follows one stream's frames.
struct Frames {
    at: At,
    most: u64,
}

/// A frame was announced that is longer than the bound.
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

impl Frames {
    fn of_request(most: u64) -> Self {
        Self { at: At::Kind(Number::default()), most }
    }

    fn of_one_way(most: u64) -> Self {
        Self { at: At::Stream(Number::default()), most }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while let Some((byte, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Unread => return Ok(()),
                At::Payload(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= here as u64;
                    bytes = bytes.get(here..).unwrap_or_default();
                    if *left == 0 {
                        self.at = At::Kind(Number::default());
                    }
                    continue;
                }
                At::Stream(number) => {
                    if let Some(kind) = number.take(*byte) {
                        self.at = if kind == CONTROL { At::Kind(Number::default()) } else { At::Unread };
                    }
                }
                At::Kind(number) => {
                    if let Some(kind) = number.take(*byte) {
                        self.at = At::Length(kind, Number::default());
                    }
                }
                At::Length(kind, number) => {
                    if let Some(length) = number.take(*byte) {
                        if *kind != DATA && length > self.most {
                            return Err(TooLong);
                        }
                        self.at = if length == 0 { At::Kind(Number::default()) } else { At::Payload(length) };
                    }
                }
            }
            bytes = rest;
        }
        Ok(())
    }
}

/// A stream whose frames are bounded.
pub(in crate::edge) struct Bounded<S> {
    stream: S,
    frames: Frames,
}

impl<S: RecvStream<Buf = Bytes>> RecvStream for Bounded<S> {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let polled = self.stream.poll_data(cx);
        if let Poll::Ready(Ok(Some(bytes))) = &polled
            && self.frames.pass(bytes) == Err(TooLong)
        {
            self.stream.stop_sending(EXCESSIVE_LOAD);
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: EXCESSIVE_LOAD }));
        }
        polled
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kind and length, each in as few bytes as it takes, and the payload.
    fn frame(kind: u64, length: u64, payload: usize) -> Vec<u8> {
        let number = |value: u64| -> Vec<u8> {
            match u16::try_from(value) {
                Ok(value @ 0..64) => vec![value.to_be_bytes()[1]],
                Ok(value @ 64..16_384) => (value | 0x4000).to_be_bytes().to_vec(),
                _ => (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes().to_vec(),
            }
        };
        [number(kind), number(length), vec![0xff; payload]].concat()
    }

    #[test]
    fn a_frame_is_refused_by_its_announced_length_before_its_payload_comes() {
        let mut frames = Frames::of_request(100);
        assert_eq!(frames.pass(&frame(1, 100, 100)), Ok(()));
        assert_eq!(frames.pass(&frame(1, 101, 0)), Err(TooLong));
        // Kinds that nobody knows are kept just the same.
        assert_eq!(Frames::of_request(100).pass(&frame(0x21, 70_000, 0)), Err(TooLong));
    }

    #[test]
    fn data_may_be_as_long_as_it_likes_and_what_follows_is_looked_at_again() {
        let mut frames = Frames::of_request(100);
        assert_eq!(frames.pass(&frame(0, 70_000, 70_000)), Ok(()));
        assert_eq!(frames.pass(&frame(1, 101, 0)), Err(TooLong));
    }

    #[test]
    fn of_one_way_streams_only_the_control_stream_has_frames() {
        let mut control = Frames::of_one_way(100);
        assert_eq!(control.pass(&[0]), Ok(()));
        assert_eq!(control.pass(&frame(4, 101, 0)), Err(TooLong));
        let mut qpack = Frames::of_one_way(100);
        assert_eq!(qpack.pass(&[2]), Ok(()));
        assert_eq!(qpack.pass(&frame(4, 101, 0)), Ok(()));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            frames in prop::collection::vec((0_u64..8, 0_usize..300), 0..8), last in 101_u64..1000, cut in 1_usize..9,
        ) {
            let mut bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(kind, length)| {
                    let length = if *kind == 0 { *length } else { length % 101 };
                    frame(*kind, length as u64, length)
                })
                .collect();
            let mut whole = Frames::of_request(100);
            prop_assert_eq!(whole.pass(&bytes), Ok(()));
            let good = bytes.len();
            bytes.extend(frame(1, last, 0));
            let mut pieces = Frames::of_request(100);
            let mut passed = 0;
            let refused = bytes.chunks(cut).any(|piece| {
                passed += piece.len();
                pieces.pass(piece).is_err()
            });
            prop_assert!(refused && passed > good);
        }
    }
}
