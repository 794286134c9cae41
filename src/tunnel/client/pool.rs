//! Connections to one app that speaks HTTP/1.1, kept warm.
//!
//! Each serves one request at a time and rests between two. The one that rested shortest is used first, so that those which are not
//! needed any more grow old: none rests longer than a minute or is used longer than an hour, by when an app that was replaced, or a
//! name that leads elsewhere, is followed. One that the app has closed is noticed by its own task and not used.
//!
//! A request that did not get onto a connection which had rested goes onto the next one; one that did is never sent twice here: only
//! who knows what it asks for may do that ([`super::app`]), and is told when the app closed the connection just then.

use std::error::Error as _;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::app::AppError;
use super::origin::CONNECT_TIMEOUT;
use super::reach::reach;
use super::target::Target;
use super::upload::UploadBody;
use crate::tunnel::AppConnection;
use crate::tunnel::heads::MOST_OF_AN_APP;
use crate::tunnel::link::chain;

/// How long a connection rests at the most.
const REST: Duration = Duration::from_mins(1);
/// How long it is used at the most.
pub(super) const LIFE: Duration = Duration::from_hours(1);
/// How many rest at a time.
const MOST: usize = 256;
/// Bytes of an answer that are read ahead on each: what a reader who is slow costs. Its head is read whole, and so no longer.
const READ_AHEAD: usize = MOST_OF_AN_APP as usize;
/// How often those that rested too long are let go.
const SWEEP: Duration = Duration::from_secs(10);

/// The connections to one app.
pub(super) struct AppPool {
    target: Target,
    tls: Option<TlsConnector>,
    resting: Arc<Resting>,
}

/// Those that no request is on, the one that began to rest last at the end.
#[derive(Default)]
struct Resting(Mutex<Vec<Connection>>);

struct Connection {
    sender: SendRequest<UploadBody>,
    made: Instant,
    rests_since: Instant,
}

impl Connection {
    fn is_fresh(&self, now: Instant) -> bool {
        !self.sender.is_closed()
            && now.saturating_duration_since(self.made) < LIFE
            && now.saturating_duration_since(self.rests_since) < REST
    }
}

impl Resting {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A vector of whole connections, whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, now: Instant) -> Option<Connection> {
        let mut connections = self.connections();
        // An answer may end before what was sent with it: then the connection is not ready, and perhaps never will be.
        let at = connections.iter().rposition(|one| one.sender.is_ready() && one.is_fresh(now))?;
        Some(connections.remove(at))
    }

    fn give(&self, mut connection: Connection, now: Instant) {
        connection.rests_since = now;
        let mut connections = self.connections();
        if !connection.sender.is_closed() && connections.len() < MOST {
            connections.push(connection);
        }
    }

    fn sweep(&self, now: Instant) {
        self.connections().retain(|one| one.is_fresh(now));
    }
}

impl AppPool {
    /// None yet. Must be called where tasks can be started.
    pub(super) fn new(target: Target, tls: Option<TlsConnector>) -> Self {
        let resting = Arc::<Resting>::default();
        tokio::spawn(sweep(Arc::downgrade(&resting)));
        Self { target, tls, resting }
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
        let mut connection = self.connect().await.map_err(AppError::Unreachable)?;
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

    async fn connect(&self) -> Result<Connection, String> {
        let connecting = async {
            let tell = |error: std::io::Error| error.to_string();
            let tcp = reach(self.target.authority.as_str(), CONNECT_TIMEOUT).await.map_err(tell)?;
            let Some(tls) = &self.tls else { return begin(tcp).await };
            let name = self.target.server_name().map_err(|error| error.to_string())?;
            begin(tls.connect(name, tcp).await.map_err(tell)?).await
        };
        let late = |_| Err("it did not accept in time".to_owned());
        let sender = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(late)?;
        let now = Instant::now();
        Ok(Connection { sender, made: now, rests_since: now })
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

async fn begin<S>(stream: S) -> Result<SendRequest<UploadBody>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an app ended");
        }
    });
    Ok(sender)
}

async fn sweep(resting: Weak<Resting>) {
    let mut beat = tokio::time::interval(SWEEP);
    loop {
        beat.tick().await;
        let Some(resting) = resting.upgrade() else { return };
        resting.sweep(Instant::now());
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

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A connection that rests since `now`, and the app's end of it.
    async fn rested(resting: &Resting, now: Instant) -> DuplexStream {
        let (ours, apps) = duplex(1024);
        let mut sender = begin(ours).await.unwrap();
        sender.ready().await.unwrap();
        resting.give(Connection { sender, made: now, rests_since: now }, now);
        apps
    }

    #[tokio::test]
    async fn the_connection_that_rested_shortest_is_used_and_none_that_is_old_or_rested_long() {
        let (resting, began) = (Resting::default(), Instant::now());
        let _first = rested(&resting, began).await;
        let later = began + Duration::from_secs(1);
        let _second = rested(&resting, later).await;
        assert_eq!(resting.take(later).unwrap().made, later);
        let first = resting.take(later).unwrap();
        assert_eq!(first.made, began);
        assert!(resting.take(later).is_none());

        resting.give(first, began);
        assert!(resting.take(began + REST).is_none(), "rested too long");
        resting.sweep(began + REST);
        assert!(resting.connections().is_empty(), "nobody keeps it");

        let _old = rested(&resting, began).await;
        let old = resting.take(began).unwrap();
        resting.give(old, began + LIFE - Duration::from_secs(1));
        assert!(resting.take(began + LIFE).is_none(), "used too long");
    }

    #[tokio::test]
    async fn a_connection_that_the_app_closes_while_it_rests_is_not_used() {
        let (resting, now) = (Resting::default(), Instant::now());
        let app = rested(&resting, now).await;
        drop(app);
        // Its own task notices, without anybody who asks.
        while !resting.connections().iter().all(|one| one.sender.is_closed()) {
            tokio::task::yield_now().await;
        }
        assert!(resting.take(now).is_none());
        resting.sweep(now);
        assert!(resting.connections().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_rest() {
        let (resting, now) = (Resting::default(), Instant::now());
        let mut apps = Vec::new();
        for _ in 0..=MOST {
            apps.push(rested(&resting, now).await);
        }
        assert_eq!(resting.connections().len(), MOST);
    }
}
