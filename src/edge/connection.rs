//! One visitor's connection, and the sessions that live on it.
//!
//! An HTTP session is one visitor's use of one tunnel over one connection: it is opened by the first request that policy
//! allows, serves the ones after it, and is closed with the connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use sha2::Digest as _;
use tokio::sync::Mutex;

use crate::session::Session;
use crate::tunnel::TunnelName;

/// What a request knows of the connection it came on.
pub struct Connection {
    /// Address of the peer.
    pub peer: SocketAddr,
    /// TLS exporter of this connection (RFC 9266), which binds a tunnel's handshake to it.
    pub exporter: Option<[u8; 32]>,
    sessions: Mutex<HashMap<Key, Session>>,
}

/// Tunnel and credential: another token on the same connection is another visitor.
type Key = (TunnelName, [u8; 32]);

impl Connection {
    pub(super) fn new(peer: SocketAddr, exporter: Option<[u8; 32]>) -> Self {
        Self { peer, exporter, sessions: Mutex::default() }
    }

    /// The open session of `credential` on `tunnel`, or the one that `open` makes. Requests that arrive together wait for
    /// one opening.
    pub(super) async fn session<E>(
        self: &Arc<Self>,
        tunnel: &TunnelName,
        credential: Option<&str>,
        open: impl Future<Output = Result<Session, E>>,
    ) -> Result<Session, E> {
        let key = (tunnel.clone(), sha2::Sha256::digest(credential.unwrap_or_default()).into());
        let mut sessions = self.sessions.lock().await;
        if let Some(session) = sessions.get(&key).filter(|session| session.is_open()) {
            return Ok(session.clone());
        }
        sessions.remove(&key);
        let session = open.await?;
        sessions.insert(key, session.clone());
        // A session that is cut while its connection idles is let go of at once, so that it is closed in the ledger.
        let (cut, connection) = (session.cut(), Arc::downgrade(self));
        tokio::spawn(async move {
            cut.await;
            if let Some(connection) = connection.upgrade() {
                connection.sessions.lock().await.retain(|_, session| session.is_open());
            }
        });
        Ok(session)
    }
}
