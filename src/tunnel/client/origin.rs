//! The publisher's side of each stream: from HTTP/2 to the local app.
//!
//! Requests go to the app over pooled HTTP/1.1 connections, bodies streamed both ways; byte streams are copied to a
//! TCP connection. When the app does not answer, the publisher answers for it with 502 and a header that says why, so
//! that the gateway can show a page that helps.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::event::Event;
use crate::tunnel::link::FarewellCode;
use crate::tunnel::protocol::{
    BYTES, CONTROL, FAREWELL, FAREWELL_CODE, ORIGIN_ERROR, OriginFault, STREAM, TUNNEL, strip_hop_by_hop,
    strip_internal,
};
use crate::tunnel::stream::outgoing;
use crate::tunnel::{Offer, TunnelName, TunnelStream};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// How long the local app may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection to the app is kept.
const POOL_IDLE: Duration = Duration::from_mins(1);
/// Idle connections kept per app.
const POOL_SIZE: usize = 64;
/// Bytes that a byte stream copies at once, in each direction.
const COPY_BUFFER: usize = 64 * 1024;

/// Where the local app listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    authority: http::uri::Authority,
}

impl Target {
    /// Reads `3000` (on localhost), `host:3000`, `127.0.0.1:3000` or `[::1]:3000`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = if text.parse::<u16>().is_ok() { format!("localhost:{text}") } else { text.to_owned() };
        let authority: http::uri::Authority = text.parse().ok()?;
        let usable = authority.port_u16().is_some_and(|port| port != 0) && !authority.as_str().contains('@');
        usable.then_some(Self { authority })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.authority.as_str())
    }
}

/// One service that is published: what the gateway sees and where it really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Name and kind.
    pub offer: Offer,
    /// The local app.
    pub target: Target,
}

/// Serves the streams of one publisher; shared by its connections.
pub(super) struct Origin {
    targets: HashMap<TunnelName, Target>,
    client: Client<HttpConnector, Incoming>,
    events: mpsc::Sender<Event>,
}

impl Origin {
    pub(super) fn new(publications: &[Publication], events: mpsc::Sender<Event>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            // The visitor's Host goes to the app as it is.
            .set_host(false)
            .build(connector);
        let targets = publications.iter().map(|one| (one.offer.name.clone(), one.target.clone())).collect();
        Self { targets, client, events }
    }

    /// Answers one stream of the gateway. `farewell` hears the gateway's goodbye.
    pub(super) async fn serve(
        &self,
        request: Request<Incoming>,
        farewell: &watch::Sender<Option<FarewellCode>>,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let Some(name) = tunnel(request.headers()) else {
            return control(&request, farewell);
        };
        let Some(target) = self.targets.get(&name) else { return fault(OriginFault::UnknownTunnel) };
        let is_stream = request.headers().get(STREAM) == Some(&BYTES);
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response =
            if is_stream { stream(request, target).await } else { self.forward(request, target).await };
        let seen = Event::Request {
            tunnel: name.to_string(),
            method: if is_stream { "STREAM".to_owned() } else { method },
            path: if is_stream { String::new() } else { path },
            status: response.status().as_u16(),
            took: started.elapsed(),
        };
        // Whoever shows events may be slow; visitors do not wait for it.
        let _shown = self.events.try_send(seen);
        response
    }

    async fn forward(&self, request: Request<Incoming>, target: &Target) -> Response<ResponseBody> {
        let Ok(request) = to_app(request, target) else { return fault(OriginFault::BadAnswer) };
        match self.client.request(request).await {
            Ok(mut response) => {
                strip_hop_by_hop(response.headers_mut());
                strip_internal(response.headers_mut());
                response.map(|body| body.map_err(Into::into).boxed_unsync())
            }
            Err(error) if error.is_connect() => fault(OriginFault::Unreachable),
            Err(error) => {
                tracing::debug!(%error, %target, "the local app failed");
                fault(OriginFault::BadAnswer)
            }
        }
    }
}

fn tunnel(headers: &HeaderMap) -> Option<TunnelName> {
    headers.get(TUNNEL).and_then(|value| value.to_str().ok()).and_then(|name| TunnelName::parse(name).ok())
}

/// A message of the gateway itself.
fn control(
    request: &Request<Incoming>,
    farewell: &watch::Sender<Option<FarewellCode>>,
) -> Response<ResponseBody> {
    if request.headers().get(CONTROL) != Some(&FAREWELL) {
        return fault(OriginFault::UnknownTunnel);
    }
    let word = request.headers().get(FAREWELL_CODE).map(HeaderValue::as_bytes);
    let code = FarewellCode::ALL.into_iter().find(|code| Some(code.word().as_bytes()) == word);
    // An unknown reason is the mildest: come back later.
    farewell.send_replace(Some(code.unwrap_or(FarewellCode::Draining)));
    Response::new(empty())
}

/// The gateway's request as the app should get it: HTTP/1.1, to its address, with the visitor's Host.
fn to_app(request: Request<Incoming>, target: &Target) -> Result<Request<Incoming>, http::Error> {
    let (mut parts, body) = request.into_parts();
    strip_internal(&mut parts.headers);
    strip_hop_by_hop(&mut parts.headers);
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    }
    join_cookies(&mut parts.headers)?;
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    parts.uri =
        Uri::builder().scheme("http").authority(target.authority.clone()).path_and_query(path).build()?;
    parts.version = http::Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

/// HTTP/2 may split cookies over several headers, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), http::Error> {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice()))?;
        headers.insert(header::COOKIE, joined);
    }
    Ok(())
}

/// Connects to the app first, so that the gateway learns whether there is one, and then copies.
async fn stream(request: Request<Incoming>, target: &Target) -> Response<ResponseBody> {
    let connecting = TcpStream::connect(target.authority.as_str());
    let Ok(Ok(app)) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
        return fault(OriginFault::Unreachable);
    };
    if app.set_nodelay(true).is_err() {
        return fault(OriginFault::Unreachable);
    }
    let (outgoing, body) = outgoing();
    let visitor = TunnelStream::join(request.into_body(), outgoing);
    // Ends by itself: when both directions are done, or when the connection to the gateway is.
    tokio::spawn(copy(visitor, app));
    Response::new(body)
}

/// Copies until both directions have ended in order, or one of them broke: then the other end sees it break, too.
async fn copy(mut visitor: TunnelStream, mut app: TcpStream) {
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut visitor, &mut app, COPY_BUFFER, COPY_BUFFER).await;
    if let Err(error) = copied {
        tracing::debug!(%error, "a byte stream broke off");
        // Without this the app would see an orderly end. A socket that is already dead needs no reset.
        let _already_dead = app.set_zero_linger();
    }
}

fn empty() -> ResponseBody {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

fn fault(fault: OriginFault) -> Response<ResponseBody> {
    let text = Full::from(format!("{fault}\n")).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(text);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(ORIGIN_ERROR, HeaderValue::from_static(fault.word()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_port_or_a_host_with_a_port() {
        let read = |text| Target::parse(text).map(|target| target.to_string());
        assert_eq!(read("3000").as_deref(), Some("localhost:3000"));
        assert_eq!(read("127.0.0.1:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(read("[::1]:80").as_deref(), Some("[::1]:80"));
        for bad in ["", "0", "70000", "host", "host:0", "http://host:1", "a@b:1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn cookies_that_http_2_split_are_one_header_for_the_app() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&mut headers).unwrap();
        let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
