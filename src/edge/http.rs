//! Carries an HTTP request through a tunnel: who is it, may they, is it recorded, and only then the bytes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use sallyport_audit::{Draft, Kind, Outcome};
use tracing::warn;

use super::page::{Refusal, wants_page};
use super::route::Correlation;
use super::{Connection, Edge, asking, credential, request_record, upgrade};
use crate::access::{Action, Context, Decision, Identity, Object, Permit};
use crate::clock;
use crate::session::{Direction, Lookup, OpenError, Opening, Protocol, Route, Session, SessionBody, explain};
use crate::tunnel::{LinkError, TunnelKind, TunnelName, origin_fault};

/// Longest user agent that is recorded.
const AGENT_BOUND: usize = 256;

/// Why a request went no further, before it is known who reads the answer.
pub(super) enum Stop {
    /// A refusal to be shown as it is.
    Refused(Refusal),
    /// Leave is needed and not there: a person gets the page on which to ask.
    Ask { identity: Identity, explanation: String },
    /// Nobody signed in, or the token is no good.
    SignIn { detail: String },
}

/// Answers one request to a tunnel.
pub(super) async fn carry(
    edge: &Edge,
    connection: &Arc<Connection>,
    name: &TunnelName,
    mut request: Request<Body>,
    correlation: &Correlation,
) -> Response<Body> {
    let headers = request.headers().clone();
    if request.method() == Method::CONNECT {
        let detail = "CONNECT is for proxies, and this is none";
        let hint = format!("for raw TCP use: sallyport connect {name}");
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no-proxy", detail, hint);
        return refusal.respond(&headers, &correlation.0);
    }
    let (session, route) = match admit(edge, connection, name, &headers, Protocol::Http, correlation).await {
        Ok(admitted) => admitted,
        Err(stop) => return answer_stop(edge, stop, name, &headers, correlation),
    };
    if upgrade::is_wanted(&headers) {
        return upgrade::carry(edge, session, &route, connection, request, correlation).await;
    }
    let record = request_record::RequestRecord::begin(edge, &session, name, &request, correlation);
    prepare(&mut request, connection, &edge.domain, name, correlation);
    let request = request.map(|body| SessionBody::new(body, session.clone(), Direction::Up, ()));
    session.count_request();
    let answer = tokio::select! {
        () = session.cut() => Err(cut_refusal()),
        answer = tokio::time::timeout(edge.bounds.request, route.link.request(name, request)) => match answer {
            Err(_) => Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "publisher-timeout",
                format!("the publisher of `{name}` did not begin an answer within {} s", edge.bounds.request.as_secs()),
                "try again; if it stays so, its owner should look at the app behind it",
            )),
            Ok(Err(error)) => Err(link_refusal(name, &error)),
            Ok(Ok(response)) => Ok(response),
        },
    };
    match answer {
        Err(refusal) => {
            record.answered(refusal.status);
            refusal.respond(&headers, &correlation.0)
        }
        Ok(response) => {
            if let Some(fault) = origin_fault(&response) {
                record.answered(StatusCode::BAD_GATEWAY);
                return Refusal::new(
                    StatusCode::BAD_GATEWAY,
                    "app-unreachable",
                    format!("the publisher of `{name}` is there, but the app behind it is not: {fault}"),
                    "try again; if it stays so, its owner should start the app",
                )
                .respond(&headers, &correlation.0);
            }
            let (mut parts, body) = response.into_parts();
            remove_hop_headers(&mut parts.headers);
            credential::strip_answer(&mut parts.headers);
            let record = record.answered(parts.status);
            Response::from_parts(parts, Body::new(SessionBody::new(body, session, Direction::Down, record)))
        }
    }
}

/// Authenticates, decides and opens; what visitors of every protocol pass.
pub(super) async fn admit(
    edge: &Edge,
    connection: &Arc<Connection>,
    name: &TunnelName,
    headers: &HeaderMap,
    protocol: Protocol,
    correlation: &Correlation,
) -> Result<(Session, Arc<Route>), Stop> {
    let now = clock::now();
    edge.attempts.check(connection.peer.ip()).map_err(Stop::Refused)?;
    let identity = match credential::identify(&edge.access, &edge.tenant, headers, now) {
        Ok(identity) => identity,
        Err(error) => {
            edge.attempts.failed(connection.peer.ip());
            let draft = Draft::new(Kind::AuthFailed, Outcome::Denied)
                .object(format!("tunnel:{name}"))
                .source(connection.peer.to_string())
                .correlation(correlation.0.as_str())
                .detail("reason", error.code());
            note(edge, draft).await;
            return Err(Stop::SignIn { detail: error.to_string() });
        }
    };
    let route = match edge.routes.lookup(name, clock::monotonic()) {
        Lookup::Live(route) => Some(route),
        Lookup::Away => None,
        Lookup::Unknown => {
            return Err(Stop::Refused(Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-name",
                format!("no tunnel is published as `{name}`"),
                "check the name, or ask its owner whether the publisher is running",
            )));
        }
    };
    if protocol == Protocol::Http
        && route.as_ref().is_some_and(|route| !matches!(route.kind, TunnelKind::Http))
    {
        return Err(Stop::Refused(Refusal::new(
            StatusCode::NOT_FOUND,
            "not-http",
            format!("`{name}` is a TCP tunnel"),
            format!("reach it with: sallyport connect {name}"),
        )));
    }
    edge.readiness.check().map_err(|unready| Stop::Refused(unready_refusal(&unready)))?;
    let opening = async {
        let permit = decide(edge, &identity, name, connection, correlation).await?;
        if route.is_none() {
            return Err(Stop::Refused(dead_refusal(name)));
        }
        let agent = headers.get("user-agent").and_then(|value| value.to_str().ok());
        let opening = Opening {
            tunnel: name.clone(),
            protocol,
            source: connection.peer,
            agent: agent.map(|agent| agent.chars().take(AGENT_BOUND).collect()),
            correlation: correlation.0.clone(),
        };
        edge.broker.open(permit, opening).await.map_err(|error| Stop::Refused(open_refusal(&error)))
    };
    let session = connection.session(name, credential::token(headers), opening).await?;
    let route = route.ok_or_else(|| Stop::Refused(dead_refusal(name)))?;
    Ok((session, route))
}

async fn decide(
    edge: &Edge,
    identity: &Identity,
    name: &TunnelName,
    connection: &Connection,
    correlation: &Correlation,
) -> Result<Permit, Stop> {
    let context = Context::at(clock::now()).from_source(connection.peer);
    let object = Object::tunnel(name.as_str()).map_err(|error| {
        Stop::Refused(Refusal::new(
            StatusCode::NOT_FOUND,
            "unknown-name",
            error.to_string(),
            "check the name",
        ))
    })?;
    let (explanation, ask) = match edge.access.authorize(identity, &object, Action::Connect, &context) {
        Decision::Allowed(permit) => return Ok(permit),
        Decision::NeedsApproval { explanation, .. } => (explanation, true),
        Decision::Denied { explanation } => (explanation, false),
    };
    let draft = explain(Draft::new(Kind::AccessDecided, Outcome::Denied), &explanation)
        .source(connection.peer.to_string())
        .correlation(correlation.0.as_str())
        .detail("needs_approval", ask);
    note(edge, draft).await;
    Err(match (identity.is_anonymous(), ask) {
        (true, _) => {
            Stop::SignIn { detail: format!("`{name}` is private: sign in to use it, or to ask for leave") }
        }
        (false, true) => Stop::Ask { identity: identity.clone(), explanation: explanation.why },
        (false, false) => Stop::Refused(Refusal::new(
            StatusCode::FORBIDDEN,
            "denied",
            format!("{} may not use `{name}`: {}", identity.subject(), explanation.why),
            "an admin can change the policy; this decision is recorded under the reference below",
        )),
    })
}

/// Turns a stop into a page or a problem document.
pub(super) fn answer_stop(
    edge: &Edge,
    stop: Stop,
    name: &TunnelName,
    headers: &HeaderMap,
    correlation: &Correlation,
) -> Response<Body> {
    match stop {
        Stop::Refused(refusal) => refusal.respond(headers, &correlation.0),
        Stop::Ask { identity, explanation } if wants_page(headers) => {
            asking::ask_page(edge, name, &identity, &explanation, correlation)
        }
        Stop::Ask { identity, explanation } => Refusal::new(
            StatusCode::FORBIDDEN,
            "approval-needed",
            format!("{} needs leave to use `{name}`: {explanation}", identity.subject()),
            format!("ask for it: sallyport request {name} --reason \"…\" --minutes 10"),
        )
        .respond(headers, &correlation.0),
        Stop::SignIn { detail } if wants_page(headers) => asking::sign_in_page(name, &detail, correlation),
        Stop::SignIn { detail } => Refusal::new(
            StatusCode::UNAUTHORIZED,
            "not-signed-in",
            detail,
            "send your token in the header Authorization: Bearer, or Sallyport-Token if the app needs that one",
        )
        .respond(headers, &correlation.0),
    }
}

/// Writes a record that no byte waits for; a ledger that cannot take it has its own alarm.
pub(super) async fn note(edge: &Edge, draft: Draft) {
    if let Err(error) = edge.ledger.append(draft).await {
        warn!(%error, "a refusal could not be recorded");
    }
}

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

pub(super) fn cut_refusal() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "session-ended",
        "your leave for this tunnel has ended",
        "load the page again to ask for it anew",
    )
}

pub(super) fn dead_refusal(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "publisher-away",
        format!("the publisher of `{name}` has lost its connection"),
        "its name is kept for it; try again in a few seconds",
    )
}

pub(super) fn link_refusal(name: &TunnelName, error: &LinkError) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "publisher-failed",
        format!("the tunnel `{name}` broke off: {error}"),
        "try again; if it stays so, its owner should look at the publisher",
    )
}

pub(super) fn unready_refusal(unready: &crate::session::Unready) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        unready.code(),
        unready.in_public(),
        "a session that cannot be recorded and signed is not opened; the operator finds the reason in the gateway's log",
    )
}

pub(super) fn open_refusal(error: &OpenError) -> Refusal {
    match error {
        OpenError::PermitDied => cut_refusal(),
        OpenError::NotRecorded(_) | OpenError::Stopping => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            if matches!(error, OpenError::Stopping) { "stopping" } else { "ledger-down" },
            error.to_string(),
            "a session that cannot be recorded is not opened; try again, and if it stays so, tell the gateway's operator",
        ),
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
        let connection = Connection::new("203.0.113.7:1".parse().unwrap(), None);
        let name = TunnelName::parse("demo").unwrap();
        prepare(&mut request, &connection, "localhost", &name, &Correlation("cor-1".to_owned()));
        assert_eq!(request.headers()["x-forwarded-for"], "203.0.113.7");
        assert!(!request.headers().contains_key("forwarded"));
        assert_eq!(request.headers()[HOST], "demo.localhost:8443");
        assert_eq!(request.headers()["x-forwarded-host"], "demo.localhost:8443");
        assert_eq!(request.uri(), "/a?b=c");
    }
}
