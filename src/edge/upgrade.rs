//! WebSocket, and what else a tunnel's rules let upgrade: the request goes to the app over a raw stream of its own, and when
//! the app agrees the two streams are joined.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::app_health::{self, How};
use super::forward::{prepare, trace_parent};
use super::http::Visited;
use super::lines::Place;
use super::onward::lasting;
use super::page::Refusal;
use super::refusals::{cut_refusal, link_refusal, not_recorded_refusal};
use super::request_record::RequestRecord;
use super::route::Correlation;
use super::{Connection, Edge, TunnelRules, credential};
use crate::session::{Copied, Direction, Passed, Recording, Route, Session, SessionBody, copy_and_count};
use crate::tunnel::{LinkError, OriginFault, TunnelName, strip_hop_by_hop};

/// What is always let through (RFC 6455 section 4.1).
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// How long the stream of an app that did not upgrade may take to end, once nobody holds the session: its publisher may never say that
/// it has heard of the end.
const PARTING: Duration = Duration::from_secs(10);

/// The protocol that the visitor asks for, if it is one that may pass: a WebSocket, or what the tunnel's rules name. It is asked for
/// with GET, in HTTP/1.1, and with no body, of which nobody could say where it ends and what it upgrades to begins. Any other
/// request is carried as if it asked for no upgrade, as RFC 9110 section 7.8 allows: what it would carry, nobody records.
pub(super) fn wanted(request: &Request<Body>, rules: &TunnelRules) -> Option<HeaderValue> {
    if request.method() != Method::GET
        || request.version() != Version::HTTP_11
        || !request.body().is_end_stream()
    {
        return None;
    }
    let headers = request.headers();
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if !named {
        return None;
    }
    let asked = headers.get(UPGRADE)?;
    std::iter::once(&WEBSOCKET).chain(&rules.upgrades).find(|may| is_same(may, asked)).cloned()
}

fn is_same(one: &HeaderValue, other: &HeaderValue) -> bool {
    one.as_bytes().eq_ignore_ascii_case(other.as_bytes())
}

/// Drives the connection to an app until it ends or upgrades, and not for longer than its session lets it.
fn drive<F: Future>(driver: F, session: &Session) -> impl Future<Output = ()> + use<F> {
    let (cut, released) = (session.cut(), session.released());
    async move {
        let over = async {
            released.await;
            tokio::time::sleep(PARTING).await;
        };
        tokio::select! {
            _ended = driver => {}
            () = cut => {}
            () = over => {}
        }
    }
}

/// Where an upgrade request came, what is laid down for it, and its place at the app, which it keeps as long as it lives.
pub(super) struct On<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) visited: Visited<'a>,
    pub(super) rules: &'a TunnelRules,
    pub(super) place: Option<Place>,
    /// What is asked for.
    pub(super) protocol: HeaderValue,
}

/// Carries one upgrade request.
pub(super) async fn carry(
    edge: &Edge,
    session: Session,
    route: &Arc<Route>,
    on: On<'_>,
    mut request: Request<Body>,
    correlation: &Correlation,
) -> Response<Body> {
    let On { connection, visited, rules, place, protocol } = on;
    let headers = request.headers().clone();
    let sent = match app_health::admit(edge, route).await {
        Ok(sent) => sent,
        Err(refusal) => return refusal.respond(&headers, &correlation.0),
    };
    let mut record = RequestRecord::begin(edge, &session, route, &route.name, &request, correlation);
    record.keep(place);
    let visitor = hyper::upgrade::on(&mut request);
    prepare(&mut request, connection, visited.host, rules, correlation);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    request.headers_mut().insert(UPGRADE, protocol.clone());
    let request = request.map(|body| SessionBody::new(body, session.clone(), Direction::Up, ()));
    let unanswered = session.count_request();
    let patience = rules.patience.unwrap_or(edge.bounds.request);
    let exchange = async {
        let (about, lasting) = ((None, trace_parent(correlation)), lasting(edge, &session, route));
        let connecting = route.link.connect_lasting(&session.person(), &route.name, about, lasting).await;
        let stream = connecting.map_err(|error| {
            let why = match &error {
                // Visitors must not be able to have the app left alone for everybody: it is not told of.
                LinkError::Origin { fault: OriginFault::NoUpgrade } => None,
                LinkError::Origin { fault } => Some(fault.word()),
                _ => None,
            };
            (link_refusal(&route.name, &error), why)
        })?;
        let broken = stream.broken();
        let failed = |error: hyper::Error| {
            debug!(%error, "the app did not take an upgrade request");
            let refusal = Refusal::new(
                StatusCode::BAD_GATEWAY,
                "app-unreachable",
                format!("the app behind `{}` did not answer", route.name),
                "try again; if it stays so, its owner should look at the app",
            );
            (refusal, Some("bad-answer"))
        };
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(drive(driver.with_upgrades(), &session));
        let answer = sender.send_request(request).await.map_err(failed)?;
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !answer.headers().get(UPGRADE).is_some_and(|to| is_same(to, &protocol)) {
            return Err((other_protocol_refusal(&route.name), Some("bad-answer")));
        }
        Ok((answer, broken))
    };
    let answer = tokio::select! {
        biased;
        () = session.cut() => Err((cut_refusal(&session, &route.name), None)),
        answer = tokio::time::timeout(patience, exchange) => answer.unwrap_or_else(|_| {
            let refusal = Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "publisher-timeout",
                format!("the app behind `{}` did not answer in time", route.name),
                "try again",
            );
            Err((refusal, Some("late")))
        }),
    };
    drop(unanswered);
    match answer {
        Err((refusal, why)) => {
            if let Some(why) = why {
                sent.went(edge, route, How::Failed(why)).await;
            }
            let record = record.answered(refusal.status);
            let refusal = match rules.recording {
                Recording::Buffered => refusal,
                Recording::Strict => {
                    record.write_now(None).await.map_or_else(|_| not_recorded_refusal(), |_| refusal)
                }
            };
            refusal.respond(&headers, &correlation.0)
        }
        Ok((mut response, broken)) => {
            sent.went(edge, route, How::Answered).await;
            let record = record.answered(response.status());
            credential::strip_answer(response.headers_mut());
            rules.answer.apply(response.headers_mut());
            let record = match rules.recording {
                Recording::Buffered => record,
                Recording::Strict => match record.write_now(None).await {
                    Ok(record) => record,
                    Err(_) => return not_recorded_refusal().respond(&headers, &correlation.0),
                },
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let publisher = hyper::upgrade::on(&mut response);
                // Holds its seat among the connections for as long as it lives.
                let connection = Arc::clone(connection);
                tokio::spawn(async move {
                    match tokio::try_join!(visitor, publisher) {
                        Ok((visitor, publisher)) => {
                            // TLS says by itself whether it was ended, and so does the WebSocket inside.
                            let (visitor, publisher) = (TokioIo::new(visitor), TokioIo::new(publisher));
                            let passed = Passed::default();
                            let copied = tokio::select! {
                                biased;
                                copied = copy_and_count(&session, visitor, publisher, &passed) => copied,
                                // Also while the visitor reads nothing, and nobody looks at the stream.
                                () = broken.cancelled() => Copied::BrokenOff,
                            };
                            record.upgraded(&passed, copied);
                        }
                        Err(error) => debug!(%error, "an upgrade was not completed"),
                    }
                    drop(connection);
                });
                return response.map(|_| Body::empty());
            }
            let (mut parts, body) = response.into_parts();
            strip_hop_by_hop(&mut parts.headers);
            Response::from_parts(parts, Body::new(SessionBody::new(body, session, Direction::Down, record)))
        }
    }
}

fn other_protocol_refusal(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "app-unreachable",
        format!("the app behind `{name}` switched to another protocol than it was asked for"),
        "its owner should look at the app",
    )
}
