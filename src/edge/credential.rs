//! Who is asking: the token in a request, and what it proves.
//!
//! Looked for, in this order: `Sallyport-Token: TOKEN`, `Authorization: Bearer TOKEN`, the cookie `__Host-sallyport`. A bearer
//! token that is plainly not ours (another scheme, another issuer's form) is left to the app behind the tunnel. A token
//! in a URL is never looked at.

use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::access::{Access, AuthError, Identity, Tenant};

/// Header for clients whose app needs `Authorization` for itself.
pub(super) const TOKEN_HEADER: HeaderName = HeaderName::from_static("sallyport-token");

/// Cookie that the sign-in page sets. The prefix makes browsers take it only over HTTPS, for this host alone and all its
/// paths (RFC 6265bis section 4.1.3.2).
pub(super) const COOKIE_NAME: &str = "__Host-sallyport";

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Authorization,
    Cookie,
}

fn find(headers: &HeaderMap) -> Option<(Place, &str)> {
    if let Some(value) = headers.get(TOKEN_HEADER) {
        return Some((Place::Header, value.to_str().ok()?.trim()));
    }
    if let Some(token) = bearer_token(headers) {
        return Some((Place::Authorization, token));
    }
    cookie(headers).map(|token| (Place::Cookie, token))
}

/// The bearer token of `Authorization` (RFC 6750), if there is one.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, token)| token)
}

/// The token that a request carries for the gateway, if any.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    find(headers).map(|(_, token)| token)
}

/// Who the request comes from: the token's owner, or the anonymous visitor if it carries none.
pub fn identify(
    access: &Access,
    tenant: &Tenant,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Identity, AuthError> {
    match find(headers) {
        Some((_, token)) => access.authenticate(token, now),
        None => Ok(Identity::anonymous(tenant.clone())),
    }
}

/// Takes our token out of a request, so that no publisher ever sees it.
pub(super) fn strip(headers: &mut HeaderMap) {
    let place = find(headers).map(|(place, _)| place);
    headers.remove(TOKEN_HEADER);
    if place == Some(Place::Authorization) {
        headers.remove(AUTHORIZATION);
    }
    let kept: Vec<String> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|pair| pair.split_once('=').is_none_or(|(name, _)| name != COOKIE_NAME) && !pair.is_empty())
        .map(str::to_owned)
        .collect();
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_str(&kept.join("; "))
    {
        headers.insert(COOKIE, value);
    }
}

/// Takes our cookie out of an app's answer: no app may sign a visitor in as somebody else.
pub(super) fn strip_answer(headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_once('=').is_some_and(|(name, _)| name.trim() == COOKIE_NAME)
    };
    if headers.get_all(SET_COOKIE).iter().any(ours) {
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
        headers.remove(SET_COOKIE);
        for value in kept {
            headers.append(SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_own_header_wins_over_authorization_and_authorization_over_the_cookie() {
        let all =
            [("sallyport-token", "a"), ("authorization", "Bearer b"), ("cookie", "x=1; __Host-sallyport=c")];
        assert_eq!(token(&headers(&all)), Some("a"));
        assert_eq!(token(&headers(&all[1..])), Some("b"));
        assert_eq!(token(&headers(&all[2..])), Some("c"));
        assert_eq!(token(&headers(&[("authorization", "Basic abc")])), None);
    }

    #[test]
    fn a_publisher_never_sees_the_visitors_token() {
        let mut mixed = headers(&[("authorization", "Bearer b"), ("cookie", "x=1; __Host-sallyport=c; y=2")]);
        strip(&mut mixed);
        assert!(mixed.get(AUTHORIZATION).is_none());
        assert_eq!(mixed.get(COOKIE).unwrap(), "x=1; y=2");
    }

    #[test]
    fn an_app_cannot_sign_a_visitor_in_as_somebody_else() {
        let mut answer =
            headers(&[("set-cookie", "__Host-sallyport=forged; Path=/"), ("set-cookie", "own=1")]);
        strip_answer(&mut answer);
        let left: Vec<_> = answer.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["own=1"]);
    }

    #[test]
    fn the_apps_own_authorization_passes_when_the_visitor_uses_our_header() {
        let mut mixed = headers(&[("sallyport-token", "a"), ("authorization", "Bearer apps-own")]);
        strip(&mut mixed);
        assert_eq!(mixed.get(AUTHORIZATION).unwrap(), "Bearer apps-own");
        assert!(mixed.get(TOKEN_HEADER).is_none());
    }
}
