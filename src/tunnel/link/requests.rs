//! What is asked of a publisher over its link: requests, byte streams, flows of datagrams, and how its apps are.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;

use super::{Answer, Link, LinkError, Turn};
use crate::tunnel::TunnelName;
use crate::tunnel::arriving::Arriving;
use crate::tunnel::flow::{DatagramPath, FlowDrain, FlowSource, flow};
use crate::tunnel::gather::{Answers, Heard, gathered};
use crate::tunnel::health::AppReports;
use crate::tunnel::lane::{BoxError, RequestBody};
use crate::tunnel::protocol::{
    AppConnection, BYTES, CONTROL, Ends, FLOW, HEALTH, MAINTENANCE, MAINTENANCE_AT, MAINTENANCE_REASON,
    STREAM, TRACE, TUNNEL, origin_fault, strip_hop_by_hop, strip_internal,
};
use crate::tunnel::room::{Placed, Whose};
use crate::tunnel::sending::{Sending, announce_length};
use crate::tunnel::stream::{Coming, Outgoing, TunnelStream, outgoing};

impl Link {
    /// Sends a request of `person` to the tunnel's app and returns its response; both bodies are streamed. The person's name is
    /// only for telling them apart.
    ///
    /// The visitor's host stays the request's authority. Hop-by-hop headers and those of ours are removed. A response
    /// that the publisher made itself is told by [`origin_fault`].
    pub async fn request_of<B>(
        &self,
        person: &str,
        tunnel: &TunnelName,
        request: Request<B>,
    ) -> Result<Response<Answer>, LinkError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(LinkError::BadRequest("CONNECT is for byte streams".to_owned()));
        }
        parts.uri = absolute(&parts.uri, &parts.headers, tunnel)
            .map_err(|error| LinkError::BadRequest(error.to_string()))?;
        parts.version = http::Version::HTTP_2;
        parts.headers.remove(header::HOST);
        strip_hop_by_hop(&mut parts.headers);
        strip_internal(&mut parts.headers);
        parts.headers.insert(TUNNEL, name_value(tunnel)?);
        let answers = Answers::default();
        let body = Placed::new(gathered(Box::pin(body.map_err(Into::into)), answers.clone()));
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut response = self.send(Whose::Of(person), Request::from_parts(parts, body)).await?;
        strip_hop_by_hop(response.headers_mut());
        if let Some(by) = AppConnection::take(response.headers_mut()) {
            response.extensions_mut().insert(by);
        }
        Ok(response.map(|body| Heard::new(body, answers)))
    }

    /// Opens a byte stream of `person` to the tunnel's app: for TCP, and for what upgrades out of HTTP. Returns when the publisher
    /// has connected to the app. `ends` is for an app that wants to know the visitor's address; `trace` names the span that the
    /// publisher's follows on (`traceparent`).
    pub async fn connect_of(
        &self,
        person: &str,
        tunnel: &TunnelName,
        ends: Option<Ends>,
        trace: Option<HeaderValue>,
    ) -> Result<TunnelStream, LinkError> {
        let (outgoing, body) = outgoing();
        let mut request = stream_request(tunnel, trace, body)?;
        if let Some(ends) = ends {
            ends.write(request.headers_mut());
        }
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let response = opened(self.send(Whose::Of(person), request).await?)?;
        Ok(joined(response, outgoing))
    }

    /// Opens a flow of datagrams of `person` to the tunnel's app, `trace` as in [`Link::connect_of`]. Returns when the publisher has a socket
    /// for it.
    pub async fn connect_flow(
        &self,
        person: &str,
        tunnel: &TunnelName,
        trace: Option<HeaderValue>,
    ) -> Result<(FlowSource, FlowDrain), LinkError> {
        let (outgoing, body) = outgoing();
        let mut request = stream_request(tunnel, trace, body)?;
        let turn = self.turn(Whose::Of(person))?;
        let place = turn.datagrams.as_ref().map(DatagramPath::begin);
        if let Some((place, _)) = &place {
            request.headers_mut().insert(FLOW, HeaderValue::from(place.number()));
        }
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let response = opened(self.send_on(turn, request).await?)?;
        Ok(flow(joined(response, outgoing), place))
    }

    /// Asks the publisher to tell how its apps are, as long as it does. `None`: it tells nothing.
    pub async fn health(&self) -> Result<Option<AppReports>, LinkError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("http://sallyport/health")
            .header(CONTROL, HEALTH)
            .body(Placed::new(Empty::new().map_err(Into::into).boxed_unsync()))
            .map_err(|error| LinkError::BadRequest(error.to_string()))?;
        let response = self.send(Whose::Own, request).await?;
        let tells = response.status() == StatusCode::OK && origin_fault(&response).is_none();
        Ok(tells.then(|| AppReports::new(response.into_body().into_parts().0)))
    }

    /// Tells the publisher's program that the gateway will be away, from `at` on (RFC 3339), and what its admin says of it. Whether it
    /// heard: one of an older version does not.
    pub async fn announce_maintenance(&self, at: &str, reason: &str) -> Result<bool, LinkError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("http://sallyport/maintenance")
            .header(CONTROL, MAINTENANCE)
            .header(MAINTENANCE_AT, at)
            .header(MAINTENANCE_REASON, reason.as_bytes())
            .body(Placed::new(Empty::new().map_err(Into::into).boxed_unsync()))
            .map_err(|error| LinkError::BadRequest(error.to_string()))?;
        let response = self.send(Whose::Own, request).await?;
        Ok(response.status().is_success() && origin_fault(&response).is_none())
    }

    /// Sends on the lane whose turn it is; one that takes no more requests by then is passed over.
    pub(super) async fn send(
        &self,
        whose: Whose<'_>,
        request: Request<RequestBody>,
    ) -> Result<Response<Placed<Arriving>>, LinkError> {
        loop {
            let mut turn = self.turn(whose)?;
            if std::future::poll_fn(|cx| turn.sender.poll_ready(cx)).await.is_ok() {
                return self.send_on(turn, request).await;
            }
        }
    }

    /// Sends on this lane, and returns when the answer begins.
    async fn send_on(
        &self,
        turn: Turn,
        request: Request<RequestBody>,
    ) -> Result<Response<Placed<Arriving>>, LinkError> {
        let Turn { mut sender, windows, place, .. } = turn;
        let (mut head, mut body) = request.into_parts();
        announce_length(&head.method, &mut head.headers, &body);
        let is_whole = body.is_end_stream();
        let sent = sender.send_request(Request::from_parts(head, ()), is_whole);
        let (answer, stream) = sent.map_err(|error| self.failure(error))?;
        let sending = if is_whole {
            Sending::nothing()
        } else {
            body.put(place.clone());
            Sending::begin(body, stream).await
        };
        let answer = answer.await.map_err(|error| self.failure(error))?;
        let (length, asker) = (announced_length(answer.headers()), sending.go_on());
        Ok(answer.map(|body| Placed::at(Arriving::new(body, length, windows.enter(), asker), place)))
    }

    /// The publisher has said, or shown, that it takes nothing more, and names what it has taken (RFC 9113 section 6.8): this is not
    /// of it. Whatever else failed may have been begun.
    fn failure(&self, error: h2::Error) -> LinkError {
        if error.is_go_away() && error.is_remote() {
            LinkError::Closed(self.reason_so_far())
        } else {
            LinkError::Stream(error)
        }
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let mut all = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = all.next()?.to_str().ok()?.parse().ok()?;
    all.next().is_none().then_some(length)
}

pub(super) fn stream_request(
    tunnel: &TunnelName,
    trace: Option<HeaderValue>,
    body: UnsyncBoxBody<Bytes, BoxError>,
) -> Result<Request<RequestBody>, LinkError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{tunnel}/"))
        .header(TUNNEL, name_value(tunnel)?)
        .header(STREAM, BYTES)
        .body(Placed::new(body))
        .map_err(|error| LinkError::BadRequest(error.to_string()))?;
    if let Some(trace) = trace {
        request.headers_mut().insert(TRACE, trace);
    }
    Ok(request)
}

pub(super) fn joined(response: Response<Placed<Arriving>>, outgoing: Outgoing) -> TunnelStream {
    let (body, place) = response.into_body().into_parts();
    TunnelStream::join(Coming::Answer(body), outgoing).at(place)
}

/// The publisher's answer to it, if it is yes.
pub(super) fn opened(response: Response<Placed<Arriving>>) -> Result<Response<Placed<Arriving>>, LinkError> {
    if let Some(fault) = origin_fault(&response) {
        return Err(LinkError::Origin { fault });
    }
    if response.status() != StatusCode::OK {
        return Err(LinkError::UnexpectedStatus(response.status()));
    }
    Ok(response)
}

fn name_value(tunnel: &TunnelName) -> Result<HeaderValue, LinkError> {
    HeaderValue::from_str(tunnel.as_str()).map_err(|error| LinkError::BadRequest(error.to_string()))
}

/// HTTP/2 wants scheme and authority; HTTP/1.1 has the authority in `Host`.
fn absolute(uri: &Uri, headers: &HeaderMap, tunnel: &TunnelName) -> Result<Uri, http::Error> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or(tunnel.as_str());
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Uri::builder().scheme("http").authority(authority).path_and_query(path).build()
}
