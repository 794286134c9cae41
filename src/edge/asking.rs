//! The visitor's pages on a tunnel's own host: ask for leave with a reason, wait, and go on when it is given.
//!
//! No page here takes a token: the app could show one that looks the same (`sign_in`). Forms are accepted
//! from the page's own origin only, so that no other site can ask in a visitor's name.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::http::header::ORIGIN;
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::admission::{answer_stop, authenticate};
use super::page::{Refusal, challenge, html};
use super::route::{Authority, Correlation};
use super::sign_in::away;
use super::sign_in::pending::safe_path;
use super::{Connection, Edge};
use crate::access::{
    Action, Ask, Context, GrantStatus, Identity, Object, Reason, RequestFilter, RequestStatus, Ticket,
};
use crate::clock;
use crate::tunnel::TunnelName;

/// Paths below this one on a tunnel's host are the gateway's, not the app's.
pub(super) const PREFIX: &str = "/.sallyport/";

/// A form holds a token or a reason, nothing larger.
const LARGEST_FORM: usize = 32 * 1024;

#[derive(Template, Default)]
#[template(path = "asking.html")]
struct Page<'a> {
    heading: &'a str,
    detail: &'a str,
    tunnel: &'a str,
    subject: String,
    request: String,
    /// What became of what was asked before, if it is no more than that.
    before: Option<String>,
    correlation: &'a str,
    sign_in: bool,
    /// Where the visitor wanted to go: the query of the way to the desk, or the path that goes on with a form.
    to: String,
    may_ask: bool,
    waiting: bool,
}

#[derive(Deserialize)]
struct AskForm {
    reason: String,
    minutes: u32,
    /// Where to go on.
    #[serde(default)]
    to: String,
    /// Empty where none is named.
    #[serde(default)]
    ticket: String,
}

/// The page for a visitor whom nobody knows yet.
pub(super) fn sign_in_page(
    name: &TunnelName,
    detail: &str,
    path: &str,
    correlation: &Correlation,
) -> Response<Body> {
    let to = serde_urlencoded::to_string([("to", path)]).unwrap_or_default();
    let page = Page {
        heading: "Sign in",
        detail,
        tunnel: name.as_str(),
        correlation: &correlation.0,
        sign_in: true,
        to,
        ..Page::default()
    };
    with_status(html(&page), StatusCode::UNAUTHORIZED)
}

/// The page for a visitor who needs leave: asks, or waits for the answer to what was asked.
pub(super) fn ask_page(
    edge: &Edge,
    name: &TunnelName,
    identity: &Identity,
    explanation: &str,
    path: &str,
    correlation: &Correlation,
) -> Response<Body> {
    let object = Object::tunnel(name.as_str()).ok();
    let pending = object.as_ref().and_then(|object| edge.access.waiting(identity, object, Action::Connect));
    let waiting = pending.is_some();
    let before = if waiting { None } else { outcome(edge, identity, object) };
    let page = Page {
        heading: if waiting { "Waiting for an approver" } else { "You need leave to go on" },
        detail: if waiting { "This page goes on by itself when somebody has decided." } else { explanation },
        tunnel: name.as_str(),
        subject: identity.subject().to_string(),
        request: pending.map(|id| id.to_string()).unwrap_or_default(),
        before,
        correlation: &correlation.0,
        to: safe_path(path),
        may_ask: !waiting,
        waiting,
        ..Page::default()
    };
    with_status(html(&page), StatusCode::FORBIDDEN)
}

/// What became of the visitor's last request for the tunnel, in a sentence.
fn outcome(edge: &Edge, identity: &Identity, object: Option<Object>) -> Option<String> {
    let filter = RequestFilter { pending: false, subject: Some(identity.subject().clone()), object };
    let last = edge.access.requests(identity, &filter).into_iter().next()?.request;
    let because =
        |reason: Option<Reason>| reason.map_or_else(|| ".".to_owned(), |reason| format!(": {reason}"));
    let minute = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC");
    Some(match last.status {
        RequestStatus::Pending => return None,
        RequestStatus::Rejected { by, reason, .. } => {
            format!("Your request was denied by {by}{}", because(reason))
        }
        RequestStatus::Expired { at } => format!("Nobody answered your request until {}.", minute(at)),
        RequestStatus::Lapsed { .. } => "Your request ended with an incident of the gateway.".to_owned(),
        RequestStatus::Withdrawn { .. } => "You took your request back.".to_owned(),
        RequestStatus::Granted { grant } => match edge.access.find_grant(identity, grant)?.status {
            GrantStatus::Live => return None,
            GrantStatus::Revoked { by, reason, .. } => {
                let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
                format!("Your leave was taken back{by}{}", because(reason))
            }
            GrantStatus::Expired { at } => format!("Your leave ended at {}.", minute(at)),
            GrantStatus::Lapsed { .. } => "Your leave ended with an incident of the gateway.".to_owned(),
        },
    })
}

/// Answers the forms.
pub(super) async fn handle(
    edge: &Edge,
    connection: &Arc<Connection>,
    name: &TunnelName,
    request: Request<Body>,
    correlation: &Correlation,
) -> Response<Body> {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let result = match (request.method(), request.uri().path()) {
        (&Method::POST, _) if !same_origin(&request) => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "foreign-form",
            "this form was sent from another site",
            "open the tunnel's own address and use the form there",
        )),
        (&Method::GET, "/.sallyport/sign-in") => away::set_out(edge, name, request.uri(), &headers),
        (&Method::GET, "/.sallyport/enter") => {
            away::enter(edge, connection, name, (&uri, &headers), correlation).await
        }
        (&Method::POST, "/.sallyport/sign-out") => away::sign_out(edge, &headers).await,
        (&Method::POST, "/.sallyport/request") => ask(edge, connection, name, request, correlation).await,
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "unknown-page",
            "there is no such page of the gateway",
            "open the tunnel's own address",
        )),
    };
    result.unwrap_or_else(|refusal| refusal.respond(&headers, &correlation.0))
}

async fn ask(
    edge: &Edge,
    connection: &Connection,
    name: &TunnelName,
    request: Request<Body>,
    correlation: &Correlation,
) -> Result<Response<Body>, Refusal> {
    let identity = match authenticate(edge, connection, request.headers(), name, correlation).await {
        Ok(identity) => identity,
        Err(stop) => return Ok(answer_stop(edge, stop, name, request.headers(), "/", correlation)),
    };
    let form: AskForm = read_form(edge, request).await?;
    let refused = |detail: String, hint: String| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "request-refused", detail, hint)
    };
    let object = Object::tunnel(name.as_str()).map_err(|error| refused(error.to_string(), String::new()))?;
    let ticket = (!form.ticket.trim().is_empty()).then(|| form.ticket.parse::<Ticket>()).transpose();
    let ask = Ask {
        renews: None,
        once: false,
        object,
        action: Action::Connect,
        minutes: form.minutes,
        reason: form.reason.parse::<Reason>().map_err(|error| refused(error.to_string(), String::new()))?,
        ticket: ticket.map_err(|error| refused(error.to_string(), String::new()))?,
    };
    let context = Context::at(clock::now())
        .from_source(connection.peer)
        .on(connection.tls.as_ref())
        .through(edge.routes.protection(name).map(Into::into));
    edge.access
        .request(&identity.met(&context), ask)
        .await
        .map_err(|error| refused(error.to_string(), error.hint().to_owned()))?;
    away::see_other(&safe_path(&form.to))
}

pub(super) async fn read_form<T: DeserializeOwned>(
    edge: &Edge,
    request: Request<Body>,
) -> Result<T, Refusal> {
    let reading = Limited::new(request.into_body(), LARGEST_FORM).collect();
    let read = tokio::time::timeout(edge.bounds.header, reading).await;
    let body = read.map_err(|_| wrong_form())?.map_err(|_| wrong_form())?;
    serde_urlencoded::from_bytes(&body.to_bytes()).map_err(|_| wrong_form())
}

fn wrong_form() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "bad-form",
        "the form could not be read",
        "open the tunnel's own address and fill in the form there",
    )
}

/// Whether a form comes from the host it is sent to. Browsers send `Origin` with every POST; what sends none is no browser,
/// and carries no cookie that it was not given.
pub(super) fn same_origin(request: &Request<Body>) -> bool {
    let Some(origin) = request.headers().get(ORIGIN).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    let asked = request.extensions().get::<Authority>().map_or("", |authority| authority.0.as_str());
    origin.strip_prefix("https://").is_some_and(|rest| rest.eq_ignore_ascii_case(asked))
}

fn with_status(mut response: Response<Body>, status: StatusCode) -> Response<Body> {
    *response.status_mut() = status;
    challenge(&mut response);
    response
}
