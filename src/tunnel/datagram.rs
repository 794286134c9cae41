//! Datagrams on a byte stream: each behind its length, two bytes, big-endian.
//!
//! UDP tunnels travel so, whatever carries the tunnel. What is promised is what UDP promises, and no more: a datagram comes
//! whole or not at all; one that finds no room is dropped, never kept waiting behind a bound.
//!
//! Not trusted: the peer. A length is at most what two bytes can say, so nothing longer is ever kept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Longest datagram: what UDP over IPv4 can carry is a little less.
pub const MAX_DATAGRAM: usize = u16::MAX as usize;
/// Datagrams of one flow that may wait to be taken up.
pub const WAITING: usize = 64;

/// Where datagrams come from.
pub trait Source: Send {
    /// The next one; `None` when there will be no more.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

/// Where they go.
pub trait Drain: Send {
    /// Takes one.
    fn put(&mut self, datagram: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    /// There will be no more.
    fn end(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl<D: Drain> Drain for &mut D {
    async fn put(&mut self, datagram: Bytes) -> io::Result<()> {
        D::put(self, datagram).await
    }

    async fn end(&mut self) -> io::Result<()> {
        D::end(self).await
    }
}

/// A byte stream, to be read or written.
pub struct Framed<S> {
    stream: S,
    /// What has come of a datagram that is not whole: whoever waits for it may be interrupted, and wait again.
    come: BytesMut,
}

impl<S> Framed<S> {
    /// Datagrams on `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, come: BytesMut::new() }
    }
}

impl<R: AsyncRead + Unpin + Send> Source for Framed<R> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let wanted = match self.come.first_chunk::<2>() {
                Some(length) => 2 + usize::from(u16::from_be_bytes(*length)),
                None => 2,
            };
            if self.come.len() >= wanted {
                let mut datagram = self.come.split_to(wanted);
                datagram.advance(2);
                return Ok(Some(datagram.freeze()));
            }
            self.come.reserve(wanted - self.come.len());
            match self.stream.read_buf(&mut self.come).await? {
                0 if self.come.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }
}

impl<W: AsyncWrite + Unpin + Send> Drain for Framed<W> {
    async fn put(&mut self, datagram: Bytes) -> io::Result<()> {
        let length = u16::try_from(datagram.len()).map_err(io::Error::other)?;
        let mut framed = BytesMut::with_capacity(2 + datagram.len());
        framed.put_u16(length);
        framed.put(datagram);
        self.stream.write_all(&framed).await?;
        self.stream.flush().await
    }

    async fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

/// What a socket that serves many peers has set aside for one of them.
impl Source for mpsc::Receiver<Bytes> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.recv().await)
    }
}

/// A socket, towards one peer.
pub struct Towards {
    /// The socket; others may share it.
    pub socket: Arc<UdpSocket>,
    /// The peer.
    pub peer: SocketAddr,
}

impl Drain for Towards {
    async fn put(&mut self, datagram: Bytes) -> io::Result<()> {
        // What the network does not take is lost, as ever on UDP.
        let _lost = self.socket.send_to(&datagram, self.peer).await;
        Ok(())
    }

    async fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that is connected to its only peer.
pub struct Connected {
    socket: Arc<UdpSocket>,
    buffer: Vec<u8>,
}

impl Connected {
    /// `socket` must be connected.
    pub fn new(socket: Arc<UdpSocket>) -> Self {
        Self { socket, buffer: Vec::new() }
    }
}

impl Source for Connected {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.buffer.resize(MAX_DATAGRAM, 0);
        loop {
            match self.socket.recv(&mut self.buffer).await {
                Ok(length) => {
                    return Ok(Some(Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default())));
                }
                // The peer's host says that nobody listens there now; somebody may, the next time.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drain for Connected {
    async fn put(&mut self, datagram: Bytes) -> io::Result<()> {
        let _lost = self.socket.send(&datagram).await;
        Ok(())
    }

    async fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes datagrams on until there are no more, and tells of each how long it was before it goes.
pub async fn pass(
    mut from: impl Source,
    mut to: impl Drain,
    mut passing: impl FnMut(usize) + Send,
) -> io::Result<()> {
    while let Some(datagram) = from.next().await? {
        passing(datagram.len());
        to.put(datagram).await?;
    }
    to.end().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_arrive_whole_and_in_order_however_the_bytes_are_cut() {
        let (near, far) = tokio::io::duplex(7);
        let sent: Vec<Bytes> = [0, 1, 7, 1500, MAX_DATAGRAM].map(|length| vec![9_u8; length].into()).to_vec();
        let expected = sent.clone();
        tokio::spawn(async move {
            let mut to = Framed::new(near);
            for datagram in sent {
                to.put(datagram).await.unwrap();
            }
            to.end().await.unwrap();
        });
        let mut from = Framed::new(far);
        for datagram in expected {
            assert_eq!(from.next().await.unwrap(), Some(datagram));
        }
        assert_eq!(from.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_datagram_is_an_error_and_gives_no_part_of_it() {
        for cut in [&[0_u8][..], &[0, 5, 1, 2]] {
            let mut from = Framed::new(cut);
            assert_eq!(from.next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn nothing_longer_than_a_datagram_can_be_is_sent() {
        let mut to = Framed::new(Vec::new());
        to.put(vec![0_u8; MAX_DATAGRAM + 1].into()).await.unwrap_err();
        assert!(to.stream.is_empty());
    }
}
