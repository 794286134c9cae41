//! The gateway's own host, where people say who they are: by a token, or at an identity provider.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;

use super::away::{add_cookie, busy, see_other, stale};
use super::pending::{Aim, Arrival, Flow, digest, is_digest, safe_path, unguessable};
use super::provider::Challenge;
use super::{BROWSER, cookie, set_cookie};
use crate::access::{AuthError, Identity};
use crate::clock;
use crate::edge::admission::authentication_failed;
use crate::edge::asking::{read_form, same_origin};
use crate::edge::credential::of_tenant;
use crate::edge::page::{Refusal, html};
use crate::edge::route::Correlation;
use crate::edge::{Connection, Edge};
use crate::tunnel::TunnelName;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    tunnel: &'a str,
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
    Ok(Aim { tunnel, to: safe_path(&wanted.to), browser: wanted.browser })
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

fn sign_in_page(edge: &Edge, aim: &Aim, detail: &str, correlation: &Correlation) -> Response<Body> {
    let query = [("browser", aim.browser.as_str()), ("to", aim.to.as_str())];
    let page = Page {
        tunnel: aim.tunnel.as_str(),
        detail,
        query: serde_urlencoded::to_string(query).unwrap_or_default(),
        providers: edge.providers.as_ref().map(|providers| providers.names()).unwrap_or_default(),
        correlation: &correlation.0,
    };
    let mut response = html(&page);
    if !detail.is_empty() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    // Browsers hold what a form leads to, redirects included, against this list.
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {}; frame-ancestors 'none'; base-uri 'none'",
        edge.tunnel_origin(&aim.tunnel)
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
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
    let answer = show_token(&edge, &connection, &name, request, &correlation).await;
    shown(answer, &headers, &correlation)
}

async fn show_token(
    edge: &Edge,
    connection: &Connection,
    name: &str,
    request: Request<Body>,
    correlation: &Correlation,
) -> Answer {
    edge.attempts.check(connection.peer.ip())?;
    if !same_origin(&request) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "foreign-form",
            "this form was sent from another site",
            "open the tunnel's own address and sign in from there",
        ));
    }
    let aim = aim(name, request.uri().query())?;
    let form: Token = read_form(edge, request).await?;
    let known = edge.access.recognize(form.token.trim(), clock::now()).await;
    match known.and_then(|identity| of_tenant(identity, &edge.tenant)) {
        Ok(identity) => send_on(edge, aim, identity),
        Err(error) => {
            authentication_failed(edge, connection, &aim.tunnel, correlation, &error).await;
            Ok(sign_in_page(edge, &aim, &error.to_string(), correlation))
        }
    }
}

/// On to the tunnel's host, with a code that works there once.
fn send_on(edge: &Edge, aim: Aim, identity: Identity) -> Answer {
    let origin = edge.tunnel_origin(&aim.tunnel);
    let code = edge.sign_ins.send(Arrival { aim, identity }, clock::monotonic()).ok_or_else(busy)?;
    see_other(&format!("{origin}/.sallyport/enter?code={code}"))
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
    let answer = set_out(&edge, &connection, &name, &provider, query.as_deref(), &headers).await;
    shown(answer, &headers, &correlation)
}

async fn set_out(
    edge: &Edge,
    connection: &Connection,
    name: &str,
    provider: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Answer {
    edge.attempts.check(connection.peer.ip())?;
    let aim = aim(name, query)?;
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
        Ok(identity) => send_on(edge, flow.aim, identity),
        Err(error) => {
            authentication_failed(edge, connection, &flow.aim.tunnel, correlation, &error).await;
            Ok(sign_in_page(edge, &flow.aim, &error.to_string(), correlation))
        }
    }
}
