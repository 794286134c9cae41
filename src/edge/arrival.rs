//! A connection whose first bytes are looked at before it is known what it speaks, and read again by whoever speaks it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::first_bytes::{Speaks, told};
use crate::tunnel::Breakable;

/// Bytes that are read at once, and more than any protocol needs to be told from the others.
const PIECE: usize = 2048;

/// A visitor's socket, with what was read of it already before the rest.
pub(super) struct Arrival {
    socket: TcpStream,
    head: BytesMut,
    /// Bytes that came so far.
    heard: Arc<AtomicU64>,
}

impl Arrival {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, head: BytesMut::new(), heard: Arc::default() }
    }

    /// Counts the bytes that come, as long as it is read.
    pub(super) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }

    /// What was read so far.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Nobody reads the first `length` bytes again.
    pub(super) fn forget(&mut self, length: usize) {
        self.head.advance(length.min(self.head.len()));
    }

    /// Waits for more bytes. At most `most` are kept.
    pub(super) async fn more(&mut self, most: usize) -> io::Result<()> {
        let room = most.saturating_sub(self.head.len()).min(PIECE);
        if room == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the beginning is too long"));
        }
        self.head.reserve(room);
        match (&mut self.socket).take(room as u64).read_buf(&mut self.head).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until it is clear what the peer speaks.
    pub(super) async fn speaks(&mut self) -> io::Result<Speaks> {
        loop {
            if let Some(speaks) = told(&self.head) {
                return Ok(speaks);
            }
            self.more(PIECE).await?;
        }
    }

    /// Address on which the peer reached us.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

impl Breakable for Arrival {
    fn breaks(&self) {
        self.socket.breaks();
    }

    fn ended(&self) {
        self.socket.ended();
    }
}

impl AsyncRead for Arrival {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.socket).poll_read(cx, buf);
            self.heard.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
            return read;
        }
        let length = self.head.len().min(buf.remaining());
        buf.put_slice(self.head.get(..length).unwrap_or_default());
        self.head.advance(length);
        if self.head.is_empty() {
            // An idle connection holds no buffer of ours.
            self.head = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Arrival {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
