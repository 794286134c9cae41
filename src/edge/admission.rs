//! Who may enter: authenticate, decide, open. What visitors of every protocol pass, in one place, so that none can miss a step.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use sallyport_audit::{Draft, Kind, Outcome};
use tracing::warn;

use super::page::{Refusal, wants_page};
use super::rates::Counted;
use super::refusals::{dead_refusal, ended_refusal, open_refusal, unready_refusal};
use super::route::Correlation;
use super::{Connection, Edge, asking, credential};
use crate::access::{Action, AuthError, Context, Decision, Identity, Object, Permit, TlsFacts};
use crate::clock;
use crate::session::{Lookup, Opening, Protocol, Route, Session};
use crate::tunnel::{TunnelKind, TunnelName};

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

/// Who asks. A failure counts against the address, and is recorded.
pub(super) async fn authenticate(
    edge: &Edge,
    connection: &Connection,
    headers: &HeaderMap,
    name: &TunnelName,
    correlation: &Correlation,
) -> Result<Identity, Stop> {
    let address = connection.peer.ip();
    edge.attempts.check(address).map_err(Stop::Refused)?;
    let certificate = connection.certificate.as_ref();
    match credential::identify(&edge.access, &edge.tenant, headers, certificate, clock::now()).await {
        Ok(identity) => Ok(identity),
        Err(error) => {
            authentication_failed(edge, connection, format!("tunnel:{name}"), correlation, &error).await;
            Err(Stop::SignIn { detail: error.to_string() })
        }
    }
}

/// Counts and records a failure to prove who one is.
pub(super) async fn authentication_failed(
    edge: &Edge,
    connection: &Connection,
    object: String,
    correlation: &Correlation,
    error: &AuthError,
) {
    let barred = edge.attempts.failed(connection.peer.ip());
    let draft = Draft::new(Kind::AuthFailed, Outcome::Denied)
        .object(object)
        .source(connection.peer.to_string())
        .correlation(correlation.0.as_str())
        .detail("reason", error.code());
    note(edge, if barred { draft.detail("address_barred", true) } else { draft }).await;
}

/// Why a visitor who speaks `protocol` cannot use a tunnel of this kind. A raw stream into a web app, above all, would carry
/// requests that nobody records, with headers that nobody checked.
fn other_kind(edge: &Edge, name: &TunnelName, kind: TunnelKind, protocol: Protocol) -> Option<Refusal> {
    let way = match kind {
        TunnelKind::Http => format!("open https://{name}.{}", edge.domain),
        TunnelKind::Tcp { .. } => format!("reach it with: sallyport connect {name}"),
        TunnelKind::Udp { .. } => format!("reach it with: sallyport connect {name} --udp"),
        TunnelKind::Tls => {
            format!("reach it by TLS at {name}.{}, or with: sallyport connect {name}", edge.domain)
        }
    };
    let is = match kind {
        TunnelKind::Http => "an HTTP",
        TunnelKind::Tcp { .. } => "a TCP",
        TunnelKind::Udp { .. } => "a UDP",
        TunnelKind::Tls => "a TLS",
    };
    let detail = format!("`{name}` is {is} tunnel");
    match (protocol, kind) {
        (Protocol::Http, TunnelKind::Http)
        | (Protocol::Tcp, TunnelKind::Tcp { .. } | TunnelKind::Tls)
        | (Protocol::Tls, TunnelKind::Tls)
        | (Protocol::Udp, TunnelKind::Udp { .. }) => None,
        // A connection of TLS that the gateway ended is not one to the app, which has a certificate of its own (RFC 9110 section 15.5.20).
        (Protocol::Http, TunnelKind::Tls) => {
            Some(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "not-http", detail, way))
        }
        (Protocol::Http, _) => Some(Refusal::new(StatusCode::NOT_FOUND, "not-http", detail, way)),
        (Protocol::Tcp | Protocol::Tls, _) => {
            Some(Refusal::new(StatusCode::NOT_FOUND, "not-tcp", detail, way))
        }
        (Protocol::Udp, _) => Some(Refusal::new(StatusCode::NOT_FOUND, "not-udp", detail, way)),
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
    from_here(edge, connection, name, correlation).await?;
    let counted = edge.visits.address(connection.peer.ip());
    within(edge, connection, name, correlation, ("address", counted), None).await?;
    let identity = authenticate(edge, connection, headers, name, correlation).await?;
    // Visitors without a token are counted by their address alone.
    if !identity.is_anonymous() {
        let counted = edge.visits.user(identity.subject().as_str());
        within(edge, connection, name, correlation, ("user", counted), Some(&identity)).await?;
    }
    let route = match edge.routes.lookup(name, clock::monotonic()) {
        Lookup::Live(route) if route.link.is_open() => Some(route),
        Lookup::Live(_) | Lookup::Away => {
            // Who may not come in does not wait at the door; and whose leave is good for once has not used it by waiting.
            may_wait(edge, &identity, name, connection, correlation).await?;
            edge.routes.returned(name, edge.bounds.queue).await
        }
        Lookup::Unknown => {
            return Err(Stop::Refused(Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-name",
                format!("no tunnel is published as `{name}`"),
                "check the name, or ask its owner whether the publisher is running",
            )));
        }
    };
    // Before anything is decided: leave that is good for once is not used up where nobody is to be visited.
    let route = route.ok_or_else(|| Stop::Refused(dead_refusal(name)))?;
    if let Some(refusal) = other_kind(edge, name, route.kind, protocol) {
        return Err(Stop::Refused(refusal));
    }
    edge.readiness.admits().map_err(|unready| Stop::Refused(unready_refusal(&unready)))?;
    let opening = async {
        let permit = decide(edge, &identity, (name, &route), connection, correlation).await?;
        let agent = headers.get("user-agent").and_then(|value| value.to_str().ok());
        let opening = Opening {
            tunnel: name.clone(),
            tunnel_id: route.id.clone(),
            protocol,
            source: connection.peer,
            front: connection.front,
            tls: connection.tls.clone(),
            through: Some(route.protection),
            agent: agent.map(|agent| agent.chars().take(AGENT_BOUND).collect()),
            correlation: correlation.0.clone(),
        };
        edge.broker.open(permit, opening).await.map_err(|error| Stop::Refused(open_refusal(&error)))
    };
    let session = connection.session(name, &route.id, credential::token(headers), opening).await?;
    Ok((session, route))
}

/// Refuses whoever comes from where this tunnel may not be visited; recorded within the bounds of refusals, for whoever knocks.
async fn from_here(
    edge: &Edge,
    connection: &Connection,
    name: &TunnelName,
    correlation: &Correlation,
) -> Result<(), Stop> {
    if edge.house_rules.of(name).sources.admit(connection.peer.ip()) {
        return Ok(());
    }
    if let Some(draft) = edge.tls_refusals.record(connection.peer, "source-denied") {
        note(edge, draft.object(format!("tunnel:{name}")).correlation(correlation.0.as_str())).await;
    }
    Err(Stop::Refused(Refusal::new(
        StatusCode::FORBIDDEN,
        "source-denied",
        format!("`{name}` is not to be visited from your address"),
        "the gateway's operator names the networks (allow_from and deny_from of the tunnel)",
    )))
}

/// Refuses a request beyond the limit; the first of a burst is recorded.
async fn within(
    edge: &Edge,
    connection: &Connection,
    name: &TunnelName,
    correlation: &Correlation,
    (what, counted): (&'static str, Counted),
    who: Option<&Identity>,
) -> Result<(), Stop> {
    let Counted::Beyond { left, first } = counted else { return Ok(()) };
    if first {
        let draft = left.record(what, format!("tunnel:{name}"), connection.peer, &correlation.0);
        let naming = who.map(|who| (edge.broker.naming(who.subject().as_str()), who));
        // Looked at while the name is held: whoever was erased in between must not be named.
        let stands = |who: &Identity| edge.access.standing(who.clone(), clock::now()).is_ok();
        let draft = match &naming {
            Some((_, who)) if stands(who) => draft.subject(who.subject().as_str()),
            _ => draft,
        };
        note(edge, draft).await;
    }
    let detail = format!("more than {} requests in a minute by one {what}", left.limit);
    let hint = "wait as long as Retry-After says";
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail, hint);
    refusal.limit = Some(Box::new((what, left)));
    Err(Stop::Refused(refusal))
}

async fn decide(
    edge: &Edge,
    identity: &Identity,
    (name, route): (&TunnelName, &Route),
    connection: &Connection,
    correlation: &Correlation,
) -> Result<Permit, Stop> {
    let (object, context) = circumstances((name, Some(route)), connection).map_err(Stop::Refused)?;
    let decision = edge.access.admit(identity, &object, Action::Connect, &context).await;
    match decision {
        Decision::Allowed(permit) => Ok(permit),
        refused => Err(not_admitted(edge, identity, name, refused, connection, correlation).await),
    }
}

/// Whether somebody would be let in, if the publisher were here.
async fn may_wait(
    edge: &Edge,
    identity: &Identity,
    name: &TunnelName,
    connection: &Connection,
    correlation: &Correlation,
) -> Result<(), Stop> {
    let (object, context) = circumstances((name, None), connection).map_err(Stop::Refused)?;
    match edge.access.would_refuse(identity, &object, Action::Connect, &context) {
        None => Ok(()),
        Some(refused) => Err(not_admitted(edge, identity, name, refused, connection, correlation).await),
    }
}

/// What is decided about, and under which circumstances.
fn circumstances(
    (name, route): (&TunnelName, Option<&Route>),
    connection: &Connection,
) -> Result<(Object, Context), Refusal> {
    let context = Context::at(clock::now())
        .from_source(connection.peer)
        .on(connection.tls.as_ref())
        .through(route.map(|route| route.protection.into()));
    let object = Object::tunnel(name.as_str()).map_err(|error| {
        Refusal::new(StatusCode::NOT_FOUND, "unknown-name", error.to_string(), "check the name")
    })?;
    Ok((object, context))
}

/// Records that somebody was not let in, once while they wait for an answer, and says what they are told.
async fn not_admitted(
    edge: &Edge,
    identity: &Identity,
    name: &TunnelName,
    decision: Decision,
    connection: &Connection,
    correlation: &Correlation,
) -> Stop {
    let (explanation, ask) = match decision {
        // A permit that nobody took: it is let go of.
        Decision::Allowed(_) => return Stop::Refused(ended_refusal()),
        Decision::NeedsApproval { explanation, .. } => (explanation, true),
        Decision::Denied { explanation } => (explanation, false),
    };
    // Whoever waits for an answer is refused every two seconds, and is no attempt at anything: the first refusal is enough.
    let object = Object::tunnel(name.as_str()).ok().filter(|_| ask);
    let waits = object.and_then(|object| edge.access.waiting(identity, &object, Action::Connect));
    if waits.is_none_or(|request| edge.waits.begins(request, connection.peer.ip())) {
        let draft = explanation
            .draft(Kind::AccessDecided)
            .source(connection.peer.to_string())
            .correlation(correlation.0.as_str())
            .detail("needs_approval", ask);
        note(edge, TlsFacts::note(connection.tls.as_ref(), draft)).await;
    }
    match (identity.is_anonymous(), ask) {
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
    }
}

/// Turns a stop into a page or a problem document.
pub(super) fn answer_stop(
    edge: &Edge,
    stop: Stop,
    name: &TunnelName,
    headers: &HeaderMap,
    path: &str,
    correlation: &Correlation,
) -> Response<Body> {
    match stop {
        Stop::Refused(refusal) => refusal.respond(headers, &correlation.0),
        Stop::Ask { identity, explanation } if wants_page(headers) => {
            asking::ask_page(edge, name, &identity, &explanation, path, correlation)
        }
        Stop::Ask { identity, explanation } => Refusal::new(
            StatusCode::FORBIDDEN,
            "approval-needed",
            format!("{} needs leave to use `{name}`: {explanation}", identity.subject()),
            format!("ask for it: sallyport request {name} --reason \"…\" --minutes 10"),
        )
        .respond(headers, &correlation.0),
        Stop::SignIn { detail } if wants_page(headers) => asking::sign_in_page(name, &detail, path, correlation),
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
    // Enqueued, not appended: while the HSM is away the ledger keeps what is enqueued, and signs it when it can.
    if let Err(error) = edge.ledger.enqueue(draft).await {
        warn!(%error, "a refusal could not be recorded");
    }
}
