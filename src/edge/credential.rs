//! Who is asking: the token in a request, and what it proves.
//!
//! Looked for, in this order: the header `Sallyport-Token: TOKEN`, the cookie `__Host-sallyport`, and `Authorization: Bearer
//! TOKEN` if the token says by its type that it is ours. Any other `Authorization` belongs to the app behind the tunnel and
//! is left to it. A token in a URL is never looked at.

use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::client_certificate::Presented;
use super::sign_in::BROWSER;
use crate::access::{Access, AuthError, Identity, Tenant, is_typed_as_ours};

/// Header for clients whose app needs `Authorization` for itself.
pub(super) const TOKEN_HEADER: HeaderName = HeaderName::from_static("sallyport-token");

/// Cookie that signing in sets: a session's token (`sign_in`). The prefix makes browsers take it only over HTTPS, for this host alone and all its
/// paths (RFC 6265bis section 4.1.3.2).
pub(super) const COOKIE_NAME: &str = "__Host-sallyport";

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Authorization,
    Cookie,
}

fn find(headers: &HeaderMap) -> Option<(Place, &[u8])> {
    if let Some(value) = headers.get(TOKEN_HEADER) {
        return Some((Place::Header, value.as_bytes().trim_ascii()));
    }
    if let Some(token) = cookie(headers) {
        return Some((Place::Cookie, token));
    }
    let token = bearer_token(headers).filter(|token| is_typed_as_ours(token))?;
    Some((Place::Authorization, token.as_bytes()))
}

/// The bearer token of `Authorization` (RFC 6750), if there is one.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Each `name=value` of a Cookie line, as bytes: a value of the app's may hold any.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn our_cookie(pair: &[u8]) -> Option<&[u8]> {
    pair.strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"=")
}

/// Whether a cookie is the gateway's business alone: a session's, or what names a browser while somebody signs in.
fn is_ours(name: &[u8]) -> bool {
    [COOKIE_NAME, BROWSER].iter().any(|ours| ours.as_bytes() == name)
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn cookie(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get_all(COOKIE).iter().flat_map(|value| pairs(value.as_bytes())).find_map(our_cookie)
}

/// The token that a request carries for the gateway, if any.
pub(super) fn token(headers: &HeaderMap) -> Option<&[u8]> {
    find(headers).map(|(_, token)| token)
}

/// Who the request comes from: the owner of the token that it carries, else the person whom the connection's certificate
/// names, else the anonymous visitor. Nothing else in a request says who anybody is, whatever a proxy may write there.
pub async fn identify(
    access: &Access,
    tenant: &Tenant,
    headers: &HeaderMap,
    certificate: Option<&Presented>,
    now: Timestamp,
) -> Result<Identity, AuthError> {
    let by_certificate = by_certificate(access, tenant, certificate, now)?;
    let by_token = match find(headers) {
        Some((place, token)) => {
            let text = std::str::from_utf8(token).map_err(|_| AuthError::Malformed("it isn't text"))?;
            let identity = match place {
                // Only sessions: a token of a person's own has no business in a browser's jar.
                Place::Cookie => access.authenticate_session(text, now)?,
                Place::Header | Place::Authorization => access.recognize(text, now).await?,
            };
            Some(of_tenant(identity, tenant)?)
        }
        None => None,
    };
    let known = one_person(by_token, by_certificate)?;
    Ok(known.unwrap_or_else(|| Identity::anonymous(tenant.clone())))
}

/// Who calls the admin API: by bearer token, or by the connection's certificate. A browser shows a certificate whatever site
/// made it ask, so a call by certificate alone must not come from another site. `authority` is what HTTP/2 has for a `Host`.
pub async fn identify_caller(
    access: &Access,
    tenant: &Tenant,
    headers: &HeaderMap,
    authority: Option<&str>,
    certificate: Option<&Presented>,
    now: Timestamp,
) -> Result<Identity, AuthError> {
    let by_certificate = by_certificate(access, tenant, certificate, now)?;
    let by_token = match bearer_token(headers) {
        Some(token) => Some(of_tenant(access.recognize(token, now).await?, tenant)?),
        None => None,
    };
    if by_token.is_none() && by_certificate.is_some() && is_from_another_site(headers, authority) {
        return Err(AuthError::Malformed("a page of another site made this call"));
    }
    match one_person(by_token, by_certificate)? {
        Some(identity) => Ok(identity),
        None if certificate.is_some() => Err(AuthError::CertificateOfNobody),
        // Says what is wrong with an empty token.
        None => access.authenticate("", now),
    }
}

fn by_certificate(
    access: &Access,
    tenant: &Tenant,
    certificate: Option<&Presented>,
    now: Timestamp,
) -> Result<Option<Identity>, AuthError> {
    let person = certificate.and_then(|presented| presented.person.as_ref());
    person.map(|person| access.authenticate_certificate(person, tenant, now)).transpose()
}

/// Two proofs must be of one person; the token is the one that counts, because somebody chose to send it.
fn one_person(
    by_token: Option<Identity>,
    by_certificate: Option<Identity>,
) -> Result<Option<Identity>, AuthError> {
    match (&by_token, &by_certificate) {
        (Some(token), Some(certificate)) if token.subject() != certificate.subject() => {
            Err(AuthError::TwoPeople)
        }
        _ => Ok(by_token.or(by_certificate)),
    }
}

/// Whether a browser says that another site's page made the request (Fetch metadata, and RFC 6454 for those without).
pub(super) fn is_from_another_site(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (headers.get("origin").map(HeaderValue::as_bytes), authority.or_else(|| text("host"))) {
        (None, _) => false,
        (Some(origin), Some(host)) => origin.strip_prefix(b"https://") != Some(host.as_bytes()),
        (Some(_), None) => true,
    }
}

/// Refuses a person of another tenant: nothing crosses tenants, and this gateway's tunnels are of one.
pub fn of_tenant(identity: Identity, tenant: &Tenant) -> Result<Identity, AuthError> {
    if identity.tenant() == tenant { Ok(identity) } else { Err(AuthError::OtherGateway) }
}

/// Takes our token out of a request, so that no publisher ever sees it.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(TOKEN_HEADER);
    if bearer_token(headers).is_some_and(is_typed_as_ours) {
        headers.remove(AUTHORIZATION);
    }
    let lines = headers.get_all(COOKIE).iter();
    let all: Vec<&[u8]> = lines.flat_map(|value| pairs(value.as_bytes())).collect();
    if !all.iter().any(|pair| is_ours(name_of(pair))) {
        return;
    }
    let kept: Vec<&[u8]> = all.into_iter().filter(|pair| !is_ours(name_of(pair))).collect();
    let kept = HeaderValue::from_bytes(&kept.join(b"; ".as_slice())).ok().filter(|value| !value.is_empty());
    headers.remove(COOKIE);
    if let Some(kept) = kept {
        headers.insert(COOKIE, kept);
    }
}

/// Takes our cookies out of an app's answer: no app may sign a visitor in as somebody else, or say which browser this is.
pub(super) fn strip_answer(headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| is_ours(name_of(value.as_bytes()));
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

    /// A token of our type, as far as its header says.
    const OURS: &str = "eyJ0eXAiOiJzYWxseXBvcnQrand0IiwiYWxnIjoiRVMyNTYifQ.e30.c2ln";

    #[test]
    fn the_own_header_wins_over_the_cookie_and_the_cookie_over_authorization() {
        let bearer = format!("Bearer {OURS}");
        let all = [
            ("sallyport-token", "a"),
            ("cookie", "x=1; __Host-sallyport=c"),
            ("authorization", bearer.as_str()),
        ];
        assert_eq!(token(&headers(&all)), Some(b"a".as_slice()));
        assert_eq!(token(&headers(&all[1..])), Some(b"c".as_slice()));
        assert_eq!(token(&headers(&all[2..])), Some(OURS.as_bytes()));
    }

    #[test]
    fn authorization_that_is_the_apps_own_is_no_token_of_ours_and_passes() {
        for own in ["Basic abc", "Bearer opaque", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.c2ln"] {
            let mut mixed = headers(&[("authorization", own)]);
            assert_eq!(token(&mixed), None, "{own}");
            strip(&mut mixed);
            assert_eq!(mixed.get(AUTHORIZATION).unwrap(), own);
        }
    }

    #[test]
    fn a_publisher_never_sees_the_visitors_token() {
        let bearer = format!("Bearer {OURS}");
        let mut mixed = headers(&[
            ("authorization", bearer.as_str()),
            ("cookie", "x=1; __Host-sallyport=c; y=2; __Host-sallyport-browser=b"),
            ("sallyport-token", "a"),
        ]);
        strip(&mut mixed);
        assert!(mixed.get(AUTHORIZATION).is_none());
        assert!(mixed.get(TOKEN_HEADER).is_none());
        assert_eq!(mixed.get(COOKIE).unwrap(), "x=1; y=2");
    }

    #[test]
    fn a_cookie_that_is_not_text_hides_no_other_and_reaches_the_app() {
        let mut mixed = HeaderMap::new();
        mixed.insert(COOKIE, HeaderValue::from_bytes("n=é; __Host-sallyport=c".as_bytes()).unwrap());
        assert_eq!(token(&mixed), Some(b"c".as_slice()));
        strip(&mut mixed);
        assert_eq!(mixed.get(COOKIE).unwrap().as_bytes(), "n=é".as_bytes());
    }

    #[test]
    fn an_app_cannot_sign_a_visitor_in_as_somebody_else() {
        let mut answer = headers(&[
            ("set-cookie", "__Host-sallyport=forged; Path=/"),
            ("set-cookie", "__Host-sallyport-browser=known; Path=/"),
            ("set-cookie", "own=1"),
        ]);
        strip_answer(&mut answer);
        let left: Vec<_> = answer.get_all(SET_COOKIE).iter().collect();
        assert_eq!(left, ["own=1"]);
    }
}
