//! Connections to one app that speaks HTTP/1.1, kept warm.
//!
//! Each serves one request at a time and rests between two. The one that rested shortest is used first, so that those which are not
//! needed any more grow old: none rests longer than a minute or is used longer than an hour, by when an app that was replaced, or a
//! name that leads elsewhere, is followed. One that the app has closed is noticed by its own task and not used. So many as are wanted
//! ([`super::warm`]) are made before they are needed, and anew before they have rested too long.
//!
//! A request that did not get onto a connection which had rested goes onto the next one; one that did is never sent twice here: only
//! who knows what it asks for may do that ([`super::app`]), and is told when the app closed the connection just then.

use std::error::Error as _;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::app::AppError;
use super::event::AppConnectionTurn as Turn;
use super::origin::CONNECT_TIMEOUT;
use super::reach::reach;
use super::resting::{Connection, Resting, SWEEP};
use super::target::Target;
use super::upload::UploadBody;
use super::warm::{Next, Told, Warmth, random, sleep_until};
use crate::tunnel::AppConnection;
use crate::tunnel::heads::MOST_OF_AN_APP;
use crate::tunnel::link::chain;

/// Bytes of an answer that are read ahead on each: what a reader who is slow costs. Its head is read whole, and so no longer.
const READ_AHEAD: usize = MOST_OF_AN_APP as usize;

/// The connections to one app.
pub(super) struct AppPool {
    dial: Dial,
    resting: Arc<Resting>,
}

/// The way to an app.
#[derive(Clone)]
struct Dial {
    target: Target,
    tls: Option<TlsConnector>,
    /// Told when a connection ends.
    changed: Arc<Notify>,
    told: Told,
}

/// A request that connects, until it is dropped.
struct Connecting<'a>(&'a AtomicUsize);

impl<'a> Connecting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AppPool {
    /// `wanted` are made before they are needed. Must be called where tasks can be started.
    pub(super) fn new(target: Target, tls: Option<TlsConnector>, (wanted, told): (usize, Told)) -> Self {
        let resting = Arc::new(Resting::wanting(wanted));
        let dial = Dial { target, tls, changed: Arc::clone(&resting.changed), told };
        tokio::spawn(look_after(Arc::downgrade(&resting), dial.clone(), Warmth::new(wanted)));
        Self { dial, resting }
    }

    /// Sends a request, whose target is a path, and returns the answer when it begins.
    pub(super) async fn request(
        &self,
        mut request: Request<UploadBody>,
    ) -> Result<Response<PooledBody>, AppError> {
        while let Some(mut connection) = self.resting.take(Instant::now()) {
            match connection.sender.try_send_request(request).await {
                Ok(answer) => return Ok(self.answer(connection, answer, AppConnection::Again)),
                Err(mut unsent) => match unsent.take_message() {
                    // The app closed it just now.
                    Some(again) => request = again,
                    None if is_closing(unsent.error()) => {
                        return Err(AppError::Closed(chain(unsent.error())));
                    }
                    None => return Err(AppError::Broken(chain(unsent.error()))),
                },
            }
        }
        self.request_anew(request).await
    }

    /// The same, on a new connection.
    pub(super) async fn request_anew(
        &self,
        request: Request<UploadBody>,
    ) -> Result<Response<PooledBody>, AppError> {
        let mut connection = {
            let _connecting = Connecting::begin(&self.resting.connecting);
            self.dial.connect(Turn::Made).await.map_err(AppError::Unreachable)?
        };
        match connection.sender.send_request(request).await {
            Ok(answer) => Ok(self.answer(connection, answer, AppConnection::New)),
            Err(error) => Err(AppError::Broken(chain(&error))),
        }
    }

    fn answer(
        &self,
        connection: Connection,
        answer: Response<Incoming>,
        used: AppConnection,
    ) -> Response<PooledBody> {
        let resting = Arc::clone(&self.resting);
        let mut answer =
            answer.map(|body| PooledBody { body, connection: Some(connection), resting, ended: false });
        answer.extensions_mut().insert(used);
        answer
    }
}

impl Dial {
    async fn connect(&self, made: Turn) -> Result<Connection, String> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.begin()).await;
        let late = |_| Err("it did not accept in time".to_owned());
        match connecting.unwrap_or_else(late) {
            Ok(sender) => {
                self.told.tell(made, "");
                let now = Instant::now();
                Ok(Connection { sender, made: now, rests_since: now, used: made == Turn::Made })
            }
            Err(reason) => {
                self.told.tell(Turn::Failed, &reason);
                Err(reason)
            }
        }
    }

    async fn begin(&self) -> Result<SendRequest<UploadBody>, String> {
        let tell = |error: std::io::Error| error.to_string();
        let ended = Arc::clone(&self.changed);
        let tcp = reach(self.target.authority.as_str(), CONNECT_TIMEOUT).await.map_err(tell)?;
        let Some(tls) = &self.tls else { return begin(tcp, ended).await };
        let name = self.target.server_name().map_err(|error| error.to_string())?;
        begin(tls.connect(name, tcp).await.map_err(tell)?, ended).await
    }
}

/// Whether a connection ended where an answer should have begun: an app closes what it finds idle just as it is used again. One with
/// TLS that says no goodbye ends unexpectedly, also within an answer's head; what only reads may be asked again then, too.
fn is_closing(error: &hyper::Error) -> bool {
    let lost =
        error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    error.is_incomplete_message()
        || matches!(
            lost,
            Some(
                ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::UnexpectedEof
            )
        )
}

/// Begins HTTP on a stream; `ended` is told when it is over.
pub(super) async fn begin<S>(stream: S, ended: Arc<Notify>) -> Result<SendRequest<UploadBody>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an app ended");
        }
        ended.notify_one();
    });
    Ok(sender)
}

/// Lets go what is of no use any more, and makes what is wanted, until the pool is dropped.
async fn look_after(resting: Weak<Resting>, dial: Dial, mut warmth: Warmth) {
    let (mut beat, mut again) = (tokio::time::interval(SWEEP), None);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = dial.changed.notified() => {}
            () = sleep_until(again) => {}
        }
        let Some(pool) = resting.upgrade() else { return };
        again = match pool.look(Instant::now(), &mut warmth, &dial.told) {
            Next::Nothing => None,
            Next::LookAt(then) => Some(then),
            Next::Make => {
                make(&pool, &dial, &mut warmth).await;
                Some(Instant::now())
            }
        };
    }
}

async fn make(resting: &Resting, dial: &Dial, warmth: &mut Warmth) {
    let Ok(mut connection) = dial.connect(Turn::MadeAhead).await else {
        return warmth.failed(Instant::now(), random());
    };
    // Its task has to run once before it takes a request.
    let ready = connection.sender.ready().await;
    let now = Instant::now();
    warmth.made(now);
    if ready.is_ok() {
        resting.give(connection, now);
    } else {
        dial.told.tell(Turn::Closed, "");
        warmth.closed(now, Some(Duration::ZERO), random());
    }
}

/// An answer's body. With its end the connection rests; given up before, it is closed.
pub(super) struct PooledBody {
    body: Incoming,
    connection: Option<Connection>,
    resting: Arc<Resting>,
    ended: bool,
}

impl PooledBody {
    fn rest(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.resting.give(connection, Instant::now());
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if frame.is_none() {
            this.ended = true;
            this.rest();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for PooledBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.rest();
        }
    }
}
