//! From a host name to a handler: the gateway's own pages and API on its domain, a tunnel on each name below it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, STRICT_TRANSPORT_SECURITY};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use tower_service::Service as _;
use tracing::{Instrument as _, Span, error_span, field};
use uuid::Uuid;

use super::page::{Refusal, RefusalCode};
use super::{Connection, Edge, HouseRules, asking, head, http};
use crate::tunnel::TunnelName;

/// Carries the correlation id of each answer; the ledger and the log speak of a request under the same id.
pub(super) const REFERENCE: HeaderName = HeaderName::from_static("sallyport-reference");

/// The id under which records, log lines and pages speak of one request.
#[derive(Debug, Clone)]
pub struct Correlation(pub String);

impl Correlation {
    pub(super) fn fresh() -> Self {
        Self(format!("cor-{}", Uuid::now_v7().simple()))
    }
}

/// The host and port that the visitor asked for, wherever its HTTP version says it.
#[derive(Debug, Clone)]
pub(super) struct Authority(pub(super) String);

enum Target {
    Gateway,
    Tunnel { name: TunnelName, host: String },
    Nobody(String),
}

/// Answers one request. What is logged meanwhile stands under its id.
pub(super) async fn handle(
    edge: Edge,
    connection: Arc<Connection>,
    console: Router,
    request: Request<Body>,
) -> Result<Response<Body>, Infallible> {
    let correlation = Correlation::fresh();
    // Of the highest level: a warning has it too, whatever else is left out.
    let span = error_span!("request", correlation = correlation.0, tunnel = field::Empty);
    answer(edge, connection, (console, request), correlation).instrument(span).await
}

async fn answer(
    edge: Edge,
    connection: Arc<Connection>,
    (mut console, mut request): (Router, Request<Body>),
    correlation: Correlation,
) -> Result<Response<Body>, Infallible> {
    let most = edge.bounds.header_bytes;
    if let Some(refusal) = bad_host(&request).or_else(|| head::too_large(&request, most)) {
        edge.metrics.refused(refusal.code);
        let mut response = refusal.respond(request.headers(), &correlation.0);
        if let Ok(value) = HeaderValue::from_str(&correlation.0) {
            response.headers_mut().insert(REFERENCE, value);
        }
        // Whatever comes behind it on this connection is not trusted to begin where it seems to.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    let authority = authority(&request);
    let target = target(&edge, &authority.0);
    request.extensions_mut().insert(authority);
    // What an app says to its visitors is the app's own.
    let own = match &target {
        Target::Gateway | Target::Nobody(_) => true,
        Target::Tunnel { .. } => request.uri().path().starts_with(asking::PREFIX),
    };
    let mut response = match target {
        Target::Gateway => {
            request.extensions_mut().insert(Arc::clone(&connection));
            request.extensions_mut().insert(correlation.clone());
            console.call(request).await?
        }
        Target::Tunnel { name, .. } if request.uri().path().starts_with(asking::PREFIX) => {
            asking::handle(&edge, &connection, &name, request, &correlation).await
        }
        Target::Tunnel { name, host } => {
            let name = edge.house_rules.behind(name, request.uri());
            Span::current().record("tunnel", name.as_str());
            let visited = http::Visited { name: &name, host: &host };
            http::carry(&edge, &connection, visited, request, &correlation).await
        }
        Target::Nobody(host) => Refusal::new(
            StatusCode::NOT_FOUND,
            "unknown-name",
            format!("nothing is published as `{host}` here"),
            format!("check the name; tunnels of this gateway end in .{}", edge.domain),
        )
        .respond(request.headers(), &correlation.0),
    };
    if let Some(RefusalCode(code)) = response.extensions().get() {
        edge.metrics.refused(code);
    }
    // A call that is answered again keeps the id of the one that was carried out.
    let correlation = response.extensions_mut().remove::<Correlation>().unwrap_or(correlation);
    if let Ok(value) = HeaderValue::from_str(&correlation.0) {
        response.headers_mut().insert(REFERENCE, value);
    }
    if let Some((name, value)) = &edge.alternative {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    if let Some(value) = own.then(|| strict_transport(&edge.domain)).flatten() {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, value);
    }
    Ok(response)
}

/// Why the host that a request names is none. By HTTP/1.1 there is one, if only an empty one; two would be another's to the app than to
/// the gateway (RFC 9112 section 3.2). One with somebody who is at it (RFC 9110 section 4.2.4) would lead whoever is sent on to it
/// elsewhere than it seems to.
pub(super) fn bad_host<B>(request: &Request<B>) -> Option<Refusal> {
    let is_host = |text: &str| !text.contains('@') && text.parse::<axum::http::uri::Authority>().is_ok();
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let (detail, hint) = if more.is_some() {
        ("the request names more than one host", "send one Host header (RFC 9112 section 3.2)")
    } else if host.is_none() && request.version() == Version::HTTP_11 {
        ("the request names no host", "send a Host header (RFC 9112 section 3.2)")
    } else if host.is_some_and(|host| host.to_str().is_err()) {
        ("the request names a host that is none", "send a host as DNS has it, in the letters of ASCII")
    } else {
        let named = authority(request).0;
        // One that names none is nobody's, and is told so.
        if named.is_empty() || is_host(&named) {
            return None;
        }
        (
            "the request names a host that is none",
            "send a host, with its port if it has one, and nothing else",
        )
    };
    Some(Refusal::new(StatusCode::BAD_REQUEST, "bad-host", detail, hint))
}

/// RFC 6797: for a year, browsers ask the domain and all below it by HTTPS alone. Not for a domain of one label, such as
/// `localhost`: that is everybody's, and a browser would take it for every port of it.
fn strict_transport(domain: &str) -> Option<HeaderValue> {
    domain.contains('.').then(|| HeaderValue::from_static("max-age=31536000; includeSubDomains"))
}

/// HTTP/2 names the host in the URI, HTTP/1.1 in the header.
pub(super) fn authority<B>(request: &Request<B>) -> Authority {
    let named = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let header = || request.headers().get(HOST).and_then(|value| value.to_str().ok());
    Authority(named.or_else(header).unwrap_or_default().to_owned())
}

/// Whether `authority` is the gateway's own host or one of a tunnel.
pub(super) fn serves(edge: &Edge, authority: &str) -> bool {
    !matches!(target(edge, authority), Target::Nobody(_))
}

/// The tunnel that is reached at `host`.
pub(super) fn tunnel_at(edge: &Edge, host: &str) -> Option<TunnelName> {
    match target(edge, host) {
        Target::Tunnel { name, .. } => Some(name),
        Target::Gateway | Target::Nobody(_) => None,
    }
}

fn target(edge: &Edge, authority: &str) -> Target {
    target_among(&edge.domain, &edge.house_rules, authority)
}

fn target_among(domain: &str, rules: &HouseRules, authority: &str) -> Target {
    let host = host_of(authority).to_ascii_lowercase();
    if host == domain || host.parse::<IpAddr>().is_ok() {
        return Target::Gateway;
    }
    if let Some(name) = rules.at(&host) {
        return Target::Tunnel { name: name.clone(), host };
    }
    match host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).map(TunnelName::parse) {
        Some(Ok(name)) => Target::Tunnel { name, host },
        _ => Target::Nobody(host.chars().filter(|letter| !letter.is_control()).take(253).collect()),
    }
}

/// Host without port, brackets and trailing dot.
fn host_of(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::TunnelRules;

    fn leads_to(host: &str) -> String {
        let request = Request::builder().uri("/").header(HOST, host).body(Body::empty()).unwrap();
        let own = TunnelName::parse("shop").unwrap();
        let rules = TunnelRules { domains: vec!["shop.example.net".to_owned()], ..TunnelRules::default() };
        let rules = HouseRules::new([(own, rules)], TunnelRules::default());
        match target_among("gate.example", &rules, &authority(&request).0) {
            Target::Gateway => "gateway".to_owned(),
            Target::Tunnel { name, .. } => format!("tunnel {name}"),
            Target::Nobody(host) => format!("nobody {host}"),
        }
    }

    #[test]
    fn the_domain_itself_and_bare_addresses_are_the_gateway() {
        for host in ["gate.example", "GATE.example:8443", "127.0.0.1:8443", "[::1]:8443", "gate.example."] {
            assert_eq!(leads_to(host), "gateway", "{host}");
        }
    }

    #[test]
    fn a_host_has_a_port_and_nothing_else_beside_it() {
        let is_bad = |host: &str| {
            bad_host(&Request::builder().uri("/").header(HOST, host).body(Body::empty()).unwrap()).is_some()
        };
        for good in ["gate.example", "demo.gate.example:8443", "[::1]:8443", "127.0.0.1", ""] {
            assert!(!is_bad(good), "{good}");
        }
        for bad in ["demo.gate.example:1@evil.test", "@evil.test", "demo.gate.example/x", "a b", "d\u{e9}mo"]
        {
            assert!(is_bad(bad), "{bad}");
        }
    }

    #[test]
    fn only_older_versions_than_http_1_1_may_name_no_host_in_a_header() {
        let is_bad = |version, uri: &str| {
            let request = Request::builder().version(version).uri(uri).body(Body::empty()).unwrap();
            bad_host(&request).is_some()
        };
        assert!(is_bad(Version::HTTP_11, "/"));
        assert!(is_bad(Version::HTTP_11, "https://demo.gate.example/"));
        assert!(!is_bad(Version::HTTP_10, "/"));
        assert!(!is_bad(Version::HTTP_2, "https://demo.gate.example/"));
    }

    #[test]
    fn browsers_are_told_to_keep_to_https_but_not_for_a_name_that_is_everybodys() {
        assert_eq!(strict_transport("gate.example").unwrap(), "max-age=31536000; includeSubDomains");
        assert_eq!(strict_transport("localhost"), None);
    }

    #[test]
    fn one_label_below_the_domain_is_a_tunnel() {
        assert_eq!(leads_to("demo.gate.example"), "tunnel demo");
        assert_eq!(leads_to("Demo.Gate.Example:8443"), "tunnel demo");
    }

    #[test]
    fn a_domain_of_a_tunnels_own_leads_to_it() {
        assert_eq!(leads_to("Shop.Example.Net:8443"), "tunnel shop");
        assert!(leads_to("www.shop.example.net").starts_with("nobody"));
    }

    #[test]
    fn anything_else_is_nobody() {
        for host in
            ["a.b.gate.example", "demo.gate.example.evil.test", "evilgate.example", "-.gate.example", ""]
        {
            assert!(leads_to(host).starts_with("nobody"), "{host}: {}", leads_to(host));
        }
    }
}
