//! Sign-ins that are under way: short-lived, each good once, in one browser, and bounded in number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::access::Identity;
use crate::tunnel::TunnelName;

/// How long a browser may take at the identity provider.
const AT_PROVIDER: Duration = Duration::from_mins(10);
/// How long it may take from the gateway's host to the tunnel's.
const ON_THE_WAY: Duration = Duration::from_mins(1);
/// Most that are under way at a time, of either kind.
const MANY: usize = 10_000;

/// What somebody signs in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A tunnel, on a host of its own.
    Tunnel {
        /// Which.
        name: TunnelName,
        /// Digest of what the tunnel's host has set in the browser.
        browser: String,
    },
    /// The console, on the gateway's own host.
    Console,
}

impl Place {
    /// As records call it.
    pub(super) fn object(&self) -> String {
        match self {
            Self::Tunnel { name, .. } => format!("tunnel:{name}"),
            Self::Console => "gateway:console".to_owned(),
        }
    }
}

/// Where somebody wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) place: Place,
    /// Path on its host.
    pub(super) to: String,
}

/// Somebody who has gone to an identity provider.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) aim: Aim,
    pub(super) provider: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Digest of what the gateway's host has set in the browser.
    pub(super) browser: String,
}

/// Somebody who is known, and on the way to a tunnel.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) aim: Aim,
    pub(super) identity: Identity,
}

/// Those that are under way. Memory alone knows of them: after a restart the visitor starts anew.
#[derive(Default)]
pub struct SignIns {
    flows: Waiting<Flow>,
    arrivals: Waiting<Arrival>,
}

struct Waiting<T>(Mutex<HashMap<[u8; 32], (Instant, T)>>);

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Waiting<T> {
    /// Keeps it under a text that nobody can guess; `None` if too many wait, or there is no randomness.
    fn keep(&self, what: T, until: Instant, now: Instant) -> Option<String> {
        let text = unguessable()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY {
            all.retain(|_, (until, _)| now < *until);
        }
        if all.len() >= MANY {
            return None;
        }
        all.insert(Sha256::digest(&text).into(), (until, what));
        Some(text)
    }

    /// Takes it out: it is there once. Looked up by its digest, so that the time it takes says nothing.
    fn take(&self, text: &str, now: Instant) -> Option<T> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let (until, what) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest)?;
        (now < until).then_some(what)
    }
}

impl SignIns {
    /// The `state` of a sign-in at a provider.
    pub(super) fn set_out(&self, flow: Flow, now: Instant) -> Option<String> {
        self.flows.keep(flow, now + AT_PROVIDER, now)
    }

    /// Whose `state` this is, in this browser.
    pub(super) fn come_back(&self, state: &str, browser: Option<&str>, now: Instant) -> Option<Flow> {
        self.flows.take(state, now).filter(|flow| browser.map(digest).as_deref() == Some(&flow.browser))
    }

    /// The code with which somebody goes to a tunnel.
    pub(super) fn send(&self, arrival: Arrival, now: Instant) -> Option<String> {
        self.arrivals.keep(arrival, now + ON_THE_WAY, now)
    }

    /// Who arrives with this code at this tunnel, in this browser.
    pub(super) fn arrive(
        &self,
        code: &str,
        tunnel: &TunnelName,
        browser: Option<&str>,
        now: Instant,
    ) -> Option<Arrival> {
        let here = Place::Tunnel { name: tunnel.clone(), browser: browser.map(digest).unwrap_or_default() };
        let fits = |arrival: &Arrival| browser.is_some() && arrival.aim.place == here;
        self.arrivals.take(code, now).filter(fits)
    }
}

/// 256 random bits as text.
pub(super) fn unguessable() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256 as text.
pub(super) fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// Whether a text can be a digest.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A path on a host, as it may stand after it in an address: nothing that leads to another host or splits a header.
pub(in crate::edge) fn safe_path(text: &str) -> String {
    let plain = text.starts_with('/')
        && !text.starts_with("//")
        && !text.starts_with("/\\")
        && text.len() <= 2_048
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'"');
    if plain { text.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Tenant;

    fn arrival(tunnel: &str, browser: &str) -> Arrival {
        let tenant: Tenant = "main".parse().unwrap();
        let place = Place::Tunnel { name: TunnelName::parse(tunnel).unwrap(), browser: digest(browser) };
        let aim = Aim { place, to: "/".to_owned() };
        Arrival { aim, identity: Identity::anonymous(tenant) }
    }

    #[test]
    fn a_code_works_once_at_its_tunnel_in_its_browser_and_for_a_minute() {
        let (signs, now) = (SignIns::default(), Instant::now());
        let demo = TunnelName::parse("demo").unwrap();
        let other = TunnelName::parse("other").unwrap();
        let send = || signs.send(arrival("demo", "b1"), now).unwrap();
        let code = send();
        assert!(signs.arrive(&code, &demo, Some("b1"), now).is_some());
        assert!(signs.arrive(&code, &demo, Some("b1"), now).is_none(), "once");
        assert!(signs.arrive(&send(), &other, Some("b1"), now).is_none(), "another tunnel");
        assert!(signs.arrive(&send(), &demo, Some("b2"), now).is_none(), "another browser");
        assert!(signs.arrive(&send(), &demo, None, now).is_none(), "no browser");
        assert!(signs.arrive(&send(), &demo, Some("b1"), now + ON_THE_WAY).is_none(), "too late");
        assert!(signs.arrive("guess", &demo, Some("b1"), now).is_none());
    }

    #[test]
    fn how_many_can_be_under_way_is_bounded_and_old_ones_make_way() {
        let (signs, now) = (SignIns::default(), Instant::now());
        for _ in 0..MANY {
            assert!(signs.send(arrival("demo", "b"), now).is_some());
        }
        assert!(signs.send(arrival("demo", "b"), now).is_none());
        assert!(signs.send(arrival("demo", "b"), now + ON_THE_WAY).is_some());
    }

    #[test]
    fn the_way_back_leads_nowhere_else() {
        for good in ["/", "/a/b?x=1&y=%20", "/~a#b"] {
            assert_eq!(safe_path(good), good);
        }
        for bad in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
            "/é",
            "/a\"b",
            "/a b",
        ] {
            assert_eq!(safe_path(bad), "/", "{bad:?}");
        }
        assert!(safe_path(&format!("/{}", "a".repeat(3_000))) == "/");
    }
}
