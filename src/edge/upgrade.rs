//! WebSocket and every other `Upgrade`: the request goes to the app over a raw stream of its own, and when the app agrees
//! the two streams are joined.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::http::{cut_refusal, link_refusal, prepare};
use super::page::Refusal;
use super::request_record::RequestRecord;
use super::route::Correlation;
use super::{Connection, Edge};
use crate::session::{Direction, Route, Session, SessionBody, copy_both_ways};

/// Whether the visitor asks for another protocol (RFC 9110 section 7.8).
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    named && headers.contains_key(UPGRADE)
}

/// Carries one upgrade request.
pub(super) async fn carry(
    edge: &Edge,
    session: Session,
    route: &Arc<Route>,
    connection: &Arc<Connection>,
    mut request: Request<Body>,
    correlation: &Correlation,
) -> Response<Body> {
    let headers = request.headers().clone();
    let record = RequestRecord::begin(edge, &session, &route.name, &request, correlation);
    let visitor = hyper::upgrade::on(&mut request);
    prepare(&mut request, connection, &edge.domain, &route.name, correlation);
    for name in [CONNECTION, UPGRADE] {
        for value in headers.get_all(&name) {
            request.headers_mut().append(&name, value.clone());
        }
    }
    let request = request.map(|body| SessionBody::new(body, session.clone(), Direction::Up, ()));
    session.count_request();
    let exchange = async {
        let stream =
            route.link.connect(&route.name).await.map_err(|error| link_refusal(&route.name, &error))?;
        let failed = |error: hyper::Error| {
            debug!(%error, "the app did not take an upgrade request");
            Refusal::new(
                StatusCode::BAD_GATEWAY,
                "app-unreachable",
                format!("the app behind `{}` did not answer", route.name),
                "try again; if it stays so, its owner should look at the app",
            )
        };
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(driver.with_upgrades());
        sender.send_request(request).await.map_err(failed)
    };
    let answer = tokio::select! {
        () = session.cut() => Err(cut_refusal()),
        answer = tokio::time::timeout(edge.bounds.request, exchange) => answer.unwrap_or_else(|_| {
            Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "publisher-timeout",
                format!("the app behind `{}` did not answer in time", route.name),
                "try again",
            ))
        }),
    };
    match answer {
        Err(refusal) => {
            drop(record.answered(refusal.status));
            refusal.respond(&headers, &correlation.0)
        }
        Ok(mut response) => {
            let record = record.answered(response.status());
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let publisher = hyper::upgrade::on(&mut response);
                tokio::spawn(async move {
                    match tokio::try_join!(visitor, publisher) {
                        Ok((visitor, publisher)) => {
                            copy_both_ways(&session, TokioIo::new(visitor), TokioIo::new(publisher)).await;
                        }
                        Err(error) => debug!(%error, "an upgrade was not completed"),
                    }
                    drop(record);
                });
                return response.map(|_| Body::empty());
            }
            let (parts, body) = response.into_parts();
            Response::from_parts(parts, Body::new(SessionBody::new(body, session, Direction::Down, record)))
        }
    }
}
