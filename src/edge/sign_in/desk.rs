//! The gateway's own host, where people say who they are: by a token, or at an identity provider.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;

use super::away::{add_cookie, begun, busy, see_other, session_life, stale};
use super::pending::{Aim, Arrival, Flow, Place, digest, is_digest, safe_path, unguessable};
use super::provider::Challenge;
use super::{BROWSER, CONSOLE_COOKIE, CONSOLE_DESK, cookie, set_cookie};
use crate::access::{AuthError, HomeNetwork, Identity};
use crate::clock;
use crate::edge::admission::authentication_failed;
use crate::edge::asking::{read_form, same_origin};
use crate::edge::credential::of_tenant;
use crate::edge::page::{Refusal, challenge, html, page_policy};
use crate::edge::route::Correlation;
use crate::edge::{Connection, Edge};
use crate::tunnel::TunnelName;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    /// What one signs in to, in words.
    what: String,
    /// What becomes of the token, in words.
    promise: &'a str,
    /// Path of this page.
    desk: String,
    detail: &'a str,
    query: String,
    providers: Vec<String>,
    correlation: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    browser: String,
    to: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Back {
    state: String,
    code: String,
    error: String,
    iss: Option<String>,
}

type Answer = Result<Response<Body>, Refusal>;

fn shown(answer: Answer, headers: &HeaderMap, correlation: &Correlation) -> Response<Body> {
    answer.unwrap_or_else(|refusal| refusal.respond(headers, &correlation.0))
}

fn aim(name: &str, query: Option<&str>) -> Result<Aim, Refusal> {
    let tunnel = TunnelName::parse(name).map_err(|error| {
        Refusal::new(StatusCode::NOT_FOUND, "unknown-name", error.to_string(), error.hint())
    })?;
    let wanted: Wanted = serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
    if !is_digest(&wanted.browser) {
        return Err(stale());
    }
    Ok(Aim { place: Place::Tunnel { name: tunnel, browser: wanted.browser }, to: safe_path(&wanted.to) })
}

/// On to the console. A browser that comes without an aim begins at its first page.
fn console_aim(query: Option<&str>) -> Aim {
    let wanted: Wanted = serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
    let to = safe_path(&wanted.to);
    let to = if to.starts_with("/console/") { to } else { "/console/".to_owned() };
    Aim { place: Place::Console, to }
}

/// `GET /sign-in/NAME`: the page.
pub(in crate::edge) async fn page(
    State(edge): State<Edge>,
    Extension(correlation): Extension<Correlation>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = aim(&name, query.as_deref()).map(|aim| sign_in_page(&edge, &aim, "", &correlation));
    shown(answer, &headers, &correlation)
}

/// `GET /console/sign-in`: the page.
pub(in crate::edge) async fn console_page(
    State(edge): State<Edge>,
    Extension(correlation): Extension<Correlation>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    sign_in_page(&edge, &console_aim(query.as_deref()), "", &correlation)
}

fn sign_in_page(edge: &Edge, aim: &Aim, detail: &str, correlation: &Correlation) -> Response<Body> {
    let to = ("to", aim.to.as_str());
    let (what, promise, desk, query) = match &aim.place {
        Place::Tunnel { name, browser } => (
            name.to_string(),
            "the tunnel gets a session of its own, which ends soon.",
            format!("/sign-in/{name}"),
            serde_urlencoded::to_string([("browser", browser.as_str()), to]),
        ),
        Place::Console => (
            format!("the console of {}", edge.domain),
            "the browser keeps a session of its own, which ends soon.",
            CONSOLE_DESK.to_owned(),
            serde_urlencoded::to_string([to]),
        ),
    };
    let page = Page {
        what,
        promise,
        desk,
        detail,
        query: query.unwrap_or_default(),
        providers: edge.providers.as_ref().map(|providers| providers.names()).unwrap_or_default(),
        correlation: &correlation.0,
    };
    let mut response = html(&page);
    if !detail.is_empty() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        challenge(&mut response);
    }
    // Browsers hold what a form leads to, redirects included, against this list.
    let leads_to = match &aim.place {
        Place::Tunnel { name, .. } => edge.tunnel_origin(name),
        Place::Console => String::new(),
    };
    if let Ok(policy) = HeaderValue::from_str(&page_policy(&leads_to)) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response.headers_mut().insert("referrer-policy", HeaderValue::from_static("same-origin"));
    response
}

/// `POST /sign-in/NAME`: somebody shows a token.
pub(in crate::edge) async fn by_token(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let headers = request.headers().clone();
    let aim = aim(&name, request.uri().query());
    let answer = match aim {
        Ok(aim) => show_token(&edge, &connection, aim, request, &correlation).await,
        Err(refusal) => Err(refusal),
    };
    shown(answer, &headers, &correlation)
}

/// `POST /console/sign-in`: somebody shows a token.
pub(in crate::edge) async fn console_by_token(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    request: Request<Body>,
) -> Response<Body> {
    let headers = request.headers().clone();
    let aim = console_aim(request.uri().query());
    shown(show_token(&edge, &connection, aim, request, &correlation).await, &headers, &correlation)
}

async fn show_token(
    edge: &Edge,
    connection: &Connection,
    aim: Aim,
    request: Request<Body>,
    correlation: &Correlation,
) -> Answer {
    edge.attempts.check(connection.peer.ip())?;
    if !same_origin(&request) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "foreign-form",
            "this form was sent from another site",
            "open the tunnel's own address, or the gateway's, and sign in from there",
        ));
    }
    let form: Token = read_form(edge, request).await?;
    let known = edge.access.recognize(form.token.trim(), clock::now()).await;
    match known.and_then(|identity| of_tenant(identity, &edge.tenant)) {
        Ok(identity) => send_on(edge, connection, aim, identity).await,
        Err(error) => {
            authentication_failed(edge, connection, aim.place.object(), correlation, &error).await;
            Ok(sign_in_page(edge, &aim, &error.to_string(), correlation))
        }
    }
}

/// On to the tunnel's host, with a code that works there once; or into the console, with a session.
async fn send_on(edge: &Edge, connection: &Connection, aim: Aim, identity: Identity) -> Answer {
    match &aim.place {
        Place::Tunnel { name, .. } => {
            let origin = edge.tunnel_origin(name);
            let code = edge.sign_ins.send(Arrival { aim, identity }, clock::monotonic()).ok_or_else(busy)?;
            see_other(&format!("{origin}/.sallyport/enter?code={code}"))
        }
        Place::Console => {
            let network = edge.bounds.console_at_home.then(|| HomeNetwork::of(connection.peer.ip()));
            let session = edge.access.sign_in_to_console(&identity, session_life(edge)?, network).await;
            let (token, life) = begun(session)?;
            let mut response = see_other(&aim.to)?;
            add_cookie(&mut response, &set_cookie(CONSOLE_COOKIE, &token, life))?;
            Ok(response)
        }
    }
}

/// `GET /sign-in/NAME/PROVIDER`: on to an identity provider.
pub(in crate::edge) async fn at_provider(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    Path((name, provider)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = match aim(&name, query.as_deref()) {
        Ok(aim) => set_out(&edge, &connection, aim, &provider, &headers).await,
        Err(refusal) => Err(refusal),
    };
    shown(answer, &headers, &correlation)
}

/// `GET /console/sign-in/PROVIDER`: on to an identity provider.
pub(in crate::edge) async fn console_at_provider(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    Path(provider): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    let aim = console_aim(query.as_deref());
    shown(set_out(&edge, &connection, aim, &provider, &headers).await, &headers, &correlation)
}

/// `POST /console/sign-out`: the session ends, here and in the ledger.
pub(in crate::edge) async fn console_sign_out(
    State(edge): State<Edge>,
    Extension(correlation): Extension<Correlation>,
    request: Request<Body>,
) -> Response<Body> {
    let headers = request.headers().clone();
    let answer = if same_origin(&request) {
        leave_console(&edge, &headers).await
    } else {
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "foreign-form",
            "this form was sent from another site",
            "open the console itself and sign out there",
        ))
    };
    shown(answer, &headers, &correlation)
}

async fn leave_console(edge: &Edge, headers: &HeaderMap) -> Answer {
    let token = cookie(headers, CONSOLE_COOKIE).unwrap_or_default();
    // Whoever has none, or one that has ended, is signed out already.
    if let Ok(who) = edge.access.authenticate_console(token, None, clock::now()) {
        edge.access.sign_out(&who).await.map_err(|error| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ledger-down", error.to_string(), error.hint())
        })?;
    }
    let mut response = see_other(CONSOLE_DESK)?;
    add_cookie(&mut response, &set_cookie(CONSOLE_COOKIE, "", 0))?;
    Ok(response)
}

async fn set_out(
    edge: &Edge,
    connection: &Connection,
    aim: Aim,
    provider: &str,
    headers: &HeaderMap,
) -> Answer {
    edge.attempts.check(connection.peer.ip())?;
    let providers = edge.providers.as_ref().filter(|all| all.issuer(provider).is_some()).ok_or_else(stale)?;
    let known = cookie(headers, BROWSER).filter(|text| text.len() == 43).map(str::to_owned);
    let browser = known.or_else(unguessable).ok_or_else(busy)?;
    let (nonce, verifier) = (unguessable().ok_or_else(busy)?, unguessable().ok_or_else(busy)?);
    let code_challenge = digest(&verifier);
    let flow = Flow {
        aim,
        provider: provider.to_owned(),
        nonce: nonce.clone(),
        verifier,
        browser: digest(&browser),
    };
    let state = edge.sign_ins.set_out(flow, clock::monotonic()).ok_or_else(busy)?;
    let challenge = Challenge { state: &state, nonce: &nonce, code_challenge: &code_challenge };
    let place = providers.begin(provider, challenge).await.map_err(|error| {
        Refusal::new(StatusCode::BAD_GATEWAY, "provider-away", error.to_string(), error.hint())
    })?;
    let mut response = see_other(&place)?;
    add_cookie(&mut response, &set_cookie(BROWSER, &browser, 900))?;
    Ok(response)
}

/// `GET /oidc/callback`: somebody comes back from an identity provider.
pub(in crate::edge) async fn callback(
    State(edge): State<Edge>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(correlation): Extension<Correlation>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = come_back(&edge, &connection, query.as_deref(), &headers, &correlation).await;
    shown(answer, &headers, &correlation)
}

async fn come_back(
    edge: &Edge,
    connection: &Connection,
    query: Option<&str>,
    headers: &HeaderMap,
    correlation: &Correlation,
) -> Answer {
    edge.attempts.check(connection.peer.ip())?;
    let back: Back = serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
    let browser = cookie(headers, BROWSER);
    let flow = edge.sign_ins.come_back(&back.state, browser, clock::monotonic()).ok_or_else(|| {
        edge.attempts.failed(connection.peer.ip());
        stale()
    })?;
    let providers = edge.providers.as_ref().ok_or_else(stale)?;
    let finished = if !back.error.is_empty() || back.code.is_empty() {
        Err(AuthError::NotVouched)
    // RFC 9207: an answer of another issuer than the one that was asked.
    } else if back.iss.as_deref().is_some_and(|said| providers.issuer(&flow.provider) != Some(said)) {
        Err(AuthError::UnknownIssuer)
    } else {
        let now = clock::now();
        let vouched = providers.finish(&flow.provider, &back.code, &flow.verifier, &flow.nonce, now).await;
        let known = vouched.and_then(|vouched| edge.access.vouched(vouched, now));
        known.and_then(|identity| of_tenant(identity, &edge.tenant))
    };
    match finished {
        Ok(identity) => send_on(edge, connection, flow.aim, identity).await,
        Err(error) => {
            authentication_failed(edge, connection, flow.aim.place.object(), correlation, &error).await;
            Ok(sign_in_page(edge, &flow.aim, &error.to_string(), correlation))
        }
    }
}
