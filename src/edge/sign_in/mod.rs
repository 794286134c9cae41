//! Signing in with a browser.
//!
//! A person's token never meets the host of a tunnel, where the app's own pages could ask for it in our name. So a visitor
//! who isn't known is sent to the gateway's own host, shows there a token or signs in at an identity provider, and comes
//! back to the tunnel's host with a code that works once, for a minute, in the browser that set out. There it becomes a
//! session: a token of the gateway's own, for this tunnel alone, short-lived, listed and revocable like any other.
//!
//! The console is on the gateway's own host: its session is a cookie there, which covers neither the use nor the serving
//! of tunnels.
//!
//! Promised: a code or a `state` is good once and only in the browser that it was made for (a cookie of that host names it),
//! so nobody can be signed in as somebody else; the way back leads to a tunnel of this gateway and nowhere else; how many
//! can be under way is bounded. Trusted: the identity provider that was configured, for its own people.
//!
//! Start with [`away`] (a tunnel's host), then [`desk`] (the gateway's), then [`away::enter`].

pub(super) mod away;
pub(super) mod desk;
pub(super) mod pending;
mod provider;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

pub use pending::SignIns;
pub use provider::{Challenge, Providers};

/// Names a browser on the host of a tunnel, and on the gateway's, while somebody signs in.
pub(super) const BROWSER: &str = "__Host-sallyport-browser";

/// Keeps a session at the console, on the gateway's own host. Another name than at a tunnel: neither is ever taken for the other.
pub(super) const CONSOLE_COOKIE: &str = "__Host-sallyport-console";

/// Where one signs in to the console.
const CONSOLE_DESK: &str = "/console/sign-in";

/// The session at the console that a request carries.
pub fn console_session(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, CONSOLE_COOKIE).filter(|text| !text.is_empty())
}

/// A cookie of ours by its name.
fn cookie<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then_some(value)
    })
}

/// A cookie that the browser keeps for this host alone, out of reach of scripts.
fn set_cookie(name: &str, value: &str, seconds: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax")
}
