//! What the operator lays down for single tunnels: how their requests are recorded, which headers are changed, under which
//! other hosts and paths they are reached.
//!
//! Trusted: the configuration, which was checked when it was read. A path or a domain leads to a tunnel and no further: who
//! may use that tunnel is decided by policy as ever, under that tunnel's own name.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;

use super::page::Refusal;
use super::{ForeignHeader, Priority, Sources};
use crate::session::Recording;
use crate::tunnel::TunnelName;

/// Changes to the headers of one direction.
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    /// Taken away.
    pub remove: Vec<HeaderName>,
    /// Put in place of whatever was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Put beside whatever was there, which of some names there may be several.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderRules {
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// What the operator lays down for one tunnel.
#[derive(Debug, Clone, Default)]
pub struct TunnelRules {
    /// When the records of its requests must be durable.
    pub recording: Recording,
    /// From where it may be visited.
    pub sources: Sources,
    /// The `Host` that the app gets in place of the visitor's.
    pub host: Option<HeaderValue>,
    /// Other hosts under which it is reached.
    pub domains: Vec<String>,
    /// Paths, with all below them, of its hosts that lead to other tunnels.
    pub paths: Vec<(String, TunnelName)>,
    /// Requests that its app gets at once, if not as for all; 0 is any number.
    pub at_once: Option<usize>,
    /// How urgent they are.
    pub priority: Priority,
    /// Time until the app begins its answer, if not as for all.
    pub patience: Option<Duration>,
    /// Largest body of a request, in bytes.
    pub body_bytes: Option<u64>,
    /// What becomes of a PROXY header at the beginning of a visitor's bytes.
    pub foreign_header: ForeignHeader,
    /// What may upgrade out of HTTP besides WebSockets.
    pub upgrades: Vec<HeaderValue>,
    /// Changes to requests.
    pub request: HeaderRules,
    /// Changes to answers.
    pub answer: HeaderRules,
}

impl TunnelRules {
    /// Whether a request says of itself that it is too large.
    pub(super) fn fits(&self, name: &TunnelName, request: &Request<Body>) -> Result<(), Refusal> {
        let announced = request.body().size_hint().lower();
        if self.body_bytes.is_some_and(|most| announced > most) { Err(self.too_large(name)) } else { Ok(()) }
    }

    /// What a request that is too large is answered with.
    pub(super) fn too_large(&self, name: &TunnelName) -> Refusal {
        let most = self.body_bytes.unwrap_or_default();
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("`{name}` takes at most {most} bytes in a request"),
            "send less; the gateway's operator sets the limit (body_bytes of the tunnel)",
        )
    }

    /// A body that breaks off beyond the bound, and then says so in `over`.
    pub(super) fn bounded(&self, body: Body, over: &Arc<AtomicBool>) -> Body {
        let Some(most) = self.body_bytes.and_then(|most| usize::try_from(most).ok()) else { return body };
        let over = Arc::clone(over);
        Body::new(Limited::new(body, most).map_err(move |error| {
            over.fetch_or(error.is::<LengthLimitError>(), Ordering::Relaxed);
            error
        }))
    }
}

/// The rules of all tunnels; clones share them.
#[derive(Debug, Clone, Default)]
pub struct HouseRules {
    tunnels: Arc<HashMap<TunnelName, Arc<TunnelRules>>>,
    domains: Arc<HashMap<String, TunnelName>>,
    usual: Arc<TunnelRules>,
}

impl HouseRules {
    /// The rules of single tunnels, and of all others.
    pub fn new(single: impl IntoIterator<Item = (TunnelName, TunnelRules)>, usual: TunnelRules) -> Self {
        let mut tunnels = HashMap::new();
        let mut domains = HashMap::new();
        for (name, mut rules) in single {
            domains.extend(rules.domains.iter().map(|domain| (domain.clone(), name.clone())));
            // The longest first: `/api/v2` is asked before `/api`.
            rules.paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
            tunnels.insert(name, Arc::new(rules));
        }
        Self { tunnels: Arc::new(tunnels), domains: Arc::new(domains), usual: Arc::new(usual) }
    }

    /// The rules of `name`.
    pub(super) fn of(&self, name: &TunnelName) -> Arc<TunnelRules> {
        Arc::clone(self.tunnels.get(name).unwrap_or(&self.usual))
    }

    /// The tunnel that has `host` besides its own name.
    pub(super) fn at(&self, host: &str) -> Option<&TunnelName> {
        self.domains.get(host)
    }

    /// The other hosts of `name`.
    pub(super) fn domains_of(&self, name: &TunnelName) -> Vec<String> {
        self.tunnels.get(name).map(|rules| rules.domains.clone()).unwrap_or_default()
    }

    /// The tunnel to which a path on the hosts of `name` leads: `name` itself, most often.
    pub(super) fn behind(&self, name: TunnelName, uri: &Uri) -> TunnelName {
        let Some(rules) = self.tunnels.get(&name) else { return name };
        let path = uri.path();
        let leads = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        rules.paths.iter().find(|(prefix, _)| leads(prefix)).map_or(name, |(_, other)| other.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TunnelName {
        TunnelName::parse(text).unwrap()
    }

    #[test]
    fn a_header_is_taken_away_put_in_place_of_others_or_beside_them() {
        let header = |name: &'static str, value: &'static str| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let rules = HeaderRules {
            remove: vec![HeaderName::from_static("server")],
            set: vec![header("x-stage", "live")],
            add: vec![header("set-cookie", "b=2"), header("x-new", "1")],
        };
        let mut headers: HeaderMap =
            [header("server", "app"), header("x-stage", "test"), header("set-cookie", "a=1")]
                .into_iter()
                .collect();
        rules.apply(&mut headers);
        assert!(!headers.contains_key("server"));
        let all = |name: &str| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("x-stage"), ["live"]);
        assert_eq!(all("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(all("x-new"), ["1"]);
    }

    #[test]
    fn a_path_leads_to_the_tunnel_of_its_longest_whole_prefix() {
        let paths = [("/api", "api"), ("/api/v2", "next")];
        let paths = paths.map(|(path, tunnel)| (path.to_owned(), name(tunnel))).to_vec();
        let rules = HouseRules::new(
            [(name("shop"), TunnelRules { paths, ..TunnelRules::default() })],
            TunnelRules::default(),
        );
        let leads = |uri: &'static str| rules.behind(name("shop"), &Uri::from_static(uri)).to_string();
        assert_eq!(leads("/api"), "api");
        assert_eq!(leads("/api/v1?to=/api/v2"), "api");
        assert_eq!(leads("/api/v2/x"), "next");
        assert_eq!(leads("/apiary"), "shop");
        assert_eq!(leads("/"), "shop");
        assert_eq!(rules.behind(name("other"), &Uri::from_static("/api")).to_string(), "other");
    }
}
