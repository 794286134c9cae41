//! The two ends of signing in that are on a tunnel's own host: setting out, and coming back known.

use axum::body::Body;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use jiff::Timestamp;
use serde::Deserialize;

use super::pending::{digest, safe_path, unguessable};
use super::{BROWSER, cookie, set_cookie};
use crate::access::{AccessError, Identity, Object, TokenId};
use crate::clock;
use crate::edge::admission::authentication_failed;
use crate::edge::credential::COOKIE_NAME;
use crate::edge::page::Refusal;
use crate::edge::route::Correlation;
use crate::edge::{Connection, Edge};
use crate::tunnel::TunnelName;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    to: String,
    code: String,
}

fn asked(uri: &Uri) -> Asked {
    uri.query().and_then(|query| serde_urlencoded::from_str(query).ok()).unwrap_or_default()
}

/// `GET /.sallyport/sign-in?to=PATH`: on to the gateway's host.
pub(in crate::edge) fn set_out(
    edge: &Edge,
    name: &TunnelName,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let to = safe_path(&asked(uri).to);
    // A browser that is on its way already keeps its name: two pages may sign in at once.
    let known = cookie(headers, BROWSER).filter(|text| text.len() == 43).map(str::to_owned);
    let browser = known.or_else(unguessable).ok_or_else(busy)?;
    let query =
        serde_urlencoded::to_string([("browser", digest(&browser)), ("to", to)]).map_err(|_| busy())?;
    let place = format!("{}/sign-in/{name}?{query}", edge.own_origin());
    let mut response = see_other(&place)?;
    add_cookie(&mut response, &set_cookie(BROWSER, &browser, 900))?;
    Ok(response)
}

/// `GET /.sallyport/enter?code=…`: a session begins, in the browser that set out.
pub(in crate::edge) async fn enter(
    edge: &Edge,
    connection: &Connection,
    name: &TunnelName,
    (uri, headers): (&Uri, &HeaderMap),
    correlation: &Correlation,
) -> Result<Response<Body>, Refusal> {
    edge.attempts.check(connection.peer.ip())?;
    let browser = cookie(headers, BROWSER);
    let code = asked(uri).code;
    let arrival = edge.sign_ins.arrive(&code, name, browser, clock::monotonic()).ok_or_else(|| {
        edge.attempts.failed(connection.peer.ip());
        stale()
    })?;
    let object = Object::tunnel(name.as_str()).map_err(|_| stale())?;
    let (token, life) = match begin_session(edge, &arrival.identity, &object).await {
        Ok(begun) => begun,
        Err(refusal) => {
            if let Err(error) = edge.access.standing(arrival.identity, clock::now()) {
                authentication_failed(edge, connection, format!("tunnel:{name}"), correlation, &error).await;
            }
            return Err(refusal);
        }
    };
    let mut response = see_other(&safe_path(&arrival.aim.to))?;
    add_cookie(&mut response, &set_cookie(COOKIE_NAME, &token, life))?;
    add_cookie(&mut response, &set_cookie(BROWSER, "", 0))?;
    Ok(response)
}

async fn begin_session(edge: &Edge, who: &Identity, object: &Object) -> Result<(String, i64), Refusal> {
    begun(edge.access.sign_in(who, object.clone(), session_life(edge)?).await)
}

/// How long a browser stays signed in.
pub(super) fn session_life(edge: &Edge) -> Result<jiff::SignedDuration, Refusal> {
    jiff::SignedDuration::try_from(edge.bounds.browser_session).map_err(|_| busy())
}

/// The token of a session that has begun, and for how many seconds it is good.
pub(super) fn begun(
    session: Result<(TokenId, String, Timestamp), AccessError>,
) -> Result<(String, i64), Refusal> {
    let (_, token, expires) = session.map_err(|error| {
        Refusal::new(
            StatusCode::FORBIDDEN,
            "not-signed-in",
            format!("you can't be signed in: {error}"),
            error.hint(),
        )
    })?;
    Ok((token, expires.duration_since(clock::now()).as_secs().max(0)))
}

/// `POST /.sallyport/sign-out`: the session ends, here and in the ledger.
pub(in crate::edge) async fn sign_out(edge: &Edge, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let token = cookie(headers, COOKIE_NAME).unwrap_or_default();
    // Whoever has none, or one that has ended, is signed out already.
    if let Ok(who) = edge.access.authenticate_session(token, clock::now()) {
        edge.access.sign_out(&who).await.map_err(|error| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ledger-down", error.to_string(), error.hint())
        })?;
    }
    let mut response = see_other("/")?;
    add_cookie(&mut response, &set_cookie(COOKIE_NAME, "", 0))?;
    Ok(response)
}

pub(in crate::edge) fn see_other(place: &str) -> Result<Response<Body>, Refusal> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_str(place).map_err(|_| busy())?);
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    Ok(response)
}

pub(super) fn add_cookie(response: &mut Response<Body>, cookie: &str) -> Result<(), Refusal> {
    let value = HeaderValue::from_str(cookie).map_err(|_| busy())?;
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// A code or a `state` that is none, or none any more.
pub(super) fn stale() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "stale-sign-in",
        "this sign-in isn't under way in this browser: it took too long, was used, or began elsewhere",
        "open the tunnel's own address and sign in again; the browser must take its cookies",
    )
}

pub(super) fn busy() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "sign-in-unavailable",
        "nobody can sign in right now",
        "try again in a minute",
    )
}
