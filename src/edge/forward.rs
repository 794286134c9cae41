//! What an app sees of a request: no credential of ours, no hop-by-hop header, and of where it came from only what the gateway
//! itself knows.
//!
//! Not trusted: whatever a visitor says of addresses, hosts and traces. It is removed, in every spelling that an app could
//! take for the real one, and said anew.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{HOST, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, Uri};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};

use super::house_rules::TunnelRules;
use super::route::Correlation;
use super::{Connection, credential};
use crate::tunnel::strip_hop_by_hop;

/// Headers that say where a request came from and to what it belongs, which only the gateway may say. And `Proxy`, which is none: whoever
/// makes variables of headers makes the `HTTP_PROXY` of it by which programs find their way out (CVE-2016-5385 and others).
const OURS: &[&str] = &[
    "b3",
    "baggage",
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "proxy",
    "traceparent",
    "tracestate",
    "true-client-ip",
    "x-azure-clientip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

/// Beginnings of such names.
const OURS_BEGIN: &[&str] = &["sallyport-", "x-b3-", "x-forwarded-"];

/// Makes the request that the app sees. `host` is the name under which the visitor came.
pub(super) fn prepare(
    request: &mut Request<Body>,
    connection: &Connection,
    host: &str,
    rules: &TunnelRules,
    correlation: &Correlation,
) {
    // HTTP/2 names the port in the URI, HTTP/1.1 in the header; an app that builds links needs it.
    let in_header =
        request.headers().get(HOST).and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    let port = request.uri().authority().cloned().or(in_header).and_then(|authority| authority.port_u16());
    let authority = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    if !request.body().is_end_stream() {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(WithHonestTrailers(body));
    }
    let headers = request.headers_mut();
    strip(headers);
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let peer = connection.peer.ip().to_canonical();
    set("forwarded", &forwarded(peer, &authority));
    set("x-forwarded-for", &peer.to_string());
    set("x-forwarded-host", &authority);
    set("x-forwarded-proto", "https");
    set("x-forwarded-port", &port.unwrap_or(443).to_string());
    set("x-real-ip", &peer.to_string());
    set("x-request-id", &correlation.0);
    set("host", &authority);
    if let Some(parent) = trace_parent(correlation) {
        headers.insert("traceparent", parent);
    }
    rules.request.apply(headers);
    if let Some(host) = &rules.host {
        headers.insert(HOST, host.clone());
    }
}

/// What a visitor may not say to an app, in headers or behind them.
fn strip(headers: &mut HeaderMap) {
    credential::strip(headers);
    strip_hop_by_hop(headers);
    strip_spoofed(headers);
}

/// A visitor's body. Servers that join trailers to the headers (RFC 9110 section 6.5.1) would take what came late for what was
/// removed before.
struct WithHonestTrailers(Body);

impl hyper::body::Body for WithHonestTrailers {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                strip(trailers);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Apps that make variables of headers take `X_Forwarded_For` for `X-Forwarded-For` (CGI, WSGI), some also `X.Forwarded.For` (PHP);
/// so does this, of whatever is no letter and no digit.
fn strip_spoofed(headers: &mut HeaderMap) {
    let spoofed: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
    for name in spoofed {
        headers.remove(name);
    }
}

fn is_ours(name: &str) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    let begins = |ours: &str| {
        name.len() >= ours.len() && name.bytes().zip(ours.bytes()).all(|(byte, our)| plain(byte) == our)
    };
    OURS.iter().any(|ours| name.len() == ours.len() && begins(ours))
        || OURS_BEGIN.iter().any(|ours| begins(ours))
}

/// RFC 7239. An IPv6 address stands in brackets and quotes, and a host with a port in quotes.
fn forwarded(peer: IpAddr, authority: &str) -> String {
    match peer {
        IpAddr::V4(peer) => format!("for={peer};host=\"{authority}\";proto=https"),
        IpAddr::V6(peer) => format!("for=\"[{peer}]\";host=\"{authority}\";proto=https"),
    }
}

/// W3C Trace Context: a new trace, whose id is that of the correlation id, so that the app's traces, the log and the ledger
/// speak of a request under the same number.
pub(super) fn trace_parent(correlation: &Correlation) -> Option<HeaderValue> {
    let trace = correlation.0.strip_prefix("cor-").filter(|id| id.len() == 32)?;
    // The random half of the UUID, which is never all zeros: its first two bits are `10`.
    let span = trace.get(16..)?;
    HeaderValue::from_str(&format!("00-{trace}-{span}-01")).ok()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn prepared(request: axum::http::request::Builder, rules: &TunnelRules) -> Request<Body> {
        let mut request = request.body(Body::empty()).unwrap();
        prepare_for(&mut request, rules);
        request
    }

    fn prepare_for(request: &mut Request<Body>, rules: &TunnelRules) {
        let peer: std::net::SocketAddr = "203.0.113.7:1".parse().unwrap();
        let connection = Connection::new(peer, None, None, None, None);
        let correlation = Correlation("cor-0198a1b2c3d47e5f8a6b7c8d9e0f1a2b".to_owned());
        prepare(request, &connection, "demo.localhost", rules, &correlation);
    }

    #[test]
    fn forwarding_headers_from_outside_are_replaced_however_they_are_spelled() {
        let request = Request::builder()
            .uri("https://demo.localhost:8443/a?b=c")
            .header("x-forwarded-for", "10.0.0.1")
            .header("X_Forwarded_For", "10.0.0.1")
            .header("x-forwarded-user", "admin")
            .header("x_real_ip", "10.0.0.1")
            .header("X.Forwarded.For", "10.0.0.1")
            .header("X-Forwarded", "for=10.0.0.1")
            .header("Client-IP", "10.0.0.1")
            .header("CF-Connecting-IP", "10.0.0.1")
            .header("X-Original-Host", "admin.localhost")
            .header("x-original-url", "/admin")
            .header("sallyport-subject", "user:admin")
            .header("tracestate", "a=b")
            .header("Proxy", "http://10.0.0.1:3128")
            .header("x-original-uri", "/admin")
            .header("X-Scheme", "http")
            .header("x_url_scheme", "http")
            .header("Front-End-Https", "off")
            .header("x-remote-ip", "10.0.0.1")
            .header("X-Remote-Addr", "10.0.0.1")
            .header("x-originating-ip", "10.0.0.1")
            .header("baggage", "user=admin")
            .header("b3", "0")
            .header("X-B3-TraceId", "1")
            .header("x_b3_sampled", "1")
            .header("forwarded", "for=10.0.0.1");
        let request = prepared(request, &TunnelRules::default());
        let mut seen: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            [
                "forwarded: for=203.0.113.7;host=\"demo.localhost:8443\";proto=https",
                "host: demo.localhost:8443",
                "traceparent: 00-0198a1b2c3d47e5f8a6b7c8d9e0f1a2b-8a6b7c8d9e0f1a2b-01",
                "x-forwarded-for: 203.0.113.7",
                "x-forwarded-host: demo.localhost:8443",
                "x-forwarded-port: 8443",
                "x-forwarded-proto: https",
                "x-real-ip: 203.0.113.7",
                "x-request-id: cor-0198a1b2c3d47e5f8a6b7c8d9e0f1a2b",
            ]
        );
        assert_eq!(request.uri(), "/a?b=c");
    }

    #[tokio::test]
    async fn trailers_tell_an_app_no_more_of_whence_and_who_than_headers_may() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-sum",
            "x-forwarded-for",
            "X_Real_IP",
            "forwarded",
            "sallyport-token",
            "sallyport-subject",
            "te",
        ] {
            trailers.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("made-up"),
            );
        }
        let frames =
            [Ok::<_, std::io::Error>(Frame::data(Bytes::from("abc"))), Ok(Frame::trailers(trailers))];
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let mut request = Request::builder().uri("/").body(body).unwrap();
        prepare_for(&mut request, &TunnelRules::default());
        let arrived = request.into_body().collect().await.unwrap();
        let names: Vec<_> = arrived.trailers().unwrap().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-sum"]);
        assert_eq!(arrived.to_bytes(), "abc");
    }

    #[test]
    fn an_ipv6_address_is_quoted_as_rfc_7239_wants_it() {
        let said = forwarded("2001:db8::1".parse().unwrap(), "demo.localhost");
        assert_eq!(said, "for=\"[2001:db8::1]\";host=\"demo.localhost\";proto=https");
    }

    #[test]
    fn the_rules_of_a_tunnel_have_the_last_word_on_its_headers() {
        let mut rules =
            TunnelRules { host: Some(HeaderValue::from_static("app.internal")), ..TunnelRules::default() };
        rules.request.remove.push(HeaderName::from_static("cookie"));
        rules.request.set.push((HeaderName::from_static("x-stage"), HeaderValue::from_static("live")));
        let request = Request::builder()
            .uri("https://demo.localhost/")
            .header("cookie", "a=1")
            .header("x-stage", "test");
        let request = prepared(request, &rules);
        assert!(!request.headers().contains_key("cookie"));
        assert_eq!(request.headers()["x-stage"], "live");
        assert_eq!(request.headers()[HOST], "app.internal");
        assert_eq!(request.headers()["x-forwarded-host"], "demo.localhost");
    }
}
