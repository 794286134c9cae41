//! One visitor's connection, and the sessions that live on it.
//!
//! An HTTP session is one visitor's use of one tunnel over one connection: it is opened by the first request that policy
//! allows, serves the ones after it, and is closed with the connection.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sha2::Digest as _;
use tokio_util::sync::CancellationToken;

use super::client_certificate::Presented;
use super::front::Whence;
use super::seats::Seat;
use crate::access::TlsFacts;
use crate::session::Session;
use crate::tunnel::TunnelName;

/// After a cut: how long a visitor who does not read may keep its connection, until it is dropped.
const LINGER: Duration = Duration::from_millis(500);

/// What a request knows of the connection it came on.
pub struct Connection {
    /// Address of the peer: the visitor, also where a front brings it.
    pub peer: SocketAddr,
    /// Where it reached us.
    pub(super) reached: Option<SocketAddr>,
    /// The front that named the peer.
    pub(super) front: Option<IpAddr>,
    /// TLS exporter of this connection (RFC 9266), which binds a tunnel's handshake to it.
    pub exporter: Option<[u8; 32]>,
    /// What TLS was agreed on; `None` where there is none.
    pub tls: Option<TlsFacts>,
    /// The certificate that the client showed in it.
    pub certificate: Option<Presented>,
    /// Cancelled when the connection must be dropped, whatever is still on it.
    pub(super) abort: CancellationToken,
    sessions: Mutex<HashMap<Key, Place>>,
    _seat: Option<Seat>,
}

/// Registration of the tunnel, and credential: another publisher is another session, another token is another visitor.
type Key = (TunnelName, String, [u8; 32]);

/// Where a session is, or is to be. Locked while it is opened.
type Place = Arc<tokio::sync::Mutex<Option<Session>>>;

impl Connection {
    pub(super) fn new(
        whence: impl Into<Whence>,
        exporter: Option<[u8; 32]>,
        tls: Option<TlsFacts>,
        certificate: Option<Presented>,
        seat: Option<Seat>,
    ) -> Arc<Self> {
        let Whence { peer, reached, front } = whence.into();
        Arc::new(Self {
            peer,
            reached,
            front,
            exporter,
            tls,
            certificate,
            abort: CancellationToken::new(),
            sessions: Mutex::default(),
            _seat: seat,
        })
    }

    /// Where it comes from.
    pub(super) fn whence(&self) -> Whence {
        Whence { peer: self.peer, reached: self.reached, front: self.front }
    }

    /// The open session of `credential` on the registration `id` of `tunnel`, or the one that `open` makes. Requests for the
    /// same one that arrive together wait for one opening; others do not wait for them.
    pub(super) async fn session<E>(
        self: &Arc<Self>,
        tunnel: &TunnelName,
        id: &str,
        credential: Option<&[u8]>,
        open: impl Future<Output = Result<Session, E>>,
    ) -> Result<Session, E> {
        let digest = sha2::Sha256::digest(credential.unwrap_or_default()).into();
        let key = (tunnel.clone(), id.to_owned(), digest);
        let place = Arc::clone(self.sessions().entry(key.clone()).or_default());
        let mut held = place.lock().await;
        if let Some(session) = held.as_ref().filter(|session| session.is_open()) {
            return Ok(session.clone());
        }
        *held = None;
        let session = match open.await {
            Ok(session) => session,
            Err(error) => {
                // Nothing is remembered of what was refused.
                drop(held);
                self.clear(&key, &place);
                return Err(error);
            }
        };
        *held = Some(session.clone());
        drop(held);
        tokio::spawn(let_go(Arc::downgrade(self), key, session.cut(), session.released()));
        Ok(session)
    }

    /// For a connection that is one session: whoever has its handle now holds it alone, and ends it with itself.
    pub(super) fn forget_sessions(&self) {
        self.sessions().clear();
    }

    /// Takes an empty place away, unless somebody else waits for it: who opens a session there must find it again.
    fn clear(&self, key: &Key, place: &Place) {
        let mut sessions = self.sessions();
        let is_there = sessions.get(key).is_some_and(|there| Arc::ptr_eq(there, place));
        // The table's own handle and the caller's. Others are made under this lock alone.
        if is_there && Arc::strong_count(place) <= 2 {
            sessions.remove(key);
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Place>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is cut while its connection idles is let go of at once, so that it is closed in the ledger. A visitor who
/// reads nothing keeps the answer's last piece, and with it the session: then the connection itself is dropped.
async fn let_go(
    connection: Weak<Connection>,
    key: Key,
    cut: impl Future<Output = ()>,
    released: impl Future<Output = ()>,
) {
    cut.await;
    if let Some(connection) = connection.upgrade() {
        let place = connection.sessions().get(&key).cloned();
        if let Some(place) = place {
            let mut held = place.lock().await;
            // By now it may be another session's, which goes on.
            let is_over = held.as_ref().is_none_or(|session| !session.is_open());
            if is_over {
                *held = None;
                drop(held);
                connection.clear(&key, &place);
            }
        }
    }
    if tokio::time::timeout(LINGER, released).await.is_err()
        && let Some(connection) = connection.upgrade()
    {
        connection.abort.cancel();
    }
}
