//! What visitors send, on its way to the local app.
//!
//! An app that does not take it has it wait here, out of the credit of the gateway's connection. So too many of those are cut, as
//! [`crate::tunnel::lag`] says: what waits is let go of at once, and the gateway is told why.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::app::AppBody;
use super::origin::BoxError;
use crate::tunnel::gather::Answers;
use crate::tunnel::resumable::{ByteStream, Shared};
use crate::tunnel::stream::Stalled;
use crate::tunnel::{Taker, Takers, Taking};

/// The uploads of a publisher, as one of its connections has them.
#[derive(Clone)]
pub(super) struct Uploads {
    all: Takers<Upload>,
    connections: Arc<AtomicU64>,
    connection: u64,
}

impl Uploads {
    /// None yet. Looks after them until the last clone is dropped.
    pub(super) fn start() -> Self {
        Self { all: Takers::start(), connections: Arc::default(), connection: 0 }
    }

    /// The same for a further connection.
    pub(super) fn further(&self) -> Self {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Self { connection, ..self.clone() }
    }

    /// The number of the connection.
    pub(super) fn connection(&self) -> u64 {
        self.connection
    }
}

/// Which connection's credit an upload uses up.
enum Over {
    Connection(u64),
    /// That which carries the stream now.
    Carrier(Arc<Shared>),
}

/// One upload.
pub(super) struct Upload {
    /// `None` once it is cut, and for byte streams, which are read by a task of ours.
    body: Mutex<Option<Incoming>>,
    over: Over,
    stalled: CancellationToken,
}

impl Taker for Upload {
    /// `None` uses up none: its connection is lost.
    type Credit = Option<u64>;

    fn credit(&self) -> Option<u64> {
        match &self.over {
            Over::Connection(number) => Some(*number),
            Over::Carrier(stream) => stream.carrier(),
        }
    }

    fn is_cut(&self) -> bool {
        self.stalled.is_cancelled()
    }

    fn cut(&self) {
        tracing::info!("cut: the app doesn't take what too many visitors send, and this for longest");
        self.stalled.cancel();
        // Whoever sends it to the app may be waiting for the app, and would never hear of it.
        drop(self.body().take());
    }
}

impl Upload {
    fn new(body: Option<Incoming>, over: Over) -> Arc<Self> {
        Arc::new(Self { body: Mutex::new(body), over, stalled: CancellationToken::new() })
    }

    fn body(&self) -> MutexGuard<'_, Option<Incoming>> {
        // A panic while it was polled leaves nothing that could be relied on less than a body of the network's.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when it is cut.
    pub(super) async fn stalled(&self) {
        self.stalled.cancelled().await;
    }
}

/// A request's body on its way to the app.
pub(super) struct UploadBody(Way);

enum Way {
    /// There is none.
    Empty,
    Watched {
        upload: Arc<Upload>,
        taking: Option<Taking<Upload>>,
        /// What the app takes answers what it sends.
        pieces: Answers,
    },
}

impl UploadBody {
    /// None.
    pub(super) fn none() -> Self {
        Self(Way::Empty)
    }

    /// `body`, looked after among `uploads`, its `pieces` counted; and what tells when it is cut.
    pub(super) fn watch(body: Incoming, uploads: &Uploads, pieces: Answers) -> (Self, Option<Arc<Upload>>) {
        if body.is_end_stream() {
            return (Self::none(), None);
        }
        let upload = Upload::new(Some(body), Over::Connection(uploads.connection));
        let taking = Some(uploads.all.enter(&upload));
        (Self(Way::Watched { upload: Arc::clone(&upload), taking, pieces }), Some(upload))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Way::Watched { upload, taking, pieces } = &mut self.get_mut().0 else { return Poll::Ready(None) };
        let mut held = upload.body();
        let Some(body) = held.as_mut() else { return Poll::Ready(Some(Err(Stalled.into()))) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            pieces.count();
        }
        if body.is_end_stream() {
            // Nothing of it waits here any more.
            *taking = None;
        }
        if let Some(taking) = taking {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => taking.given(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(_) => {}
                Poll::Pending => taking.waits(),
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Way::Empty => true,
            Way::Watched { upload, .. } => upload.body().as_ref().is_some_and(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Way::Empty => SizeHint::with_exact(0),
            Way::Watched { upload, .. } => {
                upload.body().as_ref().map_or_else(SizeHint::default, Body::size_hint)
            }
        }
    }
}

/// An app's answer. One that began while the request was still sent breaks when that is cut.
pub(super) struct Answer {
    body: AppBody,
    stalled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Answer {
    pub(super) fn beside(upload: Option<&Upload>, body: AppBody) -> Self {
        let stalled = upload.map(|upload| Box::pin(upload.stalled.clone().cancelled_owned()));
        Self { body, stalled }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.stalled.as_mut().is_some_and(|stalled| stalled.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(Stalled.into())));
        }
        Pin::new(&mut this.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A visitor's byte stream on its way to the app.
pub(super) struct UploadStream {
    stream: ByteStream,
    upload: Arc<Upload>,
    taking: Option<Taking<Upload>>,
}

impl UploadStream {
    /// `stream`, looked after among `uploads`; and what tells when it is cut.
    pub(super) fn watch(stream: ByteStream, uploads: &Uploads) -> (Self, Arc<Upload>) {
        let over = match &stream {
            ByteStream::Plain(_) => Over::Connection(uploads.connection),
            ByteStream::Resumable(stream) => Over::Carrier(Arc::clone(stream.shared())),
        };
        let upload = Upload::new(None, over);
        let taking = Some(uploads.all.enter(&upload));
        (Self { stream, upload: Arc::clone(&upload), taking }, upload)
    }
}

impl AsyncRead for UploadStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        match (&this.taking, &polled) {
            (Some(_), Poll::Ready(_)) if read == 0 => this.taking = None,
            (Some(taking), Poll::Ready(_)) => taking.given(read),
            (Some(taking), Poll::Pending) => taking.waits(),
            (None, _) => {}
        }
        polled
    }
}

impl AsyncWrite for UploadStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Drop for UploadStream {
    fn drop(&mut self) {
        if self.upload.is_cut() {
            self.stream.stall();
        }
    }
}
