//! Carries an HTTP request through a tunnel: who is it, may they, is it recorded, and only then the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, ALLOW};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::admission::{Stop, admit, answer_stop};
use super::app_health::{self, How, Sent};
use super::forward::prepare;
use super::page::Refusal;
use super::refusals::{behind_refusal, cut_refusal, link_refusal, not_recorded_refusal};
use super::request_record::{RequestRecord, Uploaded};
use super::route::Correlation;
use super::upload::Upload;
use super::{Connection, Edge, TunnelRules, credential, head, lines, route, upgrade};
use crate::session::{Counted, Direction, Ending, Protocol, Recording, Route, Session, SessionBody};
use crate::tunnel::{
    Answer, AppConnection, LinkError, OriginFault, TunnelName, head_fits, origin_fault, strip_hop_by_hop,
};

/// What is told to whoever asks with CONNECT (RFC 9110 section 15.5.6). Which of them an app has is for the app to say.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

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
    let spare = again(&request, &edge.house_rules.of(visited.name));
    let request = (request, spare.is_some());
    let answer = carry_once(edge, connection, visited, request, correlation).await;
    match spare.filter(|_| answer.extensions().get::<NotMade>().is_some()) {
        Some(spare) => carry_once(edge, connection, visited, (spare, false), correlation).await,
        None => answer,
    }
}

/// Goes with the answer to a request that did not get to the publisher, or got no answer and only asks.
#[derive(Clone, Copy)]
struct NotMade;

/// The same request once more, if it has no body and its method is safe to repeat (RFC 9110 section 9.2.2).
fn again(request: &Request<Body>, rules: &TunnelRules) -> Option<Request<Body>> {
    if !request.method().is_idempotent()
        || !request.body().is_end_stream()
        || upgrade::wanted(request, rules).is_some()
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

/// Of a request's headers those that are looked at when it has gone on: who would read a refusal, and how urgent it is.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [ACCEPT, lines::PRIORITY] {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Answers it without making it again; `is_spared` is whether somebody does that.
async fn carry_once(
    edge: &Edge,
    connection: &Arc<Connection>,
    visited: Visited<'_>,
    (mut request, is_spared): (Request<Body>, bool),
    correlation: &Correlation,
) -> Response<Body> {
    let Visited { name, host } = visited;
    let headers = kept(request.headers());
    if request.method() == Method::CONNECT {
        let detail = "CONNECT is for proxies, and this is none";
        let hint = format!("for raw TCP use: sallyport connect {name}");
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no-proxy", detail, hint);
        let mut response = refusal.respond(&headers, &correlation.0);
        response.headers_mut().insert(ALLOW, METHODS);
        return response;
    }
    let admitted = admit(edge, connection, name, request.headers(), Protocol::Http, correlation).await;
    let (session, route) = match admitted {
        Ok(admitted) => admitted,
        Err(mut stop) => {
            if let Stop::Refused(refusal) = &mut stop
                && refusal.status == StatusCode::MISDIRECTED_REQUEST
                && route::tunnel_at(edge, host).as_ref() != Some(name)
            {
                // A path of another host led here, and no other connection to that host would lead further.
                refusal.status = StatusCode::NOT_FOUND;
            }
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
    if let Err(refusal) = app_health::look(&route).and_then(|()| rules.fits(name, &request)) {
        return refusal.respond(&headers, &correlation.0);
    }
    let place = match place(edge, name, &session, &rules, &headers).await {
        Ok(place) => place,
        Err(refusal) => {
            let mut answer = refusal.respond(&headers, &correlation.0);
            if is_publishers_doing(&session) {
                answer.extensions_mut().insert(NotMade);
            }
            return answer;
        }
    };
    if let Some(protocol) = upgrade::wanted(&request, &rules) {
        let on = upgrade::On { connection, visited, rules: &rules, place, protocol };
        return upgrade::carry(edge, session, &route, on, request, correlation).await;
    }
    // Not before: who waited in the line may find an app that has failed meanwhile.
    let sent = match app_health::admit(edge, &route).await {
        Ok(sent) => sent,
        Err(refusal) => return refusal.respond(&headers, &correlation.0),
    };
    let pressed = place.as_ref().is_some_and(|place| place.pressed);
    let mut record = RequestRecord::begin(edge, &session, &route, name, &request, correlation);
    record.keep(place);
    prepare(&mut request, connection, host, &rules, correlation);
    let patience = rules.patience.unwrap_or(edge.bounds.request);
    let sent = (sent, record.uploaded());
    let (answer, not_made) = if head_fits(&request) {
        exchange(edge, &route, &session, (&rules, patience), sent, request).await
    } else {
        (Err(head::too_large_for_a_tunnel(name)), false)
    };
    let answer = match answer {
        Ok(answer) => release(patience, &session, &rules, record, answer).await,
        Err(refusal) => {
            // An answer that nobody gets, if the request is made again.
            let record =
                if not_made && is_spared { record.repeated() } else { record.answered(refusal.status) };
            match rules.recording {
                Recording::Buffered => Err(refusal),
                Recording::Strict => record
                    .write_now(None)
                    .await
                    .map_or_else(|_| Err(not_recorded_refusal()), |_| Err(refusal)),
            }
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

/// A place at the app, if the tunnel has only so many; nobody waits for one whose leave has ended.
async fn place(
    edge: &Edge,
    name: &TunnelName,
    session: &Session,
    rules: &TunnelRules,
    headers: &HeaderMap,
) -> Result<Option<lines::Place>, Refusal> {
    let person = session.person();
    let waits = (&*person, lines::priority(rules.priority, headers));
    tokio::select! {
        biased;
        () = session.cut() => Err(cut_refusal(session, name)),
        place = edge.lines.enter(name, rules.at_once, waits, edge.bounds.queue) => place,
    }
}

/// Whether the session was cut because its publisher is gone, or is another by now.
fn is_publishers_doing(session: &Session) -> bool {
    !session.is_open() && session.ending() == Some(Ending::PublisherClosed)
}

/// Sends a request to the app, and waits until its answer begins. Tells also whether the request may be made again.
async fn exchange(
    edge: &Edge,
    route: &Route,
    session: &Session,
    (rules, patience): (&TunnelRules, Duration),
    (sent, uploaded): (Sent, Uploaded),
    request: Request<Body>,
) -> (Result<Response<Answer>, Refusal>, bool) {
    let name = &route.name;
    let (upload, over, asks) =
        (Upload::begin(), Arc::new(AtomicBool::new(false)), request.method().is_safe());
    let request = request.map(|body| {
        let body = rules.bounded(upload.watch(body), &over);
        SessionBody::new(body, session.clone(), Direction::Up, uploaded)
    });
    let _unanswered = session.count_request();
    let person = session.person();
    let answer = tokio::select! {
        biased;
        // It may have been made; what only asks may be asked again.
        () = session.cut() => return (Err(cut_refusal(session, name)), asks && is_publishers_doing(session)),
        () = upload.still_for(patience) => {
            // Whoever does not send what they announced must not have the app left alone for everybody.
            if upload.is_owed() {
                return (Err(owed_refusal(patience)), false);
            }
            sent.went(edge, route, How::Failed("late")).await;
            return (Err(late_refusal(patience, name)), false);
        }
        answer = route.link.request_of(&person, name, request) => answer,
    };
    if let Some(by) = answer.as_ref().ok().and_then(|answer| answer.extensions().get::<AppConnection>()) {
        edge.metrics.reached(name, *by);
    }
    match answer {
        Ok(answer) => match origin_fault(&answer) {
            // Nobody asked it to switch protocols, and an answer comes after whatever else begins with 1.
            None if answer.status().is_informational() => {
                let fault = OriginFault::BadAnswer;
                sent.went(edge, route, How::Failed(fault.word())).await;
                (Err(unreachable_refusal(name, fault)), false)
            }
            None => {
                sent.went(edge, route, How::Answered).await;
                (Ok(answer), false)
            }
            // Visitors must not be able to have the app left alone for everybody: it is not told of.
            Some(OriginFault::Stalled) => (Err(stalled_refusal(name)), false),
            // It is well, and has enough to do.
            Some(OriginFault::Busy) => (Err(busy_refusal(name)), false),
            Some(fault) => {
                sent.went(edge, route, How::Failed(fault.word())).await;
                (Err(unreachable_refusal(name, fault)), false)
            }
        },
        Err(_) if over.load(Ordering::Relaxed) => (Err(rules.too_large(name)), false),
        Err(_) if upload.is_broken() => (Err(broken_off_refusal()), false),
        Err(error) => {
            let not_made = match error {
                LinkError::Closed(_) => true,
                // It may have been made; what only asks may be asked again.
                LinkError::Stream(_) => asks,
                _ => false,
            };
            (Err(link_refusal(name, &error)), not_made)
        }
    }
}

/// Lets an app's answer go to the visitor: as it comes, and recorded behind it; or, where recording is strict, with its record
/// durable first.
async fn release(
    patience: Duration,
    session: &Session,
    rules: &TunnelRules,
    record: RequestRecord,
    answer: Response<Answer>,
) -> Result<Response<Body>, Refusal> {
    let (mut parts, body) = answer.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    credential::strip_answer(&mut parts.headers);
    rules.answer.apply(&mut parts.headers);
    if rules.recording == Recording::Buffered {
        let record = record.answered(parts.status);
        return Ok(Response::from_parts(parts, session_body(body, session, record)));
    }
    // An answer to HEAD announces the length of one that does not come (RFC 9110 section 8.6).
    if body.is_end_stream() || body.size_hint().exact().is_some_and(|length| length <= SHORT_ANSWER) {
        let mut length = 0;
        let counted = body.map_frame(|frame| {
            length += frame.data_ref().map_or(0, Bytes::len) as u64;
            frame
        });
        let whole = tokio::select! {
            biased;
            () = session.cut() => {
                let refusal = cut_refusal(session, &record.tunnel);
                // What the visitor gets is on record before, whatever it is.
                return Err(match record.answered(refusal.status).write_now(None).await {
                    Ok(_) => refusal,
                    Err(_) => not_recorded_refusal(),
                });
            }
            whole = tokio::time::timeout(patience, counted.collect()) => whole,
        };
        let Ok(Ok(whole)) = whole else { return Err(broken_refusal(record).await) };
        let record = record.answered(parts.status).write_now(Some(length)).await;
        let record = record.map_err(|_| not_recorded_refusal())?;
        return Ok(Response::from_parts(parts, session_body(whole, session, record)));
    }
    let record = record.answered(parts.status).write_now(None).await;
    let record = record.map_err(|_| not_recorded_refusal())?;
    Ok(Response::from_parts(parts, session_body(body, session, record)))
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
        Ok(_) => Refusal::new(
            status,
            "app-unreachable",
            "the app behind the tunnel broke off in its answer",
            "try again; if it stays so, its owner should look at the app",
        ),
        Err(_) => not_recorded_refusal(),
    }
}

fn unreachable_refusal(name: &TunnelName, fault: OriginFault) -> Refusal {
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "app-unreachable",
        format!("the publisher of `{name}` is there, but the app behind it is not: {fault}"),
        "try again; if it stays so, its owner should start the app",
    )
}

fn stalled_refusal(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "app-stalled",
        format!("the app behind `{name}` does not take what is sent to it, this and much else"),
        "try again; if it stays so, its owner should look at the app, which may have begun on the request",
    )
}

fn busy_refusal(name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "app-busy",
        format!("the app behind `{name}` has as many requests under way as it takes"),
        "try again in a few seconds; its owner can have the app take more at a time",
    )
}

fn owed_refusal(patience: Duration) -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "body-late",
        format!("the request's body did not come on: nothing of it came for {} s", patience.as_secs()),
        "send all that the request announces; the app gets what has come, and may have acted on it",
    )
}

fn broken_off_refusal() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "body-broken",
        "the request's body broke off, or was not as long as it announced",
        "send the request again, whole",
    )
}

fn late_refusal(patience: Duration, name: &TunnelName) -> Refusal {
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        "publisher-timeout",
        format!("the publisher of `{name}` did not begin an answer within {} s", patience.as_secs()),
        "try again; if it stays so, its owner should look at the app behind it",
    )
}
