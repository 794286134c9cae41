//! Carries an HTTP request through a tunnel: who is it, may they, is it recorded, and only then the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::admission::{admit, answer_stop};
use super::forward::prepare;
use super::page::Refusal;
use super::refusals::{behind_refusal, cut_refusal, link_refusal, not_recorded_refusal};
use super::request_record::RequestRecord;
use super::route::Correlation;
use super::{Connection, Edge, TunnelRules, app_health, credential, lines, upgrade};
use crate::clock;
use crate::session::{Counted, Direction, Protocol, Recording, Session, SessionBody, Went};
use crate::tunnel::{LinkError, TunnelName, origin_fault, strip_hop_by_hop};

/// A strict tunnel's answer that is known to be no longer than this is recorded with its whole length.
const SHORT_ANSWER: u64 = 64 * 1024;

/// Where a visitor came to.
#[derive(Clone, Copy)]
pub(super) struct Visited<'a> {
    /// The tunnel.
    pub(super) name: &'a TunnelName,
    /// The host under which it was visited, in lower case.
    pub(super) host: &'a str,
}

/// Answers one request to a tunnel. One that may be made twice (RFC 9110 section 9.2), and that a publisher's end kept from being
/// answered, is made again: by another publisher of the name, or by the same one when it is back.
pub(super) async fn carry(
    edge: &Edge,
    connection: &Arc<Connection>,
    visited: Visited<'_>,
    request: Request<Body>,
    correlation: &Correlation,
) -> Response<Body> {
    let spare = again(&request);
    let answer = carry_once(edge, connection, visited, request, correlation).await;
    match spare.filter(|_| answer.extensions().get::<NotMade>().is_some()) {
        Some(spare) => carry_once(edge, connection, visited, spare, correlation).await,
        None => answer,
    }
}

/// Goes with the answer to a request that did not get to the publisher, or got no answer and only asks.
#[derive(Clone, Copy)]
struct NotMade;

/// The same request once more, if it has no body and its method is safe to repeat (RFC 9110 section 9.2.2).
fn again(request: &Request<Body>) -> Option<Request<Body>> {
    if !request.method().is_idempotent()
        || !request.body().is_end_stream()
        || upgrade::is_wanted(request.headers())
    {
        return None;
    }
    let mut spare = Request::new(Body::empty());
    spare.method_mut().clone_from(request.method());
    spare.uri_mut().clone_from(request.uri());
    *spare.version_mut() = request.version();
    spare.headers_mut().clone_from(request.headers());
    Some(spare)
}

async fn carry_once(
    edge: &Edge,
    connection: &Arc<Connection>,
    visited: Visited<'_>,
    mut request: Request<Body>,
    correlation: &Correlation,
) -> Response<Body> {
    let Visited { name, host } = visited;
    let headers = request.headers().clone();
    if request.method() == Method::CONNECT {
        let detail = "CONNECT is for proxies, and this is none";
        let hint = format!("for raw TCP use: sallyport connect {name}");
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no-proxy", detail, hint);
        return refusal.respond(&headers, &correlation.0);
    }
    let (session, route) = match admit(edge, connection, name, &headers, Protocol::Http, correlation).await {
        Ok(admitted) => admitted,
        Err(stop) => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            return answer_stop(edge, stop, name, &headers, path, correlation);
        }
    };
    if !session.has_room_for_a_record()
        && tokio::time::timeout(edge.bounds.request, session.room_for_a_record()).await.is_err()
    {
        return behind_refusal().respond(&headers, &correlation.0);
    }
    let rules = edge.house_rules.of(name);
    if let Err(refusal) = app_health::admit(&route).and_then(|()| rules.fits(name, &request)) {
        return refusal.respond(&headers, &correlation.0);
    }
    let patience = rules.patience.unwrap_or(edge.bounds.request);
    if upgrade::is_wanted(&headers) {
        let on = upgrade::On { connection, visited, rules: &rules };
        return upgrade::carry(edge, session, &route, on, request, correlation).await;
    }
    let person = match session.subject() {
        // Visitors without a token are told apart by their address.
        "user:anonymous" => connection.peer.ip().to_canonical().to_string(),
        subject => subject.to_owned(),
    };
    let waits = (person.as_str(), lines::priority(rules.priority, &headers));
    let place = tokio::select! {
        biased;
        () = session.cut() => return cut_refusal().respond(&headers, &correlation.0),
        place = edge.lines.enter(name, rules.at_once, waits, edge.bounds.queue) => place,
    };
    let place = match place {
        Ok(place) => place,
        Err(refusal) => return refusal.respond(&headers, &correlation.0),
    };
    let pressed = place.as_ref().is_some_and(|place| place.pressed);
    let mut record = RequestRecord::begin(edge, &session, &route, name, &request, correlation);
    record.keep(place);
    prepare(&mut request, connection, host, &rules, correlation);
    let progress = Progress::default();
    let (over, mut not_made, asks) = (Arc::new(AtomicBool::new(false)), false, request.method().is_safe());
    let request = request.map(|body| rules.bounded(body, &over));
    let request =
        request.map(|body| SessionBody::new(body, session.clone(), Direction::Up, progress.clone()));
    session.count_request();
    let answer = tokio::select! {
        biased;
        () = session.cut() => Err(cut_refusal()),
        () = progress.still_for(patience) => {
            app_health::tell(edge, &route, Went::Failed);
            Err(late_refusal(patience, name))
        }
        answer = route.link.request(name, request) => match answer {
            Ok(answer) => Ok(answer),
            Err(_) if over.load(Ordering::Relaxed) => Err(rules.too_large(name)),
            Err(error) => {
                not_made = match error {
                    LinkError::Closed(_) => true,
                    // It may have been made; what only asks may be asked again.
                    LinkError::Stream(_) => asks,
                    _ => false,
                };
                Err(link_refusal(name, &error))
            }
        },
    };
    let answer = answer.and_then(|answer| match origin_fault(&answer) {
        None => {
            app_health::tell(edge, &route, Went::Answered);
            Ok(answer)
        }
        Some(fault) => {
            app_health::tell(edge, &route, Went::Failed);
            Err(Refusal::new(
                StatusCode::BAD_GATEWAY,
                "app-unreachable",
                format!("the publisher of `{name}` is there, but the app behind it is not: {fault}"),
                "try again; if it stays so, its owner should start the app",
            ))
        }
    });
    let answer = match answer {
        Ok(answer) => release(patience, &session, &rules, record, answer).await,
        Err(refusal) if rules.recording == Recording::Strict => {
            match record.answered(refusal.status).write_now(None).await {
                Ok(()) => Err(refusal),
                Err(_) => Err(not_recorded_refusal()),
            }
        }
        Err(refusal) => {
            drop(record.answered(refusal.status));
            Err(refusal)
        }
    };
    let mut answer = answer.unwrap_or_else(|refusal| refusal.respond(&headers, &correlation.0));
    if pressed {
        answer.headers_mut().insert(lines::BACKPRESSURE, lines::PRESSED);
    }
    if not_made {
        answer.extensions_mut().insert(NotMade);
    }
    answer
}

/// Lets an app's answer go to the visitor: as it comes, and recorded behind it; or, where recording is strict, with its record
/// durable first.
async fn release(
    patience: Duration,
    session: &Session,
    rules: &TunnelRules,
    record: RequestRecord,
    answer: Response<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let (mut parts, body) = answer.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    credential::strip_answer(&mut parts.headers);
    rules.answer.apply(&mut parts.headers);
    let record = record.answered(parts.status);
    if rules.recording == Recording::Buffered {
        return Ok(Response::from_parts(parts, session_body(body, session, record)));
    }
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length <= SHORT_ANSWER) {
        let whole = tokio::select! {
            biased;
            () = session.cut() => return Err(cut_refusal()),
            whole = tokio::time::timeout(patience, body.collect()) => whole,
        };
        let Ok(Ok(whole)) = whole else { return Err(broken_refusal(record).await) };
        let length = announced.unwrap_or_default();
        record.write_now(Some(length)).await.map_err(|_| not_recorded_refusal())?;
        return Ok(Response::from_parts(parts, session_body(whole, session, ())));
    }
    record.write_now(None).await.map_err(|_| not_recorded_refusal())?;
    Ok(Response::from_parts(parts, session_body(body, session, ())))
}

fn session_body<B, G: Counted>(body: B, session: &Session, guard: G) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Body::new(SessionBody::new(body, session.clone(), Direction::Down, guard))
}

/// The app's answer broke off while it was read for the record: the visitor gets none of it.
async fn broken_refusal(record: RequestRecord) -> Refusal {
    let status = StatusCode::BAD_GATEWAY;
    match record.answered(status).write_now(None).await {
        Ok(()) => Refusal::new(
            status,
            "app-unreachable",
            "the app behind the tunnel broke off in its answer",
            "try again; if it stays so, its owner should look at the app",
        ),
        Err(_) => not_recorded_refusal(),
    }
}

fn late_refusal(patience: Duration, name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        "publisher-timeout",
        format!("the publisher of `{name}` did not begin an answer within {} s", patience.as_secs()),
        "try again; if it stays so, its owner should look at the app behind it",
    )
}

/// When the last byte of a request went up: the time for an answer runs from there, so that a long upload is no timeout.
#[derive(Clone)]
struct Progress {
    began: Instant,
    moved_after_ms: Arc<AtomicU64>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { began: clock::monotonic(), moved_after_ms: Arc::default() }
    }
}

impl Progress {
    async fn still_for(&self, bound: Duration) {
        loop {
            let moved = Duration::from_millis(self.moved_after_ms.load(Ordering::Relaxed));
            let still = self.began.elapsed().saturating_sub(moved);
            match bound.checked_sub(still) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

impl Counted for Progress {
    fn passed(&mut self, _bytes: usize) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_after_ms.store(elapsed, Ordering::Relaxed);
    }

    fn finished(&mut self) {}
}
