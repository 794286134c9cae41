//! What a visitor gets when the answer is no: a page for people, a problem document (RFC 9457) for programs, chosen by
//! `Accept`, always with the correlation id under which the ledger and the log speak of it.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::rates::Left;
use sha2::{Digest as _, Sha256};

/// No script, no style but our own, no foreign host; forms go to the host they came from, and to `leads_to`.
pub(super) fn page_policy(leads_to: &str) -> String {
    let style = &*STYLE_DIGEST;
    let and = if leads_to.is_empty() { "" } else { " " };
    format!(
        "default-src 'none'; style-src '{style}'; form-action 'self'{and}{leads_to}; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// The digest of the one style that pages have (CSP level 3, section 8.1), so that no other can be put into them.
static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("templates/base.html");
    let style = page.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let digest = Sha256::digest(style.map_or("", |(style, _)| style));
    format!("sha256-{}", STANDARD.encode(digest))
});

/// A refusal, before it is known whether a person or a program reads it.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code, listed in `docs/errors.md`.
    pub code: &'static str,
    /// One sentence: what failed, on what.
    pub detail: String,
    /// What to do next.
    pub hint: String,
    /// The limit that was reached, and what is left of it.
    pub limit: Option<Box<(&'static str, Left)>>,
    /// Seconds after which to come again, where that is of use.
    pub retry_after: u64,
}

/// Goes with the response of a refusal, so that it can be counted.
#[derive(Clone, Copy)]
pub(super) struct RefusalCode(pub(super) &'static str);

#[derive(Template)]
#[template(path = "refusal.html")]
struct Page<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    code: &'a str,
    correlation: &'a str,
}

impl Refusal {
    /// A refusal with its sentence and its hint.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, detail: detail.into(), hint: hint.into(), limit: None, retry_after: 5 }
    }

    /// The response, as a page or as JSON.
    pub fn respond(&self, headers: &HeaderMap, correlation: &str) -> Response {
        let mut response =
            if wants_page(headers) { self.page(correlation) } else { self.problem(correlation) };
        *response.status_mut() = self.status;
        self.add_headers(&mut response);
        response.extensions_mut().insert(RefusalCode(self.code));
        response
    }

    fn add_headers(&self, response: &mut Response) {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(self.retry_after));
        }
        challenge(response);
        if let Some((what, left)) = self.limit.as_deref() {
            left.write(what, response.headers_mut());
        }
    }

    /// The refusal as problem+json.
    pub fn problem(&self, correlation: &str) -> Response {
        let body = json!({
            "type": format!("urn:sallyport:error:{}", self.code),
            "title": title(self.status),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "correlation": correlation,
        });
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.add_headers(&mut response);
        response
    }

    fn page(&self, correlation: &str) -> Response {
        let page = Page {
            status: self.status.as_u16(),
            title: title(self.status),
            detail: &self.detail,
            hint: &self.hint,
            code: self.code,
            correlation,
        };
        html(&page)
    }
}

/// A 401 says how to prove who one is (RFC 9110 section 11.6.1): by a token (RFC 6750), for which no browser asks in a window of its
/// own.
pub(super) fn challenge(response: &mut Response) {
    if response.status() == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer realm=\"sallyport\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
}

/// Renders a page with the headers that every page of ours has.
pub(super) fn html(page: &impl Template) -> Response {
    let Ok(text) = page.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = axum::response::Html(text).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&page_policy("")) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether a person is likely to read the answer.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Refused")
}
