//! From a template to an answer: the headers that every page has, and the page that says no.

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};

use super::viewer::Chrome;
use crate::console::errors::Problem;

/// Everything from here, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

#[derive(Template)]
#[template(path = "console/refused.html")]
struct Refused<'a> {
    chrome: &'a Chrome,
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    code: &'a str,
    correlation: &'a str,
}

/// A page.
pub(super) fn show(page: &impl Template) -> Response {
    with_status(StatusCode::OK, page)
}

fn with_status(status: StatusCode, page: &impl Template) -> Response {
    let Ok(text) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = (status, Html(text)).into_response();
    protect(response.headers_mut());
    response
}

/// The headers of a page: what it may load, that nobody keeps it, and that no other site learns its address.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY.as_str(), POLICY),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        if let Ok(name) = axum::http::HeaderName::try_from(name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// Lets a page run the verifier, which it loads from here.
pub(super) fn let_verifier_run(response: &mut Response) {
    let policy = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'");
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// The page that says no, with the way back around it.
pub(super) fn refuse(chrome: &Chrome, problem: &Problem) -> Response {
    let refusal = &problem.refusal;
    let page = Refused {
        chrome,
        title: refusal.status.canonical_reason().unwrap_or("Refused"),
        detail: &refusal.detail,
        hint: &refusal.hint,
        code: refusal.code,
        correlation: &problem.correlation,
    };
    with_status(refusal.status, &page)
}

/// On to another page of the console, after an order.
pub(super) fn see_other(place: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    protect(response.headers_mut());
    response
}

/// Whether a person is likely to read the answer.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get("accept").and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}
