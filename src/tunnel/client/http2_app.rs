//! An app that speaks HTTP/2: one connection for all requests, made anew when it is gone.
//!
//! One is enough: HTTP/2 carries as many requests on it as the app allows, and gRPC expects it so. Whoever comes while the
//! connection is being made waits for that one, and hears of its failure with all others: at a host that is dead, nobody waits for a
//! second attempt of somebody else's.
//!
//! An app may say that it takes no more requests on a connection, and answer those that it has. What has not got onto it then goes onto
//! the next. None takes requests for longer than an hour, by when an app that was replaced, or a name that leads elsewhere, is followed;
//! those that it has are answered.
//!
//! It can be made before anybody needs it ([`super::warm`]), and be followed by another before it is too old.

use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::app::AppError;
use super::event::AppConnectionTurn as Turn;
use super::origin::CONNECT_TIMEOUT;
use super::reach::reach;
use super::resting::{LIFE, SWEEP};
use super::target::Target;
use super::upload::UploadBody;
use super::warm::{Next, Told, Warmth, random, sleep_until};
use crate::tunnel::link::chain;

/// What visitors may have under way towards the app, and it towards them.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// An app that hangs is noticed, even if nobody asks it for anything.
const PING: Duration = Duration::from_secs(20);
/// Connections onto which a request may fail to get: an app that takes nothing on several in a row answers nobody.
const TRIES: usize = 3;

/// The way to one app.
pub(super) struct Http2App {
    target: Target,
    tls: Option<Arc<rustls::ClientConfig>>,
    patience: Duration,
    connection: Mutex<Option<Dialled>>,
    /// Told when a connection ends.
    changed: Arc<Notify>,
    told: Told,
}

/// A connection that is being made, was made, or could not be.
type Dialled = watch::Receiver<Option<Result<Connection, String>>>;

#[derive(Clone)]
struct Connection {
    sender: SendRequest<UploadBody>,
    made: Instant,
}

impl Connection {
    fn is_fresh(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now.saturating_duration_since(self.made) < LIFE
    }
}

/// What there is for the next request.
enum Held {
    /// Nothing, or what a request finds to be of no use.
    None,
    /// A connection, or soon.
    Good(Dialled),
    /// The app has closed it.
    Closed(Connection),
    /// It is too old.
    Old,
}

impl Http2App {
    /// `ahead`: a connection is made before it is needed. Must be called where tasks can be started.
    pub(super) fn start(
        target: Target,
        tls: Option<Arc<rustls::ClientConfig>>,
        (ahead, told): (bool, Told),
    ) -> Arc<Self> {
        let app = Arc::new(Self::new(target, tls, told));
        if ahead {
            tokio::spawn(keep_warm(Arc::downgrade(&app), Arc::clone(&app.changed)));
        }
        app
    }

    fn new(target: Target, tls: Option<Arc<rustls::ClientConfig>>, told: Told) -> Self {
        let (connection, changed) = (Mutex::default(), Arc::default());
        Self { target, tls, patience: CONNECT_TIMEOUT, connection, changed, told }
    }

    pub(super) async fn request(
        &self,
        mut request: Request<UploadBody>,
    ) -> Result<Response<Incoming>, AppError> {
        let mut tries = 0;
        loop {
            let Connection { mut sender, .. } = self.connection().await.map_err(AppError::Unreachable)?;
            tries += 1;
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) if tries < TRIES => request = again,
                    None if is_unseen(unsent.error()) => {
                        return Err(AppError::Closed(chain(unsent.error())));
                    }
                    _ => return Err(AppError::Broken(chain(unsent.error()))),
                },
            }
        }
    }

    /// The connection, or the one that is being made, or else a new one.
    async fn connection(&self) -> Result<Connection, String> {
        let gone = || "connecting to it was broken off".to_owned();
        let mut dialled = self.dialled();
        let outcome = dialled.wait_for(Option::is_some).await.map_err(|_| gone())?;
        outcome.clone().unwrap_or_else(|| Err(gone()))
    }

    fn held(&self) -> MutexGuard<'_, Option<Dialled>> {
        // Holds a whole value, whatever panicked beside it.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dialled(&self) -> Dialled {
        let mut held = self.held();
        match state(held.as_ref(), Instant::now()) {
            Held::Good(dialled) => return dialled,
            Held::None => {}
            Held::Closed(_) => self.told.tell(Turn::Closed, ""),
            Held::Old => self.told.tell(Turn::Retired, ""),
        }
        let dialled = self.dial();
        *held = Some(dialled.clone());
        dialled
    }

    /// In a task of its own: whoever began it may leave, and others wait for it.
    fn dial(&self) -> Dialled {
        let (tell, dialled) = watch::channel(None);
        let (target, tls, patience) = (self.target.clone(), self.tls.clone(), self.patience);
        let (told, changed) = (self.told.clone(), Arc::clone(&self.changed));
        tokio::spawn(async move {
            let made = connect_in_time((&target, tls, patience), Arc::clone(&changed)).await;
            match &made {
                Ok(_) => told.tell(Turn::Made, ""),
                Err(reason) => told.tell(Turn::Failed, reason),
            }
            tell.send_replace(Some(made));
            changed.notify_one();
        });
        dialled
    }

    /// Looks at the connection `ahead` of whoever needs it, and lets go what is of no use any more.
    fn look(&self, now: Instant, warmth: &mut Warmth) -> Next {
        let mut held = self.held();
        let ready = match state(held.as_ref(), now + SWEEP) {
            Held::Good(dialled) => {
                if let Some(Ok(connection)) = &*dialled.borrow() {
                    warmth.lives(now.saturating_duration_since(connection.made));
                }
                true
            }
            // It still serves until another is there.
            Held::None | Held::Old => false,
            Held::Closed(connection) => {
                *held = None;
                self.told.tell(Turn::Closed, "");
                warmth.closed(now, Some(now.saturating_duration_since(connection.made)), random());
                false
            }
        };
        warmth.next(now, usize::from(ready), false)
    }

    /// Makes one ahead of whoever needs it. Requests go on with the one that there is meanwhile.
    async fn renew(&self, warmth: &mut Warmth) {
        let way = (&self.target, self.tls.clone(), self.patience);
        match connect_in_time(way, Arc::clone(&self.changed)).await {
            Ok(connection) => {
                self.told.tell(Turn::MadeAhead, "");
                let mut held = self.held();
                match state(held.as_ref(), Instant::now() + SWEEP) {
                    // Somebody needed one, and was first.
                    Held::Good(_) => {}
                    was => {
                        if matches!(was, Held::Old) {
                            self.told.tell(Turn::Retired, "");
                        }
                        *held = Some(watch::channel(Some(Ok(connection))).1);
                    }
                }
                warmth.made(Instant::now());
            }
            Err(reason) => {
                self.told.tell(Turn::Failed, &reason);
                warmth.failed(Instant::now(), random());
            }
        }
    }
}

/// What there is at `now`.
fn state(held: Option<&Dialled>, now: Instant) -> Held {
    let Some(dialled) = held else { return Held::None };
    match &*dialled.borrow() {
        // If nobody tells how it went any more, it went wrong.
        None if dialled.has_changed().is_ok() => Held::Good(dialled.clone()),
        None | Some(Err(_)) => Held::None,
        Some(Ok(connection)) if connection.sender.is_closed() => Held::Closed(connection.clone()),
        Some(Ok(connection)) if connection.is_fresh(now) => Held::Good(dialled.clone()),
        Some(Ok(_)) => Held::Old,
    }
}

/// Keeps a connection ready until the app is dropped.
async fn keep_warm(app: Weak<Http2App>, changed: Arc<Notify>) {
    let (mut beat, mut warmth, mut again) = (tokio::time::interval(SWEEP), Warmth::new(1), None);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = changed.notified() => {}
            () = sleep_until(again) => {}
        }
        let Some(app) = app.upgrade() else { return };
        let now = Instant::now();
        again = match app.look(now, &mut warmth) {
            Next::Nothing => None,
            Next::LookAt(then) => Some(then),
            Next::Make => {
                app.renew(&mut warmth).await;
                Some(Instant::now())
            }
        };
    }
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

/// The way to an app, and the time that connecting may take.
type Way<'a> = (&'a Target, Option<Arc<rustls::ClientConfig>>, Duration);

async fn connect_in_time(way: Way<'_>, ended: Arc<Notify>) -> Result<Connection, String> {
    let connecting = tokio::time::timeout(way.2, connect(way, ended)).await;
    let sender = connecting.unwrap_or_else(|_| Err("it did not accept in time".to_owned()))?;
    Ok(Connection { sender, made: Instant::now() })
}

async fn connect(
    (target, tls, patience): Way<'_>,
    ended: Arc<Notify>,
) -> Result<SendRequest<UploadBody>, String> {
    let tell = |error: std::io::Error| error.to_string();
    let tcp = reach(target.authority.as_str(), patience).await.map_err(tell)?;
    let Some(tls) = tls else { return begin(tcp, ended).await };
    let name = target.server_name().map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(tell)?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
        return Err("it does not speak HTTP/2".to_owned());
    }
    begin(stream, ended).await
}

async fn begin<S>(stream: S, ended: Arc<Notify>) -> Result<SendRequest<UploadBody>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to an app ended");
        }
        ended.notify_one();
    });
    Ok(sender)
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
        let told = Told { tunnel: "shop".to_owned(), events: None };
        (Http2App { patience, ..Http2App::new(target, by_tls.then(tls), told) }, taken)
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
    async fn one_that_is_nearly_too_old_is_followed_before_a_request_needs_it_to_be() {
        let (app, _taken) = app(false, Duration::from_secs(20)).await;
        let mut warmth = Warmth::new(1);
        let now = Instant::now();
        assert_eq!(app.look(now, &mut warmth), Next::Make, "nobody has asked yet");
        app.renew(&mut warmth).await;
        let made = app.connection().await.unwrap().made;
        let soon_old = made + LIFE.checked_sub(SWEEP).unwrap();
        assert_eq!(app.look(soon_old.checked_sub(SWEEP).unwrap(), &mut warmth), Next::Nothing);
        assert_eq!(app.look(soon_old, &mut warmth), Next::Make);
        assert_eq!(app.connection().await.unwrap().made, made, "it serves until the next is there");
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
