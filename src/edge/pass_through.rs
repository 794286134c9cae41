//! TLS tunnels: the visitor's TLS goes through as it is, to an app that ends it. Only the name that the visitor asked for is read.
//!
//! Promised: what is read is the `ClientHello`, within [`LONGEST`] bytes and the time for a handshake; a name that is no TLS
//! tunnel's goes on to the gateway's own TLS as if nobody had looked. Policy and records are those of a TCP tunnel.
//! What cannot be known: who the visitor is beyond its address (so policy decides about `user:anonymous`), which requests it
//! makes, and whether the name that it asked for in clear is the one that it asks for inside.

use rustls::server::Acceptor;

use super::arrival::Arrival;
use super::front::Whence;
use super::seats::Seat;
use super::{Edge, route, tcp};
use crate::session::Protocol;
use crate::tunnel::{TunnelKind, TunnelName};

/// Longest `ClientHello` that is looked into; a post-quantum key share of today makes two kilobytes.
const LONGEST: usize = 16 * 1024;

/// The TLS tunnel that a visitor asks for, if it does. `None` also for a `ClientHello` that is no good: the gateway's own TLS
/// has the right alert for it.
pub(super) async fn wanted(edge: &Edge, arrival: &mut Arrival) -> Option<TunnelName> {
    if !edge.bounds.pass_through {
        return None;
    }
    let name = tokio::time::timeout(edge.bounds.tls_handshake, server_name(arrival)).await.ok()??;
    let name = route::tunnel_at(edge, &name)?;
    matches!(edge.routes.kind(&name), Some(TunnelKind::Tls)).then_some(name)
}

/// Carries the connection.
pub(super) async fn carry(edge: &Edge, name: &TunnelName, arrival: Arrival, whence: Whence, seat: Seat) {
    tcp::carry(edge, name, arrival, (whence, seat), Protocol::Tls).await;
}

/// What the `ClientHello` names (RFC 6066 section 3), without taking it out of the stream.
async fn server_name(arrival: &mut Arrival) -> Option<String> {
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        let mut new = arrival.head().get(seen..).unwrap_or_default();
        while !new.is_empty() {
            match acceptor.read_tls(&mut new).ok()? {
                0 => return None,
                length => seen += length,
            }
        }
        if seen > 0
            && let Some(accepted) = acceptor.accept().ok()?
        {
            return accepted.client_hello().server_name().map(str::to_owned);
        }
        arrival.more(LONGEST).await.ok()?;
    }
}
