//! A visitor's bytes on their way to an app, which must not begin with a PROXY header: by one the visitor would tell the app that
//! it comes from somewhere else.
//!
//! Promised: an app never gets a whole beginning of such a header from a visitor. Nothing is held back for that, because many
//! protocols wait for a first line, however short: the connection breaks off where the header's beginning would be complete.
//! Trusted: nobody's header. A load balancer that is believed has been listened to before ([`super::front`]).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::first_bytes::{PROXY_V1, PROXY_V2};

/// What to do with a PROXY header of somebody who is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignHeader {
    /// The connection ends, and its record says why.
    #[default]
    Refuse,
    /// To the app it is bytes like all others.
    Pass,
}

/// The visitor announced itself.
#[derive(Debug, thiserror::Error)]
#[error("the visitor's bytes begin with a PROXY header")]
pub(super) struct Announced;

/// See the module. `on_header` is told before the connection breaks off.
pub(super) struct Unannounced<V, F> {
    visitor: V,
    beginning: Beginning,
    on_header: F,
}

impl<V, F: Fn()> Unannounced<V, F> {
    pub(super) fn new(visitor: V, on_header: F) -> Self {
        Self { visitor, beginning: Beginning::default(), on_header }
    }
}

/// How much of the beginning of a header of each version has come; `None`: it is none of that version.
struct Beginning([(&'static [u8], Option<usize>); 2]);

impl Default for Beginning {
    fn default() -> Self {
        Self([(PROXY_V1, Some(0)), (PROXY_V2, Some(0))])
    }
}

impl Beginning {
    /// Looks at what comes next.
    fn pass(&mut self, bytes: &[u8]) {
        for (whole, come) in &mut self.0 {
            let Some(length) = *come else { continue };
            let rest = whole.get(length..).unwrap_or_default();
            let here = rest.len().min(bytes.len());
            *come = (rest.get(..here) == bytes.get(..here)).then_some(length + here);
        }
    }

    fn is_header(&self) -> bool {
        self.0.iter().any(|(whole, come)| *come == Some(whole.len()))
    }
}

impl<V: AsyncRead + Unpin, F: Fn() + Unpin> AsyncRead for Unannounced<V, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.visitor).poll_read(cx, buf))?;
        self.beginning.pass(buf.filled().get(before..).unwrap_or_default());
        if self.beginning.is_header() {
            buf.set_filled(before);
            (self.on_header)();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Announced)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<V: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Unannounced<V, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.visitor).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.visitor).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.visitor.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.visitor).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.visitor).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn is_header<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> bool {
        let mut beginning = Beginning::default();
        pieces.into_iter().any(|piece| {
            beginning.pass(piece);
            beginning.is_header()
        })
    }

    #[tokio::test]
    async fn an_app_gets_no_whole_beginning_of_a_header_and_everything_else_unchanged() {
        for header in
            [&b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nhello"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"]
        {
            let told = Cell::new(false);
            let mut got = Vec::new();
            Unannounced::new(header, || told.set(true)).read_to_end(&mut got).await.unwrap_err();
            assert!(told.get() && got.is_empty(), "{}", header.escape_ascii());
        }
        for other in [&b"PROXYING / HTTP/1.1"[..], b"\r\n\r\nGET", b" PROXY ", b"", b"\r\n", b"PROX"] {
            let told = Cell::new(false);
            let mut got = Vec::new();
            Unannounced::new(other, || told.set(true)).read_to_end(&mut got).await.unwrap();
            assert!(!told.get() && got == other, "{}", other.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            head in prop::sample::select(vec![PROXY_V1, PROXY_V2, b"PROXI ", b"\r\n\r\n\0\r\nQUIT "]),
            more in prop::collection::vec(any::<u8>(), 0..20),
            cut in 1_usize..9,
        ) {
            let bytes = [head, &more].concat();
            let announced = bytes.starts_with(PROXY_V1) || bytes.starts_with(PROXY_V2);
            prop_assert_eq!(is_header([bytes.as_slice()]), announced);
            prop_assert_eq!(is_header(bytes.chunks(cut)), announced);
        }
    }
}
