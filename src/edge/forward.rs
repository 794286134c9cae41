//! What an app sees of a request: no credential of ours, no hop-by-hop header, forwarding headers that are ours.

use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, Uri};

use super::route::Correlation;
use super::{Connection, credential};
use crate::tunnel::TunnelName;

/// Makes the request that the app sees: no credential of ours, no hop-by-hop header, forwarding headers that are ours.
pub(super) fn prepare(
    request: &mut Request<Body>,
    connection: &Connection,
    domain: &str,
    name: &TunnelName,
    correlation: &Correlation,
) {
    // HTTP/2 names the port in the URI, HTTP/1.1 in the header; an app that builds links needs it.
    let in_header =
        request.headers().get(HOST).and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    let port = request.uri().authority().cloned().or(in_header).and_then(|authority| authority.port_u16());
    let host = port.map_or_else(|| format!("{name}.{domain}"), |port| format!("{name}.{domain}:{port}"));
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let headers = request.headers_mut();
    credential::strip(headers);
    remove_hop_headers(headers);
    for spoofed in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"] {
        headers.remove(spoofed);
    }
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-for", &connection.peer.ip().to_string());
    set("x-forwarded-host", &host);
    set("x-forwarded-proto", "https");
    set("x-request-id", &correlation.0);
    set("host", &host);
}

/// RFC 9110 section 7.6.1: what speaks of one connection does not travel further.
pub(super) fn remove_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    // `te: trailers` is how a gRPC client says that it understands trailers.
    let trailers = headers.get(TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_and_those_that_connection_names_are_removed() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("close, X-Secret-Hop"));
        headers.insert("x-secret-hop", HeaderValue::from_static("1"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert("x-kept", HeaderValue::from_static("1"));
        remove_hop_headers(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["te", "x-kept"]);
    }

    #[test]
    fn forwarding_headers_from_outside_are_replaced() {
        let mut request = Request::builder()
            .uri("https://demo.localhost:8443/a?b=c")
            .header("x-forwarded-for", "10.0.0.1")
            .header("forwarded", "for=10.0.0.1")
            .body(Body::empty())
            .unwrap();
        let connection = Connection::new("203.0.113.7:1".parse().unwrap(), None, None, None, None);
        let name = TunnelName::parse("demo").unwrap();
        prepare(&mut request, &connection, "localhost", &name, &Correlation("cor-1".to_owned()));
        assert_eq!(request.headers()["x-forwarded-for"], "203.0.113.7");
        assert!(!request.headers().contains_key("forwarded"));
        assert_eq!(request.headers()[HOST], "demo.localhost:8443");
        assert_eq!(request.headers()["x-forwarded-host"], "demo.localhost:8443");
        assert_eq!(request.uri(), "/a?b=c");
    }
}
