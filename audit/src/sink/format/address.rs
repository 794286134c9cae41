//! A network address as records hold it, taken apart: `203.0.113.7:443`, `[2001:db8::7]:443`, or without a port.

use std::net::{IpAddr, SocketAddr};

/// Address and port; `None` where it is not an address.
pub(super) fn parts(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some((both.ip(), Some(both.port())));
    }
    text.parse().ok().map(|ip| (ip, None))
}
