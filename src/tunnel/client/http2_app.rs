//! An app that speaks HTTP/2: one connection for all requests, made anew when it is gone, and others when the app takes no more on it.
//!
//! One is enough for most: HTTP/2 carries as many requests on it as the app allows, and gRPC expects it so. Those beyond that go onto
//! [`super::further`] ones; if these are full too, a request waits for a moment, and is then told that the app is busy, which is no
//! failure. Whoever comes while the connection is being made waits for that one, and hears of its failure with all others: at a host
//! that is dead, nobody waits for a second attempt of somebody else's.
//!
//! An app may say that it takes no more requests on a connection, and answer those that it has. What has not got onto it then goes onto
//! the next. None takes requests for longer than an hour, by when an app that was replaced, or a name that leads elsewhere, is followed;
//! those that it has are answered.

use std::error::Error as _;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;

use super::app::AppError;
use super::further::{Found, Further};
use super::origin::CONNECT_TIMEOUT;
use super::resting::LIFE;
use super::reach::reach;
use super::seats::{Seat, Seated, Seats};
use super::target::Target;
use super::upload::UploadBody;
use crate::tunnel::heads::MOST_OF_AN_APP;
use crate::tunnel::link::chain;

/// What visitors may have under way towards the app, and it towards them.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// An app that hangs is noticed, even if nobody asks it for anything.
const PING: Duration = Duration::from_secs(20);
/// Connections onto which a request may fail to get: an app that takes nothing on several in a row answers nobody.
const TRIES: usize = 3;
/// How long a request waits for a seat at an app that has as many as it takes. Less than visitors are given, who would take an app that
/// is well for one that is late.
const QUEUE: Duration = Duration::from_secs(3);

/// The way to one app.
pub(super) struct Http2App {
    target: Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    patience: Duration,
    ping: Duration,
    connection: Mutex<Option<Dialled>>,
    further: Further,
    /// Told when there may be a seat.
    freed: Arc<Notify>,
}

/// A connection that is being made, was made, or could not be.
pub(super) type Dialled = watch::Receiver<Option<Result<Connection, String>>>;

#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Seated<UploadBody>>,
    made: Instant,
    pub(super) seats: Arc<Seats>,
}

impl Connection {
    /// Whether it takes requests, or will.
    pub(super) fn is_good(dialled: &Dialled, now: Instant) -> bool {
        match &*dialled.borrow() {
            // If nobody tells how it went any more, it went wrong.
            None => dialled.has_changed().is_ok(),
            Some(Ok(connection)) => connection.is_fresh(now),
            Some(Err(_)) => false,
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now.saturating_duration_since(self.made) < LIFE
    }
}

impl Http2App {
    pub(super) fn new(target: Target, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self {
            target,
            tls,
            patience: CONNECT_TIMEOUT,
            ping: PING,
            connection: Mutex::default(),
            further: Further::default(),
            freed: Arc::default(),
        }
    }

    pub(super) async fn request(
        &self,
        mut request: Request<UploadBody>,
    ) -> Result<Response<Seated<Incoming>>, AppError> {
        let mut tries = 0;
        loop {
            let (mut sender, seat) = self.seat().await?;
            tries += 1;
            let seated = request.map(|body| Seated::new(body, seat.clone()));
            match sender.try_send_request(seated).await {
                Ok(answer) => return Ok(answer.map(|body| Seated::new(body, seat))),
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) if tries < TRIES => request = again.map(Seated::let_go),
                    None if is_unseen(unsent.error()) => {
                        return Err(AppError::Closed(chain(unsent.error())));
                    }
                    _ => return Err(AppError::Broken(chain(unsent.error()))),
                },
            }
        }
    }

    /// A seat on the first connection that has one. An app that does not take further connections still has the first.
    async fn seat(&self) -> Result<(SendRequest<Seated<UploadBody>>, Seat), AppError> {
        let deadline = Instant::now() + QUEUE;
        let mut takes_further = true;
        loop {
            // Asked for before the look, so that a seat that is free in between is not missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let first = self.connection().await.map_err(AppError::Unreachable)?;
            if let Some(seat) = first.seats.take() {
                return Ok((first.sender, seat));
            }
            let dial = || (takes_further && first.seats.are_known()).then(|| self.dial());
            let coming = match self.further.find(Instant::now(), dial) {
                Found::Seat(connection, seat) => return Ok((connection.sender, seat)),
                Found::Coming(dialled) => Some(dialled),
                Found::None => None,
            };
            let made = async {
                match coming {
                    Some(dialled) => outcome(dialled).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = freed => {}
                made = made => takes_further &= made.is_ok(),
                () = sleep_until(deadline) => {
                    return Err(if first.seats.are_known() {
                        AppError::Busy
                    } else {
                        AppError::Unreachable("it accepts, and says nothing".to_owned())
                    });
                }
            }
        }
    }

    /// The connection, or the one that is being made, or else a new one.
    async fn connection(&self) -> Result<Connection, String> {
        outcome(self.dialled()).await
    }

    fn dialled(&self) -> Dialled {
        // Holds a whole value, whatever panicked beside it.
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dialled) = held.as_ref().filter(|dialled| Connection::is_good(dialled, Instant::now())) {
            return dialled.clone();
        }
        let dialled = self.dial();
        *held = Some(dialled.clone());
        dialled
    }

    /// In a task of its own: whoever began it may leave, and others wait for it.
    fn dial(&self) -> Dialled {
        let (tell, told) = watch::channel(None);
        let (target, tls) = (self.target.clone(), self.tls.clone());
        let (limits, freed) = ((self.patience, self.ping), Arc::clone(&self.freed));
        tokio::spawn(async move {
            let connecting = tokio::time::timeout(limits.0, connect(&target, tls, limits, freed)).await;
            tell.send_replace(Some(
                connecting.unwrap_or_else(|_| Err("it did not accept in time".to_owned())),
            ));
        });
        told
    }
}

/// Waits for what comes of a connection that is being made.
async fn outcome(mut dialled: Dialled) -> Result<Connection, String> {
    let gone = || "connecting to it was broken off".to_owned();
    let outcome = dialled.wait_for(Option::is_some).await.map_err(|_| gone())?;
    outcome.clone().unwrap_or_else(|| Err(gone()))
}

/// Whether the app says that it has not looked at a request (RFC 9113 sections 6.8 and 8.7): it came behind its last word on a
/// connection, or is more than it takes.
fn is_unseen(error: &hyper::Error) -> bool {
    let told = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    told.filter(|told| told.is_remote()).is_some_and(|told| match told.reason() {
        Some(h2::Reason::NO_ERROR) => told.is_go_away(),
        Some(h2::Reason::REFUSED_STREAM) => told.is_reset(),
        _ => false,
    })
}

async fn connect(
    target: &Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    (patience, ping): (Duration, Duration),
    freed: Arc<Notify>,
) -> Result<Connection, String> {
    let tell = |error: std::io::Error| error.to_string();
    let tcp = reach(target.authority.as_str(), patience).await.map_err(tell)?;
    let Some(tls) = tls else { return begin(tcp, ping, freed).await };
    let name = target.server_name().map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(tell)?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
        return Err("it does not speak HTTP/2".to_owned());
    }
    begin(stream, ping, freed).await
}

async fn begin<S>(stream: S, ping: Duration, freed: Arc<Notify>) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MOST_OF_AN_APP)
        // None, until the app has said how many: those beyond that it would refuse.
        .initial_max_send_streams(0)
        .keep_alive_interval(ping)
        .keep_alive_timeout(ping)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let seats = Seats::new(Arc::clone(&freed));
    let hearing = Arc::clone(&seats);
    tokio::spawn(async move {
        let mut connection = Box::pin(connection);
        let driven = poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            hearing.allow(connection.current_max_send_streams());
            polled
        });
        if let Err(error) = driven.await {
            tracing::debug!(%error, "the connection to an app ended");
        }
        // Whoever waits for a seat on it looks elsewhere.
        freed.notify_waiters();
    });
    Ok(Connection { sender, made: Instant::now(), seats })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::net::TcpListener;

    use super::*;

    /// Whom it trusts makes no difference.
    fn tls() -> Arc<rustls::ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let roots = rustls::RootCertStore::empty();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    }

    /// An app that takes connections, and says nothing, not even TLS; and how many it took.
    async fn app(by_tls: bool, patience: Duration) -> (Http2App, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<AtomicUsize>::default();
        let counting = Arc::clone(&taken);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::SeqCst);
                held.push(socket);
            }
        });
        let scheme = if by_tls { "h2" } else { "h2c" };
        let target = Target::parse(&format!("{scheme}://{address}")).unwrap();
        (Http2App { patience, ..Http2App::new(target, by_tls.then(tls)) }, taken)
    }

    #[tokio::test]
    async fn all_who_wait_for_a_dead_host_hear_of_one_failure_and_whoever_comes_later_of_another() {
        let patience = Duration::from_millis(500);
        let (app, taken) = app(true, patience).await;
        let began = Instant::now();
        let outcomes = join_all((0..8).map(|_| app.connection())).await;
        assert!(outcomes.iter().all(Result::is_err));
        assert!(began.elapsed() < patience * 4, "one waited for the other: {:?}", began.elapsed());
        assert_eq!(taken.load(Ordering::SeqCst), 1);
        assert!(app.connection().await.is_err());
        assert_eq!(taken.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_app_whose_host_dies_while_nobody_asks_it_for_anything_is_noticed() {
        let (app, _taken) = app(false, Duration::from_secs(20)).await;
        let app = Http2App { ping: Duration::from_millis(100), ..app };
        let connection = app.connection().await.unwrap();
        let closed = async {
            while connection.is_fresh(connection.made) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap();
    }

    #[tokio::test]
    async fn an_app_that_says_nothing_is_not_there_and_no_further_connection_is_made_to_it() {
        let (app, taken) = app(false, Duration::from_secs(20)).await;
        let _first = app.seat().await.unwrap();
        assert!(matches!(app.seat().await, Err(AppError::Unreachable(_))));
        assert_eq!(taken.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_connection_takes_requests_for_an_hour_and_is_followed_by_another() {
        let (app, taken) = app(false, Duration::from_secs(20)).await;
        let first = app.connection().await.unwrap();
        assert_eq!(app.connection().await.unwrap().made, first.made, "one is enough");
        assert!(first.is_fresh(first.made) && !first.is_fresh(first.made + LIFE));
        // As if it had been made an hour ago.
        let old = Connection { made: first.made.checked_sub(LIFE).unwrap(), ..first };
        *app.connection.lock().unwrap() = Some(watch::channel(Some(Ok(old))).1);
        app.connection().await.unwrap();
        while taken.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    }
}
