//! Accepts connections: counts them, ends TLS, and gives HTTP to [`super::route`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::arrival::Arrival;
use super::first_bytes::Speaks;
use super::head_timer::HeadTimer;
use super::linger::{self, Lent, Unread};
use super::seats::Seat;
use super::{
    Connection, Edge, front, head, in_clear, pass_through, protection, publisher, route, tls_refusals,
};
use crate::tunnel::{ALPN, BareSocket, NO_LIMIT, channel_binding, prompt, quiet_for};

/// After a failed `accept` (no file descriptors left, most likely): a breath before the next.
const BREATH: Duration = Duration::from_millis(50);

/// A visitor by HTTP/2 that says nothing for so long is asked whether it is there.
const ASKED: Duration = Duration::from_secs(30);
/// And is lost if it says nothing for so long.
const LOST: Duration = Duration::from_secs(45);

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has the port.
    #[error("{address} is in use by another process")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => {
                "stop that process, or choose another port: `gateway.listen` in sallyport.toml, or \
                 SALLYPORT_GATEWAY__LISTEN=127.0.0.1:18443 in the environment"
            }
            Self::Failed { .. } => {
                "check the address in `gateway.listen`; ports under 1024 need leave of the system"
            }
        }
    }
}

/// A bound socket with its TLS configuration.
pub struct Listener {
    tcp: TcpListener,
    tls: Arc<rustls::ServerConfig>,
}

impl Listener {
    /// Binds `address`.
    pub async fn bind(address: SocketAddr, tls: Arc<rustls::ServerConfig>) -> Result<Self, ListenError> {
        let tcp = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Failed { address, source },
        })?;
        Ok(Self { tcp, tls })
    }

    /// The address in force; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts until `stop`, then lets each connection finish what it is at; returns when all are done.
    pub async fn serve(self, edge: Edge, console: Router, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let acceptor = TlsAcceptor::from(self.tls);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            match front::seat(&edge, peer) {
                Ok(seat) => {
                    let accepted = Accepted { socket, peer, seat };
                    tasks.spawn(serve(
                        edge.clone(),
                        console.clone(),
                        acceptor.clone(),
                        accepted,
                        stop.clone(),
                    ));
                }
                Err(full) if full.first => {
                    tasks.spawn(refused(edge.clone(), peer));
                }
                Err(_) => {}
            }
        }
        drop(self.tcp);
        tasks.close();
        tasks.wait().await;
    }
}

struct Accepted {
    socket: TcpStream,
    peer: SocketAddr,
    seat: Seat,
}

async fn serve(
    edge: Edge,
    console: Router,
    acceptor: TlsAcceptor,
    accepted: Accepted,
    stop: CancellationToken,
) {
    let Accepted { socket, peer, seat } = accepted;
    prompt(&socket);
    let mut arrival = Arrival::new(socket);
    let Some((whence, seat)) = front::introduce(&edge, &mut arrival, peer, seat).await else { return };
    let peer = whence.peer;
    match tokio::time::timeout(edge.bounds.tls_handshake, arrival.speaks()).await {
        Ok(Ok(Speaks::Tls)) => {
            if let Some(name) = pass_through::wanted(&edge, &mut arrival).await {
                return pass_through::carry(&edge, &name, arrival, whence, seat).await;
            }
        }
        Ok(Ok(Speaks::Http)) => return in_clear::answer_http(&edge, peer, arrival).await,
        Ok(Ok(Speaks::Ssh)) => return in_clear::refuse_ssh(arrival).await,
        // Also behind a front's own: whom a visitor names is not believed.
        Ok(Ok(Speaks::Proxy)) => return not_agreed(&edge, peer, Some("proxy-header-untrusted")).await,
        Ok(Ok(Speaks::Unknown)) => return debug!(%peer, "nothing that is spoken here"),
        Ok(Err(error)) => return debug!(%peer, %error, "went before it was clear what it speaks"),
        Err(_) => return debug!(%peer, "said too little for too long"),
    }
    let stream = match tokio::time::timeout(edge.bounds.tls_handshake, acceptor.accept(arrival)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            debug!(%peer, %error, "TLS handshake failed");
            return not_agreed(&edge, peer, tls_refusals::reason(&error)).await;
        }
        Err(_) => return debug!(%peer, "TLS handshake took too long"),
    };
    let tls = stream.get_ref().1;
    let certificate = match (&edge.clients, tls.peer_certificates()) {
        (Some(clients), Some(chain)) => {
            let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            match clients.know(chain, resumed) {
                Ok(presented) => Some(presented),
                Err(error) => {
                    debug!(%peer, %error, "a client certificate is not good");
                    return not_agreed(&edge, peer, tls_refusals::word(&error)).await;
                }
            }
        }
        _ => None,
    };
    let facts = protection::facts(tls);
    let exporter = channel_binding(tls);
    let connection = Connection::new(whence, exporter, Some(facts), certificate, Some(seat));
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        // Like a WebSocket that was upgraded, it outlives the end of accepting: its link is told goodbye.
        return publisher::serve_bare(edge, connection, BareSocket::new(stream), "tls").await;
    }
    let abort = connection.abort.clone();
    let header_bytes = edge.bounds.header_bytes + head::MARGIN;
    let (heard, speaks_http2) =
        (stream.get_ref().0.heard(), stream.get_ref().1.alpn_protocol() == Some(b"h2"));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(HeadTimer::new(Arc::clone(&heard), edge.bounds.header, edge.bounds.keep_alive))
        .header_read_timeout(edge.bounds.header)
        .max_buf_size(header_bytes)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(250)
        .keep_alive_interval(ASKED)
        .keep_alive_timeout(NO_LIMIT);
    let lost = async move {
        if !speaks_http2 {
            // Nobody asks in HTTP/1.1: who downloads says nothing meanwhile.
            std::future::pending::<()>().await;
        }
        // At the latest an eighth later: there may be very many, and nobody waits for it.
        quiet_for(|| heard.load(Ordering::Relaxed), LOST * 9 / 8, 9).await;
    };
    // HTTP's own timeout begins when it is known which HTTP is spoken: a peer that never tells must not be waited for.
    let (begun, patience) = (CancellationToken::new(), edge.bounds.header);
    let (first, unread, seated) = (begun.clone(), Unread::default(), Arc::clone(&connection));
    let watch = unread.clone();
    let service = service_fn(move |request| {
        first.cancel();
        let request = request.map(|body| watch.watch(Body::new(body)));
        route::handle(edge.clone(), Arc::clone(&connection), console.clone(), request)
    });
    let (stream, back) = Lent::new(stream);
    let result = {
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(serving);
        tokio::select! {
            result = serving.as_mut() => result,
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    result = serving.as_mut() => result,
                    () = abort.cancelled() => return,
                }
            }
            () = abort.cancelled() => return debug!(%peer, "dropped: its session was cut and it reads nothing"),
            () = lost => return debug!(%peer, "lost: nothing came from it, not even an answer to a ping"),
            () = silence(patience, &begun) => return debug!(%peer, "no request came in time"),
        }
    };
    if let Err(error) = &result {
        debug!(%peer, %error, "connection ended");
    }
    if let Some(most) = linger::due(&result, &unread).filter(|_| !speaks_http2) {
        linger_with((back, most), &seated, &stop).await;
    }
}

/// Its sessions are over, and its seat is kept.
async fn linger_with(
    (mut back, most): (oneshot::Receiver<TlsStream<Arrival>>, u64),
    seated: &Connection,
    stop: &CancellationToken,
) {
    seated.forget_sessions();
    // What was upgraded is somebody else's now.
    let Ok(stream) = back.try_recv() else { return };
    tokio::select! {
        () = linger::read_out(stream.into_inner().0, most) => {}
        () = stop.cancelled() => {}
        () = seated.abort.cancelled() => {}
    }
}

/// Resolves when `patience` is over and nothing has begun; never if something has.
pub(super) async fn silence(patience: Duration, begun: &CancellationToken) {
    if tokio::time::timeout(patience, begun.cancelled()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Records a connection that was refused, if somebody should know and there is room for it.
pub(super) async fn not_agreed(edge: &Edge, peer: SocketAddr, why: Option<&'static str>) {
    let Some(draft) = why.and_then(|why| edge.tls_refusals.record(peer, why)) else { return };
    if let Err(error) = edge.ledger.enqueue(draft).await {
        warn!(%error, "a refused connection could not be recorded");
    }
}

/// Records that there was no seat for a connection, within the same bounds: who opens two for each that it closes finds that
/// one is free each time, and must not leave a record each time.
pub(super) async fn refused(edge: Edge, peer: SocketAddr) {
    not_agreed(&edge, peer, Some("too-many-connections")).await;
}
