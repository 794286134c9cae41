//! What travels beside the visitor's own headers on the HTTP/2 between gateway and publisher.
//!
//! All of it in headers that begin with `sallyport-`. Neither end takes such a header from outside: the gateway removes
//! them from what visitors send, the publisher from what the local app answers.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

/// Names the tunnel of a request.
pub(crate) const TUNNEL: HeaderName = HeaderName::from_static("sallyport-tunnel");
/// Marks a request whose bodies are a byte stream ([`super::stream`]); its value is [`BYTES`].
pub(crate) const STREAM: HeaderName = HeaderName::from_static("sallyport-stream");
/// The value of [`STREAM`].
pub(crate) const BYTES: HeaderValue = HeaderValue::from_static("bytes");
/// Names a byte stream that outlives its connection ([`super::resumable`]).
pub(crate) const RESUME: HeaderName = HeaderName::from_static("sallyport-resume");
/// Numbers a flow of datagrams that may travel beside its stream ([`super::flow`]).
pub(crate) const FLOW: HeaderName = HeaderName::from_static("sallyport-flow");
/// Marks a message of the gateway itself; its value says which.
pub(crate) const CONTROL: HeaderName = HeaderName::from_static("sallyport-control");
/// The value of [`CONTROL`] by which the gateway says goodbye.
pub(crate) const FAREWELL: HeaderValue = HeaderValue::from_static("farewell");
/// The value of [`CONTROL`] by which the gateway says that it will be away.
pub(crate) const MAINTENANCE: HeaderValue = HeaderValue::from_static("maintenance");
/// From when on it will be (RFC 3339).
pub(crate) const MAINTENANCE_AT: HeaderName = HeaderName::from_static("sallyport-maintenance-at");
/// What its admin says of it, in UTF-8.
pub(crate) const MAINTENANCE_REASON: HeaderName = HeaderName::from_static("sallyport-maintenance-reason");
/// The value of [`CONTROL`] by which the gateway asks how the apps are.
pub(crate) const HEALTH: HeaderValue = HeaderValue::from_static("health");
/// Why the gateway says goodbye, for programs.
pub(crate) const FAREWELL_CODE: HeaderName = HeaderName::from_static("sallyport-farewell");
/// Why the publisher itself answered instead of the local app.
pub(crate) const ORIGIN_ERROR: HeaderName = HeaderName::from_static("sallyport-origin-error");
/// How the publisher reached the local app for an answer: [`AppConnection`].
pub(crate) const APP_CONNECTION: HeaderName = HeaderName::from_static("sallyport-app-connection");

/// Where the visitor of a byte stream comes from, `ADDRESS:PORT`.
pub(crate) const VISITOR: HeaderName = HeaderName::from_static("sallyport-visitor");
/// Where that visitor reached the gateway, `ADDRESS:PORT`.
pub(crate) const REACHED: HeaderName = HeaderName::from_static("sallyport-reached");

const PREFIX: &str = "sallyport-";

/// How a publisher reached its local app over HTTP/1.1; goes with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppConnection {
    /// By a connection that was made for it.
    New,
    /// By one that had rested.
    Again,
}

impl AppConnection {
    pub(crate) const ALL: [Self; 2] = [Self::New, Self::Again];

    /// The word in the header.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Again => "again",
        }
    }

    /// Takes it out of what the publisher tells.
    pub(crate) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let word = headers.remove(APP_CONNECTION)?;
        Self::ALL.into_iter().find(|one| one.word().as_bytes() == word.as_bytes())
    }
}

/// Why the publisher could not get an answer from the local app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OriginFault {
    /// The publisher has no such tunnel.
    UnknownTunnel,
    /// Nothing listens at the app's address, or it did not accept in time.
    Unreachable,
    /// The app broke the connection or did not speak HTTP.
    BadAnswer,
    /// The app did not take what was sent to it, as too many others' of the publisher, and for longest.
    Stalled,
    /// The app speaks HTTP/2, out of which nothing upgrades.
    NoUpgrade,
    /// The app has as many requests under way as it takes.
    Busy,
    /// A stream that is to go on is not known, or any more.
    UnknownStream,
}

impl OriginFault {
    pub(crate) const ALL: [Self; 7] = [
        Self::UnknownTunnel,
        Self::Unreachable,
        Self::BadAnswer,
        Self::Stalled,
        Self::NoUpgrade,
        Self::Busy,
        Self::UnknownStream,
    ];

    /// The word in the header.
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownTunnel => "unknown-tunnel",
            Self::Unreachable => "unreachable",
            Self::BadAnswer => "bad-answer",
            Self::Stalled => "stalled",
            Self::NoUpgrade => "no-upgrade",
            Self::Busy => "busy",
            Self::UnknownStream => "unknown-stream",
        }
    }

    /// A sentence for the visitor's error page.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::UnknownTunnel => "the publisher does not serve this tunnel any more",
            Self::Unreachable => "the publisher is connected, but the local app does not answer",
            Self::BadAnswer => "the local app broke off or did not speak HTTP",
            Self::Stalled => "the local app does not take what is sent to it",
            Self::NoUpgrade => "the local app speaks HTTP/2, out of which nothing upgrades",
            Self::Busy => "the local app has as many requests under way as it takes",
            Self::UnknownStream => "the publisher does not know this stream any more",
        }
    }
}

impl std::fmt::Display for OriginFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.explanation())
    }
}

/// Whether the publisher made this response itself because the local app did not, and why.
pub fn origin_fault<B>(response: &Response<B>) -> Option<OriginFault> {
    let word = response.headers().get(ORIGIN_ERROR)?.as_bytes();
    OriginFault::ALL.into_iter().find(|fault| fault.word().as_bytes() == word)
}

/// Names the span that a byte stream follows on (W3C Trace Context).
pub(crate) const TRACE: HeaderName = HeaderName::from_static("traceparent");

/// The two ends of a visitor's connection to the gateway, for an app that wants to know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The visitor.
    pub visitor: SocketAddr,
    /// Where it reached the gateway, as far as that is known.
    pub reached: Option<SocketAddr>,
}

impl Ends {
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let ends = [(VISITOR, Some(self.visitor)), (REACHED, self.reached)];
        for (name, address) in ends {
            if let Some(value) = address.and_then(|address| HeaderValue::from_str(&address.to_string()).ok())
            {
                headers.insert(name, value);
            }
        }
    }

    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let address = |name| headers.get(name)?.to_str().ok()?.parse().ok();
        Some(Self { visitor: address(VISITOR)?, reached: address(REACHED) })
    }
}

/// Removes every header of ours that came from outside.
pub(crate) fn strip_internal(headers: &mut HeaderMap) {
    strip(headers, |name| name.as_str().starts_with(PREFIX));
}

/// Removes the headers that belong to one connection only (RFC 9110 §7.6.1). `te: trailers` stays: by it a gRPC client says
/// that it understands trailers, and a server may insist on it. A length beside chunks, which say another, goes with them (RFC 9112
/// §6.3).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    let trailers = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    let trailers =
        trailers.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("trailers"));
    strip(headers, |name| {
        named.contains(name)
            || matches!(
                name.as_str(),
                "connection"
                    | "keep-alive"
                    | "proxy-connection"
                    | "proxy-authenticate"
                    | "proxy-authorization"
                    | "te"
                    | "transfer-encoding"
                    | "upgrade"
            )
    });
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn strip(headers: &mut HeaderMap, doomed: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| doomed(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn headers_of_ours_are_removed_from_what_came_from_outside() {
        let mut map = headers(&[("sallyport-tunnel", "a"), ("sallyport-tunnel", "b"), ("x-app", "1")]);
        strip_internal(&mut map);
        assert_eq!(map, headers(&[("x-app", "1")]));
    }

    #[test]
    fn hop_by_hop_headers_and_those_that_connection_names_are_removed() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers;q=0.5"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("accept", "*/*")]));
        let mut both = headers(&[("transfer-encoding", "chunked"), ("content-length", "2")]);
        strip_hop_by_hop(&mut both);
        assert!(both.is_empty(), "two lengths are passed on: {both:?}");
    }

    #[test]
    fn that_trailers_are_understood_travels_on() {
        let mut map = headers(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("te", "trailers")]));
    }

    #[test]
    fn only_a_known_word_is_read_as_a_fault_of_the_origin() {
        let response = |word: &'static str| Response::builder().header(ORIGIN_ERROR, word).body(()).unwrap();
        for fault in OriginFault::ALL {
            assert_eq!(origin_fault(&response(fault.word())), Some(fault));
        }
        assert_eq!(origin_fault(&response("whatever")), None);
    }
}
