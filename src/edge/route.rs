//! From a host name to a handler: the gateway's own pages and API on its domain, a tunnel on each name below it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{HOST, STRICT_TRANSPORT_SECURITY};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tower_service::Service as _;
use uuid::Uuid;

use super::page::Refusal;
use super::{Connection, Edge, asking, http};
use crate::tunnel::TunnelName;

/// Carries the correlation id of each answer; the ledger and the log speak of a request under the same id.
pub(super) const REFERENCE: HeaderName = HeaderName::from_static("sallyport-reference");

/// The id under which records, log lines and pages speak of one request.
#[derive(Debug, Clone)]
pub struct Correlation(pub String);

/// The host and port that the visitor asked for, wherever its HTTP version says it.
#[derive(Debug, Clone)]
pub(super) struct Authority(pub(super) String);

enum Target {
    Gateway,
    Tunnel(TunnelName),
    Nobody(String),
}

/// Answers one request.
pub(super) async fn handle(
    edge: Edge,
    connection: Arc<Connection>,
    mut console: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let correlation = Correlation(format!("cor-{}", Uuid::now_v7().simple()));
    let mut request = request.map(Body::new);
    let authority = authority(&request);
    let target = target(&edge.domain, &authority.0);
    request.extensions_mut().insert(authority);
    // What an app says to its visitors is the app's own.
    let own = match &target {
        Target::Gateway | Target::Nobody(_) => true,
        Target::Tunnel(_) => request.uri().path().starts_with(asking::PREFIX),
    };
    let mut response = match target {
        Target::Gateway => {
            request.extensions_mut().insert(Arc::clone(&connection));
            request.extensions_mut().insert(correlation.clone());
            console.call(request).await?
        }
        Target::Tunnel(name) if request.uri().path().starts_with(asking::PREFIX) => {
            asking::handle(&edge, &connection, &name, request, &correlation).await
        }
        Target::Tunnel(name) => http::carry(&edge, &connection, &name, request, &correlation).await,
        Target::Nobody(host) => Refusal::new(
            StatusCode::NOT_FOUND,
            "unknown-name",
            format!("nothing is published as `{host}` here"),
            format!("check the name; tunnels of this gateway end in .{}", edge.domain),
        )
        .respond(request.headers(), &correlation.0),
    };
    // A call that is answered again keeps the id of the one that was carried out.
    let correlation = response.extensions_mut().remove::<Correlation>().unwrap_or(correlation);
    if let Ok(value) = HeaderValue::from_str(&correlation.0) {
        response.headers_mut().insert(REFERENCE, value);
    }
    if let Some(value) = own.then(|| strict_transport(&edge.domain)).flatten() {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, value);
    }
    Ok(response)
}

/// RFC 6797: for a year, browsers ask the domain and all below it by HTTPS alone. Not for a domain of one label, such as
/// `localhost`: that is everybody's, and a browser would take it for every port of it.
fn strict_transport(domain: &str) -> Option<HeaderValue> {
    domain.contains('.').then(|| HeaderValue::from_static("max-age=31536000; includeSubDomains"))
}

/// HTTP/2 names the host in the URI, HTTP/1.1 in the header.
fn authority(request: &Request<Body>) -> Authority {
    let named = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let header = || request.headers().get(HOST).and_then(|value| value.to_str().ok());
    Authority(named.or_else(header).unwrap_or_default().to_owned())
}

fn target(domain: &str, authority: &str) -> Target {
    let host = host_of(authority).to_ascii_lowercase();
    if host == domain || host.parse::<IpAddr>().is_ok() {
        return Target::Gateway;
    }
    match host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).map(TunnelName::parse) {
        Some(Ok(name)) => Target::Tunnel(name),
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

    fn leads_to(host: &str) -> String {
        let request = Request::builder().uri("/").header(HOST, host).body(Body::empty()).unwrap();
        match target("gate.example", &authority(&request).0) {
            Target::Gateway => "gateway".to_owned(),
            Target::Tunnel(name) => format!("tunnel {name}"),
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
    fn anything_else_is_nobody() {
        for host in
            ["a.b.gate.example", "demo.gate.example.evil.test", "evilgate.example", "-.gate.example", ""]
        {
            assert!(leads_to(host).starts_with("nobody"), "{host}: {}", leads_to(host));
        }
    }
}
