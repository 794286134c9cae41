//! The tunnel's messages straight on TLS, without a WebSocket between: each behind its length in four bytes.
//!
//! The client offers it in TLS (ALPN [`ALPN`]) beside HTTP/1.1. A gateway takes it; an ingress that ends TLS does not know it,
//! chooses HTTP/1.1, and the same connection goes on as a WebSocket. So it costs no round trip to try. What it saves is a
//! mask over every byte that the publisher sends, and a copy at each end.
//!
//! Not trusted: the peer. A length above the bound ends the connection before anything is kept for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::flow::DatagramPath;
use super::quic::QuicStream;
use super::transport::{MAX_SOCKET_MESSAGE, MessageSocket};

/// The name in TLS (RFC 7301).
pub const ALPN: &[u8] = b"sallyport/1";

/// Bytes of the length before each message.
const LENGTH: usize = 4;
/// What is read at once, at least: two TLS records.
const READ: usize = 32 * 1024;

/// Messages on a byte stream.
pub struct BareSocket<S> {
    stream: S,
    incoming: BytesMut,
    /// Length and message that are still to be written.
    outgoing: Option<bytes::buf::Chain<Bytes, Bytes>>,
    datagrams: Option<DatagramPath>,
}

impl<S> BareSocket<S> {
    /// Messages on `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, incoming: BytesMut::new(), outgoing: None, datagrams: None }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The next message, if it has arrived whole; else how many bytes there must be before it is worth looking again.
    fn message(&mut self) -> io::Result<Result<Bytes, usize>> {
        let Some(length) = self.incoming.first_chunk::<LENGTH>() else { return Ok(Err(LENGTH)) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_SOCKET_MESSAGE {
            let error =
                format!("a message of {length} bytes is longer than the {MAX_SOCKET_MESSAGE} allowed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if self.incoming.len() < LENGTH + length {
            return Ok(Err(LENGTH + length));
        }
        self.incoming.advance(LENGTH);
        Ok(Ok(self.incoming.split_to(length).freeze()))
    }
}

impl BareSocket<QuicStream> {
    /// Messages on the one stream that a publisher's QUIC connection has, and datagrams beside it.
    pub fn on_quic(stream: QuicStream) -> Self {
        let datagrams = Some(DatagramPath::of(stream.connection().clone()));
        Self { datagrams, ..Self::new(stream) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> BareSocket<S> {
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            if !outgoing.has_remaining() {
                self.outgoing = None;
            } else if ready!(poll_write_buf(Pin::new(&mut self.stream), cx, outgoing))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MessageSocket for BareSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let wanted = match self.message() {
                Ok(Ok(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(Err(wanted)) => wanted,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            self.incoming.reserve((wanted - self.incoming.len()).max(READ));
            match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.incoming)) {
                Ok(0) if self.incoming.is_empty() => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn start_send(&mut self, message: Bytes) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        self.outgoing = Some(Bytes::copy_from_slice(&length.to_be_bytes()).chain(message));
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn datagrams(&self) -> Option<DatagramPath> {
        self.datagrams.clone()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::tunnel::transport::{close, receive, send};

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order_however_the_bytes_are_cut() {
        let (mut raw, end) = duplex(7);
        let mut socket = BareSocket::new(end);
        let messages: Vec<Vec<u8>> = vec![vec![], vec![1], vec![2; 100], vec![3; MAX_SOCKET_MESSAGE]];
        let sent = messages.clone();
        let writing = tokio::spawn(async move {
            for message in &sent {
                raw.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes()).await.unwrap();
                raw.write_all(message).await.unwrap();
            }
            raw
        });
        for message in &messages {
            assert_eq!(receive(&mut socket).await.unwrap(), message.as_slice());
        }
        drop(writing.await.unwrap());
        let end = std::future::poll_fn(|cx| socket.poll_receive(cx)).await;
        assert!(end.is_none());
    }

    #[tokio::test]
    async fn what_is_sent_is_a_length_and_the_message() {
        let (mut raw, end) = duplex(1024);
        let mut socket = BareSocket::new(end);
        send(&mut socket, b"abc".to_vec()).await.unwrap();
        close(&mut socket).await;
        let mut bytes = Vec::new();
        raw.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"\0\0\0\x03abc");
    }

    #[tokio::test]
    async fn a_length_above_the_bound_and_a_message_cut_short_are_errors() {
        for (bytes, kind) in [
            (&b"\xff\xff\xff\xff"[..], io::ErrorKind::InvalidData),
            (&b"\0\0\0\x03ab"[..], io::ErrorKind::UnexpectedEof),
        ] {
            let (mut raw, end) = duplex(1024);
            raw.write_all(bytes).await.unwrap();
            drop(raw);
            assert_eq!(receive(&mut BareSocket::new(end)).await.unwrap_err().kind(), kind);
        }
    }
}
