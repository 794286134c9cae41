//! Visitors by HTTP/3: from a QUIC connection to the same [`super::route`] as every other request, and back.
//!
//! What is particular to HTTP/3 ends here. Authentication, policy, records, limits, header rules and refusals are those of
//! HTTP/1.1 and HTTP/2, for it is one way through the code. WebSocket is not offered (RFC 9220): browsers open it on TCP.
//!
//! Promised: an answer that is cut never ends in order, and a request that is given up ends at the app too ([`streams`]).
//! Not trusted: the peer. What it may have under way is bounded by [`bounded`], by QUIC's windows, and in time.

mod body;
mod bounded;
mod frames;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, DATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use bytes::Bytes;
use h3::error::Code;
use h3::quic::SendStream;
use h3::server::{RequestResolver, RequestStream};
use http_body_util::BodyExt as _;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::body::RequestBody;
use self::bounded::BoundedConnection;
use self::streams::Quic;
use super::listener::silence;
use super::{Connection, Edge, head, route};
use crate::clock;
use crate::tunnel::strip_hop_by_hop;

/// The protocol's name in TLS.
pub const ALPN: &[u8] = b"h3";

/// Headers that speak of a connection, which HTTP/3 has not (RFC 9114 section 4.2): whoever sends one wants it to be taken for
/// something else by somebody behind us.
const OF_A_CONNECTION: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// After the goodbye of a gateway that stops, and the last answer: how long the connection is kept for what is still on its way.
const LINGER: Duration = Duration::from_secs(1);

/// The end of a request without a body comes with its head, or so soon behind it. HTTP/3 says in the head whether there is a body no
/// more than it says how long it is; an app of HTTP/1.1 must be told, and a request without one can be made again.
const RIGHT_BEHIND: Duration = Duration::from_millis(20);

type Http = BoundedConnection<Quic>;

/// Serves a visitor's connection until it ends, or until `stop`; then what is under way may end.
pub(super) async fn serve(
    edge: Edge,
    connection: Arc<Connection>,
    console: Router,
    quic: quinn::Connection,
    stop: CancellationToken,
) {
    let (peer, abort, patience) = (connection.peer, connection.abort.clone(), edge.bounds.header);
    let header_bytes = (edge.bounds.header_bytes + head::MARGIN) as u64;
    // Compressed, a head is shorter than it counts; what is too long by a little is told so, what is by far is cut off.
    let streams = Quic::new(&quic);
    let latest = streams.latest();
    let bounded = BoundedConnection::new(streams, header_bytes);
    let mut builder = h3::server::builder();
    builder.max_field_section_size(header_bytes);
    let mut http = match tokio::time::timeout(patience, builder.build::<Http, Bytes>(bounded)).await {
        Ok(Ok(http)) => http,
        Ok(Err(error)) => return debug!(%peer, %error, "HTTP/3 did not begin"),
        Err(_) => return debug!(%peer, "HTTP/3 did not begin in time"),
    };
    let begun = CancellationToken::new();
    let mut requests = JoinSet::new();
    let mut leaving = false;
    let code = loop {
        let resolver = tokio::select! {
            () = abort.cancelled() => {
                debug!(%peer, "dropped: its session was cut and it reads nothing");
                break Code::H3_REQUEST_CANCELLED;
            }
            () = silence(patience, &begun) => {
                debug!(%peer, "no request came in time");
                break Code::H3_NO_ERROR;
            }
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                match http.shutdown(0).await {
                    Ok(()) => continue,
                    Err(error) => {
                        debug!(%peer, %error, "connection ended");
                        break Code::H3_NO_ERROR;
                    }
                }
            }
            // The library would wait until the peer goes, and an idle one has no reason to.
            () = gone(&quic), if leaving && requests.is_empty() => break Code::H3_NO_ERROR,
            Some(_ended) = requests.join_next(), if !requests.is_empty() => continue,
            next = http.accept() => match next {
                Ok(Some(resolver)) => resolver,
                Ok(None) => break Code::H3_NO_ERROR,
                Err(error) => {
                    debug!(%peer, %error, "connection ended");
                    break Code::H3_NO_ERROR;
                }
            },
        };
        begun.cancel();
        let request = (resolver, latest.given_up());
        requests.spawn(answer(edge.clone(), Arc::clone(&connection), console.clone(), request, patience));
    };
    quic.close(code.value().try_into().unwrap_or_default(), b"");
    // Whatever is still being answered has nobody to read it.
    drop(requests);
}

/// Waits until the peer has gone after our goodbye; not for long, for it may know of no reason to.
async fn gone(quic: &quinn::Connection) {
    let _gone = tokio::time::timeout(LINGER, quic.closed()).await;
}

/// Answers one request, unless it is given up: then the app hears of that at once, as by every other HTTP.
async fn answer(
    edge: Edge,
    connection: Arc<Connection>,
    console: Router,
    (resolver, given_up): (RequestResolver<Http, Bytes>, impl Future<Output = ()>),
    patience: Duration,
) {
    let peer = connection.peer;
    let (request, stream) = match tokio::time::timeout(patience, resolver.resolve_request()).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => return debug!(%peer, %error, "a request cannot be read"),
        Err(_) => return debug!(%peer, "a request's head did not come in time"),
    };
    let (mut send, receive) = stream.split();
    let Ok(announced) = announced(request.headers()) else {
        debug!(%peer, "a request is malformed");
        return send.stop_stream(Code::H3_MESSAGE_ERROR);
    };
    let mut body = RequestBody::new(receive, announced);
    // Bodies of what only asks mean nothing, so nobody waits for an answer before sending one.
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    if asks || announced.unwrap_or(0) == 0 {
        match tokio::time::timeout(if asks { patience } else { RIGHT_BEHIND }, body.look()).await {
            Ok(Ok(())) => {}
            // It may have one that comes later.
            Err(_) if !asks => {}
            Ok(Err(_)) | Err(_) => return send.stop_stream(Code::H3_MESSAGE_ERROR),
        }
    }
    let headless = request.method() != Method::HEAD;
    let request: Request<Body> = request.map(|()| Body::new(body));
    let answering = async {
        match route::handle(edge, connection, console, request).await {
            Ok(answer) => deliver(&mut send, answer, headless).await,
            Err(never) => match never {},
        }
    };
    tokio::select! {
        whole = answering => {
            // Only now: while an answer is under way its end must not look like one of its visitor's.
            if whole {
                let _gone = send.finish().await;
            }
        }
        () = given_up => send.stop_stream(Code::H3_REQUEST_CANCELLED),
    }
}

/// The length that a request announced for its body; an error if it is malformed.
fn announced(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    if OF_A_CONNECTION.iter().any(|name| headers.contains_key(*name)) {
        return Err(());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), lengths.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(()),
    }
}

/// Sends an answer as it comes, all but its end; `true` if that is due. One that breaks off is reset, so that nobody takes it for
/// whole.
async fn deliver<S: SendStream<Bytes>>(
    send: &mut RequestStream<S, Bytes>,
    answer: Response<Body>,
    with_body: bool,
) -> bool {
    let (mut parts, mut body) = answer.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    if !parts.headers.contains_key(DATE)
        && let Some(now) = now()
    {
        parts.headers.insert(DATE, now);
    }
    if send.send_response(Response::from_parts(parts, ())).await.is_err() {
        return false;
    }
    while with_body && let Some(frame) = body.frame().await {
        let outcome = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => send.send_data(data).await,
            Ok(Err(frame)) => match frame.into_trailers() {
                Ok(trailers) => send.send_trailers(trailers).await,
                Err(_) => continue,
            },
            Err(_) => {
                send.stop_stream(Code::H3_INTERNAL_ERROR);
                return false;
            }
        };
        if outcome.is_err() {
            return false;
        }
    }
    true
}

/// Now, as HTTP writes it.
fn now() -> Option<HeaderValue> {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&clock::now()).ok()?;
    HeaderValue::try_from(text).ok()
}

/// What tells visitors who came by TCP that they may come by HTTP/3 to the same port.
pub fn alternative(port: u16) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::try_from(format!("h3=\":{port}\"; ma=86400")).ok()?;
    Some((axum::http::header::ALT_SVC, value))
}
