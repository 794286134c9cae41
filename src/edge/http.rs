//! Carries an HTTP request through a tunnel: who is it, may they, is it recorded, and only then the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};

use super::admission::{admit, answer_stop};
use super::forward::{prepare, remove_hop_headers};
use super::page::Refusal;
use super::refusals::{cut_refusal, link_refusal};
use super::request_record::RequestRecord;
use super::route::Correlation;
use super::{Connection, Edge, credential, upgrade};
use crate::clock;
use crate::session::{Counted, Direction, Protocol, SessionBody};
use crate::tunnel::{TunnelName, origin_fault};

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
        Err(stop) => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            return answer_stop(edge, stop, name, &headers, path, correlation);
        }
    };
    if upgrade::is_wanted(&headers) {
        return upgrade::carry(edge, session, &route, connection, request, correlation).await;
    }
    let record = RequestRecord::begin(&session, name, &request, correlation);
    prepare(&mut request, connection, &edge.domain, name, correlation);
    let progress = Progress::default();
    let request =
        request.map(|body| SessionBody::new(body, session.clone(), Direction::Up, progress.clone()));
    session.count_request();
    let answer = tokio::select! {
        biased;
        () = session.cut() => Err(cut_refusal()),
        () = progress.still_for(edge.bounds.request) => Err(Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "publisher-timeout",
            format!("the publisher of `{name}` did not begin an answer within {} s", edge.bounds.request.as_secs()),
            "try again; if it stays so, its owner should look at the app behind it",
        )),
        answer = route.link.request(name, request) => answer.map_err(|error| link_refusal(name, &error)),
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
